package integrations

import (
	"context"
	"errors"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

// connectTries is how often storing a grant is tried when somebody else changes
// the same row at the same time.
const connectTries = 5

// connect stores a fresh grant as a new integration or in place of the old
// grant of the same one, whose id, label and metadata stay. What it replaced is
// then ended at the provider.
func (m *Manager) connect(ctx context.Context, p *provider, flow store.Flow, a providers.Account) error {
	for try := 1; ; try++ {
		old, err := m.connectOnce(ctx, p, flow, a)
		if err == nil {
			m.replaced(ctx, p, old, a)
			return nil
		}
		if !errors.Is(err, store.ErrConflict) || try == connectTries {
			return err
		}
	}
}

// before is what a connect replaced.
type before struct {
	store.Integration
	// moved says that its account was another one, subs what was subscribed to
	// there.
	moved bool
	subs  []providers.Subscription
}

func (m *Manager) connectOnce(ctx context.Context, p *provider, flow store.Flow, a providers.Account) (before, error) {
	old, kind, err := m.replacing(ctx, p, flow, a)
	if err != nil {
		return old, err
	}
	c := store.Connect{
		ID: old.ID, TenantID: flow.TenantID, Provider: p.info.Key, Label: flow.Label, SeenGen: old.TokenGen, StateHash: flow.StateHash,
		ExternalID: a.ExternalID, ExternalAlias: a.Alias, ExpiresIn: a.Grant.ExpiresIn, RefreshExpiresIn: a.Grant.RefreshExpiresIn,
		RefreshIn: a.Grant.RefreshIn(p.renewer, old.ID),
		Scopes:    a.Grant.Scopes, ProviderData: a.ProviderData, Moved: old.moved,
	}
	m.watch(p, &c, a.Grant)
	if a.Exclusive {
		c.ExclusiveKey = p.info.Key + "|" + a.ExternalID
	}
	if c.AccessToken, c.RefreshToken, c.KeyID, err = token.SealGrant(m.cfg.Cipher, c.TenantID, c.Provider, c.ID, a.Grant); err != nil {
		return old, err
	}
	connected := store.Integration{ID: c.ID, TenantID: c.TenantID, Provider: c.Provider, Label: c.Label, ExternalID: c.ExternalID}
	change := Change{Kind: kind, Scopes: a.Grant.Scopes, MissingScopes: m.missing(p.info.Key, a.Grant.Scopes)}
	if old.moved {
		change.PreviousExternalID = old.ExternalID
	}
	if c.Change, err = m.changeTo(connected, change); err != nil {
		return old, err
	}
	if _, err = m.cfg.Store.Connect(ctx, c); err != nil {
		return old, err
	}
	m.vault.Forget(c.TenantID, c.ID)
	m.forgetAnswers(ctx, c.TenantID, c.ID)
	m.keepSoon(ctx, c.Provider, store.Ref{TenantID: c.TenantID, ID: c.ID})
	m.wake()
	return old, nil
}

// watch says when a grant is to be verified, and when it ends.
func (m *Manager) watch(p *provider, c *store.Connect, g token.Grant) {
	c.VerifyIn = m.verifyIn(p, g, c.ID)
	if p.renewer == nil {
		// The grant ends with the token.
		c.GrantEnd = store.EndStays
		if c.RefreshExpiresIn == 0 {
			c.RefreshExpiresIn = c.ExpiresIn
		}
	}
}

// replacing finds what a fresh grant takes the place of, and what that is called.
func (m *Manager) replacing(ctx context.Context, p *provider, flow store.Flow, a providers.Account) (before, ChangeKind, error) {
	in, err := m.cfg.Store.Find(ctx, flow.TenantID, p.info.Key, flow.Label)
	if errors.Is(err, store.ErrNotFound) {
		return before{Integration: store.Integration{ID: newID()}}, ChangeConnected, nil
	}
	old := before{Integration: in, moved: in.ExternalID != "" && in.ExternalID != a.ExternalID}
	if err == nil && in.ExternalID == a.ExternalID && p.matcher != nil {
		old.moved = !p.matcher.SameAccount(snapshot(in), a)
	}
	switch {
	case err != nil:
		return old, "", err
	case old.moved && !over(in) && !m.cfg.AllowAccountChange:
		// Another flow may have connected an account since this one began.
		return old, "", ErrAccountMismatch
	}
	if e := m.endpointsOf(p, store.Ref{TenantID: in.TenantID, ID: in.ID}); e != nil && old.moved {
		// The store forgets them: they are read while they are there.
		if old.subs, err = e.Subscriptions(ctx); err != nil {
			return old, "", err
		}
	}
	if over(in) {
		return old, ChangeConnected, nil
	}
	return old, ChangeReconnected, nil
}

// replaced ends at the provider what a connect replaced: the subscriptions at an
// account that was left, and the grant, unless that would end one that is in use.
// Grants count: some providers end a user's oldest one without a word when there
// are too many.
func (m *Manager) replaced(ctx context.Context, p *provider, old before, a providers.Account) {
	if len(old.AccessToken) == 0 || !old.moved && p.sharer == nil {
		return
	}
	r, err := m.revocation(p, old.Integration)
	if err != nil {
		m.notEnded(ctx, old.Integration, err)
		return
	}
	if same(r.AccessToken, a.Grant.AccessToken) || same(r.RefreshToken, a.Grant.RefreshToken) {
		return // the provider gave the same grant again
	}
	r.Subscriptions = old.subs
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	_, err = m.end(ctx, p, old.Integration, r)
	m.notEnded(ctx, old.Integration, err)
}

func same(a, b token.Secret) bool { return !a.IsZero() && a.Reveal() == b.Reveal() }
