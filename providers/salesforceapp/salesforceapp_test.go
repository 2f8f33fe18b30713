package salesforceapp_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

const clientSecret = "planted-client-secret"

func app(change ...func(*salesforceapp.Config)) *salesforceapp.App {
	cfg := salesforceapp.Config{ClientID: "3MVG9", ClientSecret: clientSecret}
	for _, fn := range change {
		fn(&cfg)
	}
	return salesforceapp.New(cfg)
}

type transport func(r *http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// sent is a request as it went out.
type sent struct {
	method, url, body string
	header            http.Header
}

// recorder answers requests in turn and writes them down.
type recorder struct {
	answers []answer

	mu   sync.Mutex
	sent []sent
}

type answer struct {
	status            int
	body, contentType string
	header            http.Header
}

func (c *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, sent{r.Method, r.URL.String(), string(body), r.Header.Clone()})
	if len(c.sent) > len(c.answers) {
		return nil, errors.New("more requests than answers")
	}
	a := c.answers[len(c.sent)-1]
	h := a.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", "application/json;charset=UTF-8")
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	return &http.Response{StatusCode: a.status, Header: h, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func answers(list ...answer) *recorder { return &recorder{answers: list} }

// source is a connection's source whose token is renewed when it is refused.
type source struct {
	snapshot providers.Snapshot
	rejected []bool // whether for good
}

func tokenOf(text string, gen int64) *token.Token {
	return &token.Token{Access: token.NewSecret(text), Header: []string{"Bearer " + text}, Gen: gen}
}

func (*source) Token(context.Context) (*token.Token, error) { return tokenOf("first-token", 1), nil }

func (s *source) Rejected(_ context.Context, gen int64, dead bool) (*token.Token, bool, error) {
	s.rejected = append(s.rejected, dead)
	return tokenOf("second-token", gen+1), true, nil
}

func (s *source) Snapshot(context.Context) (providers.Snapshot, error) { return s.snapshot, nil }

const orgData = `{"org_id":"00D5e000000KQ2eEAG","user_id":"005x00000012Q9PAAU","instance_url":"https://acme.my.salesforce.com","auth_host":"login.salesforce.com"}`

// connect makes a connection as the Manager does.
func connect(t testing.TB, base http.RoundTripper, change ...func(*source, *providers.ConnectionConfig)) *providers.Connection {
	t.Helper()
	a := app()
	hosts, err := providers.NewHosts(a.Info().Hosts...)
	require.NoError(t, err)
	src := &source{snapshot: providers.Snapshot{ExternalID: "00D5e000000KQ2eEAG", ProviderData: []byte(orgData)}}
	cfg := providers.ConnectionConfig{Retries: -1, TenantID: "tenant-1", Provider: salesforceapp.Key, Hosts: hosts, Source: src, Transport: base, Classifier: a}
	for _, fn := range change {
		fn(src, &cfg)
	}
	conn, err := providers.NewConnection(cfg)
	require.NoError(t, err)
	return conn
}

func withData(data string) func(*source, *providers.ConnectionConfig) {
	return func(s *source, _ *providers.ConnectionConfig) { s.snapshot.ProviderData = []byte(data) }
}

func TestValidateReportsAllFaults(t *testing.T) {
	err := salesforceapp.New(salesforceapp.Config{
		Key: "Bad %s", Site: "https://acme.my.salesforce.com", Scopes: []string{"api,full"}, Prompt: "none", APIVersion: "66.0", RedirectURL: "/callback",
	}).Validate()
	for _, part := range []string{
		"Bad %s: Key must match", "ClientID is empty", "ClientSecret is empty", "RedirectURL", `scope "api,full"`, "Scopes lack refresh_token",
		"Site: ", "APIVersion must look like", "Prompt must be made of",
	} {
		require.ErrorContains(t, err, part)
	}
	require.NoError(t, app().Validate())
	require.NoError(t, app(func(c *salesforceapp.Config) {
		c.Site, c.Scopes, c.Prompt, c.APIVersion = "Acme--UAT.sandbox.my.salesforce.com", []string{"full", "offline_access"}, "login consent", "v101.0"
	}).Validate())
}

func TestInfo(t *testing.T) {
	require.Equal(t, providers.Info{
		Key: "salesforce", Kind: "salesforce", App: "3MVG9", Name: "Salesforce", Hosts: []string{"*.salesforce.com"}, Scopes: []string{"api", "refresh_token"}, PKCE: true,
	}, app().Info())
	other := app(func(c *salesforceapp.Config) {
		c.Key, c.Scopes = "salesforce_eu", []string{"api", "offline_access", "refresh_token", "openid"}
	})
	require.Equal(t, []string{"api", "refresh_token", "openid"}, other.Info().Scopes)
	require.Equal(t, "salesforce_eu", other.Info().Key)
	require.Equal(t, "salesforce", other.Info().Kind)
}

func TestAppDoesNotChange(t *testing.T) {
	scopes := []string{"api", "refresh_token"}
	a := app(func(c *salesforceapp.Config) { c.Scopes = scopes })
	scopes[0] = "full"
	info := a.Info()
	require.Equal(t, []string{"api", "refresh_token"}, info.Scopes)
	info.Scopes[0], info.Hosts[0] = "full", "attacker.example"
	require.Equal(t, []string{"api", "refresh_token"}, a.Info().Scopes)
	require.Equal(t, []string{"*.salesforce.com"}, a.Info().Hosts)
}

func TestReadOrg(t *testing.T) {
	o, err := salesforceapp.ReadOrg(providers.Snapshot{ProviderData: []byte(orgData)})
	require.NoError(t, err)
	require.Equal(t, salesforceapp.Org{
		ID: "00D5e000000KQ2eEAG", UserID: "005x00000012Q9PAAU", InstanceURL: "https://acme.my.salesforce.com", AuthHost: "login.salesforce.com",
	}, o)
	o, err = salesforceapp.ReadOrg(providers.Snapshot{})
	require.NoError(t, err)
	require.Zero(t, o)
	for _, data := range []string{
		`[]`, `{"instance_url":1}`, `{"instance_url":"https://acme.example"}`, `{"instance_url":"http://acme.my.salesforce.com"}`,
		`{"auth_host":"evil.example"}`, `{"auth_host":"eu5.salesforce.com"}`, `{"api_version":"v66.0/../.."}`,
	} {
		_, err = salesforceapp.ReadOrg(providers.Snapshot{ProviderData: []byte(data)})
		require.ErrorIs(t, err, providers.ErrInvalid, data)
		require.NotContains(t, err.Error(), "example")
	}
}

// idleLimit is the default of Config.IdleLimit.
const idleLimit = 30 * 24 * time.Hour

// sign is Salesforce's signature, made apart from the code that verifies it.
func sign(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(mac, text)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
