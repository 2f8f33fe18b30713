package hubspotapp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// The secret of HubSpot's published vectors.
const clientSecret = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"

const previousSecret = "planted-previous-secret"

func app(change ...func(*hubspotapp.Config)) *hubspotapp.App {
	cfg := hubspotapp.Config{ClientID: "id-1", ClientSecret: clientSecret, Scopes: []string{"oauth", "crm.objects.contacts.read"}}
	for _, fn := range change {
		fn(&cfg)
	}
	return hubspotapp.New(cfg)
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// fixed is a connection's source with a token that does not change.
type fixed struct{}

func (fixed) Token(context.Context) (*token.Token, error) {
	return &token.Token{Access: token.NewSecret("planted-access"), Header: []string{"Bearer planted-access"}, Gen: 1}, nil
}

func (fixed) Rejected(context.Context, int64, bool) (*token.Token, bool, error) {
	return nil, false, nil
}

func (fixed) Snapshot(context.Context) (providers.Snapshot, error) { return providers.Snapshot{}, nil }

// sent is a request as it went out.
type sent struct {
	method, url, authorization, contentType, body string
}

// recorder answers requests in turn and writes them down; the last answer stays.
type recorder struct {
	answers []answer
	sent    []sent
}

type answer struct {
	status int
	body   string
}

func (c *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	s := sent{method: r.Method, url: r.URL.String(), authorization: r.Header.Get("Authorization"), contentType: r.Header.Get("Content-Type")}
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.body = string(b)
	}
	c.sent = append(c.sent, s)
	a := c.answers[min(len(c.sent), len(c.answers))-1]
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
	}, nil
}

func answering(status int, body string) *recorder {
	return &recorder{answers: []answer{{status, body}}}
}

// connect makes a connection as the Manager does, with the app's classifier.
func connect(rt http.RoundTripper, change ...func(*providers.ConnectionConfig)) *providers.Connection {
	a := hubspotapp.New(hubspotapp.Config{})
	hosts, err := providers.NewHosts(a.Info().Hosts...)
	if err != nil {
		panic(err)
	}
	cfg := providers.ConnectionConfig{Retries: -1, Provider: hubspotapp.Key, Hosts: hosts, Source: fixed{}, Transport: rt, Classifier: a}
	for _, fn := range change {
		fn(&cfg)
	}
	conn, err := providers.NewConnection(cfg)
	if err != nil {
		panic(err)
	}
	return conn
}

// noSecrets checks that an error holds nothing of the request or the answer.
func noSecrets(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range append(texts, "planted", "://", clientSecret) {
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err.Error()), text)
	}
}

func TestValidateReportsAllFaults(t *testing.T) {
	err := hubspotapp.New(hubspotapp.Config{
		Key: "Bad %s", ClientSecret: "short", PreviousClientSecrets: []string{""}, OptionalScopes: []string{"a,b"}, RedirectURL: "/callback",
		AuthorizeHost: "app.hubspot.com.evil.example", AppID: -1, PublicURL: "http://app.example.com/x#y",
	}).Validate()
	for _, part := range []string{
		"Bad %s: Key must match", "ClientID is empty", "Scopes is empty", `scope "a,b"`, "RedirectURL", "secret 1 of 2", "secret 2 of 2",
		"AuthorizeHost", "AppID", "PublicURL",
	} {
		require.ErrorContains(t, err, part)
	}
	require.NotContains(t, err.Error(), "short")
	require.ErrorContains(t, hubspotapp.New(hubspotapp.Config{}).Validate(), "ClientSecret is empty")
	require.NoError(t, app().Validate())
	require.NoError(t, app(func(c *hubspotapp.Config) {
		c.AuthorizeHost, c.PublicURL = "app-eu1.hubspot.com", "https://hooks.example.com/hubspot?x=1"
	}).Validate())
	for _, host := range []string{"hubspot.com", "evilhubspot.com", "app.hubspot.com:443", "app.hubspot.com/x", "*.hubspot.com", "app.hubspot.com."} {
		require.Error(t, app(func(c *hubspotapp.Config) { c.AuthorizeHost = host }).Validate(), host)
	}
}

func TestInfo(t *testing.T) {
	a := app(func(c *hubspotapp.Config) { c.Key, c.PKCE, c.OptionalScopes = "hubspot_eu", true, []string{"tickets"} })
	want := providers.Info{
		Key: "hubspot_eu", Kind: "hubspot", App: "id-1", Name: "HubSpot", Hosts: []string{"api.hubapi.com"},
		OptionalScopes: []string{"tickets"}, Scopes: []string{"oauth", "crm.objects.contacts.read"}, PKCE: true,
	}
	require.Equal(t, want, a.Info())
	info := a.Info()
	info.Scopes[0], info.Hosts[0] = "admin", "attacker.example"
	require.Equal(t, want, a.Info())
}

func TestWebhookSourceIsUnsupportedWithoutSecretOrWhenOff(t *testing.T) {
	for _, a := range []*hubspotapp.App{hubspotapp.New(hubspotapp.Config{}), app(func(c *hubspotapp.Config) { c.NoWebhooks = true })} {
		_, err := a.WebhookSource()
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
	_, err := app(func(c *hubspotapp.Config) { c.ClientSecret = "short" }).WebhookSource()
	require.Error(t, err)
	require.NotErrorIs(t, err, errors.ErrUnsupported)
}

func TestReadPortal(t *testing.T) {
	p, err := hubspotapp.ReadPortal(providers.Snapshot{ProviderData: []byte(`{"hub_id":62515,"user_id":7,"hub_domain":"a.example","app_id":9}`)})
	require.NoError(t, err)
	require.Equal(t, hubspotapp.Portal{HubID: 62515, UserID: 7, HubDomain: "a.example", AppID: 9}, p)
	_, err = hubspotapp.ReadPortal(providers.Snapshot{ProviderData: []byte(`{"hub_id":"x"}`)})
	require.ErrorIs(t, err, providers.ErrInvalid)
}
