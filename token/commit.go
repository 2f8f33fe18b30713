package token

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/store"
)

const (
	// saveFor is how long storing a new token is tried again unasked.
	saveFor = 60 * time.Second
	// The pause between two tries doubles from the first to the longest.
	savePauseFirst = 25 * time.Millisecond
	savePauseMost  = time.Second
)

// unsaved is a grant that came and is not in the row yet.
type unsaved struct {
	in       store.Integration // the row it was made from
	grant    Grant
	answered time.Duration
	record   string // in the journal, "" when it is not

	mu              sync.Mutex
	access, refresh []byte // sealed, once that was done
	keyID           string
	settled         bool // stored, or overtaken
}

// commit stores a fresh grant before anybody uses it. If the store fails, callers
// are served from memory while it is tried again: the old token may be dead.
func (h *Handle) commit(ctx context.Context, in store.Integration, g Grant, oldRefresh Secret, answered time.Duration) error {
	u := &unsaved{in: in, grant: g, answered: answered}
	if g.RefreshToken.IsZero() {
		u.grant.RefreshToken = oldRefresh // RFC 6749 section 6
		u.grant.RefreshExpiresIn = 0
	} else if g.RefreshToken.Reveal() != oldRefresh.Reveal() {
		h.writeDown(ctx, u) // otherwise the row's token can make another grant
	}
	err := h.save(ctx, u)
	if err == nil {
		return nil
	}
	v := h.vault
	h = v.register(h) // where callers find it
	h.excepted().unsaved.Store(u)
	s := h.renewedState(u, h.state.Load(), answered)
	s.unsaved, s.soft = true, answered // whoever uses it tries to save it
	h.publish(s.aged())
	v.work.Add(1) // not begin: this belongs to the renewal that runs
	go h.keepSaving(ctx, u)
	return err
}

// keepSaving tries again until the grant is stored or the time is up. After that
// those who use it try.
func (h *Handle) keepSaving(ctx context.Context, u *unsaved) {
	v := h.vault
	defer v.work.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveFor)
	defer cancel()
	var err error
	defer v.recovered(ctx, &err)
	for pause := savePauseFirst; sleep(ctx, pause) == nil; pause = min(2*pause, savePauseMost) {
		if err = h.save(ctx, u); err == nil {
			return
		}
	}
	v.log.ErrorContext(ctx, "integrations: a renewed token could not be stored and is in memory only",
		"provider", h.Provider(), "tenant", h.TenantID(), "integration", h.ID(), "error", err)
}

// saveUnsaved stores a grant that an earlier renewal could not store, of this
// process or of one before. Nothing may be renewed before: the row's refresh token
// may be spent.
func (h *Handle) saveUnsaved(ctx context.Context) error {
	if u := h.unsaved(); u != nil {
		return h.save(ctx, u)
	}
	return h.saveWaiting(ctx)
}

// save tries once to store a grant. Nil means that it is settled: stored, or
// overtaken by somebody else.
func (h *Handle) save(ctx context.Context, u *unsaved) error {
	v := h.vault
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.settled {
		return nil
	}
	if err := h.seal(u); err != nil {
		return err
	}
	changes, err := v.turned(u.in, u.grant)
	if err != nil {
		return err
	}
	cur, g := h.state.Load(), u.grant
	spent := v.clock.now() - u.answered // no longer ours to promise
	stored, err := within(ctx, v, func(ctx context.Context) (bool, error) {
		return v.cfg.Store.CommitTokens(ctx, store.CommitTokens{
			TenantID: h.TenantID(), ID: h.ID(), SeenGen: u.in.TokenGen,
			AccessToken: u.access, RefreshToken: u.refresh, KeyID: u.keyID, Scopes: g.Scopes, ProviderData: g.ProviderData, Changes: changes,
			ExpiresIn:         left(g.ExpiresIn, spent),
			RefreshIn:         left(h.refreshIn(g), spent),
			KeepRefreshExpiry: g.RefreshExpiresIn == 0,
			RefreshExpiresIn:  left(g.RefreshExpiresIn, spent),
			GrantEnd:          grantEnd(u.in, g.RefreshExpiresIn),
		})
	})
	if err != nil {
		return fmt.Errorf("integrations/token: commit: %w", err)
	}
	u.settled = true
	if e := h.exception.Load(); e != nil {
		e.unsaved.CompareAndSwap(u, nil)
	}
	if stored {
		h.publish(h.renewedState(u, cur, v.clock.now()))
		h.crossOut(ctx, u)
		return nil
	}
	// A commit whose answer was lost is found in the row as ours; otherwise the
	// row is right and we are not. Nothing from memory may stay.
	h.forget()
	row, _, err := h.look(ctx)
	gone := errors.Is(err, store.ErrNotFound)
	if (gone || err == nil && anotherGrant(row, u.in)) && v.cfg.Orphan != nil {
		v.cfg.Orphan(ctx, u.in, u.grant)
	}
	if err == nil || gone {
		h.crossOut(ctx, u)
	}
	return err
}

// seal seals the tokens of a grant, once. Both are, so that a row never mixes
// keys.
func (h *Handle) seal(u *unsaved) (err error) {
	if u.access == nil {
		u.access, u.refresh, u.keyID, err = SealGrant(h.vault.cfg.Cipher, h.TenantID(), h.Provider(), h.ID(), u.grant)
	}
	return err
}

// anotherGrant reports whether a row has nothing to do any more with the grant that
// it was of: it is over, or somebody connected since.
func anotherGrant(row, was store.Integration) bool {
	return row.Status == store.Disconnected || row.Status == store.Revoked ||
		was.ExternalID != "" && row.ExternalID != was.ExternalID || !row.ConnectedAt.Equal(was.ConnectedAt)
}

// renewedState is what the row says, or will say, once the grant is stored at
// the moment read.
func (h *Handle) renewedState(u *unsaved, cur *state, read time.Duration) *state {
	in, g := u.in, u.grant
	scopes, data := in.Scopes, in.ProviderData
	if g.Scopes != nil {
		scopes = g.Scopes
	}
	if g.ProviderData != nil {
		data = g.ProviderData
	}
	gen := in.TokenGen + 1
	s := &state{
		evicted: cur.evicted, gen: gen, version: in.Version + 1,
		about: h.about(cur.about, in.ExternalID, scopes, in.Metadata, data),
		tok:   newToken(g.AccessToken, gen), read: read + h.vault.cfg.CacheFor, expires: never, soft: never,
	}
	if g.ExpiresIn > 0 {
		s.expires = u.answered + g.ExpiresIn
	}
	if d := h.refreshIn(g); d > 0 {
		s.soft = u.answered + d
	}
	return s.aged()
}

func (h *Handle) refreshIn(g Grant) time.Duration {
	return g.RefreshIn(h.vault.cfg.Renewer(h.Provider()), h.ID())
}

// left is what remains of a life; one that is over has a moment left, because 0
// would mean that it never ends.
func left(life, spent time.Duration) time.Duration {
	if life == 0 {
		return 0
	}
	return max(life-spent, time.Millisecond)
}
