package integrationstest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/saas-integrations/integrations/providers"
	"golang.org/x/oauth2"
)

// Hosts of the generic OAuth 2 server.
const (
	oauthHost = "auth.example.test"
	apiHost   = "api.example.test"
)

// OAuth is a generic OAuth 2 server with an API that answers GET /me and
// anything else for a good token. Use it for providers made with
// providers.NewOAuth2.
type OAuth struct {
	// Tokens issues and counts its tokens.
	Tokens *TokenServer

	clientID, clientSecret string
}

func newOAuth(n *Network) *OAuth {
	o := &OAuth{Tokens: newTokenServer("oauth-"), clientID: "client-" + randomHex(), clientSecret: "secret-" + randomHex()}
	o.Tokens.SetLife(3600e9)
	auth := http.NewServeMux()
	auth.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) { consent(w, r, o.Tokens, o.clientID) })
	auth.HandleFunc("POST /token", o.token)
	auth.HandleFunc("POST /revoke", o.revoke)
	n.Handle(oauthHost, auth)
	n.Handle(apiHost, http.HandlerFunc(o.api))
	return o
}

// Config is the configuration of a provider at this server under a key.
func (o *OAuth) Config(key string) providers.OAuth2Config {
	return providers.OAuth2Config{
		Key: key, ClientID: o.clientID, ClientSecret: o.clientSecret,
		Endpoint: oauth2.Endpoint{
			AuthURL: "https://" + oauthHost + "/authorize", TokenURL: "https://" + oauthHost + "/token",
			AuthStyle: oauth2.AuthStyleInParams,
		},
		Scopes: []string{"read", "write"}, Hosts: []string{apiHost},
		AccountURL: "https://" + apiHost + "/me", AccountID: "account.id", AccountName: "account.name",
		RevokeURL: "https://" + oauthHost + "/revoke",
	}
}

// consent is an authorize page whose user agrees at once, unless the browser
// says otherwise. A real server shows a page here.
func consent(w http.ResponseWriter, r *http.Request, s *TokenServer, clientID string) {
	q := r.URL.Query()
	if q.Get("client_id") != clientID || (q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256") {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	back(w, r, s, clientID, q.Get("redirect_uri"), accountOf(r), nil)
}

// back sends the browser to the app's callback with a code, or with an error.
func back(w http.ResponseWriter, r *http.Request, s *TokenServer, clientID, redirectURI, subject string, extra url.Values) {
	q := r.URL.Query()
	out := url.Values{}
	for k, v := range extra {
		out[k] = v
	}
	if state := q.Get("state"); state != "" {
		out.Set("state", state)
	}
	if e := r.Header.Get(headerDeny); e != "" {
		out.Set("error", e)
	} else {
		out.Set("code", s.newCode(clientID, redirectURI, q.Get("code_challenge"), subject, granted(r, "scope")))
	}
	u, err := url.Parse(redirectURI)
	if err != nil {
		http.Error(w, "bad redirect_uri", http.StatusBadRequest)
		return
	}
	u.RawQuery = out.Encode()
	w.Header().Set("Location", u.String())
	w.WriteHeader(http.StatusFound)
}

func (o *OAuth) token(w http.ResponseWriter, r *http.Request) {
	if r.ParseForm() != nil || !o.client(r) {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	var out issued
	var ok bool
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		out, ok = o.Tokens.exchange(r.PostForm.Get("code"), o.clientID, r.PostForm.Get("redirect_uri"), r.PostForm.Get("code_verifier"))
	case "refresh_token":
		out, ok = o.Tokens.renew(r.PostForm.Get("refresh_token"))
	}
	if !ok {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "code or token is not good"})
		return
	}
	answer := map[string]any{"access_token": out.access, "token_type": "Bearer", "scope": strings.Join(out.scopes, " ")}
	if out.refresh != "" {
		answer["refresh_token"] = out.refresh
	}
	if out.life > 0 {
		answer["expires_in"] = int(out.life.Seconds())
	}
	writeJSON(w, http.StatusOK, answer)
}

func (o *OAuth) client(r *http.Request) bool {
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	return id == o.clientID && secret == o.clientSecret
}

// revoke is RFC 7009: 200 also for a token that is not known.
func (o *OAuth) revoke(w http.ResponseWriter, r *http.Request) {
	if r.ParseForm() != nil || !o.client(r) {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	o.Tokens.kill(r.PostForm.Get("token"))
	w.WriteHeader(http.StatusOK)
}

func (o *OAuth) api(w http.ResponseWriter, r *http.Request) {
	subject, _, ok := o.Tokens.authorize(bearer(r))
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"account": map[string]any{"id": subject, "name": "Account " + subject}})
}

func bearer(r *http.Request) string {
	v, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return v
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
