package providers

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/token"
)

// headLen is how much of an answer a classifier may look at.
const headLen = 512

// transport is a Connection seen as the http.RoundTripper that its client uses:
// one function instead of a tower of wrappers, because each wrapper would copy
// the request again.
type transport Connection

// RoundTrip checks the host, waits for the budget, reads the token after the wait,
// and sends. When the provider refuses the token it sends once more with another one;
// when it refuses because of a limit or does not work, as often as
// ConnectionConfig.Retries allows. Nothing is sent again whose body cannot be read
// again. The request is not changed.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.cfg.Hosts.Check(r.URL); err != nil {
		closeBody(r)
		return nil, err
	}
	if err := t.stopped(); err != nil {
		t.heldBack(r, 1, 0, err)
		return nil, err
	}
	o := t.attempt(r, 1)
	failed := o.failed()
	if o.sent {
		t.heard(!failed)
	}
	if failed || o.verdict == AnswerLimited {
		return t.retry(r, o)
	}
	return o.resp, o.err
}

// attempt sends a request once, or twice when the token is refused.
func (t *transport) attempt(r *http.Request, number int) outcome {
	ctx := r.Context()
	spend, wait, err := t.spend(ctx, r)
	if err != nil {
		t.heldBack(r, number, wait, err)
		return outcome{err: err, attempts: number - 1}
	}
	tok, err := t.origin.Token(ctx)
	if err != nil {
		t.spent(spend, r, nil, nil, AnswerOK)
		closeBody(r)
		return outcome{err: err, attempts: number - 1}
	}
	resp, verdict, err := t.send(r, tok, number, spend, wait)
	if err != nil || (verdict != AnswerTokenExpired && verdict != AnswerTokenDead) {
		return outcome{resp: resp, verdict: verdict, err: err, sent: true, attempts: number}
	}
	return t.replay(r, resp, tok, verdict, number)
}

// replay tells the source that a token was refused and sends the request once
// more if there is another token and the body can be read again. Otherwise the
// provider's refusal is the answer.
func (t *transport) replay(r *http.Request, resp *http.Response, tok *token.Token, verdict Answer, number int) outcome {
	ctx := r.Context()
	next, again, err := t.origin.Rejected(ctx, tok.Gen, verdict == AnswerTokenDead)
	if err != nil {
		drain(resp)
		return outcome{err: err, attempts: number}
	}
	if !again || (r.Body != nil && r.Body != http.NoBody && r.GetBody == nil) {
		return outcome{resp: resp, verdict: verdict, sent: true, attempts: number}
	}
	drain(resp)
	second := *r
	if r.GetBody != nil {
		if second.Body, err = r.GetBody(); err != nil {
			return outcome{err: err, attempts: number}
		}
	}
	spend, wait, err := t.spend(ctx, &second)
	if err != nil {
		t.heldBack(&second, number+1, wait, err)
		return outcome{err: err, attempts: number}
	}
	resp, verdict, err = t.send(&second, next, number+1, spend, wait)
	return outcome{resp: resp, verdict: verdict, err: err, sent: true, attempts: number + 1}
}

// send makes one attempt with a copy of the request that carries the token.
func (t *transport) send(r *http.Request, tok *token.Token, attempt int, spend *spending, wait time.Duration) (*http.Response, Answer, error) {
	out := *r
	out.Header = maps.Clone(r.Header)
	if out.Header == nil {
		out.Header = make(http.Header, 1)
	}
	out.Header["Authorization"] = tok.Header
	var cond *conditional
	if t.cfg.Cache != nil {
		cond = t.condition(&out, tok.Gen)
	}

	var start time.Time
	if t.cfg.Observe != nil {
		start = time.Now()
	}
	resp, err := t.cfg.Transport.RoundTrip(&out)
	verdict := AnswerOK
	var head []byte
	if err == nil {
		verdict, head = t.judge(resp)
	}
	t.spent(spend, r, resp, head, verdict)
	if t.cfg.Observe != nil {
		t.observe(r, resp, attempt, wait, time.Since(start), verdict, err)
	}
	if err != nil {
		if resp != nil {
			drain(resp)
		}
		return nil, verdict, err
	}
	if cond != nil {
		resp = t.settle(cond, resp, verdict)
	}
	return resp, verdict, nil
}

// heldBack ends an attempt that is not sent.
func (t *transport) heldBack(r *http.Request, attempt int, wait time.Duration, err error) {
	closeBody(r)
	if t.cfg.Observe != nil {
		t.observe(r, nil, attempt, wait, 0, AnswerOK, err)
	}
}

func (t *transport) observe(r *http.Request, resp *http.Response, attempt int, wait, took time.Duration, verdict Answer, err error) {
	c := Call{
		TenantID: t.origin.TenantID(), IntegrationID: t.origin.IntegrationID(), Provider: t.cfg.Provider,
		Method: r.Method, Host: r.URL.Host, Attempt: attempt, Wait: wait, Duration: took,
		Limited: verdict == AnswerLimited, Err: err,
	}
	if resp != nil {
		c.Status = resp.StatusCode
	}
	t.cfg.Observe(r.Context(), c)
}

// judge asks the adapter what an answer means, letting it see the head of a body
// that may hold a code and putting that back.
func (t *transport) judge(resp *http.Response) (verdict Answer, head []byte) {
	if t.cfg.Classifier == nil {
		switch resp.StatusCode {
		case http.StatusUnauthorized:
			return AnswerTokenExpired, nil
		case http.StatusTooManyRequests:
			return AnswerLimited, nil
		}
		return AnswerOK, nil
	}
	if resp.Body != nil && hasCode(resp) {
		buf := make([]byte, headLen)
		n, err := io.ReadFull(resp.Body, buf)
		head = buf[:n]
		rest := resp.Body
		switch err {
		case nil:
			resp.Body = &headed{Reader: io.MultiReader(bytes.NewReader(head), rest), Closer: rest}
		case io.EOF, io.ErrUnexpectedEOF:
			resp.Body = &headed{Reader: bytes.NewReader(head), Closer: rest}
		default:
			// The reader fails again for whoever reads the body.
			resp.Body = &headed{Reader: io.MultiReader(bytes.NewReader(head), failing{err}), Closer: rest}
		}
	}
	return t.cfg.Classifier.ClassifyAnswer(resp.StatusCode, resp.Header, head), head
}

// hasCode reports whether the body may hold a provider's error code: JSON, or the
// plain text of a refusal.
func hasCode(resp *http.Response) bool {
	kind := resp.Header["Content-Type"] // Get, which takes any spelling, is slow
	return len(kind) > 0 && (strings.HasPrefix(kind[0], "application/json") || resp.StatusCode/100 != 2 && strings.HasPrefix(kind[0], "text/plain"))
}

// headed is a body whose head was read and put back.
type headed struct {
	io.Reader
	io.Closer
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// retryAfter is the pause an answer asks for. Only a refusal is read: a header
// on a success is not a request to stop.
func (t *transport) retryAfter(h http.Header, head []byte, verdict Answer) time.Duration {
	if verdict != AnswerLimited {
		return 0
	}
	if r, ok := t.cfg.Classifier.(LimitReader); ok {
		if wait := r.LimitedFor(h, head); wait > 0 {
			return wait
		}
	}
	return token.ParseRetryAfter(h, time.Now())
}

// drain reads a little of a body that nobody wants, so that its connection can
// be used again, and closes it.
func drain(resp *http.Response) {
	if resp.Body != nil {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
		_ = resp.Body.Close()
	}
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// newOwner makes a name for a lease holder, 32 bytes long.
func newOwner() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}
