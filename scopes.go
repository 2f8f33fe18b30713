package integrations

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
)

// asking are the scopes that a flow asks for when some are granted already.
func (p *provider) asking(opts ConnectOptions, granted []string) []string {
	out := slices.Clone(p.info.Scopes)
	add := func(s string) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	for _, s := range granted {
		// A reconnect must not lose what an upgrade brought.
		if opts.UpgradeScopes || slices.Contains(p.info.OptionalScopes, s) {
			add(s)
		}
	}
	for _, s := range opts.Scopes {
		add(s)
	}
	return out
}

// undeclared are those of scopes that the provider's configuration does not have.
// They come from the browser.
func (p *provider) undeclared(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool {
		return slices.Contains(p.info.Scopes, s) || slices.Contains(p.info.OptionalScopes, s)
	})
}

// missing are the scopes that were wanted of a provider and not granted.
func (m *Manager) missing(provider string, granted []string) []string {
	p := m.providers[provider]
	if p == nil {
		return nil
	}
	return providers.MissingScopes(p.info.Scopes, granted)
}

// UpgradeURL is where a user of the tenant grants an integration more: a URL for a
// button, at this Manager's own connect handler or, for a GitHub App, at the
// provider's page where its administrators accept permissions. The connect asks for
// what is granted, what the provider's configuration wants, and opts.Scopes; it has
// to land on the same account, and the integration is the same one afterwards.
//
// Of opts.Scopes those count that the provider's configuration has, among Scopes or
// OptionalScopes, so that MissingScopeError.Need can be passed as it is. When there
// are some and none is, the error wraps [ErrInvalid]: no connect could grant one.
// opts.ReturnTo is as in [ConnectOptions]; label and site are the integration's. An
// unknown integration is an error wrapping [ErrNotConnected]. The URL is no secret
// and does not end; the connect handler checks who opens it.
func (m *Manager) UpgradeURL(ctx context.Context, tenant, integrationID string, opts ConnectOptions) (string, error) {
	in, err := m.cfg.Store.Get(ctx, tenant, integrationID)
	if errors.Is(err, store.ErrNotFound) {
		return "", ErrNotConnected
	}
	if err != nil {
		return "", fmt.Errorf("integrations: upgrade: %w", err)
	}
	p := m.providers[in.Provider]
	switch {
	case p == nil:
		return "", fmt.Errorf("%w: no provider %q", ErrInvalid, in.Provider)
	case opts.ReturnTo != "" && !m.safeReturnTo(opts.ReturnTo):
		return "", fmt.Errorf("%w: return_to leads elsewhere", ErrInvalid)
	}
	if p.permissions != nil && !over(in) {
		page, err := p.permissions.PermissionsURL(snapshot(in))
		if !errors.Is(err, errors.ErrUnsupported) {
			return page, err
		}
	}
	unknown := p.undeclared(opts.Scopes)
	if len(unknown) > 0 && len(unknown) == len(opts.Scopes) {
		return "", fmt.Errorf("%w: scopes that the configuration of %s does not have: %s", ErrInvalid, in.Provider, strings.Join(unknown, ", "))
	}
	q := url.Values{"scopes": {"upgrade"}}
	for name, value := range map[string]string{
		"label": in.Label, "return_to": opts.ReturnTo,
		"scope": strings.Join(slices.DeleteFunc(slices.Clone(opts.Scopes), func(s string) bool { return slices.Contains(unknown, s) }), " "),
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return m.base.String() + "/" + p.info.Key + "/connect?" + q.Encode(), nil
}
