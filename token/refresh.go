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
	// codeAmbiguous marks a row whose last call had no usable answer: the
	// provider may have rotated the token.
	codeAmbiguous = "ambiguous"
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
	// holdAfterAmbiguous keeps everybody from sending the same token again at
	// once.
	holdAfterAmbiguous = 2 * time.Second

	pollFirst = 25 * time.Millisecond
	pollMost  = 400 * time.Millisecond
)

// startRenewal renews the token if that is due, once for all who ask at the same
// time.
func (h *Handle) startRenewal(ctx context.Context) <-chan singleflight.Result {
	return start(ctx, h.vault, &h.flights, "renew", h.vault.renewalLimit(), func(ctx context.Context) (any, error) {
		return nil, h.refresh(ctx, false)
	})
}

// renewalLimit is the wait for another holder's lease and one renewal.
func (v *Vault) renewalLimit() time.Duration { return 3 * v.leaseTTL() }

// refresh wins the lease and renews, or waits for whoever has it. Unless force is
// set it does nothing when the token is not due.
func (h *Handle) refresh(ctx context.Context, force bool) error {
	v := h.vault
	if !v.begin() {
		return &Error{Outcome: Transient, Code: "shutting_down"}
	}
	defer v.work.Done()
	if err := h.saveUnsaved(ctx); err != nil {
		return err
	}
	if v.cfg.Renewer(h.provider) == nil {
		return h.notRenewable(ctx)
	}
	giveUp := v.clock.now() + v.leaseTTL() + time.Second
	var gen int64 // as of the first look
	for pause := pollFirst; ; pause = min(2*pause, pollMost) {
		in, s, err := h.look(ctx)
		if err != nil {
			return err
		}
		now := v.clock.now()
		switch {
		case in.Status != store.Active, gen != 0 && in.TokenGen != gen:
			return nil // over, or somebody else renewed it
		case !force && s.retryAt > now:
			return s.lastErr
		case !force && !s.due(now):
			return nil // somebody else did before we looked
		case s.empty():
			continue // evicted since: what was read may be old
		case force && len(in.RefreshToken) == 0 && in.TokenExpiresAt.IsZero():
			// Not a thing a Renewer could mint either. The row is left alone.
			return &Error{Outcome: DeadGrant, Code: codeNoRefreshToken}
		}
		gen = in.TokenGen
		// A row that cannot be opened is not to be touched, not even by a lease.
		if _, _, err := OpenGrant(v.cfg.Cipher, in); err != nil {
			return err
		}
		owner, leased := newOwner(), now
		won, err := within(ctx, v, func(ctx context.Context) (bool, error) {
			return v.cfg.Store.Lease(ctx, store.Lease{TenantID: h.tenant, ID: h.id, Owner: owner, SeenGen: gen, TTL: v.leaseTTL()})
		})
		if err != nil {
			// The lease is the probe that the store takes writes: without it a
			// rotated token could not be stored, so none is spent.
			return fmt.Errorf("integrations/token: lease: %w", err)
		}
		switch {
		case won:
			return h.renew(ctx, in, owner, leased, force)
		case !force && s.usable(v.clock.now()):
			return nil // whoever has it is at it, and nobody waits
		case v.clock.now() > giveUp:
			return &Error{Outcome: Transient, Code: "lease_busy"}
		}
		if err := sleep(ctx, pause/2+mathrand.N(pause)); err != nil {
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

// renew does the work of a lease holder. before is the row as it was when the
// lease was asked for.
func (h *Handle) renew(ctx context.Context, before store.Integration, owner string, leased time.Duration, force bool) error {
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
	// What the row said before the lease: the lease itself hides that an earlier
	// one ran out, whose holder may have sent the token and died.
	in.LeaseUntil = before.LeaseUntil
	if !force && in.RefreshFails > before.RefreshFails {
		// Another replica failed between our look and our lease: its backoff
		// holds for us too.
		left := max(in.NextRefreshAt.Sub(in.ReadAt), 0)
		return h.failed(ctx, in, owner, &Error{Outcome: Transient, Code: in.RefreshError, RetryAfter: left})
	}
	renewer := v.cfg.Renewer(h.provider)
	if renewer == nil {
		return h.failed(ctx, in, owner, &Error{Outcome: Refused, Code: codeNotRenewable})
	}
	access, refresh, err := OpenGrant(v.cfg.Cipher, in)
	if err != nil {
		return err
	}
	// A cipher that cannot seal now could not keep the new tokens either.
	if _, _, _, err := SealGrant(v.cfg.Cipher, h.tenant, h.provider, h.id, Grant{AccessToken: access}); err != nil {
		return err
	}
	if v.leaseTTL()-(v.clock.now()-leased) < v.cfg.HTTPTimeout+v.cfg.CommitBudget/2 {
		return &Error{Outcome: Transient, Code: "lease_too_old"}
	}
	called := v.clock.now()
	callCtx, cancel := context.WithTimeout(ctx, v.cfg.HTTPTimeout)
	g, err := renewer.Renew(callCtx, Renewal{
		Client: v.cfg.Client, TenantID: h.tenant, IntegrationID: h.id, ExternalID: in.ExternalID,
		AccessToken: access, RefreshToken: refresh, Scopes: in.Scopes, ProviderData: in.ProviderData,
	})
	cancel()
	answered := v.clock.now()
	event := Event{Provider: h.provider, TenantID: h.tenant, IntegrationID: h.id, Call: answered - called, Err: err}
	if err == nil {
		err = h.commit(ctx, in, g, refresh, answered)
		event.Commit, event.Err = v.clock.now()-answered, err
	} else {
		err = h.refused(ctx, in, owner, err)
	}
	if v.cfg.Observe != nil {
		v.cfg.Observe(event)
	}
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
func uncertain(in store.Integration) bool {
	ranOut := !in.LeaseUntil.IsZero() && !in.LeaseUntil.After(in.ReadAt)
	return in.RefreshError == codeAmbiguous || ranOut
}

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
		var change *store.Delivery
		if v.cfg.Change != nil {
			if change, err = v.cfg.Change(in, store.NeedsReconnect, reason); err != nil {
				return fmt.Errorf("integrations/token: change of status: %w", err)
			}
		}
		if _, err = within(ctx, v, func(ctx context.Context) (bool, error) {
			return v.cfg.Store.SetStatus(ctx, store.SetStatus{
				TenantID: h.tenant, ID: h.id, From: []store.Status{store.Active}, SeenGen: gen,
				To: store.NeedsReconnect, Reason: reason, Change: change,
			})
		}); err != nil {
			return fmt.Errorf("integrations/token: mark dead grant: %w", err)
		}
		if _, s, err = h.look(ctx); err != nil {
			return err
		}
	}
	return s.err
}

// failed gives the lease back with a backoff that holds for all replicas.
func (h *Handle) failed(ctx context.Context, in store.Integration, owner string, cause error) error {
	v := h.vault
	f := store.FailRefresh{
		TenantID: h.tenant, ID: h.id, Owner: owner, SeenGen: in.TokenGen, Code: "failed", RetryIn: backoff(in.RefreshFails),
	}
	var e *Error
	if errors.As(cause, &e) {
		f.Code = plain(e.Code)
		f.RetryIn = max(f.RetryIn, e.RetryAfter)
	}
	if uncertain(in) {
		f.Code = codeAmbiguous // nothing since has told whether the token was rotated
	}
	if e == nil || e.Outcome == Ambiguous {
		// Not an *Error is a fault of the Renewer: who knows what it sent.
		f.Code, f.HoldLease = codeAmbiguous, holdAfterAmbiguous
		f.RetryIn = max(f.RetryIn, f.HoldLease)
	}
	if _, err := within(ctx, v, func(ctx context.Context) (bool, error) { return v.cfg.Store.FailRefresh(ctx, f) }); err != nil {
		v.log.WarnContext(ctx, "integrations: a failed renewal could not be recorded",
			"provider", h.provider, "tenant", h.tenant, "integration", h.id, "error", err)
	}
	h.remember(in.TokenGen, cause, f.RetryIn)
	return cause
}

// remember keeps a failure for those who ask before the next try.
func (h *Handle) remember(gen int64, cause error, retryIn time.Duration) {
	s := h.state.Load()
	if s.info.TokenGen != gen || s.empty() {
		return
	}
	next := *s
	next.retryAt, next.lastErr = h.vault.clock.now()+retryIn, cause
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
