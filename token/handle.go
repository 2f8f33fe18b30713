package token

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/saas-integrations/integrations/store"
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

// Info is what a [Handle] knows of its integration. Metadata and ProviderData
// must not be changed.
type Info struct {
	ExternalID             string
	Scopes                 []string
	Metadata, ProviderData json.RawMessage
}

// Handle is one integration in the cache of a [Vault]. It is live: keep it and
// share it. It is safe for concurrent use. There are as many as customers, so it
// is small: what most do not have is elsewhere.
type Handle struct {
	// What a hand-out reads comes first, in one cache line.
	state atomic.Pointer[state]
	vault *Vault

	sweeps atomic.Uint32 // since it was used last

	// Tenant, id, label and external id in one text, and where they end.
	tenantEnd, idEnd, labelEnd uint32
	names                      string

	of        *kind
	attached  any
	exception atomic.Pointer[exception] // nil for most
}

// nameAs gives the handle its names.
func (h *Handle) nameAs(tenant, id, label, externalID string) {
	h.names = tenant + id + label + externalID
	h.tenantEnd = uint32(len(tenant))
	h.idEnd = h.tenantEnd + uint32(len(id))
	h.labelEnd = h.idEnd + uint32(len(label))
}

// exception is what few handles have.
type exception struct {
	unsaved atomic.Pointer[unsaved]
	forced  *forced // of the flight that forces alone
}

// excepted returns the handle's exception, which it makes if need be.
func (h *Handle) excepted() *exception {
	if h.exception.Load() == nil {
		h.exception.CompareAndSwap(nil, &exception{})
	}
	return h.exception.Load()
}

// unsaved is the grant that is not in the row yet, nil for none.
func (h *Handle) unsaved() *unsaved {
	if e := h.exception.Load(); e != nil {
		return e.unsaved.Load()
	}
	return nil
}

// TenantID is the tenant.
func (h *Handle) TenantID() string { return h.names[:h.tenantEnd] }

// ID is the integration's id.
func (h *Handle) ID() string { return h.names[h.tenantEnd:h.idEnd] }

// Provider is the provider's key.
func (h *Handle) Provider() string { return h.of.provider }

// Label is the integration's label.
func (h *Handle) Label() string { return h.names[h.idEnd:h.labelEnd] }

// ExternalID is the provider's account as it was when the handle was made.
func (h *Handle) ExternalID() string { return h.names[h.labelEnd:] }

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
	h.touch()
	s, err := h.current(ctx)
	if err != nil {
		return nil, err
	}
	now := h.vault.clock.now()
	switch {
	case s.fault().err != nil:
		return nil, s.fault().err
	case s.usable(now):
		if s.due(now) {
			h.startRenewal(ctx)
			h.postpone(s, now)
		}
		return s.tok, nil
	case s.fault().last != nil && now < s.fault().retryAt:
		return nil, s.fault().last
	default:
		return h.renewed(ctx, s.gen)
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
	case s.fault().err != nil:
		return nil, s.fault().err
	case s.usable(h.vault.clock.now()), s.tok != nil && s.gen > gen:
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
	return s.fault().err
}

// Info returns what is known of the integration, at most VaultConfig.CacheFor
// old.
func (h *Handle) Info(ctx context.Context) (Info, error) {
	s, err := h.current(ctx)
	if err != nil {
		return Info{}, err
	}
	return h.info(s), nil
}
