package token

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
)

// dueAtOnce is how many tokens are renewed ahead at the same time.
const dueAtOnce = 32

// postponeSpread is the time over which rows that were given back are due again.
const postponeSpread = 10 * time.Second

// RefreshDue renews tokens that are about to end, of the given providers, and
// reports how many rows it took. Replicas share the rows between them. What fails
// is tried again when its backoff is over; it is logged, not returned. Of a
// provider whose renewals are held back (see [FaultEvent]) no row is taken, or one
// to see whether it works again. When ctx ends no more rows are taken and those
// that were are finished.
func (v *Vault) RefreshDue(ctx context.Context, providers []string) (int, error) {
	// A row is taken only when it can be worked on at once: its lease runs. Half
	// of the places are waited for, so that rows are not taken one by one.
	places := make(chan struct{}, dueAtOnce)
	var work sync.WaitGroup
	defer work.Wait()
	for total := 0; ; {
		free := 0
		for range dueAtOnce / 2 {
			places <- struct{}{}
			free++
		}
		for more := true; more; {
			select {
			case places <- struct{}{}:
				free++
			default:
				more = false
			}
		}
		if ctx.Err() != nil || !v.begin() {
			return total, nil
		}
		owner, leased := newOwner(), v.clock.now()
		rows, full, err := v.claim(ctx, owner, free, providers)
		for _, in := range rows {
			v.work.Add(1)
			work.Go(func() {
				defer func() { v.work.Done(); <-places }()
				v.renewAhead(context.WithoutCancel(ctx), in, owner, leased)
			})
		}
		v.work.Done()
		total += len(rows)
		if err != nil {
			return total, fmt.Errorf("integrations/token: claim due: %w", err)
		}
		if !full {
			return total, nil
		}
	}
}

// claim takes up to limit rows, one at most of a provider that is to be probed.
// full means that there may be more.
func (v *Vault) claim(ctx context.Context, owner string, limit int, providers []string) (rows []store.Integration, full bool, err error) {
	ready, probe := v.claimable(providers)
	take := func(most int, providers ...string) bool {
		if err != nil || most == 0 || len(providers) == 0 {
			return false
		}
		var more []store.Integration
		more, err = v.cfg.Store.ClaimDue(ctx, store.ClaimDue{Owner: owner, Limit: most, TTL: v.leaseTTL(), Providers: providers, Keys: v.keys()})
		rows = append(rows, more...)
		return len(more) == most
	}
	for _, p := range probe {
		take(min(1, limit-len(rows)), p)
	}
	full = take(limit-len(rows), ready...)
	return rows, full, err
}

// keys are those that the cipher has, nil when it cannot tell. A row under another
// one is left alone: what cannot be opened cannot be renewed.
func (v *Vault) keys() []string {
	if r, ok := v.cfg.Cipher.(crypto.Ring); ok {
		return r.KeyIDs()
	}
	return nil
}

// renewAhead renews a claimed row. The result is in the row, and in the handle if
// there is one; none is kept for rows that nobody uses here.
func (v *Vault) renewAhead(ctx context.Context, in store.Integration, owner string, leased time.Duration) {
	h := v.cached(in.TenantID, in.ID)
	if h == nil {
		h = v.newHandle(in)
	}
	ctx, cancel := context.WithTimeout(ctx, v.renewalLimit())
	defer cancel()
	var err error
	func() {
		defer v.recovered(ctx, &err)
		err = h.renewClaimed(ctx, in, owner, leased)
	}()
	var e *Error
	if err != nil && !(errors.As(err, &e) && e.uncalled) {
		v.log.WarnContext(ctx, "integrations: renewal ahead failed",
			"provider", h.Provider(), "tenant", h.TenantID(), "integration", h.ID(), "error", err)
	}
}

// HandleOf returns the handle of a row that was just read. Of one that nobody uses
// here it is made for the caller and not kept. It returns an error wrapping
// crypto.ErrSealed or crypto.ErrUnknownKey when the row cannot be opened.
func (v *Vault) HandleOf(in store.Integration) (*Handle, error) {
	if h := v.cached(in.TenantID, in.ID); h != nil {
		return h, nil
	}
	h := v.newHandle(in)
	s, err := h.stateOf(in, unread, v.clock.now())
	if err != nil {
		return nil, err
	}
	h.state.Store(s)
	return h, nil
}

// renewClaimed renews a row whose lease runs. It waits for a place as long as the
// lease has time for the call and the commit afterwards.
func (h *Handle) renewClaimed(ctx context.Context, in store.Integration, owner string, leased time.Duration) error {
	v := h.vault
	if _, _, err := OpenGrant(v.cfg.Cipher, in); err != nil {
		h.postponeRow(ctx, in, owner, &Error{Outcome: Transient, RetryAfter: backoffMost})
		return err
	}
	wait, cancel := context.WithTimeout(ctx, v.leaseTTL()/2-(v.clock.now()-leased))
	p, _, err := v.enter(wait, h.breakerKey(in), h.ID())
	cancel()
	if err != nil {
		h.postponeRow(ctx, in, owner, err)
		return err
	}
	defer p.giveBack()
	return h.renew(ctx, in, owner, leased, false, p)
}

// postponeRow gives the lease of a claimed row back because nothing could be
// tried. Rows that were not claimed yet come first then.
func (h *Handle) postponeRow(ctx context.Context, in store.Integration, owner string, cause error) {
	v := h.vault
	f := store.FailRefresh{
		TenantID: h.TenantID(), ID: h.ID(), Owner: owner, SeenGen: in.TokenGen, RetryIn: time.Second + mathrand.N(postponeSpread), Uncounted: true,
	}
	var e *Error
	if errors.As(cause, &e) {
		f.RetryIn += e.RetryAfter
	}
	if _, err := within(ctx, v, func(ctx context.Context) (bool, error) { return v.cfg.Store.FailRefresh(ctx, f) }); err != nil {
		v.log.WarnContext(ctx, "integrations: a lease could not be given back",
			"provider", h.Provider(), "tenant", h.TenantID(), "integration", h.ID(), "error", err)
	}
}
