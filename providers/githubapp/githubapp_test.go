package githubapp_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

const hook = "It's a Secret to Everybody"

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pkcs1(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func app(change ...func(*githubapp.Config)) *githubapp.App {
	cfg := githubapp.Config{AppID: 4711, Slug: "our-app", PrivateKeyPEM: pkcs1(rsaKey()), ClientID: "Iv1.1", ClientSecret: "client-secret", WebhookSecrets: []string{hook}}
	for _, fn := range change {
		fn(&cfg)
	}
	return githubapp.New(cfg)
}

func mode(m githubapp.Mode) func(*githubapp.Config) {
	return func(c *githubapp.Config) { c.Mode = m }
}

func TestValidateReportsAllFaults(t *testing.T) {
	require.NoError(t, app().Validate())
	err := githubapp.New(githubapp.Config{Key: "Bad", Scopes: []string{"repo"}, PrivateKeyPEM: "nonsense", WebhookSecrets: []string{"short"}}).Validate()
	for _, part := range []string{"Key must match", "ClientID", "ClientSecret", "AppID", "no RSA key", "WebhookSecrets", `scope "repo": a GitHub App's permission`} {
		require.ErrorContains(t, err, part)
	}
	require.ErrorContains(t, app(func(c *githubapp.Config) { c.PrivateKeyPEM = "" }).Validate(), "PrivateKeyPEM is empty")
	require.ErrorContains(t, app(mode(9)).Validate(), "Mode is unknown")
	scoped := func(c *githubapp.Config) { c.Scopes = []string{"issues:write"} }
	require.NoError(t, app(scoped).Validate())
	require.ErrorContains(t, app(scoped, mode(githubapp.ModeUser)).Validate(), "Scopes of users")
	optional := func(c *githubapp.Config) { c.OptionalScopes = []string{"gist"} }
	require.ErrorContains(t, app(optional).Validate(), "OptionalScopes")
	require.NoError(t, app(optional, mode(githubapp.ModeOAuthApp)).Validate())
	der, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	require.NoError(t, err)
	require.NoError(t, app(func(c *githubapp.Config) {
		c.PrivateKeyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}).Validate())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err == nil { // the toolchain may refuse to make one
		require.ErrorContains(t, app(func(c *githubapp.Config) { c.PrivateKeyPEM = pkcs1(weak) }).Validate(), "2048")
	}
	_, err = app(func(c *githubapp.Config) { c.WebhookSecrets = nil }).WebhookSource()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	printed := fmt.Sprintf("%v %+v %#v", app(), app(), app())
	for _, secret := range []string{"client-secret", hook, "PRIVATE KEY", rsaKey().D.String()[:20]} {
		require.NotContains(t, printed, secret)
	}
}

func TestAuthorizeURL(t *testing.T) {
	p := providers.Authorize{State: "s", RedirectURL: "https://app/cb", Challenge: "c", Scopes: []string{"repo", "gist"}}
	for _, c := range []struct {
		a      *githubapp.App
		expect string
		want   string
	}{
		{app(), "", "https://github.com/apps/our-app/installations/new?state=s"},
		{app(), "77", "https://github.com/login/oauth/authorize?client_id=Iv1.1&code_challenge=c&code_challenge_method=S256&redirect_uri=https%3A%2F%2Fapp%2Fcb&state=s"},
		{app(func(c *githubapp.Config) { c.Slug = "" }), "", "https://github.com/login/oauth/authorize?client_id=Iv1.1&code_challenge=c&code_challenge_method=S256&redirect_uri=https%3A%2F%2Fapp%2Fcb&state=s"},
		{app(mode(githubapp.ModeOAuthApp)), "", "https://github.com/login/oauth/authorize?client_id=Iv1.1&code_challenge=c&code_challenge_method=S256&redirect_uri=https%3A%2F%2Fapp%2Fcb&scope=repo+gist&state=s"},
	} {
		p.ExpectExternalID = c.expect
		got, err := c.a.AuthorizeURL(p)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

// site answers as GitHub does for a user with some installations.
type site struct {
	t             *testing.T
	installations []map[string]any
	mints         int
	form          url.Values
	token         string // answer of login/oauth/access_token
}

func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.URL.Path == "/login/oauth/access_token":
		require.NoError(s.t, r.ParseForm())
		s.form = r.PostForm
		return respond(r, 200, nil, s.token), nil
	case r.URL.Path == "/user/installations":
		require.Equal(s.t, "Bearer ghu_user", r.Header.Get("Authorization"))
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		from, to := min((page-1)*100, len(s.installations)), min(page*100, len(s.installations))
		body, err := json.Marshal(map[string]any{"total_count": len(s.installations), "installations": s.installations[from:to]})
		require.NoError(s.t, err)
		return respond(r, 200, nil, string(body)), nil
	case strings.HasSuffix(r.URL.Path, "/access_tokens"):
		s.mints++
		checkJWT(s.t, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		h := http.Header{"Date": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}} // a clock of its own
		return respond(r, 201, h, fmt.Sprintf(`{"token":"ghs_minted","expires_at":%q,"permissions":{"contents":"read"}}`, time.Now().UTC().Format(time.RFC3339))), nil
	case r.URL.Path == "/user":
		return respond(r, 200, nil, `{"login":"ann","id":12,"type":"User"}`), nil
	}
	return respond(r, 404, nil, `{"message":"Not Found"}`), nil
}

// checkJWT reads the App's token by its own means.
func checkJWT(t *testing.T, jwt string) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	require.Len(t, parts, 3)
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	require.NoError(t, rsa.VerifyPKCS1v15(&rsaKey().PublicKey, crypto.SHA256, sum[:], signature))
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"alg":"RS256","typ":"JWT"}`, string(header))
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var c struct {
		Iat, Exp int64
		Iss      string
	}
	require.NoError(t, json.Unmarshal(claims, &c))
	require.Equal(t, "4711", c.Iss)
	require.InDelta(t, time.Now().Unix()-60, c.Iat, 5)
	require.Equal(t, int64(600), c.Exp-c.Iat)
}

func (s *site) exchange(a *githubapp.App, query url.Values, expect string) (providers.Account, error) {
	if s.token == "" {
		s.token = `{"access_token":"ghu_user","token_type":"bearer","expires_in":28800,"refresh_token":"ghr_1","refresh_token_expires_in":15811200,"scope":""}`
	}
	return a.Exchange(s.t.Context(), providers.Exchange{
		Code: query.Get("code"), Query: query, RedirectURL: "https://app/cb", Verifier: "verifier", ExpectExternalID: expect,
		Client: token.NewClient(token.ClientConfig{Transport: s}), HTTP: &http.Client{Transport: s},
	})
}

func installed(ids ...int64) []map[string]any {
	var out []map[string]any
	for _, id := range ids {
		out = append(out, map[string]any{"id": id, "app_id": 4711, "account": map[string]any{"login": "acme", "id": 9, "type": "Organization"}, "permissions": map[string]string{"contents": "read"}, "repository_selection": "selected"})
	}
	return out
}

func TestExchangeOfAnInstallation(t *testing.T) {
	s := &site{t: t, installations: installed(5, 77)}
	acc, err := s.exchange(app(), url.Values{"code": {"c"}, "installation_id": {"77"}, "setup_action": {"install"}}, "")
	require.NoError(t, err)
	require.Equal(t, "77", acc.ExternalID)
	require.True(t, acc.Exclusive)
	require.Equal(t, "ghs_minted", acc.Grant.AccessToken.Reveal())
	require.True(t, acc.Grant.RefreshToken.IsZero())
	require.InDelta(t, float64(time.Hour), float64(acc.Grant.ExpiresIn), float64(3*time.Second), "by GitHub's clock")
	require.False(t, s.form.Has("code_verifier"))
	got, err := githubapp.ReadAccount(providers.Snapshot{ProviderData: acc.ProviderData})
	require.NoError(t, err)
	require.Equal(t, githubapp.Account{Login: "acme", ID: 9, Type: "Organization", AppID: 4711, Permissions: map[string]string{"contents": "read"}, RepositorySelection: "selected"}, got)
	require.NotContains(t, string(acc.ProviderData), "gh")

	acc, err = s.exchange(app(), url.Values{"code": {"c"}}, "5")
	require.NoError(t, err)
	require.Equal(t, "5", acc.ExternalID)
	require.Equal(t, "verifier", s.form.Get("code_verifier"))
	_, err = s.exchange(app(), url.Values{"code": {"c"}}, "")
	refusedWith(t, err, githubapp.RefusedChoose)
	s.installations = nil
	_, err = s.exchange(app(), url.Values{"code": {"c"}}, "")
	refusedWith(t, err, providers.RefusedNoAccount)
	_, err = s.exchange(app(), url.Values{"setup_action": {"request"}}, "")
	refusedWith(t, err, providers.RefusedRequested)
}

func refusedWith(t *testing.T, err error, code string) {
	t.Helper()
	var r *providers.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, code, r.Code)
}

func TestM3SpoofedInstallation(t *testing.T) {
	var own []int64
	for id := int64(20_001); id <= 20_230; id++ {
		own = append(own, id)
	}
	s := &site{t: t, installations: append(installed(own...), map[string]any{"id": 30_000, "app_id": 1})}
	for id := 1; id <= 10_000; id += 7 {
		_, err := s.exchange(app(), url.Values{"code": {"c"}, "installation_id": {strconv.Itoa(id)}}, "")
		refusedWith(t, err, providers.RefusedOwnership)
	}
	for _, id := range []string{"30000", "", "0", "-1", "+20001", "020001", "20001 ", "2e4", "0x4e21", "99999999999999999999", "20001,20002"} {
		_, err := s.exchange(app(), url.Values{"code": {"c"}, "installation_id": {id}}, "")
		refusedWith(t, err, providers.RefusedOwnership)
	}
	_, err := s.exchange(app(), url.Values{"installation_id": {"20001"}}, "")
	refusedWith(t, err, providers.RefusedOwnership)
	require.Zero(t, s.mints)
	acc, err := s.exchange(app(), url.Values{"code": {"c"}, "installation_id": {"20230"}}, "") // on the third page
	require.NoError(t, err)
	require.Equal(t, "20230", acc.ExternalID)
}

func TestExchangeOfAUser(t *testing.T) {
	s := &site{t: t}
	acc, err := s.exchange(app(mode(githubapp.ModeUser)), url.Values{"code": {"c"}}, "")
	require.NoError(t, err)
	require.Equal(t, "12", acc.ExternalID)
	require.False(t, acc.Exclusive)
	require.Equal(t, "ghr_1", acc.Grant.RefreshToken.Reveal())
	require.Equal(t, 8*time.Hour, acc.Grant.ExpiresIn)
	s = &site{t: t, token: `{"access_token":"gho_1","scope":"repo,gist","token_type":"bearer"}`}
	acc, err = s.exchange(app(mode(githubapp.ModeOAuthApp)), url.Values{"code": {"c"}}, "")
	require.NoError(t, err)
	require.Equal(t, []string{"repo", "repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events", "gist"}, acc.Grant.Scopes,
		"GitHub leaves out what a scope includes")
	require.Zero(t, acc.Grant.ExpiresIn)
}

func TestRenewOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		mode    githubapp.Mode
		status  int
		header  http.Header
		body    string
		outcome token.Outcome
	}{
		"installation gone":      {githubapp.ModeInstallation, 404, nil, `{"message":"Not Found"}`, token.DeadGrant},
		"installation suspended": {githubapp.ModeInstallation, 403, nil, `{"message":"This installation has been suspended"}`, token.Refused},
		"clock or key":           {githubapp.ModeInstallation, 401, nil, `{"message":"'Expiration time' claim"}`, token.AppFault},
		"not granted":            {githubapp.ModeInstallation, 422, nil, `{}`, token.Refused},
		"limited":                {githubapp.ModeInstallation, 403, http.Header{"Retry-After": {"60"}}, `{}`, token.Transient},
		"down":                   {githubapp.ModeInstallation, 502, nil, `<html>`, token.Transient},
		"bad refresh token":      {githubapp.ModeUser, 200, nil, `{"error":"bad_refresh_token"}`, token.DeadGrant},
		"bad secret":             {githubapp.ModeUser, 200, nil, `{"error":"incorrect_client_credentials"}`, token.AppFault},
	} {
		a := app(mode(c.mode))
		client := token.NewClient(token.ClientConfig{Transport: transport(func(r *http.Request) (*http.Response, error) { return respond(r, c.status, c.header, c.body), nil })})
		_, err := a.Renew(t.Context(), token.Renewal{Client: client, ExternalID: "77", RefreshToken: token.NewSecret("ghr_1")})
		var e *token.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, c.outcome, e.Outcome, name)
	}
	_, err := app(mode(githubapp.ModeOAuthApp)).Renew(t.Context(), token.Renewal{})
	var e *token.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "no_refresh_token", e.Code)
	require.Equal(t, 10*time.Minute, app().RenewEarly(time.Hour))
	require.Equal(t, 2*time.Minute, app(mode(githubapp.ModeUser)).RenewEarly(8*time.Hour))
}

func TestRevoke(t *testing.T) {
	for name, c := range map[string]struct {
		a    *githubapp.App
		want string
	}{
		"installation": {app(), "DELETE /installation/token"},
		"uninstall":    {app(func(c *githubapp.Config) { c.UninstallOnDisconnect = true }), "DELETE /app/installations/77"},
		"user":         {app(mode(githubapp.ModeUser)), "DELETE /applications/Iv1.1/token"},
	} {
		for _, status := range []int{204, 404, 503} {
			got := ""
			client := token.NewClient(token.ClientConfig{Transport: transport(func(r *http.Request) (*http.Response, error) {
				got = r.Method + " " + r.URL.Path
				return respond(r, status, nil, ""), nil
			})})
			err := c.a.Revoke(t.Context(), providers.Revocation{ExternalID: "77", AccessToken: token.NewSecret("ghs_1"), Client: client})
			require.Equal(t, status == 503, err != nil, name)
			require.Equal(t, c.want, got)
		}
	}
}

func TestClassifyAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		m      githubapp.Mode
		status int
		header http.Header
		head   string
		want   providers.Answer
	}{
		"fine": {0, 200, nil, `{}`, providers.AnswerOK}, "expired": {0, 401, nil, `{"message":"Bad credentials"}`, providers.AnswerTokenExpired},
		"OAuth App": {githubapp.ModeOAuthApp, 401, nil, ``, providers.AnswerTokenDead}, "permission": {0, 403, http.Header{"X-Ratelimit-Remaining": {"40"}}, `{"message":"Resource not accessible by integration"}`, providers.AnswerOK},
		"primary": {0, 403, http.Header{"X-Ratelimit-Remaining": {"0"}}, ``, providers.AnswerLimited}, "secondary": {0, 403, nil, `{"message":"You have exceeded a secondary rate limit"}`, providers.AnswerLimited},
		"retry after": {0, 403, http.Header{"Retry-After": {"60"}}, ``, providers.AnswerLimited}, "429": {0, 429, nil, ``, providers.AnswerLimited},
	} {
		require.Equal(t, c.want, app(mode(c.m)).ClassifyAnswer(c.status, c.header, []byte(c.head)), name)
	}
}

func TestRepositoriesOfAllPagesAndErrors(t *testing.T) {
	conn := connection(func(r *http.Request) (*http.Response, error) {
		require.Equal(t, "/installation/repositories", r.URL.Path)
		require.Equal(t, "Bearer ghs_real", r.Header.Get("Authorization"))
		if r.URL.Query().Get("page") == "2" {
			return respond(r, 200, nil, `{"repositories":[{"name":"c"}]}`), nil
		}
		return respond(r, 200, http.Header{"Link": {`<https://api.github.com/installation/repositories?page=2>; rel="next"`}}, `{"repositories":[{"name":"a"},{"name":"b"}]}`), nil
	}, providers.Snapshot{ProviderData: []byte(`{"app_id":4711}`)})
	var names []string
	for r, err := range githubapp.Repositories(t.Context(), conn) {
		require.NoError(t, err)
		names = append(names, r.GetName())
	}
	require.Equal(t, []string{"a", "b", "c"}, names)

	for status, want := range map[int]error{401: providers.ErrTransient, 403: providers.ErrForbidden, 404: providers.ErrNotFound, 409: providers.ErrConflict, 422: providers.ErrInvalid, 429: ratelimit.ErrRateLimited, 502: providers.ErrProviderDown} {
		bad := connection(func(r *http.Request) (*http.Response, error) { return respond(r, status, nil, `{"message":"no"}`), nil }, providers.Snapshot{})
		n := 0
		for _, err := range githubapp.Repositories(t.Context(), bad) {
			require.ErrorIs(t, err, want, status)
			n++
		}
		require.Equal(t, 1, n)
	}
	other, err := providers.NewHosts("api.github.com")
	require.NoError(t, err)
	wrong, err := providers.NewConnection(providers.ConnectionConfig{Retries: -1, Provider: "slack", Hosts: other, Source: fixed{}, Transport: transport(nil)})
	require.NoError(t, err)
	for _, err := range githubapp.Repositories(t.Context(), wrong) {
		require.ErrorIs(t, err, providers.ErrWrongProvider)
	}
}

func read(t *testing.T, a *githubapp.App, event, body, contentType string) (webhook.Receipt, error) {
	t.Helper()
	src, err := a.WebhookSource()
	require.NoError(t, err)
	r := webhooktest.GitHub("https://app/github/webhook", hook, event, "guid-1", []byte(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	req := &webhook.Request{Method: "POST", Header: r.Header, Body: []byte(body), Now: time.Now()}
	require.NoError(t, src.Verifier.Verify(req))
	return src.Read(req)
}

func TestRouting(t *testing.T) {
	got, err := read(t, app(), "push", `{"ref":"r","before":"a","after":"b","repository":{"installation":{"id":1}},"installation":{"id":77},"client_payload":{"installation":{"id":2}}}`, "")
	require.NoError(t, err)
	require.Equal(t, []webhook.Notice{{DeliveryID: "guid-1", Type: "push", Account: "77", DedupBody: true}}, got.Notices)
	got, err = read(t, app(), "push", "payload="+url.QueryEscape(`{"ref":"r","before":"a","after":"b","repository":{},"installation":{"id":77}}`), "application/x-www-form-urlencoded")
	require.NoError(t, err)
	require.Equal(t, "77", got.Notices[0].Account)
	require.Equal(t, `{"ref":"r","before":"a","after":"b","repository":{},"installation":{"id":77}}`, string(got.Notices[0].Body))
	got, err = read(t, app(), "star", `{"action":"created"}`, "")
	require.NoError(t, err)
	require.Empty(t, got.Notices[0].Account)
	got, err = read(t, app(), "ping", `{"zen":"x","hook_id":1}`, "")
	require.NoError(t, err)
	require.NotNil(t, got.Reply)
	got, err = read(t, app(mode(githubapp.ModeUser)), "github_app_authorization", `{"action":"revoked","sender":{"id":12}}`, "")
	require.NoError(t, err)
	require.Equal(t, "12", got.Notices[0].Account)
	for name, c := range map[string][2]string{
		"twice": {"push", `{"ref":"r","before":"a","after":"b","repository":{},"installation":{"id":77},"installation":{"id":78}}`}, "id twice": {"push", `{"ref":"r","before":"a","after":"b","repository":{},"installation":{"id":77,"id":78}}`},
		"another case": {"push", `{"ref":"r","before":"a","after":"b","repository":{},"installation":{"id":77},"Installation":{"id":78}}`}, "text id": {"push", `{"ref":"r","before":"a","after":"b","repository":{},"installation":{"id":"77"}}`},
		"fraction": {"push", `{"ref":"r","before":"a","after":"b","repository":{},"installation":{"id":77.5}}`}, "not a push": {"push", `{"action":"deleted","installation":{"id":77}}`},
		"a push as a deletion": {"installation", `{"ref":"r","before":"a","after":"b","repository":{},"installation":{"id":77}}`}, "not an object": {"push", `[1]`}, "empty": {"push", ``},
	} {
		_, err := read(t, app(), c[0], c[1], "")
		require.Error(t, err, name)
	}
	for _, change := range []func(http.Header){
		func(h http.Header) { h.Del("X-GitHub-Event") }, func(h http.Header) { h.Add("X-GitHub-Event", "push") }, func(h http.Header) { h.Del("X-GitHub-Delivery") },
	} {
		src, err := app().WebhookSource()
		require.NoError(t, err)
		r := webhooktest.GitHub("https://app/", hook, "push", "g", nil)
		change(r.Header)
		_, err = src.Read(&webhook.Request{Header: r.Header, Body: []byte(`{"ref":"r","repository":{},"installation":{"id":77}}`)})
		require.Error(t, err)
	}
}

func TestLifecycle(t *testing.T) {
	for body, want := range map[string]providers.LifecycleKind{
		`{"action":"deleted"}`: providers.Uninstalled, `{"action":"created"}`: providers.Unchanged,
		`{"action":"suspend","installation":{"app_id":4711,"suspended_at":"2026-01-01T00:00:00Z"}}`:             providers.Suspended,
		`{"action":"unsuspend","installation":{"app_id":4711,"updated_at":1767225600}}`:                         providers.Resumed,
		`{"action":"new_permissions_accepted","installation":{"app_id":4711,"permissions":{"issues":"write"}}}`: providers.Regranted,
	} {
		l, err := app().Lifecycle(webhook.Event{Type: "installation", Body: []byte(body)}, providers.Snapshot{})
		require.NoError(t, err)
		require.Equal(t, want, l.Kind, body)
		// All of these describe the installation; its end needs nothing kept of it.
		require.Equal(t, strings.Contains(body, "sus") || strings.Contains(body, "permissions"), l.ProviderData != nil, body)
	}
	// Without a description nothing of it is kept; of an older state it means nothing.
	known := providers.Snapshot{ProviderData: []byte(`{"login":"acme","updated_at":"2026-01-02T00:00:00Z"}`)}
	for body, want := range map[string]providers.LifecycleKind{
		`{"action":"suspend","installation":{"id":1}}`:                                                   providers.Suspended,
		`{"action":"suspend","installation":{"id":1,"app_id":4711,"updated_at":"2026-01-01T23:59:59Z"}}`: providers.Unchanged,
		`{"action":"unsuspend","installation":{"id":1,"updated_at":1767225600}}`:                         providers.Unchanged,
		`{"action":"deleted","installation":{"id":1,"updated_at":1767225600}}`:                           providers.Uninstalled,
	} {
		l, err := app().Lifecycle(webhook.Event{Type: "installation", Body: []byte(body)}, known)
		require.NoError(t, err)
		require.Equal(t, want, l.Kind, body)
		require.Nil(t, l.ProviderData, body)
	}
	for action, want := range map[string]providers.LifecycleKind{"added": providers.Regranted, "removed": providers.Regranted, "other": providers.Unchanged} {
		l, err := app().Lifecycle(webhook.Event{Type: "installation_repositories", Body: []byte(`{"action":"` + action + `","installation":{"id":1,"app_id":4711}}`)}, known)
		require.NoError(t, err)
		require.Equal(t, want, l.Kind)
	}
	l, err := app(mode(githubapp.ModeUser)).Lifecycle(webhook.Event{Type: "github_app_authorization", Body: []byte(`{"action":"revoked"}`)}, providers.Snapshot{})
	require.NoError(t, err)
	require.Equal(t, providers.Uninstalled, l.Kind)
}

func TestLand(t *testing.T) {
	for q, want := range map[string]providers.Landing{
		"setup_action=install&installation_id=1": {OfferConnect: true}, "setup_action=update": {Result: "updated"}, "setup_action=request": {Result: "install_requested"},
	} {
		values, err := url.ParseQuery(q)
		require.NoError(t, err)
		got, ok := app().Land(values)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	_, ok := app().Land(url.Values{"code": {"x"}})
	require.False(t, ok)
}

func TestTypedHandlers(t *testing.T) {
	got := ""
	h := githubapp.Installation(func(_ context.Context, _ webhook.Event, p *github.InstallationEvent) error {
		got = p.GetAction()
		return nil
	})
	require.Equal(t, "installation", h.Type)
	require.NoError(t, h.Func(t.Context(), webhook.Event{Body: []byte(`{"action":"deleted"}`)}))
	require.Equal(t, "deleted", got)
	err := h.Func(t.Context(), webhook.Event{Body: []byte(`{"action":7,"secret":"words"}`)})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "words")
}

// FuzzF9GitHub: the installation is that of a strict reading that knows
// encoding/json only.
func FuzzF9GitHub(f *testing.F) {
	for _, s := range []string{
		`{"installation":{"id":77}}`, `{"installation":{"id":77},"installation":{"id":1}}`, `{"client_payload":{"installation":{"id":5}},"installation":{"id":77}}`,
		`{"INSTALLATION":{"id":1}}`, `{"installation":{"id":1e2}}`, `{"installation":null}`, `{"installation":{"id":77,"\u0069d":1}}`,
	} {
		f.Add([]byte(s))
	}
	src, err := app().WebhookSource()
	require.NoError(f, err)
	header := http.Header{"X-Github-Event": {"repository_dispatch"}, "X-Github-Delivery": {"g"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := src.Read(&webhook.Request{Body: body, Header: header})
		if err != nil {
			return
		}
		require.Len(t, got.Notices, 1)
		var top map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &top))
		want := ""
		if raw := bytes.TrimSpace(top["installation"]); raw != nil && string(raw) != "null" {
			var in map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(raw, &in))
			want = string(in["id"])
		}
		require.Equal(t, want, got.Notices[0].Account)
	})
}
