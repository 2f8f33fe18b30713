package jiraapp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

const (
	secret = "atlassian-client-secret"
	cloud  = "11223344-a1b2-3b33-c444-def123456789"
)

func app(change ...func(*jiraapp.Config)) *jiraapp.App {
	cfg := jiraapp.Config{ClientID: "client-id-123", ClientSecret: secret, Scopes: []string{"read:jira-work", "write:jira-work"}}
	for _, fn := range change {
		fn(&cfg)
	}
	return jiraapp.New(cfg)
}

// recorded is a request as it went out.
type recorded struct {
	method, url, contentType, authorization, body string
}

// wire answers requests in order, the last answer again and again, and writes
// them down.
type wire struct {
	mu      sync.Mutex
	sent    []recorded
	answers []*http.Response
	open    int // answers whose body was not closed
}

func answer(status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json;charset=UTF-8"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func answers(a ...*http.Response) *wire { return &wire{answers: a} }

type counted struct {
	io.ReadCloser
	once  sync.Once
	close func()
}

func (c *counted) Close() error {
	c.once.Do(c.close)
	return c.ReadCloser.Close()
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	w.sent = append(w.sent, recorded{r.Method, r.URL.String(), r.Header.Get("Content-Type"), r.Header.Get("Authorization"), strings.TrimSpace(string(body))})
	resp := *w.answers[0]
	if len(w.answers) > 1 {
		w.answers = w.answers[1:]
	} else {
		text, _ := io.ReadAll(resp.Body)
		w.answers[0].Body = io.NopCloser(strings.NewReader(string(text)))
		resp.Body = io.NopCloser(strings.NewReader(string(text)))
	}
	w.open++
	resp.Body = &counted{ReadCloser: resp.Body, close: func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open--
	}}
	resp.Request = r
	return &resp, nil
}

// one is the only request that was made.
func (w *wire) one(t *testing.T) recorded {
	t.Helper()
	require.Len(t, w.sent, 1)
	require.Zero(t, w.open, "an answer was left open")
	return w.sent[0]
}

// source is a connection's source whose token is not renewed.
type source struct {
	snapshot providers.Snapshot
	err      error
}

func (source) Token(context.Context) (*token.Token, error) {
	return &token.Token{Access: token.NewSecret("access-1"), Header: []string{"Bearer access-1"}, Gen: 1}, nil
}

func (source) Rejected(context.Context, int64, bool) (*token.Token, bool, error) {
	return nil, false, nil
}

func (s source) Snapshot(context.Context) (providers.Snapshot, error) { return s.snapshot, s.err }

// memory keeps the endpoints and subscriptions of one integration.
type memory struct {
	subs map[string]providers.Subscription
	fail error
	// others are webhooks of siblings, other integrations of the site.
	others   []string
	siblings int
}

func (*memory) Open(context.Context) (providers.Endpoint, error) {
	return providers.Endpoint{ID: "e1", URL: "https://app.example.test/integrations/jira/webhook/segment", Secret: token.NewSecret("endpoint-secret")}, nil
}
func (*memory) Rotate(context.Context, string, time.Duration) (providers.Endpoint, error) {
	return providers.Endpoint{}, errors.ErrUnsupported
}
func (*memory) Close(context.Context, string) error { return nil }
func (*memory) List(context.Context) ([]providers.EndpointInfo, error) {
	return []providers.EndpointInfo{{ID: "e1"}}, nil
}
func (m *memory) Others(context.Context) ([]string, int, error) { return m.others, m.siblings, m.fail }
func (m *memory) Delete(_ context.Context, n string) error      { delete(m.subs, n); return m.fail }
func (m *memory) Save(_ context.Context, s providers.Subscription) error {
	if m.fail == nil {
		m.subs[s.Name] = s
	}
	return m.fail
}
func (m *memory) Subscriptions(context.Context) ([]providers.Subscription, error) {
	var out []providers.Subscription
	for _, name := range slices.Sorted(maps.Keys(m.subs)) {
		out = append(out, m.subs[name])
	}
	return out, nil
}

func connection(t *testing.T, rt http.RoundTripper, change ...func(*providers.ConnectionConfig)) *providers.Connection {
	t.Helper()
	hosts, err := providers.NewHosts(app().Info().Hosts...)
	require.NoError(t, err)
	cfg := providers.ConnectionConfig{Retries: -1,
		TenantID: "acme", IntegrationID: "i1", Provider: jiraapp.Key, Hosts: hosts, Transport: rt, Classifier: app(),
		Source:    source{snapshot: providers.Snapshot{ExternalID: cloud}},
		Endpoints: &memory{subs: map[string]providers.Subscription{}}, WebhookURL: "https://app.example.test/integrations/jira/webhook",
	}
	for _, fn := range change {
		fn(&cfg)
	}
	conn, err := providers.NewConnection(cfg)
	require.NoError(t, err)
	return conn
}

const base = "https://api.atlassian.com/ex/jira/" + cloud + "/rest/api/"

func TestValidateReportsAllFaults(t *testing.T) {
	require.NoError(t, app().Validate())
	require.NoError(t, app(func(c *jiraapp.Config) { c.Scopes = []string{"read:issue:jira"} }).Validate())
	err := jiraapp.New(jiraapp.Config{Key: "Bad", Scopes: []string{"a, b", "read:confluence-content.all", "offline_access"}, RedirectURL: "/cb"}).Validate()
	for _, part := range []string{"Key must match", "ClientID", "ClientSecret", "RedirectURL", "no scope of Jira", "an element of its own"} {
		require.ErrorContains(t, err, part)
	}
	short := app(func(c *jiraapp.Config) { c.ClientSecret, c.PreviousClientSecrets = "short", []string{"shorter"} })
	require.ErrorContains(t, short.Validate(), "ClientSecret has 5 bytes")
	require.ErrorContains(t, short.Validate(), "PreviousClientSecrets[0] has 7 bytes")
	_, err = short.WebhookSource()
	require.Error(t, err)
	silent := app(func(c *jiraapp.Config) { c.ClientSecret, c.NoWebhooks = "short", true })
	require.NoError(t, silent.Validate())
	_, err = silent.WebhookSource()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	printed := fmt.Sprintf("%v %+v %#v", app(), app(), app(func(c *jiraapp.Config) { c.PreviousClientSecrets = []string{"previous-client-secret"} }))
	require.NotContains(t, printed, secret)
	require.NotContains(t, printed, "previous-client-secret")
}

func TestAuthorizeURL(t *testing.T) {
	require.False(t, app().Info().PKCE)
	require.True(t, app(func(c *jiraapp.Config) { c.PKCE = true }).Info().PKCE)
	for _, c := range []struct {
		scopes []string
		scope  string
	}{
		{[]string{"read:jira-work"}, "read:jira-work offline_access"},
		{[]string{"offline_access", "read:jira-work"}, "offline_access read:jira-work"},
	} {
		got, err := app().AuthorizeURL(providers.Authorize{State: "s", RedirectURL: "https://app/cb", Scopes: c.scopes})
		require.NoError(t, err)
		u, err := url.Parse(got)
		require.NoError(t, err)
		require.Equal(t, "https://auth.atlassian.com/authorize", u.Scheme+"://"+u.Host+u.Path)
		require.Equal(t, url.Values{
			"audience": {"api.atlassian.com"}, "client_id": {"client-id-123"}, "prompt": {"consent"}, "redirect_uri": {"https://app/cb"},
			"response_type": {"code"}, "scope": {c.scope}, "state": {"s"},
		}, u.Query())
	}
	// RFC 7636 appendix B.
	got, err := app().AuthorizeURL(providers.Authorize{State: "s", Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"})
	require.NoError(t, err)
	require.Contains(t, got, "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256")
}

func exchange(t *testing.T, a *jiraapp.App, w *wire, x providers.Exchange) (providers.Account, error) {
	t.Helper()
	hosts, err := providers.NewHosts(a.Info().Hosts...)
	require.NoError(t, err)
	x.Client, x.HTTP = token.NewClient(token.ClientConfig{Transport: w}), providers.NewClient(hosts, w, time.Minute)
	return a.Exchange(t.Context(), x)
}

const granted = `{"access_token":"access-1","expires_in":3600,"scope":"offline_access read:jira-work","token_type":"Bearer","refresh_token":"refresh-1"}`

func TestExchangeOffersEverySiteOfJira(t *testing.T) {
	w := answers(answer(200, granted), answer(200, `[
		{"id":"11223344-a1b2-3b33-c444-def123456789","name":"Acme","url":"https://ACME.atlassian.net","scopes":["read:jira-work"],"avatarUrl":"https://x"},
		{"id":"22223344-a1b2-3b33-c444-def123456789","name":"Docs","url":"https://docs.atlassian.net","scopes":["read:confluence-content.all"]},
		{"id":"11223344-a1b2-3b33-c444-def123456789","name":"Acme","url":"https://acme.atlassian.net","scopes":["write:jira-work"]},
		{"id":"../../rest","name":"Evil","url":"https://evil.atlassian.net","scopes":["read:jira-work"]},
		{"id":"33223344-a1b2-3b33-c444-def123456789","name":"`+strings.Repeat("é", 60)+`","url":"https://jira.example.com","scopes":["read:issue:jira"]},
		{"id":"44223344-a1b2-3b33-c444-def123456789","name":"Odd","url":"http://user@odd","scopes":["read:jira-work"]}]`))
	got, err := exchange(t, app(), w, providers.Exchange{Code: "c", RedirectURL: "https://app/cb", Verifier: "v"})
	require.NoError(t, err)
	require.Len(t, w.sent, 2)
	require.Equal(t, "https://auth.atlassian.com/oauth/token", w.sent[0].url)
	form, err := url.ParseQuery(w.sent[0].body)
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"client_id": {"client-id-123"}, "client_secret": {secret}, "code": {"c"}, "code_verifier": {"v"},
		"grant_type": {"authorization_code"}, "redirect_uri": {"https://app/cb"},
	}, form)
	require.Equal(t, recorded{method: "GET", url: "https://api.atlassian.com/oauth/token/accessible-resources", authorization: "Bearer access-1"}, w.sent[1])

	require.Empty(t, got.ExternalID)
	require.Equal(t, time.Hour, got.Grant.ExpiresIn)
	require.Equal(t, 90*24*time.Hour, got.Grant.RefreshExpiresIn)
	require.Equal(t, []string{"offline_access", "read:jira-work"}, got.Grant.Scopes)
	require.Equal(t, "refresh-1", got.Grant.RefreshToken.Reveal())
	var names, aliases []string
	for _, c := range got.Choices {
		require.True(t, c.Exclusive)
		require.LessOrEqual(t, len(c.Name), 100)
		names, aliases = append(names, c.Name), append(aliases, c.Alias)
		site, err := jiraapp.ReadSite(providers.Snapshot{ProviderData: c.ProviderData})
		require.NoError(t, err)
		require.Equal(t, c.ExternalID, site.CloudID)
		require.WithinDuration(t, time.Now(), site.GrantedAt, 5*time.Second)
	}
	require.Equal(t, []string{"Acme (acme.atlassian.net)", "jira.example.com", "44223344-a1b2-3b33-c444-def123456789"}, names)
	require.Equal(t, []string{"acme.atlassian.net", "jira.example.com", ""}, aliases)
	require.Equal(t, cloud, got.Choices[0].ExternalID)

	shared, err := exchange(t, app(func(c *jiraapp.Config) { c.Shared = true }), answers(answer(200, granted), answer(200, `[{"id":"`+cloud+`","url":"https://a.atlassian.net","scopes":["read:jira-work"]}]`)), providers.Exchange{Code: "c"})
	require.NoError(t, err)
	require.False(t, shared.Choices[0].Exclusive)
}

func TestExchangeRefuses(t *testing.T) {
	var refusal *providers.Refusal
	w := answers(answer(200, granted), answer(200, `[{"id":"`+cloud+`","url":"https://a.atlassian.net","scopes":["read:confluence-content.all"]}]`))
	_, err := exchange(t, app(), w, providers.Exchange{Code: "c"})
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, providers.RefusedNoAccount, refusal.Code)
	_, err = exchange(t, app(), answers(answer(200, granted), answer(200, `[]`)), providers.Exchange{Code: "c"})
	require.ErrorAs(t, err, &refusal)
	_, err = exchange(t, app(), answers(answer(200, granted), answer(502, `<html>`)), providers.Exchange{Code: "c"})
	require.ErrorIs(t, err, providers.ErrProviderDown)
	_, err = exchange(t, app(), answers(answer(200, granted), answer(200, `{}`)), providers.Exchange{Code: "c"})
	require.ErrorIs(t, err, providers.ErrTransient)
	unsent := answers(answer(500, ""))
	_, err = exchange(t, app(), unsent, providers.Exchange{})
	require.ErrorAs(t, err, &refusal)
	require.Empty(t, unsent.sent)
	_, err = jiraapp.ReadSite(providers.Snapshot{ProviderData: json.RawMessage(`[]`)})
	require.ErrorIs(t, err, providers.ErrInvalid)
}

func TestTokenAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   token.Outcome
		code   string
	}{
		{403, `{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`, token.DeadGrant, "invalid_grant"},
		{400, `{"error":"invalid_grant"}`, token.DeadGrant, "invalid_grant"},
		{403, `{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`, token.DeadGrant, "unauthorized_client"},
		{401, `{"error":"unauthorized_client","error_description":"Refresh_token is invalid"}`, token.DeadGrant, "unauthorized_client"},
		{403, `{"error":"unauthorized_client","error_description":"client is disabled"}`, token.AppFault, "unauthorized_client"},
		{401, `{"error":"unauthorized_client"}`, token.AppFault, "unauthorized_client"},
		{401, `{"error":"invalid_client","error_description":"refresh_token is invalid"}`, token.AppFault, "invalid_client"},
		{401, `{"error":"access_denied","error_description":"Unauthorized"}`, token.AppFault, "access_denied"},
		{401, ``, token.AppFault, "refused"},
		{403, `<html>blocked</html>`, token.Refused, "refused"},
		{400, `{"error":"invalid_request"}`, token.Refused, "invalid_request"},
		{429, `{"error":"invalid_grant"}`, token.Transient, "invalid_grant"},
		{503, `{"error":"invalid_client"}`, token.Transient, "invalid_client"},
		{500, ``, token.Transient, "server_error"},
		{200, `{"access_to`, token.Ambiguous, "bad_answer"},
	} {
		w := answers(answer(c.status, c.body))
		_, err := app().Renew(t.Context(), token.Renewal{Client: token.NewClient(token.ClientConfig{Transport: w}), RefreshToken: token.NewSecret("refresh-1")})
		var e *token.Error
		require.ErrorAs(t, err, &e, c.body)
		require.Equal(t, c.want, e.Outcome, "%d %s", c.status, c.body)
		require.Equal(t, c.code, e.Code)
		require.Len(t, w.sent, 1)
	}
}

func TestRenew(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		age, want time.Duration
	}{{0, 90 * day}, {200 * day, 90 * day}, {300 * day, 65 * day}, {364 * day, day}, {400 * day, 90 * day}, {-1, 90 * day}} {
		data := json.RawMessage(`{"cloud_id":"` + cloud + `","granted_at":"` + time.Now().Add(-c.age).UTC().Format(time.RFC3339) + `"}`)
		if c.age < 0 {
			data = nil // imported
		}
		w := answers(answer(200, granted))
		g, err := app().Renew(t.Context(), token.Renewal{
			Client: token.NewClient(token.ClientConfig{Transport: w}), RefreshToken: token.NewSecret("refresh-0"), ProviderData: data,
		})
		require.NoError(t, err)
		require.InDelta(t, c.want.Seconds(), g.RefreshExpiresIn.Seconds(), 5)
		require.Nil(t, g.ProviderData)
		require.Equal(t, "refresh-1", g.RefreshToken.Reveal())
		form, err := url.ParseQuery(w.sent[0].body)
		require.NoError(t, err)
		require.Equal(t, url.Values{"client_id": {"client-id-123"}, "client_secret": {secret}, "grant_type": {"refresh_token"}, "refresh_token": {"refresh-0"}}, form)
	}
}

func TestNothingIsRevoked(t *testing.T) {
	require.ErrorIs(t, app().Revoke(t.Context(), providers.Revocation{}), errors.ErrUnsupported)
}

func TestEndSubscriptions(t *testing.T) {
	hosts, err := providers.NewHosts(app().Info().Hosts...)
	require.NoError(t, err)
	end := func(w *wire, change ...func(*providers.Revocation)) error {
		r := providers.Revocation{
			ExternalID: cloud, AccessToken: token.NewSecret("access-0"), RefreshToken: token.NewSecret("refresh-0"),
			Subscriptions: []providers.Subscription{{Name: "a", RemoteID: "7"}, {Name: "b", RemoteID: "9"}},
			Client:        token.NewClient(token.ClientConfig{Transport: w}), HTTP: providers.NewClient(hosts, w, time.Minute),
		}
		for _, fn := range change {
			fn(&r)
		}
		return app().EndSubscriptions(t.Context(), r)
	}
	w := answers(answer(202, ""))
	require.NoError(t, end(w))
	require.Equal(t, recorded{"DELETE", base + "3/webhook", "application/json", "Bearer access-0", `{"webhookIds":[7,9]}`}, w.one(t))

	// A token that has ended is renewed, once.
	w = answers(answer(401, `{"code":401,"message":"Unauthorized"}`), answer(200, granted), answer(202, ""))
	require.NoError(t, end(w))
	require.Len(t, w.sent, 3)
	require.Equal(t, "Bearer access-1", w.sent[2].authorization)
	w = answers(answer(401, `{}`), answer(200, granted), answer(401, `{}`))
	require.ErrorIs(t, end(w), providers.ErrTransient)
	require.Len(t, w.sent, 3)
	// One without the scope is not.
	w = answers(answer(401, `{"code":401,"message":"Unauthorized; scope does not match"}`))
	require.ErrorIs(t, end(w), providers.ErrForbidden)
	require.Len(t, w.sent, 1)

	// What is gone is no error.
	for _, w := range []*wire{answers(answer(404, "{}")), answers(answer(401, "{}"), answer(403, `{"error":"invalid_grant"}`))} {
		require.NoError(t, end(w))
	}
	require.NoError(t, end(answers(answer(401, "{}")), func(r *providers.Revocation) { r.RefreshToken = token.Secret{} }))
	w = answers(answer(500, ""))
	require.NoError(t, end(w, func(r *providers.Revocation) { r.Subscriptions = nil }))
	require.ErrorIs(t, end(w, func(r *providers.Revocation) { r.ExternalID = "../x" }), providers.ErrInvalid)
	require.ErrorIs(t, end(w, func(r *providers.Revocation) { r.Subscriptions[0].RemoteID = "x" }), providers.ErrInvalid)
	require.Empty(t, w.sent)
	// A failure is one.
	require.ErrorIs(t, end(answers(answer(503, ""))), providers.ErrProviderDown)
	require.Error(t, end(answers(answer(401, "{}"), answer(500, ""))))
}
