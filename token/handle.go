package token

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/saas-integrations/integrations/store"
	"golang.org/x/sync/singleflight"
)

// StatusError means the integration exists and may not be used.
type StatusError struct {
	Status store.Status
	// Reason is a short code.
	Reason string
}

func (e *StatusError) Error() string {
	if e.Reason == "" {
		return "integrations/token: integration is " + string(e.Status)
	}
	return "integrations/token: integration is " + string(e.Status) + ": " + e.Reason
}

// Info is what a [Handle] knows of its integration. It must not be changed.
type Info struct {
	Status                   store.Status
	StatusReason, ExternalID string
	Scopes                   []string
	Metadata, ProviderData   json.RawMessage
	TokenGen, Version        int64
	// RefreshFails counts failed renewals since the last success.
	RefreshFails int
	// TokenExpiresAt and RefreshUntil are by the store's clock; zero means
	// unknown or never.
	TokenExpiresAt, RefreshUntil time.Time
}

// Handle is one integration in the cache of a [Vault]. It is live: keep it and
// share it. It is safe for concurrent use.
type Handle struct {
	// What a hand-out reads comes first, in one cache line.
	state atomic.Pointer[state]
	vault *Vault
	used  atomic.Bool
	idle  uint8 // sweeps without use; of the sweeper alone

	tenant, id, provider, label string
	externalID                  string
	attached                    any

	flights singleflight.Group
	unsaved atomic.Pointer[unsaved]
	forced  *forced // of the flight that forces alone
}

// TenantID is the tenant.
func (h *Handle) TenantID() string { return h.tenant }

// ID is the integration's id.
func (h *Handle) ID() string { return h.id }

// Provider is the provider's key.
func (h *Handle) Provider() string { return h.provider }

// Label is the integration's label.
func (h *Handle) Label() string { return h.label }

// ExternalID is the provider's account as it was when the handle was made.
func (h *Handle) ExternalID() string { return h.externalID }

// Attached is what VaultConfig.Attach returned for this handle.
func (h *Handle) Attached() any { return h.attached }

// Token returns the access token to use now, in nanoseconds while nothing has to
// be looked at. Past VaultConfig.CacheFor it reads the row again; a token that
// is about to end is still handed out while it is renewed; one that has ended is
// waited for, as long as ctx allows.
//
// It returns a [*StatusError] for an integration that may not be used, an
// [*Error] when renewing failed or is held back (see [FaultEvent]), an error
// wrapping store.ErrNotFound when the row is gone, crypto.ErrSealed or crypto.ErrUnknownKey when it cannot be opened.
func (h *Handle) Token(ctx context.Context) (*Token, error) {
	if s := h.state.Load(); h.vault.clock.coarse() < s.fresh {
		return s.tok, nil
	}
	return h.token(ctx)
}

func (h *Handle) token(ctx context.Context) (*Token, error) {
	touched(h)
	s, err := h.current(ctx)
	if err != nil {
		return nil, err
	}
	now := h.vault.clock.now()
	switch {
	case s.err != nil:
		return nil, s.err
	case s.usable(now):
		if s.due(now) {
			h.startRenewal(ctx)
			h.postpone(s, now)
		}
		return s.tok, nil
	case s.lastErr != nil && now < s.retryAt:
		return nil, s.lastErr
	default:
		return h.renewed(ctx, s.info.TokenGen)
	}
}

// postpone lets callers use the cached token again while it is renewed in the
// background.
func (h *Handle) postpone(s *state, now time.Duration) {
	next := *s
	next.fresh = min(s.expires, s.read, now+time.Second)
	h.state.CompareAndSwap(s, &next)
}

// renewed waits for a renewal of a token of generation gen that has ended.
func (h *Handle) renewed(ctx context.Context, gen int64) (*Token, error) {
	var renewal error
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-h.startRenewal(ctx):
		renewal = r.Err
	}
	s, err := h.current(ctx)
	switch {
	case err != nil:
		return nil, err
	case s.err != nil:
		return nil, s.err
	case s.usable(h.vault.clock.now()), s.tok != nil && s.info.TokenGen > gen:
		return s.tok, nil
	case renewal != nil:
		return nil, renewal
	default:
		return nil, &Error{Outcome: Transient, Code: "not_renewed"}
	}
}

// Usable returns nil when the integration may be used, else what [Handle.Token]
// would return. It never renews a token.
func (h *Handle) Usable(ctx context.Context) error {
	if s := h.state.Load(); h.vault.clock.coarse() < s.fresh {
		return nil
	}
	s, err := h.current(ctx)
	if err != nil {
		return err
	}
	return s.err
}

// Info returns what is known of the integration, at most VaultConfig.CacheFor
// old.
func (h *Handle) Info(ctx context.Context) (Info, error) {
	s, err := h.current(ctx)
	if err != nil {
		return Info{}, err
	}
	return s.info, nil
}
