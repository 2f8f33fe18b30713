package integrations_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

// manyAccounts is a provider whose grant is good for several accounts, and that
// has two places to sign in.
type manyAccounts struct {
	providers.Provider
	choices []providers.Choice
	sites   *[]string // those asked for at authorize and at exchange
}

func (p manyAccounts) AuthorizeURL(a providers.Authorize) (string, error) {
	if a.Site != "" && a.Site != "sandbox" {
		return "", fmt.Errorf("%w: no such site", providers.ErrInvalid)
	}
	*p.sites = append(*p.sites, a.Site)
	return p.Provider.AuthorizeURL(a)
}

func (p manyAccounts) Exchange(ctx context.Context, x providers.Exchange) (providers.Account, error) {
	*p.sites = append(*p.sites, x.Site)
	a, err := p.Provider.Exchange(ctx, x)
	if err == nil {
		a = providers.Account{Grant: a.Grant, Choices: p.choices}
	}
	return a, err
}

func (p manyAccounts) SiteOf(s providers.Snapshot) string { return "sandbox" }

func sitesKit(t *testing.T, ids ...string) (*integrationstest.Kit, *[]string) {
	var choices []providers.Choice
	for _, id := range ids {
		choices = append(choices, providers.Choice{ExternalID: id, Alias: id + ".example.com", Name: "Site <" + id + ">", Exclusive: true, ProviderData: []byte(`{"site":"` + id + `"}`)})
	}
	sites := &[]string{}
	kit := newKit(t)
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{manyAccounts{providers.NewOAuth2(kit.OAuth.Config(acmeKey)), choices, sites}}
	kit.Use(cfg)
	return kit, sites
}

func TestSeveralAccountsAreOfferedAndOneIsPicked(t *testing.T) {
	kit, _ := sitesKit(t, "one", "two")
	b := kit.Browser("t1", "u1")
	v := b.Open(kit.ConnectURL(acmeKey) + "?return_to=/settings")
	require.Equal(t, http.StatusOK, v.Status)
	require.Contains(t, v.Body, "Site &lt;two&gt;")
	clean(t, v)
	for token := range kit.OAuth.Tokens.Presented() {
		require.NotContains(t, v.Body, token)
	}
	nothingStored(t, kit)
	done := b.Choose(v, "two")
	require.Equal(t, "/settings?integration=acme_crm&result=connected", done.Header.Get("Location"))
	list, err := kit.Manager().Integrations(t.Context(), "t1")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "two", list[0].ExternalID)
	require.JSONEq(t, `{"site":"two"}`, string(list[0].ProviderData))
	conn, err := kit.Manager().Connection(t.Context(), "t1", acmeKey)
	require.NoError(t, err)
	resp, err := conn.HTTPClient().Get("https://api.example.test/me")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, resp.Body.Close())

	refused(t, b.Choose(v, "one"), http.StatusBadRequest, "state_invalid") // it works once
	again := b.Open(kit.ConnectURL(acmeKey))                               // a reconnect asks nobody
	require.Equal(t, "connected", result(t, again))
}

func TestASingleAccountIsNotAskedFor(t *testing.T) {
	kit, _ := sitesKit(t, "one")
	require.Equal(t, "connected", result(t, kit.Browser("t1", "u1").Open(kit.ConnectURL(acmeKey))))
}

func TestPickingIsAsStrictAsTheCallback(t *testing.T) {
	offer := func(t *testing.T) (*integrationstest.Kit, *integrationstest.Browser, integrationstest.Visit) {
		kit, _ := sitesKit(t, "one", "two")
		b := kit.Browser("t1", "u1")
		return kit, b, b.Open(kit.ConnectURL(acmeKey))
	}
	t.Run("another browser", func(t *testing.T) {
		kit, _, v := offer(t)
		refused(t, kit.Browser("t1", "u1").Choose(v, "one"), http.StatusBadRequest, "state_invalid")
		nothingStored(t, kit)
	})
	t.Run("another user", func(t *testing.T) {
		kit, b, v := offer(t)
		b.User = "u2"
		refused(t, b.Choose(v, "one"), http.StatusForbidden, "identity_mismatch")
		nothingStored(t, kit)
	})
	t.Run("nobody", func(t *testing.T) {
		kit, b, v := offer(t)
		b.User = ""
		refused(t, b.Choose(v, "one"), http.StatusUnauthorized, "unauthenticated")
		nothingStored(t, kit)
	})
	t.Run("an account that was not offered", func(t *testing.T) {
		kit, b, v := offer(t)
		require.Equal(t, "account_mismatch", result(t, b.Choose(v, "three")))
		nothingStored(t, kit)
	})
	t.Run("no account", func(t *testing.T) {
		kit, b, v := offer(t)
		refused(t, b.Press(v), http.StatusBadRequest, "state_invalid")
		nothingStored(t, kit)
	})
	t.Run("another site's form", func(t *testing.T) {
		kit, b, _ := offer(t)
		refused(t, b.Do(http.MethodPost, integrationstest.BaseURL+"/acme_crm/callback", url.Values{"account": {"one"}}, "cross-site"), http.StatusForbidden, "forbidden")
		nothingStored(t, kit)
	})
	t.Run("the state of a flow that is no choice", func(t *testing.T) {
		kit, b, _ := offer(t)
		u, err := url.Parse(toCallback(t, kit, b, acmeKey))
		require.NoError(t, err)
		v := b.Do(http.MethodPost, integrationstest.BaseURL+"/acme_crm/callback", url.Values{"account": {"one"}, "choice": {u.Query().Get("state")}}, "same-origin")
		require.Equal(t, "state_invalid", result(t, v))
		nothingStored(t, kit)
	})
}

func TestSite(t *testing.T) {
	kit, sites := sitesKit(t, "one")
	b := kit.Browser("t1", "u1")
	refused(t, b.Open(kit.ConnectURL(acmeKey)+"?site=elsewhere"), http.StatusBadRequest, "invalid_request")
	require.Empty(t, *sites)
	require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL(acmeKey)+"?site=sandbox")))
	require.Equal(t, []string{"sandbox", "sandbox"}, *sites)
	// A reconnect starts where the account is.
	require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL(acmeKey))))
	require.Equal(t, []string{"sandbox", "sandbox", "sandbox", "sandbox"}, *sites)
	w, r := newRequest("t2", "u2")
	_, err := kit.Manager().ConnectURL(w, r, acmeKey, integrations.ConnectOptions{Site: "elsewhere"})
	require.ErrorIs(t, err, integrations.ErrInvalid)
}
