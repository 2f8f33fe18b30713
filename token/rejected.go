package token

import (
	"context"
	"errors"
	"time"
)

// forceEvery is how often a token is renewed because calls are refused.
const forceEvery = 5 * time.Minute

// forced is a renewal that was made because calls were refused.
type forced struct {
	gen  int64         // the generation that was refused
	made int64         // the generation afterwards
	at   time.Duration // when it began
	err  error
}

// Rejected reports that the provider refused the token of generation gen, for
// good when dead is true. With true the returned token is another one, and the
// call may be sent again with it: somebody else's, or one from a renewal that
// this report caused. Neither a generation nor the one that such a renewal made
// is renewed for this reason again within five minutes: a call that is always
// refused must not cost a renewal each time.
//
// Refused for good, the integration needs to be reconnected and the error is a
// [*StatusError] when nothing renews the token, or when it was just renewed and
// the new one is refused too.
func (h *Handle) Rejected(ctx context.Context, gen int64, dead bool) (*Token, bool, error) {
	s := h.state.Load()
	if s.fault().err != nil || s.gen <= gen {
		var err error
		if s, err = h.load(ctx); err != nil {
			return nil, false, err
		}
	}
	if s.fault().err != nil || s.gen > gen {
		return h.another(ctx, gen)
	}
	f, err := share(ctx, h.vault, h.flight("force"), h.vault.renewalLimit(), func(ctx context.Context) (*forced, error) {
		return h.force(ctx, gen), nil
	})
	if err != nil {
		return nil, false, err
	}
	// Looked at again even without a renewal: one may have ended since the read.
	s = h.state.Load()
	if s.fault().err != nil || s.gen > gen {
		return h.another(ctx, gen)
	}
	if !dead || !(f.made == gen && f.gen < gen) && !nothingRenews(f.err) {
		return nil, false, nil
	}
	if _, err := share(ctx, h.vault, h.flight("end"), h.vault.renewalLimit(), func(ctx context.Context) (any, error) {
		return nil, h.end(ctx, gen, reasonRejected)
	}); err != nil {
		return nil, false, err
	}
	return h.another(ctx, gen)
}

// another is the token of a generation after gen, if there is one.
func (h *Handle) another(ctx context.Context, gen int64) (*Token, bool, error) {
	t, err := h.Token(ctx)
	if err != nil || t.Gen <= gen {
		return nil, false, err
	}
	return t, true, nil
}

// force renews a generation that calls are refused with, unless that was tried
// lately.
func (h *Handle) force(ctx context.Context, gen int64) *forced {
	now := h.vault.clock.now()
	x := h.excepted()
	if f := x.forced; f != nil && (gen == f.gen || gen == f.made) && now < f.at+forceEvery {
		return f
	}
	f := &forced{gen: gen, at: now}
	f.err = h.refresh(ctx, gen)
	var e *Error
	if errors.As(f.err, &e) && e.uncalled {
		f.made = gen
		return f // nothing was tried: the next report may
	}
	if f.made = h.state.Load().gen; f.made < gen {
		f.made = gen // evicted meanwhile: nothing is known to have been made
	}
	x.forced = f
	return f
}

// nothingRenews reports whether a renewal failed because there is nothing to
// renew with.
func nothingRenews(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == codeNoRefreshToken || e.Code == codeNotRenewable)
}
