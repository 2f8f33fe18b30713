package providers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
)

// DefaultRetries is how often a call is sent again unless ConnectionConfig says
// otherwise.
const DefaultRetries = 2

const (
	// retryFirst is the longest first pause before a call is sent again; it doubles
	// each time, up to retryMost. The true pause is any part of it, so that callers who
	// failed together do not come back together.
	retryFirst = 500 * time.Millisecond
	retryMost  = 10 * time.Second

	// A connection may send again a tenth of its calls, and retryStock at once: when
	// a provider is down, retries must not add to it.
	retryStock = 10
	retryCost  = 10

	// downAfter calls that fail one after the other stop a connection for downFor;
	// then one call tries.
	downAfter = 10
	downFor   = 5 * time.Second
)

type idempotentKey struct{}

// Idempotent marks the calls under ctx as safe to send twice, whatever their method:
// because they carry a key by which the provider knows a repetition, or because doing
// them twice does no harm. Without it only GET, HEAD, OPTIONS, PUT and DELETE are sent
// again when nobody knows whether the provider did them (RFC 9110 section 9.2.2).
func Idempotent(ctx context.Context) context.Context {
	return context.WithValue(ctx, idempotentKey{}, true)
}

func isIdempotent(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	marked, _ := r.Context().Value(idempotentKey{}).(bool)
	return marked
}

// retries is what a connection knows of its failures. It is made with the first.
type retries struct {
	// owed goes up with each call that is sent again and down with each that
	// succeeds.
	owed atomic.Int32
	// failed counts failures in a row; until is when a connection that is stopped
	// tries again, in Unix nanoseconds.
	failed atomic.Int32
	until  atomic.Int64
}

// stopped returns an error while calls of the connection are not sent because the
// last ones failed. One of those who ask when the time is over is let through.
func (t *transport) stopped() error {
	s := t.retries.Load()
	if s == nil {
		return nil
	}
	until := s.until.Load()
	if until == 0 {
		return nil
	}
	now := time.Now().UnixNano()
	if now >= until && s.until.CompareAndSwap(until, now+int64(downFor)) {
		return nil
	}
	return errStopped
}

// errStopped is what calls get while a provider does not work.
var errStopped = fmt.Errorf("%w: calls are held back after many that failed", ErrProviderDown)

// heard notes how a call ended.
func (t *transport) heard(ok bool) {
	s := t.retries.Load()
	if s == nil {
		if ok {
			return
		}
		s = t.failures()
	}
	if ok {
		if s.failed.Load() != 0 {
			s.failed.Store(0)
			s.until.Store(0)
		}
		if n := s.owed.Load(); n > 0 {
			s.owed.CompareAndSwap(n, n-1)
		}
		return
	}
	if s.failed.Add(1) >= downAfter {
		s.until.CompareAndSwap(0, time.Now().Add(downFor).UnixNano())
	}
}

// failures makes what is kept of them.
func (t *transport) failures() *retries {
	t.retries.CompareAndSwap(nil, new(retries))
	return t.retries.Load()
}

// allow takes what a retry costs.
func (t *transport) allow() bool {
	s := t.failures()
	for {
		n := s.owed.Load()
		if n+retryCost > retryStock*retryCost {
			return false
		}
		if s.owed.CompareAndSwap(n, n+retryCost) {
			return true
		}
	}
}

// outcome is what one attempt brought.
type outcome struct {
	resp    *http.Response
	verdict Answer
	err     error
	sent    bool
	// attempts is how often was sent so far.
	attempts int
}

// failed reports whether the provider did not work, as far as that can be seen.
func (o outcome) failed() bool {
	if o.err != nil {
		return o.sent && !errors.Is(o.err, context.Canceled)
	}
	return o.resp.StatusCode == http.StatusBadGateway || o.resp.StatusCode == http.StatusServiceUnavailable || o.resp.StatusCode == http.StatusGatewayTimeout
}

// again reports whether an attempt may be repeated: a refusal for a rate limit did
// nothing, so any call may; after other failures only one that may be done twice.
func (o outcome) again(r *http.Request) bool {
	if r.Body != nil && r.Body != http.NoBody && r.GetBody == nil || r.Context().Err() != nil {
		return false
	}
	if o.err == nil && o.verdict == AnswerLimited {
		return true
	}
	return o.failed() && isIdempotent(r)
}

// retry repeats a call as long as that may help. When it may not, or the caller has
// no time for it, the last outcome stands.
func (t *transport) retry(r *http.Request, o outcome) (*http.Response, error) {
	for n := 1; n <= t.cfg.Retries && o.again(r) && t.allow(); n++ {
		if o.verdict != AnswerLimited && !pauseFor(r.Context(), pauseBefore(n, o.resp)) {
			break
		}
		next := *r
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				break
			}
			next.Body = body
		}
		// After a refusal the limiter holds the call back for as long as was asked.
		o2 := t.attempt(&next, o.attempts+1)
		if errors.Is(o2.err, ratelimit.ErrRateLimited) && o.resp != nil {
			break
		}
		if o.resp != nil {
			drain(o.resp)
		}
		o = o2
		t.heard(!o.failed())
	}
	return o.resp, o.err
}

// pauseBefore is the pause before the n-th repetition.
func pauseBefore(n int, resp *http.Response) time.Duration {
	most := min(retryFirst<<(n-1), retryMost)
	pause := rand.N(most)
	if resp != nil {
		pause = max(pause, token.ParseRetryAfter(resp.Header, time.Now()))
	}
	return pause
}

// pauseFor waits for d; false when the caller has no time for it.
func pauseFor(ctx context.Context, d time.Duration) bool {
	if deadline, has := ctx.Deadline(); has && time.Until(deadline) < d || d > retryMost {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
