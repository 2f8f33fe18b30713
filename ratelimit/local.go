package ratelimit

import (
	"context"
	"sync"
	"time"
)

const (
	// pauseWithoutRetryAfter is used when a refusal does not say how long:
	// slack-go and GitHub's documentation both take a minute.
	pauseWithoutRetryAfter = time.Minute
	// longestPause caps what a provider's header can ask for.
	longestPause = 24 * time.Hour
	// longestWait is how long a caller without a deadline is made to wait before
	// it gets an *Error instead.
	longestWait = time.Minute
	// sweepAt is the number of pauses at which those that are over are removed.
	sweepAt = 1024
)

// Local is a [Limiter] for one process. It lets calls go until the provider
// refuses one; then every caller of the same provider, account and bucket waits
// for what the provider asked. It is safe for concurrent use.
type Local struct {
	mu     sync.RWMutex
	paused map[bucket]time.Time
}

type bucket struct{ provider, account, name string }

// NewLocal returns a limiter with no pauses.
func NewLocal() *Local {
	return &Local{paused: make(map[bucket]time.Time)}
}

// Wait implements [Limiter]. A caller without a deadline waits a minute at most.
func (l *Local) Wait(ctx context.Context, c Call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := bucket{c.Provider, c.Account, c.Bucket}
	for {
		l.mu.RLock()
		until, ok := l.paused[key]
		l.mu.RUnlock()
		if !ok {
			return nil
		}
		d := time.Until(until)
		if d <= 0 {
			return nil
		}
		deadline, has := ctx.Deadline()
		if d > longestWait || (has && deadline.Before(until)) {
			return &Error{RetryAt: until, Scope: scope(c)}
		}
		t := time.NewTimer(d)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C: // the pause may have been extended meanwhile
		}
	}
}

// Answered implements [Limiter].
func (l *Local) Answered(c Call, a Answer) {
	if !a.Limited {
		return
	}
	d := a.RetryAfter
	if d <= 0 {
		d = pauseWithoutRetryAfter
	}
	now := time.Now()
	until := now.Add(min(d, longestPause))
	key := bucket{c.Provider, c.Account, c.Bucket}

	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.paused) >= sweepAt {
		for k, t := range l.paused {
			if t.Before(now) {
				delete(l.paused, k)
			}
		}
	}
	if until.After(l.paused[key]) {
		l.paused[key] = until
	}
}

func scope(c Call) string {
	s := c.Provider
	if c.Account != "" {
		s += " " + c.Account
	}
	if c.Bucket != "" {
		s += " " + c.Bucket
	}
	return s
}
