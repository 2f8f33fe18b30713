package token

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
)

// never is a moment that does not come.
const never = time.Duration(math.MaxInt64)

// state is one immutable view of the row. Times are of the vault's clock. What
// most integrations do not have is behind pointers.
type state struct {
	tok   *Token        // nil when there is none to hand out
	fresh time.Duration // until when tok may be handed out without looking further

	read         time.Duration // until when the row is believed
	soft         time.Duration // from when the token should be renewed
	expires      time.Duration // when the token ends
	gen, version int64         // of the row
	about        *about
	trouble      *trouble // nil while all is well
	unsaved      bool     // the token is of a grant that is not in the row yet
	evicted      uint32   // how often what was known had been forgotten before the look
}

// trouble is why there is no token, or no new one.
type trouble struct {
	err     error         // there is none
	retryAt time.Duration // before when no renewal is tried, after a failure
	last    error         // of that failure
}

// fault is the trouble of a state, zero for none.
func (s *state) fault() trouble {
	if s.trouble == nil {
		return trouble{}
	}
	return *s.trouble
}

// about is what else is known of an integration. Where it says no more than that
// scopes were granted it is shared by all that have the same.
type about struct {
	externalID             *string // nil for that of the handle
	scopes                 []string
	metadata, providerData json.RawMessage
}

// about returns what a row tells besides its token, in the place where it is kept
// already if there is one: in cur, or in another handle.
func (h *Handle) about(cur *about, externalID string, scopes []string, metadata, providerData json.RawMessage) *about {
	next := about{scopes: scopes, metadata: metadata, providerData: providerData}
	if externalID != h.ExternalID() {
		next.externalID = &externalID
	}
	common := h.of.common.Load()
	for _, known := range []*about{cur, common} {
		if known != nil && known.equal(next) {
			return known
		}
	}
	if common != nil && slices.Equal(common.scopes, scopes) {
		next.scopes = common.scopes
	} else {
		next.scopes = slices.Clone(scopes) // nobody else's to change
	}
	if next.externalID == nil && len(metadata) == 0 && len(providerData) == 0 {
		h.of.common.Store(&next)
	}
	return &next
}

func (a *about) equal(b about) bool {
	if (a.externalID == nil) != (b.externalID == nil) || a.externalID != nil && *a.externalID != *b.externalID {
		return false
	}
	return slices.Equal(a.scopes, b.scopes) && bytes.Equal(a.metadata, b.metadata) && bytes.Equal(a.providerData, b.providerData)
}

// info is what a state tells of the integration. The scopes are a copy: others
// have the same.
func (h *Handle) info(s *state) Info {
	in := Info{ExternalID: h.ExternalID()}
	if a := s.about; a != nil {
		in.Scopes, in.Metadata, in.ProviderData = slices.Clone(a.scopes), a.metadata, a.providerData
		if a.externalID != nil {
			in.ExternalID = *a.externalID
		}
	}
	return in
}

// unread is the state before the first look at the row.
var unread = &state{}

// empty reports whether nothing is known.
func (s *state) empty() bool { return s.tok == nil && s.fault().err == nil }

// usable reports whether there is a token that has not ended.
func (s *state) usable(now time.Duration) bool { return s.tok != nil && now < s.expires }

// due reports whether the token should be renewed now.
func (s *state) due(now time.Duration) bool {
	return (now >= s.soft || now >= s.expires) && now >= s.fault().retryAt
}

// aged sets when the fast path ends: what is known must be looked at by then.
func (s *state) aged() *state {
	s.fresh = 0
	if s.tok != nil {
		s.fresh = min(s.read, s.expires, max(s.soft, s.fault().retryAt))
	}
	return s
}

// current is the state, read again from the store when it is due.
func (h *Handle) current(ctx context.Context) (*state, error) {
	if s := h.state.Load(); h.vault.clock.now() < s.read {
		return s, nil
	}
	return h.load(ctx)
}

// rereadAfter is how soon a store that failed is asked again for a row whose
// token still lasts.
const rereadAfter = time.Second

// load reads the row. A store that is out takes no customer down while tokens
// last.
func (h *Handle) load(ctx context.Context) (*state, error) {
	v := h.vault
	s, err := unread, error(nil)
	for err == nil && s.empty() { // again if it was evicted meanwhile
		s, err = share(ctx, v, h.flight("read"), v.cfg.CommitBudget, func(ctx context.Context) (*state, error) {
			_, s, err := h.look(ctx)
			switch {
			case errors.Is(err, store.ErrNotFound):
				v.drop(h)
			case err == nil:
				v.register(h) // it may have been dropped for being idle
			}
			return s, err
		})
	}
	if err == nil || ctx.Err() != nil {
		return s, err
	}
	for _, final := range []error{store.ErrNotFound, crypto.ErrSealed, crypto.ErrUnknownKey} {
		if errors.Is(err, final) {
			return nil, err
		}
	}
	now := v.clock.now()
	cur := h.state.Load()
	if !cur.usable(now) {
		return nil, err
	}
	next := *cur
	next.read = now + rereadAfter
	h.state.CompareAndSwap(cur, next.aged())
	return &next, nil
}

// look reads the row and publishes what it says.
func (h *Handle) look(ctx context.Context) (store.Integration, *state, error) {
	v := h.vault
	cur, began := h.state.Load(), v.clock.now()
	in, err := within(ctx, v, func(ctx context.Context) (store.Integration, error) {
		return v.cfg.Store.Get(ctx, h.TenantID(), h.ID())
	})
	if err != nil {
		return in, nil, fmt.Errorf("integrations/token: read: %w", err)
	}
	next, err := h.stateOf(in, cur, began)
	if err != nil {
		return in, nil, err
	}
	return in, h.publish(next), nil
}

// stateOf makes the state of a row that was read at began, taking over what is
// still true from cur, the state at that time.
func (h *Handle) stateOf(in store.Integration, cur *state, began time.Duration) (*state, error) {
	next := &state{
		evicted: cur.evicted, gen: in.TokenGen, version: in.Version,
		about: h.about(cur.about, in.ExternalID, in.Scopes, in.Metadata, in.ProviderData),
		read:  began + h.vault.cfg.CacheFor, expires: never, soft: never,
	}
	if in.Status != store.Active {
		next.trouble = &trouble{err: &StatusError{Status: in.Status, Reason: in.StatusReason}}
		return next, nil
	}
	same := cur.gen == in.TokenGen && !cur.unsaved
	if same && cur.tok != nil {
		next.tok = cur.tok
	} else {
		ofAccess, _ := Bindings(in.TenantID, in.Provider, in.ID)
		access, err := open(h.vault.cfg.Cipher, ofAccess, in.AccessToken)
		if err != nil {
			return nil, err
		}
		next.tok = newToken(access, in.TokenGen)
	}
	// Differences to the store's clock are right whatever this machine's says.
	if !in.TokenExpiresAt.IsZero() {
		next.expires = began + in.TokenExpiresAt.Sub(in.ReadAt)
	}
	if !in.NextRefreshAt.IsZero() && h.vault.cfg.Renewer(h.Provider()) != nil {
		next.soft = began + in.NextRefreshAt.Sub(in.ReadAt)
	}
	was := cur.fault()
	if in.RefreshFails > 0 {
		// NextRefreshAt is the end of the backoff then, for all replicas.
		next.trouble = &trouble{retryAt: next.soft, last: &Error{Outcome: Transient, Code: in.RefreshError}}
		if same && was.last != nil {
			next.trouble.last = was.last // it says more
		}
	} else if same && was.retryAt > began {
		next.trouble = &trouble{retryAt: was.retryAt, last: was.last} // a failure that rows do not count
	}
	return next.aged(), nil
}

// publish stores a state unless one of a later generation or version is there,
// or the look at the row was before an eviction: a slow reader must not put back
// what a fast writer replaced. It returns the one that is there.
func (h *Handle) publish(next *state) *state {
	for {
		cur := h.state.Load()
		older := next.gen < cur.gen || next.gen == cur.gen && next.version < cur.version
		if cur.unsaved && next.fault().err != nil {
			older = false // the grant in memory cannot be stored any more
		}
		if older || next.evicted < cur.evicted {
			return cur
		}
		if h.state.CompareAndSwap(cur, next) {
			return next
		}
	}
}

// forget makes the next use read the row and lets nothing be handed out before.
func (h *Handle) forget() {
	for {
		cur := h.state.Load()
		if h.state.CompareAndSwap(cur, &state{evicted: cur.evicted + 1}) {
			return
		}
	}
}

// newToken makes what is handed out, in one piece: many are kept. The header's
// value is made once, and the token is a part of it.
func newToken(access Secret, gen int64) *Token {
	const bearer = "Bearer "
	whole := &struct {
		token  Token
		header [1]string
		access string
	}{}
	whole.header[0] = bearer + access.Reveal()
	whole.access = whole.header[0][len(bearer):]
	whole.token = Token{Header: whole.header[:], Gen: gen}
	if whole.access != "" {
		whole.token.Access = Secret{p: &whole.access}
	}
	return &whole.token
}
