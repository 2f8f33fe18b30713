package githubapp_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// forbidden is go-github's error of a 403.
func forbidden(message string, header ...string) error {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	r := &http.Request{Method: http.MethodPost, URL: &url.URL{Scheme: "https", Host: "api.github.com", Path: "/planted"}}
	return &github.ErrorResponse{Response: &http.Response{StatusCode: http.StatusForbidden, Header: h, Request: r}, Message: message}
}

func TestMissingScopesAreNamed(t *testing.T) {
	const permission, accepted, granted = "X-Accepted-GitHub-Permissions", "X-Accepted-OAuth-Scopes", "X-OAuth-Scopes"
	for name, c := range map[string]struct {
		err  error
		need []string // nil: it is not about scopes
	}{
		"a permission":               {forbidden("Resource not accessible by integration", permission, "issues=write"), []string{"issues:write"}},
		"sets of permissions":        {forbidden("Resource not accessible by integration", permission, "contents=write,workflows=write; issues=write"), []string{"contents:write", "workflows:write", "issues:write"}},
		"nothing that could be one":  {forbidden("Resource not accessible by integration", permission, "<planted>=\"x\""), []string{}},
		"without the header":         {forbidden("Resource not accessible by integration"), []string{}},
		"an OAuth App's":             {forbidden("Must have admin rights to Repository.", accepted, "admin:org, repo", granted, "gist, user"), []string{"admin:org", "repo"}},
		"a token with no scope":      {forbidden("Must have admin rights", accepted, "repo", granted, ""), []string{"repo"}},
		"one of several is enough":   {forbidden("Must have admin rights", accepted, "admin:org, repo", granted, "repo"), nil},
		"included in another":        {forbidden("Must have admin rights", accepted, "read:org", granted, "admin:org"), nil},
		"the call needs no scope":    {forbidden("Must have admin rights", accepted, "", granted, "repo"), nil},
		"a header of an App's token": {forbidden("Must have admin rights", permission, "issues=write"), nil},
	} {
		err := githubapp.Classify(c.err)
		require.ErrorIs(t, err, providers.ErrForbidden, name)
		require.NotContains(t, err.Error(), "planted", name)
		var missing *providers.MissingScopeError
		require.Equal(t, c.need != nil, errors.As(err, &missing), name)
		if c.need != nil {
			require.ElementsMatch(t, c.need, missing.Need, name)
		}
		var cause *github.ErrorResponse
		require.ErrorAs(t, err, &cause, name)
	}
}

func TestWhatIsIncludedIsNotAskedFor(t *testing.T) {
	raw, err := app(mode(githubapp.ModeOAuthApp)).AuthorizeURL(providers.Authorize{Scopes: []string{"repo", "repo:status", "gist", "read:org", "admin:org"}})
	require.NoError(t, err)
	u, err := url.Parse(raw)
	require.NoError(t, err)
	require.Equal(t, "repo gist admin:org", u.Query().Get("scope"))
}

func TestAnEmptyScopeGrantsNone(t *testing.T) {
	s := &site{t: t, token: `{"access_token":"gho_1","scope":"","token_type":"bearer"}`}
	acc, err := s.exchange(app(mode(githubapp.ModeOAuthApp)), url.Values{"code": {"c"}}, "")
	require.NoError(t, err)
	require.NotNil(t, acc.Grant.Scopes, "nil would be an answer that does not say")
	require.Empty(t, acc.Grant.Scopes)
}

func TestPermissionsAreScopes(t *testing.T) {
	ev := webhook.Event{Type: "installation", Body: json.RawMessage(`{"action":"new_permissions_accepted","installation":{"app_id":4711,"permissions":{"issues":"write","administration":"admin","metadata":"read","odd":"none"}}}`)}
	l, err := app().Lifecycle(ev, providers.Snapshot{})
	require.NoError(t, err)
	require.Equal(t, []string{"administration:read", "administration:write", "administration:admin", "issues:read", "issues:write", "metadata:read"}, l.Scopes)
	require.True(t, l.Renew, "a token has the permissions of its time")
	ev.Body = json.RawMessage(`{"action":"suspend","installation":{"app_id":4711}}`)
	l, err = app().Lifecycle(ev, providers.Snapshot{})
	require.NoError(t, err)
	require.Nil(t, l.Scopes)
	require.False(t, l.Renew)
}

func TestPermissionsPage(t *testing.T) {
	snapshot := func(external, data string) providers.Snapshot {
		return providers.Snapshot{ExternalID: external, ProviderData: json.RawMessage(data)}
	}
	for want, c := range map[string]struct {
		app *githubapp.App
		s   providers.Snapshot
	}{
		"https://github.com/organizations/acme/settings/installations/77":       {app(), snapshot("77", `{"login":"acme","type":"Organization","app_id":1}`)},
		"https://github.com/settings/installations/77":                          {app(), snapshot("77", `{"login":"ann","type":"User","app_id":1}`)},
		"https://github.com/settings/installations":                             {app(mode(githubapp.ModeUser)), snapshot("7", `{"login":"ann"}`)},
		"https://ghe.example.com/organizations/a%2Fb/settings/installations/77": {app(func(c *githubapp.Config) { c.EnterpriseHost = "ghe.example.com" }), snapshot("77", `{"login":"a/b","type":"Organization"}`)},
	} {
		got, err := c.app.PermissionsURL(c.s)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for name, c := range map[string]struct {
		app *githubapp.App
		s   providers.Snapshot
	}{
		"an OAuth App":    {app(mode(githubapp.ModeOAuthApp)), snapshot("7", `{"login":"ann"}`)},
		"no installation": {app(), snapshot("", `{}`)},
	} {
		_, err := c.app.PermissionsURL(c.s)
		require.ErrorIs(t, err, errors.ErrUnsupported, name)
	}
}

func TestARevocationEndsOneTokenUnlessItUninstalls(t *testing.T) {
	installation, user := providers.Snapshot{ProviderData: json.RawMessage(`{"app_id":4711}`)}, providers.Snapshot{ProviderData: json.RawMessage(`{"login":"ann"}`)}
	for _, m := range []githubapp.Mode{githubapp.ModeInstallation, githubapp.ModeUser, githubapp.ModeOAuthApp} {
		require.False(t, app(mode(m)).SharesGrant(installation, installation))
	}
	uninstalls := app(func(c *githubapp.Config) { c.UninstallOnDisconnect = true })
	require.True(t, uninstalls.SharesGrant(installation, installation))
	require.False(t, uninstalls.SharesGrant(installation, user))
}

func TestAMintedTokensPermissionsAreItsScopes(t *testing.T) {
	s := &site{t: t, installations: installed(77)}
	acc, err := s.exchange(app(), url.Values{"code": {"c"}, "installation_id": {"77"}}, "")
	require.NoError(t, err)
	require.Equal(t, []string{"contents:read"}, acc.Grant.Scopes)
}
