// Package peers tests the library against OAuth servers and clients written by
// others, and measures it beside them. It is a module of its own, outside the
// workspace, so that none of them is a dependency of the library.
package peers

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

const redirectURL = integrationstest.BaseURL + "/peer/callback"

// fositeServer is ory/fosite with PKCE enforced, rotation, and a family that is
// revoked when a refresh token comes twice.
type fositeServer struct {
	provider  fosite.OAuth2Provider
	store     *storage.MemoryStore
	refreshes atomic.Int64
	refused   atomic.Int64
	issued    sync.Map // access tokens the API takes
}

func newFosite() *fositeServer {
	s := &fositeServer{store: storage.NewMemoryStore()}
	config := &fosite.Config{
		GlobalSecret: []byte("a secret of thirty-two bytes ----"[:32]), EnforcePKCE: true, AccessTokenLifespan: time.Hour,
		RefreshTokenScopes: []string{}, SendDebugMessagesToClients: true, ScopeStrategy: fosite.ExactScopeStrategy,
	}
	hash, err := (&fosite.BCrypt{Config: config}).Hash(context.Background(), []byte("peer-secret"))
	if err != nil {
		panic(err)
	}
	s.store.Clients["peer"] = &fosite.DefaultClient{
		ID: "peer", Secret: hash, RedirectURIs: []string{redirectURL}, ResponseTypes: []string{"code"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, Scopes: []string{"read", "offline"},
	}
	s.provider = compose.Compose(config, s.store, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory,
		compose.OAuth2TokenRevocationFactory, compose.OAuth2TokenIntrospectionFactory)
	return s
}

func (s *fositeServer) authorize(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	ar, err := s.provider.NewAuthorizeRequest(ctx, r)
	if err != nil {
		s.provider.WriteAuthorizeError(ctx, w, ar, err)
		return
	}
	for _, scope := range ar.GetRequestedScopes() {
		ar.GrantScope(scope)
	}
	resp, err := s.provider.NewAuthorizeResponse(ctx, ar, &fosite.DefaultSession{Subject: "account-1"})
	if err != nil {
		s.provider.WriteAuthorizeError(ctx, w, ar, err)
		return
	}
	s.provider.WriteAuthorizeResponse(ctx, w, ar, resp)
}

func (s *fositeServer) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	_ = r.ParseForm()
	refresh := r.PostForm.Get("grant_type") == "refresh_token"
	if refresh {
		s.refreshes.Add(1)
	}
	ar, err := s.provider.NewAccessRequest(ctx, r, &fosite.DefaultSession{})
	if err == nil {
		var resp fosite.AccessResponder
		if resp, err = s.provider.NewAccessResponse(ctx, ar); err == nil {
			s.issued.Store(resp.GetAccessToken(), true)
			s.provider.WriteAccessResponse(ctx, w, ar, resp)
			return
		}
	}
	if refresh {
		s.refused.Add(1)
	}
	s.provider.WriteAccessError(ctx, w, ar, err)
}

func (s *fositeServer) revoke(w http.ResponseWriter, r *http.Request) {
	s.provider.WriteRevocationResponse(r.Context(), w, s.provider.NewRevocationRequest(r.Context(), r))
}

func (s *fositeServer) api(w http.ResponseWriter, r *http.Request) {
	tok := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, ar, err := s.provider.IntrospectToken(r.Context(), tok, fosite.AccessToken, &fosite.DefaultSession{})
	if _, fresh := s.issued.Load(tok); err != nil || !fresh {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"sub": ar.GetSession().GetSubject()})
}

func TestFositeNeverSeesAReuse(t *testing.T) {
	s := newFosite()
	kit := integrationstest.New(t)
	auth := http.NewServeMux()
	auth.HandleFunc("/authorize", s.authorize)
	auth.HandleFunc("/token", s.token)
	auth.HandleFunc("/revoke", s.revoke)
	kit.Network.Handle("auth.peer.test", auth)
	kit.Network.Handle("api.peer.test", http.HandlerFunc(s.api))
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{providers.NewOAuth2(providers.OAuth2Config{
		Key: "peer", ClientID: "peer", ClientSecret: "peer-secret", Scopes: []string{"read", "offline"},
		Endpoint: oauth2.Endpoint{AuthURL: "https://auth.peer.test/authorize", TokenURL: "https://auth.peer.test/token", AuthStyle: oauth2.AuthStyleInHeader},
		Hosts:    []string{"api.peer.test"}, AccountURL: "https://api.peer.test/me", AccountID: "sub", RevokeURL: "https://auth.peer.test/revoke",
	})}
	m := kit.Use(cfg)
	kit.Connect("t1", "peer")
	var conn *providers.Connection
	for round := range int64(10) {
		s.issued.Clear() // all access tokens are refused from now on
		// Another replica each time: one does not renew again so soon what it just
		// renewed because it was refused.
		m = kit.Use(cfg)
		var err error
		conn, err = m.Connection(t.Context(), "t1", "peer")
		require.NoError(t, err)
		var wg sync.WaitGroup
		var failed atomic.Int64
		for range 50 {
			wg.Go(func() {
				resp, err := conn.HTTPClient().Get("https://api.peer.test/me")
				if err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		require.Zero(t, failed.Load())
		require.Equal(t, round+1, s.refreshes.Load())
	}
	require.Zero(t, s.refused.Load(), "a refresh token came twice")
	require.NoError(t, m.Disconnect(t.Context(), "t1", conn.IntegrationID()))
	for signature := range s.store.RefreshTokens {
		_, err := s.store.GetRefreshTokenSession(t.Context(), signature, nil)
		require.Error(t, err, "a refresh token still works after the disconnect")
	}

	t.Run("a code without its verifier is refused", func(t *testing.T) {
		b := kit.Browser("t2", "u2")
		v := b.Do(http.MethodGet, kit.ConnectURL("peer"), nil, "none")
		v = b.Do(http.MethodGet, v.Header.Get("Location"), nil, "cross-site")
		u, err := url.Parse(v.Header.Get("Location"))
		require.NoError(t, err)
		require.NotEmpty(t, u.Query().Get("code"), v.Body)
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "https://auth.peer.test/token", strings.NewReader(url.Values{
			"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {redirectURL},
		}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("peer", "peer-secret")
		s.token(w, r)
		require.Equal(t, http.StatusBadRequest, w.Code, w.Body.String())
	})
}
