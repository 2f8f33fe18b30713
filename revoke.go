package integrations

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

// GrantEnd says what became of a grant at its provider.
type GrantEnd string

// The ends of a grant.
const (
	// GrantRevoked: the provider revoked it, or knew nothing of it any more.
	GrantRevoked GrantEnd = "revoked"
	// GrantNone: there was none left.
	GrantNone GrantEnd = "none"
	// GrantInUse: an integration that is connected uses the account or holds that
	// very grant.
	GrantInUse GrantEnd = "in_use"
	// GrantUnsupported: the provider has no call for it, or is not among
	// Config.Providers. The grant ends by itself, or by a user at the provider.
	GrantUnsupported GrantEnd = "unsupported"
	// GrantFailed: the provider could not be asked or refused.
	GrantFailed GrantEnd = "failed"
)

// endAtProvider ends the subscriptions and the grant of a row that was wiped, best
// effort.
func (m *Manager) endAtProvider(ctx context.Context, in store.Integration, subs []providers.Subscription) {
	_, err := m.endGrant(ctx, in, subs)
	m.notEnded(ctx, in, err)
}

// endGrant ends subscriptions and the grant that a row holds, or held. An error may
// come with any end: it is of the subscriptions then. With "" it is the store's, and
// nothing was revoked.
func (m *Manager) endGrant(ctx context.Context, in store.Integration, subs []providers.Subscription) (GrantEnd, error) {
	if len(in.AccessToken) == 0 {
		return GrantNone, nil
	}
	p := m.providers[in.Provider]
	if p == nil {
		return GrantUnsupported, nil
	}
	r, err := m.revocation(p, in)
	if err != nil {
		return GrantFailed, err
	}
	r.Subscriptions = subs
	return m.end(ctx, p, in, r)
}

// revocation opens the grant of a row.
func (m *Manager) revocation(p *provider, in store.Integration) (providers.Revocation, error) {
	access, refresh, err := token.OpenGrant(m.cfg.Cipher, in)
	return providers.Revocation{
		ExternalID: in.ExternalID, AccessToken: access, RefreshToken: refresh, ProviderData: in.ProviderData,
		Client: m.client, HTTP: p.http,
	}, err
}

// end ends the subscriptions of r, then its grant.
func (m *Manager) end(ctx context.Context, p *provider, in store.Integration, r providers.Revocation) (GrantEnd, error) {
	var subsErr error
	if p.ender != nil && len(r.Subscriptions) > 0 {
		subsErr = m.calm(ctx, func(ctx context.Context) error { return p.ender.EndSubscriptions(ctx, r) })
	}
	end, err := m.revoke(ctx, p, in, r)
	return end, errors.Join(subsErr, err)
}

// revoke ends a grant at the provider unless somebody uses it, be it the same
// integration that was connected again.
func (m *Manager) revoke(ctx context.Context, p *provider, in store.Integration, r providers.Revocation) (GrantEnd, error) {
	if p.revoker == nil {
		return GrantUnsupported, nil
	}
	r.Subscriptions = nil
	used, err := m.inUse(ctx, p, in, r)
	switch {
	case err != nil:
		return "", err
	case used:
		return GrantInUse, nil
	}
	switch err := m.calm(ctx, func(ctx context.Context) error { return p.revoker.Revoke(ctx, r) }); {
	case errors.Is(err, errors.ErrUnsupported):
		return GrantUnsupported, nil
	case err != nil:
		return GrantFailed, err
	}
	return GrantRevoked, nil
}

// inUse reports whether an integration that is not over would lose its access with a
// grant of in: one of the same account, at the same app, whose grant ends with it or
// that holds the same tokens.
func (m *Manager) inUse(ctx context.Context, p *provider, in store.Integration, r providers.Revocation) (bool, error) {
	for _, key := range m.keys {
		other := m.providers[key]
		if other != p && (p.info.App == "" || other.info.Kind != p.info.Kind || other.info.App != p.info.App) {
			continue
		}
		rows, err := m.cfg.Store.FindByExternal(ctx, key, in.ExternalID)
		if err != nil {
			return false, fmt.Errorf("integrations: look for the account: %w", err)
		}
		if slices.ContainsFunc(rows, func(o store.Integration) bool {
			return !over(o) && (p.sharer == nil || p.sharer.SharesGrant(snapshot(in), snapshot(o)) || m.holds(o, r))
		}) {
			return true, nil
		}
	}
	return false, nil
}

// holds reports whether a row has the tokens of a grant. One that cannot be opened
// may have them.
func (m *Manager) holds(in store.Integration, r providers.Revocation) bool {
	access, refresh, err := token.OpenGrant(m.cfg.Cipher, in)
	return err != nil || same(access, r.AccessToken) || same(refresh, r.RefreshToken)
}

// revokeOrphan ends a grant that came for a row that was disconnected or connected
// anew meanwhile. Nobody else knows of it.
func (m *Manager) revokeOrphan(ctx context.Context, in store.Integration, g token.Grant) {
	p := m.providers[in.Provider]
	if p == nil {
		return
	}
	if g.ProviderData != nil {
		in.ProviderData = g.ProviderData
	}
	_, err := m.revoke(ctx, p, in, providers.Revocation{
		ExternalID: in.ExternalID, AccessToken: g.AccessToken, RefreshToken: g.RefreshToken,
		ProviderData: in.ProviderData, Client: m.client, HTTP: p.http,
	})
	m.notEnded(ctx, in, err)
}

func (m *Manager) notEnded(ctx context.Context, in store.Integration, err error) {
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		m.log.WarnContext(ctx, "integrations: grant or subscriptions were not ended at the provider",
			"provider", in.Provider, "tenant", in.TenantID, "integration", in.ID, "error", err)
	}
}
