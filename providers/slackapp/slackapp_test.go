package slackapp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

const (
	clientSecret = "planted-client-secret"
	signing      = "planted-signing-secret-0123456789"
)

func app(change ...func(*slackapp.Config)) *slackapp.App {
	cfg := slackapp.Config{ClientID: "1.2", ClientSecret: clientSecret, SigningSecrets: []string{signing}, Scopes: []string{"chat:write", "commands"}}
	for _, fn := range change {
		fn(&cfg)
	}
	return slackapp.New(cfg)
}

func userOnly(c *slackapp.Config) { c.Scopes, c.UserScopes = nil, []string{"search:read"} }

func withPKCE(c *slackapp.Config) { c.PKCE = true }

// tokens is a client of token calls that all go to t.
func tokens(t transport) *token.Client {
	return token.NewClient(token.ClientConfig{Transport: t})
}

// status is a transport that answers everything with a status and a body.
func status(code int, contentType, body string) transport {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: code, Status: fmt.Sprint(code, " ", http.StatusText(code)), Header: http.Header{"Content-Type": {contentType}},
			Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}, nil
	}
}

func TestValidateReportsAllFaults(t *testing.T) {
	err := slackapp.New(slackapp.Config{
		Key: "Bad %s", Scopes: []string{"chat:write,commands"}, UserScopes: []string{""}, SigningSecrets: []string{"short", ""}, RedirectURL: "/callback",
	}).Validate()
	for _, part := range []string{
		"Bad %s: Key must match", "ClientID is empty", "ClientSecret is empty", "one of Scopes and UserScopes",
		`scope "chat:write,commands"`, `scope ""`, "RedirectURL", "secret 1 of 2", "secret 2 of 2",
	} {
		require.ErrorContains(t, err, part)
	}
	require.NoError(t, app(withPKCE, func(c *slackapp.Config) { c.RedirectURL = "https://app.example.com/cb" }).Validate())
	require.NoError(t, app(userOnly).Validate())
	require.ErrorContains(t, app(func(c *slackapp.Config) { c.Scopes = nil }).Validate(), "one of Scopes and UserScopes")
}

func TestWebhookSourceNeedsSecrets(t *testing.T) {
	none := app(func(c *slackapp.Config) { c.SigningSecrets = nil })
	require.NoError(t, none.Validate())
	_, err := none.WebhookSource()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = app(func(c *slackapp.Config) { c.SigningSecrets = []string{"short"} }).WebhookSource()
	require.Error(t, err)
	require.NotErrorIs(t, err, errors.ErrUnsupported)
}

func TestInfo(t *testing.T) {
	require.Equal(t, providers.Info{
		Key: "slack_eu", Kind: "slack", App: "1.2", Name: "Slack", Hosts: []string{"slack.com", "*.slack.com"}, Scopes: []string{"search:read"}, PKCE: true,
	}, app(userOnly, withPKCE, func(c *slackapp.Config) { c.Key = "slack_eu" }).Info())
}

func TestAppDoesNotChange(t *testing.T) {
	scopes := []string{"chat:write"}
	a := app(func(c *slackapp.Config) { c.Scopes = scopes })
	scopes[0] = "admin"
	info := a.Info()
	require.Equal(t, []string{"chat:write"}, info.Scopes)
	info.Scopes[0], info.Hosts[0] = "admin", "attacker.example"
	require.Equal(t, []string{"chat:write"}, a.Info().Scopes)
	require.Equal(t, "slack.com", app().Info().Hosts[0])
}

func TestReadWorkspace(t *testing.T) {
	w, err := slackapp.ReadWorkspace(providers.Snapshot{})
	require.NoError(t, err)
	require.Zero(t, w)
	_, err = slackapp.ReadWorkspace(providers.Snapshot{ProviderData: []byte(`{"team_id":1}`)})
	require.ErrorIs(t, err, providers.ErrInvalid)
}

// rotating is a connection's source whose token is renewed when Slack refuses it.
type rotating struct {
	fixed
	rejected []bool // whether for good
}

func (s *rotating) Rejected(_ context.Context, gen int64, dead bool) (*token.Token, bool, error) {
	s.rejected = append(s.rejected, dead)
	return &token.Token{Access: token.NewSecret("xoxb-next"), Header: []string{"Bearer xoxb-next"}, Gen: gen + 1}, true, nil
}

// connect makes a connection as the Manager does, with the app's classifier.
func connect(t *testing.T, src providers.Source, base transport) *providers.Connection {
	t.Helper()
	a := app()
	hosts, err := providers.NewHosts(a.Info().Hosts...)
	require.NoError(t, err)
	conn, err := providers.NewConnection(providers.ConnectionConfig{Retries: -1, Provider: slackapp.Key, Hosts: hosts, Source: src, Transport: base, Classifier: a})
	require.NoError(t, err)
	return conn
}

// read verifies and reads a signed request.
func read(t *testing.T, a *slackapp.App, body string) (webhook.Receipt, error) {
	t.Helper()
	src, err := a.WebhookSource()
	require.NoError(t, err)
	now := time.Now()
	r := webhooktest.Slack("https://app.example.com/slack/webhook", signing, []byte(body), now)
	req := &webhook.Request{Method: http.MethodPost, Header: r.Header, Body: []byte(body), Now: now}
	require.NoError(t, src.Verifier.Verify(req))
	return src.Read(req)
}
