package token

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/saas-integrations/integrations/store"
	"golang.org/x/sync/singleflight"
)

const (
	// codeNoRefreshToken is a Renewer's word that there is nothing to renew with.
	codeNoRefreshToken = "no_refresh_token"
	// codeNotRenewable means that the provider has no Renewer.
	codeNotRenewable = "not_renewable"
	// reasonLost is the reason of a grant refused after such a call.
	reasonLost = "rotation_lost"
	// reasonRejected is the reason of a token that calls are refused with and
	// nothing renews.
	reasonRejected = "token_rejected"

	backoffFirst = time.Second
	backoffMost  = 5 * time.Minute
	// appFaultPause, up to doubled at random, is the backoff of a failure that
	// asking again does not cure.
	appFaultPause = 30 * time.Second
	// holdAfterAmbiguous keeps everybody from sending the same token again at
	// once.
	holdAfterAmbiguous = 2 * time.Second

	// Whoever waits for another holder looks again after pollShare of the time it
	// has waited, so that it waits little longer than it has to and a slow provider
	// does not make it ask often.
	pollFirst = 5 * time.Millisecond
	pollShare = 8
	pollMost  = 400 * time.Millisecond
)

// pollPause is the pause after having waited for so long, spread so that waiters
// do not all ask at once.
func pollPause(waited time.Duration) time.Duration {
	pause := min(max(waited/pollShare, pollFirst), pollMost)
	return pause/2 + mathrand.N(pause)
}

// startRenewal renews the token if that is due, once for all who ask at the same
// time.
func (h *Handle) startRenewal(ctx context.Context) <-chan singleflight.Result {
	return start(ctx, h.vault, h.flight("renew"), h.vault.renewalLimit(), func(ctx context.Context) (any, error) {
		return nil, h.refresh(ctx, 0)
	})
}

// renewalLimit is the wait for another holder's lease and one renewal.
func (v *Vault) renewalLimit() time.Duration { return 3 * v.leaseTTL() }

// refresh wins the lease and renews, or waits for whoever has it. With refused 0
// it does nothing when the token is not due; otherwise it renews the token of that
// very generation, due or not.
func (h *Handle) refresh(ctx context.Context, refused int64) error {
	v, force := h.vault, refused != 0
	if !v.begin() {
		return &Error{Outcome: Transient, Code: codeShuttingDown, uncalled: true}
	}
	defer v.work.Done()
	if err := h.saveUnsaved(ctx); err != nil {
		return err
	}
	if v.cfg.Renewer(h.Provider()) == nil {
		return h.notRenewable(ctx)
	}
	if s := h.state.Load(); !s.empty() {
		// While renewals are held back not even the row is read.
		known := h.info(s)
		if err := v.held(h.breakerKey(store.Integration{ExternalID: known.ExternalID, Scopes: known.Scopes, ProviderData: known.ProviderData})); err != nil {
			return err
		}
	}
	var p *place
	defer func() { p.giveBack() }()
	began := v.clock.now()
	giveUp := began + v.leaseTTL() + time.Second
	gen := refused // else as of the first look
	for {
		in, s, err := h.look(ctx)
		if err != nil {
			return err
		}
		now := v.clock.now()
		switch {
		case in.Status != store.Active, gen != 0 && in.TokenGen != gen:
			return nil // over, or somebody else renewed it
		case !force && s.fault().retryAt > now:
			return s.fault().last
		case !force && !s.due(now):
			return nil // somebody else did before we looked
		case s.empty():
			continue // evicted since: what was read may be old
		case force && len(in.RefreshToken) == 0 && in.TokenExpiresAt.IsZero():
			// Not a thing a Renewer could mint either. The row is left alone.
			return &Error{Outcome: DeadGrant, Code: codeNoRefreshToken}
		}
		gen = in.TokenGen
		if !in.LeaseUntil.After(in.ReadAt) {
			// A row that cannot be opened is not to be touched, not even by a lease.
			if _, _, err := OpenGrant(v.cfg.Cipher, in); err != nil {
				return err
			}
			if p == nil {
				var waited bool
				if p, waited, err = h.place(ctx, in); err != nil {
					return err
				}
				if waited {
					continue // the row may be another by now
				}
			}
			owner, leased := newOwner(), v.clock.now()
			won, err := within(ctx, v, func(ctx context.Context) (bool, error) {
				return v.cfg.Store.Lease(ctx, store.Lease{TenantID: h.TenantID(), ID: h.ID(), Owner: owner, SeenGen: gen, TTL: v.leaseTTL()})
			})
			if err != nil {
				// The lease is the probe that the store takes writes: without it a
				// rotated token could not be stored, so none is spent.
				return fmt.Errorf("integrations/token: lease: %w", err)
			}
			if won {
				return h.renew(ctx, in, owner, leased, force, p)
			}
		}
		switch {
		case !force && s.usable(v.clock.now()):
			return nil // whoever has it is at it, and nobody waits
		case v.clock.now() > giveUp:
			return &Error{Outcome: Transient, Code: "lease_busy"}
		}
		p.giveBack() // a place is for those who make a call
		p = nil
		if err := sleep(ctx, pollPause(v.clock.now()-began)); err != nil {
			return err
		}
	}
}

// notRenewable ends an integration whose token has ended and that nothing renews.
func (h *Handle) notRenewable(ctx context.Context) error {
	in, _, err := h.look(ctx)
	if err != nil {
		return err
	}
	if in.Status == store.Active && !in.TokenExpiresAt.IsZero() && !in.TokenExpiresAt.After(in.ReadAt) {
		return h.end(ctx, in.TokenGen, codeNotRenewable)
	}
	return &Error{Outcome: Refused, Code: codeNotRenewable}
}

// place waits for the right to make a token call, so long that the flight of ctx
// has time for a whole renewal afterwards.
func (h *Handle) place(ctx context.Context, in store.Integration) (*place, bool, error) {
	if end, ok := ctx.Deadline(); ok {
		wait, cancel := context.WithDeadline(ctx, end.Add(-h.vault.leaseTTL()))
		defer cancel()
		ctx = wait
	}
	return h.vault.enter(ctx, h.breakerKey(in), h.ID())
}

func (h *Handle) breakerKey(in store.Integration) breakerKey {
	return h.vault.breakerKey(h.Provider(), h.renewal(in))
}

func (v *Vault) breakerKey(provider string, r Renewal) breakerKey {
	k := breakerKey{provider: provider}
	if hosts, ok := v.cfg.Renewer(provider).(HostRenewer); ok {
		k.host = hosts.RenewHost(r)
	}
	return k
}

// renewal is what a Renewer gets of a row, without tokens.
func (h *Handle) renewal(in store.Integration) Renewal {
	return Renewal{TenantID: h.TenantID(), IntegrationID: h.ID(), ExternalID: in.ExternalID, Scopes: in.Scopes, ProviderData: in.ProviderData}
}

// renew does the work of a lease holder with a place. before is the row as it was
// when the lease was asked for.
func (h *Handle) renew(ctx context.Context, before store.Integration, owner string, leased time.Duration, force bool, p *place) error {
	v := h.vault
	if err := h.saveUnsaved(ctx); err != nil {
		return err
	}
	in, _, err := h.look(ctx)
	if err != nil {
		return err
	}
	if in.TokenGen != before.TokenGen || in.Status != store.Active {
		return nil
	}
	if !force && in.RefreshFails > before.RefreshFails {
		// Another replica failed between our look and our lease: its backoff
		// holds for us too.
		left := max(in.NextRefreshAt.Sub(in.ReadAt), 0)
		return h.failed(ctx, in, owner, &Error{Outcome: Transient, Code: in.RefreshError, RetryAfter: left, uncalled: true})
	}
	renewer := v.cfg.Renewer(h.Provider())
	if renewer == nil {
		return h.failed(ctx, in, owner, &Error{Outcome: Refused, Code: codeNotRenewable})
	}
	access, refresh, err := OpenGrant(v.cfg.Cipher, in)
	if err != nil {
		return err
	}
	// A cipher that cannot seal now could not keep the new tokens either.
	if _, _, _, err := SealGrant(v.cfg.Cipher, h.TenantID(), h.Provider(), h.ID(), Grant{AccessToken: access}); err != nil {
		return err
	}
	if v.leaseTTL()-(v.clock.now()-leased) < v.cfg.HTTPTimeout+v.cfg.CommitBudget/2 {
		return &Error{Outcome: Transient, Code: "lease_too_old"}
	}
	called := v.clock.now()
	callCtx, cancel := context.WithTimeout(ctx, v.cfg.HTTPTimeout)
	r := h.renewal(in)
	r.Client, r.AccessToken, r.RefreshToken = v.cfg.Client, access, refresh
	g, err := renewer.Renew(callCtx, r)
	cancel()
	answered := v.clock.now()
	fault := p.settle(err)
	event := Event{Provider: h.Provider(), TenantID: h.TenantID(), IntegrationID: h.ID(), Call: answered - called, Err: err}
	if err == nil {
		err = h.commit(ctx, in, g, refresh, answered)
		event.Commit, event.Err = v.clock.now()-answered, err
	} else {
		err = h.refused(ctx, in, owner, err)
	}
	if v.cfg.Observe != nil {
		v.cfg.Observe(event)
	}
	v.tell(ctx, fault)
	return err
}

// refused handles a call that brought no grant. Only a refusal of this very
// grant, seen again after a look at the row, ends the integration.
func (h *Handle) refused(ctx context.Context, in store.Integration, owner string, cause error) error {
	var e *Error
	if !errors.As(cause, &e) || e.Outcome != DeadGrant {
		return h.failed(ctx, in, owner, cause)
	}
	if left := in.TokenExpiresAt.Sub(in.ReadAt); e.Code == codeNoRefreshToken && (left > 0 || in.TokenExpiresAt.IsZero()) {
		// Not a word of the provider: what there is may be used until it ends.
		nothing := *e
		nothing.RetryAfter = left
		return h.failed(ctx, in, owner, &nothing)
	}
	reason := plain(e.Code)
	if uncertain(in) {
		reason = reasonLost
	}
	return h.end(ctx, in.TokenGen, reason)
}

// uncertain reports whether an earlier call of this generation may have been
// answered without anybody having seen the answer.
func uncertain(in store.Integration) bool { return in.RefreshError == store.Ambiguous }

// end marks the integration as dead if its row still holds the generation that
// was refused. The error is a [*StatusError] unless somebody else's token is in
// the row.
func (h *Handle) end(ctx context.Context, gen int64, reason string) error {
	v := h.vault
	in, s, err := h.look(ctx)
	if err != nil {
		return err
	}
	if in.TokenGen == gen && in.Status == store.Active {
		change, err := v.turn(in, Turn{Kind: TurnDead, Reason: reason})
		if err != nil {
			return fmt.Errorf("integrations/token: change of status: %w", err)
		}
		if _, err = within(ctx, v, func(ctx context.Context) (bool, error) {
			return v.cfg.Store.SetStatus(ctx, store.SetStatus{
				TenantID: h.TenantID(), ID: h.ID(), From: []store.Status{store.Active}, SeenGen: gen,
				To: store.NeedsReconnect, Reason: reason, Change: change,
			})
		}); err != nil {
			return fmt.Errorf("integrations/token: mark dead grant: %w", err)
		}
		if _, s, err = h.look(ctx); err != nil {
			return err
		}
	}
	return s.fault().err
}

// failed gives the lease back with a backoff that holds for all replicas.
func (h *Handle) failed(ctx context.Context, in store.Integration, owner string, cause error) error {
	v := h.vault
	f := store.FailRefresh{
		TenantID: h.TenantID(), ID: h.ID(), Owner: owner, SeenGen: in.TokenGen, Code: "failed", RetryIn: backoff(in.RefreshFails),
	}
	var e *Error
	if errors.As(cause, &e) {
		f.Code = plain(e.Code)
		f.RetryIn = max(f.RetryIn, e.RetryAfter)
	}
	if uncertain(in) {
		f.Code = store.Ambiguous // nothing since has told whether the token was rotated
	}
	if e == nil || e.Outcome == Ambiguous {
		// Not an *Error is a fault of the Renewer: who knows what it sent.
		f.Code, f.HoldLease = store.Ambiguous, holdAfterAmbiguous
		f.RetryIn = max(f.RetryIn, f.HoldLease)
	}
	if e != nil && e.Outcome == AppFault {
		// Not the integration's failure. That nobody knows the end of an earlier
		// call must be in the row all the same.
		f.RetryIn = max(appFaultPause+mathrand.N(appFaultPause), e.RetryAfter)
		f.Uncounted = f.Code != store.Ambiguous || in.RefreshError == store.Ambiguous
	}
	f.Uncounted = f.Uncounted || e != nil && e.uncalled
	if !f.Uncounted {
		f.Report, f.Change = h.report(ctx, in, f.Code)
	}
	if _, err := within(ctx, v, func(ctx context.Context) (bool, error) { return v.cfg.Store.FailRefresh(ctx, f) }); err != nil {
		v.log.WarnContext(ctx, "integrations: a failed renewal could not be recorded",
			"provider", h.Provider(), "tenant", h.TenantID(), "integration", h.ID(), "error", err)
	}
	h.remember(in.TokenGen, cause, f.RetryIn)
	return cause
}

// remember keeps a failure for those who ask before the next try.
func (h *Handle) remember(gen int64, cause error, retryIn time.Duration) {
	s := h.state.Load()
	if s.gen != gen || s.empty() {
		return
	}
	next := *s
	next.trouble = &trouble{err: s.fault().err, retryAt: h.vault.clock.now() + retryIn, last: cause}
	h.state.CompareAndSwap(s, next.aged())
}

// backoff is full jitter under a ceiling that doubles, with a floor so that
// replicas do not call one right after another.
func backoff(fails int) time.Duration {
	ceiling := backoffMost
	if fails < 9 { // 2^9 s is over five minutes
		ceiling = min(backoffFirst<<fails, backoffMost)
	}
	return min(backoffFirst/2+mathrand.N(ceiling), backoffMost)
}

// plain returns a code of the form that may be stored and shown.
func plain(code string) string {
	if !isCode(code) {
		return "refused"
	}
	return code
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// newOwner makes the name of a lease holder, 32 bytes long.
func newOwner() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}
