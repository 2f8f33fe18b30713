package peers

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"golang.org/x/oauth2"
)

// TestZitadelConnectsAndRotates walks through zitadel/oidc's own login page and
// refreshes against it: it takes each refresh token once.
func TestZitadelConnectsAndRotates(t *testing.T) {
	const issuer = "https://auth.zitadel.test/"
	storage.RegisterClients(storage.WebClient("peer", "peer-secret", redirectURL))
	op := exampleop.SetupServer(issuer, storage.NewStorage(storage.NewUserStore(issuer)), slog.New(slog.NewTextHandler(io.Discard, nil)), false)
	var refreshes, refused atomic.Int64
	var seen sync.Map // access tokens, and whether the API still takes them
	kit := integrationstest.New(t)
	kit.Network.Handle("auth.zitadel.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &status{ResponseWriter: w, code: http.StatusOK}
		if r.URL.Path == "/oauth/token" {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			if r.PostForm.Get("grant_type") == "refresh_token" {
				refreshes.Add(1)
				defer func() {
					if counted.code != http.StatusOK {
						refused.Add(1)
					}
				}()
			}
		}
		if r.URL.Path == "/userinfo" {
			if good, _ := seen.LoadOrStore(r.Header.Get("Authorization"), true); good != true {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		}
		op.ServeHTTP(counted, r)
	}))
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{providers.NewOAuth2(providers.OAuth2Config{
		Key: "peer", ClientID: "peer", ClientSecret: "peer-secret", Scopes: []string{"openid", "profile", "offline_access"},
		Endpoint: oauth2.Endpoint{AuthURL: issuer + "auth", TokenURL: issuer + "oauth/token", AuthStyle: oauth2.AuthStyleInHeader},
		Hosts:    []string{"auth.zitadel.test"}, AccountURL: issuer + "userinfo", AccountID: "sub", AccountName: "name", RevokeURL: issuer + "revoke",
	})}
	m := kit.Use(cfg)
	b := kit.Browser("t1", "u1")
	v := b.Open(kit.ConnectURL("peer"))
	require.Equal(t, http.StatusOK, v.Status, "%s %s", v.URL, v.Body)
	login, err := url.Parse(v.URL)
	require.NoError(t, err)
	v = b.Do(http.MethodPost, issuer+"login/username", url.Values{
		"id": {login.Query().Get("authRequestID")}, "username": {"test-user2"}, "password": {"verysecure"},
	}, "same-origin")
	for v.Status == http.StatusFound && !strings.HasPrefix(v.URL, redirectURL) {
		from, err := url.Parse(v.URL)
		require.NoError(t, err)
		to, err := from.Parse(v.Header.Get("Location"))
		require.NoError(t, err)
		v = b.Do(http.MethodGet, to.String(), nil, "cross-site")
	}
	require.True(t, strings.HasSuffix(v.Header.Get("Location"), "result=connected"), "%s %d %s %s", v.URL, v.Status, v.Header.Get("Location"), v.Body)

	var conn *providers.Connection
	for round := range int64(5) {
		// Another replica each time: one does not renew again so soon what it just
		// renewed because it was refused.
		m = kit.Use(cfg)
		conn, err = m.Connection(t.Context(), "t1", "peer")
		require.NoError(t, err)
		seen.Range(func(k, _ any) bool { seen.Store(k, false); return true })
		var wg sync.WaitGroup
		var failed atomic.Int64
		for range 20 {
			wg.Go(func() {
				resp, err := conn.HTTPClient().Get(issuer + "userinfo")
				if err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		require.Zero(t, failed.Load())
		require.Equal(t, round+1, refreshes.Load())
	}
	require.Zero(t, refused.Load())
	require.NoError(t, m.Disconnect(t.Context(), "t1", conn.IntegrationID()))
}

// status remembers the status of an answer.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}
