package sheetsapp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

const (
	clientID     = "1-a.apps.googleusercontent.com"
	clientSecret = "planted-client-secret"
	accessToken  = "ya29.planted-access-token"
	sheetID      = "1aBC-123_xYz"

	emailScope   = "https://www.googleapis.com/auth/userinfo.email"
	profileScope = "https://www.googleapis.com/auth/userinfo.profile"
)

func app(change ...func(*sheetsapp.Config)) *sheetsapp.App {
	cfg := sheetsapp.Config{ClientID: clientID, ClientSecret: clientSecret, Scopes: []string{sheetsapp.ScopeSpreadsheets}}
	for _, fn := range change {
		fn(&cfg)
	}
	return sheetsapp.New(cfg)
}

// fixed is a connection's source with a token that does not change.
type fixed struct{ snapshot providers.Snapshot }

func (fixed) Token(context.Context) (*token.Token, error) {
	return &token.Token{Access: token.NewSecret(accessToken), Header: []string{"Bearer " + accessToken}, Gen: 1}, nil
}

func (fixed) Rejected(context.Context, int64, bool) (*token.Token, bool, error) {
	return nil, false, nil
}

func (f fixed) Snapshot(context.Context) (providers.Snapshot, error) { return f.snapshot, nil }

// sent is a request as it went out.
type sent struct {
	method, url, contentType, authorization, body string
}

// wire writes down requests and answers them one after the other, the last answer
// again and again.
type wire struct {
	t       *testing.T
	sent    []sent
	answers []answer
}

type answer struct {
	status int
	body   string
}

func ok(body string) answer { return answer{http.StatusOK, body} }

var errUnsent = errors.New("nothing is to be sent")

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.t.Helper()
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		require.NoError(w.t, err)
	}
	w.sent = append(w.sent, sent{r.Method, r.URL.String(), r.Header.Get("Content-Type"), r.Header.Get("Authorization"), string(body)})
	if len(w.answers) == 0 {
		return nil, errUnsent
	}
	a := w.answers[0]
	if len(w.answers) > 1 {
		w.answers = w.answers[1:]
	}
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}},
		Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
	}, nil
}

// connect makes a connection as the Manager does. Scopes are those granted; none
// means nobody knows them.
func connect(t *testing.T, w *wire, e providers.Endpoints, scopes ...string) *providers.Connection {
	t.Helper()
	a := app()
	hosts, err := providers.NewHosts(a.Info().Hosts...)
	require.NoError(t, err)
	conn, err := providers.NewConnection(providers.ConnectionConfig{Retries: -1,
		TenantID: "tenant-1", IntegrationID: "integration-1", Provider: sheetsapp.Key, Hosts: hosts, Transport: w, Classifier: a,
		Source: fixed{providers.Snapshot{ExternalID: "1", Scopes: scopes}}, Endpoints: e,
	})
	require.NoError(t, err)
	return conn
}

// answering makes a connection whose calls are answered.
func answering(t *testing.T, answers ...answer) (*wire, *providers.Connection) {
	t.Helper()
	w := &wire{t: t, answers: answers}
	return w, connect(t, w, nil)
}

func TestValidateReportsAllFaults(t *testing.T) {
	err := sheetsapp.New(sheetsapp.Config{Key: "Bad %s", Scopes: []string{"email", "a b", ""}, RedirectURL: "/callback"}).Validate()
	for _, part := range []string{"Bad %s: Key must match", "ClientID is empty", "ClientSecret is empty", `scope "a b"`, `scope ""`, "RedirectURL"} {
		require.ErrorContains(t, err, part)
	}
	require.NoError(t, app(func(c *sheetsapp.Config) { c.RedirectURL = "https://app.example.com/cb" }).Validate())
	require.ErrorContains(t, app(func(c *sheetsapp.Config) { c.Scopes = nil }).Validate(), "Scopes is empty")
	require.ErrorContains(t, app(func(c *sheetsapp.Config) { c.Scopes = []string{"openid", "email", "profile"} }).Validate(), "Scopes is empty")
}

func TestInfo(t *testing.T) {
	a := app(func(c *sheetsapp.Config) {
		c.Key = "sheets_eu"
		c.Scopes = []string{"profile", sheetsapp.ScopeDriveFile, "email", emailScope, sheetsapp.ScopeDriveFile}
	})
	require.Equal(t, providers.Info{
		Key: "sheets_eu", Kind: "google_sheets", App: "1-a.apps.googleusercontent.com", Name: "Google Sheets", PKCE: true,
		Hosts:  []string{"sheets.googleapis.com", "www.googleapis.com"},
		Scopes: []string{"openid", emailScope, profileScope, sheetsapp.ScopeDriveFile},
	}, a.Info())
	info := a.Info()
	info.Scopes[0], info.Hosts[0] = "admin", "attacker.example"
	require.Equal(t, "openid", a.Info().Scopes[0])
	require.Equal(t, "sheets.googleapis.com", a.Info().Hosts[0])
}

func TestReadAccount(t *testing.T) {
	a, err := sheetsapp.ReadAccount(providers.Snapshot{ProviderData: []byte(`{"email":"a@example.com","hd":"example.com","name":"A"}`)})
	require.NoError(t, err)
	require.Equal(t, sheetsapp.Account{Email: "a@example.com", Domain: "example.com", Name: "A"}, a)
	_, err = sheetsapp.ReadAccount(providers.Snapshot{ProviderData: []byte(`{"email":1}`)})
	require.ErrorIs(t, err, providers.ErrInvalid)
}
