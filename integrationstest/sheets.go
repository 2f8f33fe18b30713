package integrationstest

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/providers/sheetsapp"
)

// googleAuth is what Google's scopes begin with.
const googleAuth = "https://www.googleapis.com/auth/"

// Sheets is a Google that lives in this process: sign-in, spreadsheets and their
// cells, and Drive's channels and changes, with real answer shapes. The account of
// a browser is the account's sub; its address is sub@example.test.
type Sheets struct {
	// Tokens issues and counts its tokens. Refresh tokens are not replaced.
	Tokens *TokenServer

	kit                    *Kit
	clientID, clientSecret string

	mu        sync.Mutex
	ticked    []string // nil: all
	consents  map[string]googleConsent
	grants    map[string]googleGrant // by token
	consented map[string]bool        // by sub
	limited   int
	files     map[string]*googleFile
	channels  map[string]*driveChannel
	changes   []driveChange
}

// googleConsent is what a user agreed to, by code.
type googleConsent struct {
	scopes  []string
	offline bool // a refresh token comes with it
}

// googleGrant is what a token is good for.
type googleGrant struct {
	sub    string
	scopes []string
}

func (g googleGrant) hasAny(scopes []string) bool {
	return slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(g.scopes, googleAuth+scope) })
}

func newSheets(k *Kit) *Sheets {
	s := &Sheets{
		Tokens: newTokenServer("ya29."), kit: k,
		clientID: randomHex() + ".apps.googleusercontent.com", clientSecret: "GOCSPX-" + randomHex(),
		consents: map[string]googleConsent{}, grants: map[string]googleGrant{}, consented: map[string]bool{},
		files: map[string]*googleFile{}, channels: map[string]*driveChannel{},
	}
	s.Tokens.SetLife(3599 * time.Second)
	s.Tokens.SetRotation(NonRotating, 0)
	accounts := http.NewServeMux()
	accounts.HandleFunc("GET /o/oauth2/v2/auth", s.consent)
	k.Network.Handle("accounts.google.com", accounts)
	oauth := http.NewServeMux()
	oauth.HandleFunc("POST /token", s.token)
	oauth.HandleFunc("POST /revoke", s.revoke)
	k.Network.Handle("oauth2.googleapis.com", oauth)
	k.Network.Handle("sheets.googleapis.com", http.HandlerFunc(s.sheetsAPI))
	k.Network.Handle("www.googleapis.com", s.driveAPI())
	return s
}

// App is the OAuth client registered at this fake, with scopes for spreadsheets and
// for watching the files that it makes.
func (s *Sheets) App() sheetsapp.Config {
	return sheetsapp.Config{
		ClientID: s.clientID, ClientSecret: s.clientSecret,
		Scopes: []string{sheetsapp.ScopeSpreadsheets, sheetsapp.ScopeDriveFile},
	}
}

// TickOnly lets users tick nothing but the given scopes from now on, beside those
// of signing in; without any they tick all again.
func (s *Sheets) TickOnly(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ticked = slices.Clone(scopes)
}

// LimitNext refuses the next n calls of either API for a spent quota.
func (s *Sheets) LimitNext(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limited = n
}

func longScope(scope string) string {
	switch scope {
	case "email", "profile":
		return googleAuth + "userinfo." + scope
	}
	return scope
}

func signsIn(scope string) bool {
	return scope == "openid" || strings.HasPrefix(scope, googleAuth+"userinfo.")
}

// consent is the page where a user agrees, to all or some of the scopes.
func (s *Sheets) consent(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	challenge := q.Get("code_challenge")
	to, err := url.Parse(q.Get("redirect_uri"))
	if q.Get("client_id") != s.clientID || q.Get("response_type") != "code" || q.Get("scope") == "" || err != nil ||
		(challenge != "" && q.Get("code_challenge_method") != "S256") {
		http.Error(w, "Error 400: invalid_request", http.StatusBadRequest)
		return
	}
	out := url.Values{}
	if q.Has("state") {
		out.Set("state", q.Get("state"))
	}
	if e := r.Header.Get(headerDeny); e != "" {
		out.Set("error", e)
	} else {
		sub := accountOf(r)
		code := s.Tokens.newCode(s.clientID, q.Get("redirect_uri"), challenge, sub, nil)
		prompts := strings.Fields(q.Get("prompt"))
		s.mu.Lock()
		var granted []string
		for _, scope := range strings.Fields(q.Get("scope")) {
			scope = longScope(scope)
			if signsIn(scope) || len(s.ticked) == 0 || slices.Contains(s.ticked, scope) {
				granted = append(granted, scope)
			}
		}
		s.consents[code] = googleConsent{
			scopes:  granted,
			offline: q.Get("access_type") == "offline" && (slices.Contains(prompts, "consent") || !s.consented[sub]),
		}
		s.consented[sub] = true
		s.mu.Unlock()
		out.Set("code", code)
		out.Set("scope", strings.Join(granted, " "))
		out.Set("authuser", "0")
		out.Set("prompt", q.Get("prompt"))
		out.Set("hd", "example.test")
	}
	to.RawQuery = out.Encode()
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusFound)
}

// token is the token endpoint. It takes the client's secret in the form only.
func (s *Sheets) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	f := r.PostForm
	refuse := func(status int, code, text string) {
		writeJSON(w, status, map[string]any{"error": code, "error_description": text})
	}
	if f.Get("client_id") != s.clientID || f.Get("client_secret") != s.clientSecret {
		refuse(http.StatusUnauthorized, "invalid_client", "Unauthorized")
		return
	}
	switch f.Get("grant_type") {
	case "authorization_code":
		out, ok := s.Tokens.exchange(f.Get("code"), s.clientID, f.Get("redirect_uri"), f.Get("code_verifier"))
		if !ok {
			refuse(http.StatusBadRequest, "invalid_grant", "Malformed auth code.")
			return
		}
		s.mu.Lock()
		c := s.consents[f.Get("code")]
		s.mu.Unlock()
		if !c.offline {
			out.refresh = ""
		}
		s.issue(w, out, c.scopes)
	case "refresh_token":
		s.mu.Lock()
		scopes := s.grants[f.Get("refresh_token")].scopes
		s.mu.Unlock()
		out, ok := s.Tokens.renew(f.Get("refresh_token"))
		if !ok {
			refuse(http.StatusBadRequest, "invalid_grant", "Token has been expired or revoked.")
			return
		}
		s.issue(w, out, scopes)
	default:
		refuse(http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: "+f.Get("grant_type"))
	}
}

func (s *Sheets) issue(w http.ResponseWriter, out issued, scopes []string) {
	s.mu.Lock()
	s.grants[out.access] = googleGrant{out.subject, scopes}
	answer := map[string]any{
		"access_token": out.access, "expires_in": int(out.life.Seconds()), "scope": strings.Join(scopes, " "), "token_type": "Bearer",
	}
	if out.refresh != "" {
		s.grants[out.refresh] = googleGrant{out.subject, scopes}
		answer["refresh_token"] = out.refresh
	}
	s.mu.Unlock()
	if slices.Contains(scopes, "openid") {
		answer["id_token"] = s.idToken(out.subject, scopes)
	}
	writeJSON(w, http.StatusOK, answer)
}

// idToken has the form of one; nobody can check its signature.
func (s *Sheets) idToken(sub string, scopes []string) string {
	part := base64.RawURLEncoding.EncodeToString
	now := time.Now()
	claims := map[string]any{
		"iss": "https://accounts.google.com", "azp": s.clientID, "aud": s.clientID, "sub": sub, "hd": "example.test",
		"at_hash": randomHex()[:22], "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if slices.Contains(scopes, longScope("email")) {
		claims["email"], claims["email_verified"] = sub+"@example.test", true
	}
	if slices.Contains(scopes, longScope("profile")) {
		claims["name"] = "User " + sub
	}
	header := map[string]any{"alg": "RS256", "kid": randomHex(), "typ": "JWT"}
	return part(mustJSON(header)) + "." + part(mustJSON(claims)) + "." + part([]byte(strings.Repeat(randomHex(), 10)))
}

// revoke ends all grants of a token's user, as at Google.
func (s *Sheets) revoke(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	value := r.PostForm.Get("token")
	if !s.Tokens.kill(value) {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_token", "error_description": "Token expired or revoked"})
		return
	}
	s.mu.Lock()
	sub := s.grants[value].sub
	delete(s.consented, sub)
	s.mu.Unlock()
	s.Tokens.Revoke(sub)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write([]byte("{}"))
}

// googleFault answers as Google's APIs refuse: reason is that of Drive, info that of
// Sheets.
func googleFault(w http.ResponseWriter, status int, name, text, reason, info string) {
	e := map[string]any{"code": status, "message": text, "status": name}
	if reason != "" {
		e["errors"] = []any{map[string]any{"message": text, "domain": "global", "reason": reason}}
	}
	if info != "" {
		e["details"] = []any{map[string]any{
			"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": info, "domain": "googleapis.com",
		}}
	}
	writeJSON(w, status, map[string]any{"error": e})
}

// caller answers unless the request has a good token with one of some scopes.
func (s *Sheets) caller(w http.ResponseWriter, r *http.Request, scopes ...string) (googleGrant, bool) {
	if _, _, ok := s.Tokens.authorize(bearer(r)); !ok {
		googleFault(w, http.StatusUnauthorized, "UNAUTHENTICATED",
			"Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.", "authError", "")
		return googleGrant{}, false
	}
	s.mu.Lock()
	g := s.grants[bearer(r)]
	limited := s.limited > 0
	if limited {
		s.limited--
	}
	s.mu.Unlock()
	switch {
	case limited:
		googleFault(w, http.StatusTooManyRequests, "RESOURCE_EXHAUSTED",
			"Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute per user' of service 'sheets.googleapis.com' for consumer 'project_number:1'.",
			"", "RATE_LIMIT_EXCEEDED")
		return g, false
	case !g.hasAny(scopes):
		googleFault(w, http.StatusForbidden, "PERMISSION_DENIED", "Request had insufficient authentication scopes.",
			"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
		return g, false
	}
	return g, true
}
