package integrations

import (
	"context"
	"errors"
	"fmt"

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
		ID: old.ID, TenantID: flow.TenantID, Provider: p.info.Key, Label: flow.Label, SeenGen: old.TokenGen,
		ExternalID: a.ExternalID, ExternalAlias: a.Alias, ExpiresIn: a.Grant.ExpiresIn, RefreshExpiresIn: a.Grant.RefreshExpiresIn,
		RefreshIn: a.Grant.RefreshIn(p.renewer, old.ID),
		Scopes:    a.Grant.Scopes, ProviderData: a.ProviderData, Moved: old.moved,
	}
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
	m.wake()
	return old, nil
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
	m.end(ctx, p, old.Integration, r)
}

func same(a, b token.Secret) bool { return !a.IsZero() && a.Reveal() == b.Reveal() }

// revocation opens the grant of a row.
func (m *Manager) revocation(p *provider, in store.Integration) (providers.Revocation, error) {
	access, refresh, err := token.OpenGrant(m.cfg.Cipher, in)
	return providers.Revocation{
		ExternalID: in.ExternalID, AccessToken: access, RefreshToken: refresh, ProviderData: in.ProviderData,
		Client: m.client, HTTP: p.http,
	}, err
}

// endAtProvider ends the subscriptions and the grant of a row that was wiped, best
// effort.
func (m *Manager) endAtProvider(ctx context.Context, in store.Integration, subs []providers.Subscription) {
	p := m.providers[in.Provider]
	if p == nil || len(in.AccessToken) == 0 {
		return
	}
	r, err := m.revocation(p, in)
	if err != nil {
		m.notEnded(ctx, in, err)
		return
	}
	r.Subscriptions = subs
	m.end(ctx, p, in, r)
}

func (m *Manager) end(ctx context.Context, p *provider, in store.Integration, r providers.Revocation) {
	if p.ender != nil && len(r.Subscriptions) > 0 {
		m.notEnded(ctx, in, p.ender.EndSubscriptions(ctx, r))
	}
	m.revoke(ctx, p, in, r)
}

// revoke ends a grant at the provider unless that ends a grant in use, be it of
// the same integration that was connected again.
func (m *Manager) revoke(ctx context.Context, p *provider, in store.Integration, r providers.Revocation) {
	if p.revoker == nil {
		return
	}
	r.Subscriptions = nil
	used, err := m.inUse(ctx, p, in)
	if err == nil && !used {
		err = p.revoker.Revoke(ctx, r)
	}
	m.notEnded(ctx, in, err)
}

// inUse reports whether revoking a grant of in would end one of an integration
// that is not over: of the same account, at the same app.
func (m *Manager) inUse(ctx context.Context, p *provider, in store.Integration) (bool, error) {
	for _, key := range m.keys {
		other := m.providers[key]
		if other != p && (p.info.App == "" || other.info.Kind != p.info.Kind || other.info.App != p.info.App) {
			continue
		}
		rows, err := m.cfg.Store.FindByExternal(ctx, key, in.ExternalID)
		if err != nil {
			return false, fmt.Errorf("integrations: look for the account: %w", err)
		}
		for _, row := range rows {
			if !over(row) && (p.sharer == nil || p.sharer.SharesGrant(snapshot(in), snapshot(row))) {
				return true, nil
			}
		}
	}
	return false, nil
}

// revokeOrphan ends a grant that a refresh brought for a row that was
// disconnected meanwhile, or is of another account now. Nobody else knows of it.
func (m *Manager) revokeOrphan(ctx context.Context, in store.Integration, g token.Grant) {
	if p := m.providers[in.Provider]; p != nil {
		m.revoke(ctx, p, in, providers.Revocation{
			ExternalID: in.ExternalID, AccessToken: g.AccessToken, RefreshToken: g.RefreshToken,
			ProviderData: in.ProviderData, Client: m.client, HTTP: p.http,
		})
	}
}

func (m *Manager) notEnded(ctx context.Context, in store.Integration, err error) {
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		m.log.WarnContext(ctx, "integrations: grant or subscriptions were not ended at the provider",
			"provider", in.Provider, "tenant", in.TenantID, "integration", in.ID, "error", err)
	}
}
