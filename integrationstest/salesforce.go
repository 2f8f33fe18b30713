package integrationstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/providers/salesforceapp"
)

const (
	salesforceLogin   = "login.salesforce.com"
	salesforceSandbox = "test.salesforce.com"
)

// Salesforce is a Salesforce that lives in this process, with real answer shapes:
// sign-in at production, sandbox and My Domain, refresh tokens that rotate and end
// the grant when one is used twice, access tokens without a stated end, records,
// queries in pages, limits. The account of a browser names an org: its My Domain
// is that name, its id is [Salesforce.OrgID].
type Salesforce struct {
	// Tokens issues and counts its tokens; its subjects are accounts. Answers tell
	// no life whatever it is.
	Tokens *TokenServer

	kit                    *Kit
	clientID, clientSecret string

	mu       sync.Mutex
	orgs     map[string]*salesforceOrg // by account
	hosts    map[string]string         // My Domain host to account
	home     map[string]string         // code or refresh token to the host it was issued at
	unsigned bool
	pageSize int
	serial   int
}

// salesforceOrg is an org's data.
type salesforceOrg struct {
	account, host string
	records       map[string][]*salesforceRecord // by object
	cursors       map[string][]map[string]any
	used, quota   int
}

func newSalesforce(k *Kit) *Salesforce {
	s := &Salesforce{
		Tokens: newTokenServer("00D!"), kit: k, clientID: "3MVG9" + randomHex(), clientSecret: "secret-" + randomHex(),
		orgs: map[string]*salesforceOrg{}, hosts: map[string]string{}, home: map[string]string{}, pageSize: 2000,
	}
	s.Tokens.SetLife(2 * time.Hour)
	s.Tokens.RequirePKCE()
	for _, host := range []string{salesforceLogin, salesforceSandbox} {
		mux := http.NewServeMux()
		s.oauth(mux)
		k.Network.Handle(host, mux)
	}
	return s
}

// App is the External Client App registered at this fake.
func (s *Salesforce) App() salesforceapp.Config {
	return salesforceapp.Config{ClientID: s.clientID, ClientSecret: s.clientSecret}
}

// OrgID is the id of an account's org: the account itself if it is one, else one
// made of its name.
func (s *Salesforce) OrgID(account string) string {
	if strings.HasPrefix(account, "00D") && (len(account) == 15 || len(account) == 18) {
		return salesforceID18(account[:15])
	}
	return salesforceIDOf("00D", account)
}

// MyDomain is the host of an account's org, where its users can sign in and where
// its API is.
func (s *Salesforce) MyDomain(account string) string { return s.org(account).host }

// Unsigned leaves the signature out of token answers from now on.
func (s *Salesforce) Unsigned() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsigned = true
}

// Rename gives an account's org another My Domain: the API moves there, and the
// next token answer tells.
func (s *Salesforce) Rename(account, name string) {
	o := s.org(account)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hosts, o.host)
	s.kit.Network.Handle(o.host, http.NotFoundHandler())
	o.host = name + ".my.salesforce.com"
	s.serveOrg(o)
}

// org returns an account's org and makes it on first sight.
func (s *Salesforce) org(account string) *salesforceOrg {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.orgs[account]
	if o == nil {
		o = &salesforceOrg{
			account: account, host: salesforceLabel(account) + ".my.salesforce.com", quota: 15000,
			records: map[string][]*salesforceRecord{}, cursors: map[string][]map[string]any{},
		}
		s.orgs[account] = o
		s.serveOrg(o)
	}
	return o
}

// serveOrg must be called with s.mu held.
func (s *Salesforce) serveOrg(o *salesforceOrg) {
	s.hosts[o.host] = o.account
	mux := http.NewServeMux()
	s.oauth(mux)
	s.rest(mux, o)
	s.kit.Network.Handle(o.host, mux)
}

// salesforceLabel is an account as a part of a host name.
func salesforceLabel(account string) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, account)
	return strings.Trim("org-"+label, "-")
}

// salesforceIDOf makes an id of a text.
func salesforceIDOf(prefix, text string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(text))
	id := []byte(prefix)
	for _, b := range sum[:15-len(prefix)] {
		id = append(id, digits[int(b)%len(digits)])
	}
	return salesforceID18(string(id))
}

// salesforceID18 adds the checksum: one character for each five, whose number has
// a bit for each capital, the first character's the lowest.
func salesforceID18(id string) string {
	sum := ""
	for block := range 3 {
		n := 0
		for i := 4; i >= 0; i-- {
			n *= 2
			if c := id[5*block+i]; 'A' <= c && c <= 'Z' {
				n++
			}
		}
		sum += "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[n : n+1]
	}
	return id + sum
}

func (s *Salesforce) oauth(mux *http.ServeMux) {
	mux.HandleFunc("GET /services/oauth2/authorize", s.authorize)
	mux.HandleFunc("POST /services/oauth2/token", s.token)
	mux.HandleFunc("POST /services/oauth2/revoke", s.revoke)
	mux.HandleFunc("GET /services/oauth2/userinfo", s.userinfo)
}

func (s *Salesforce) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	account := accountOf(r)
	s.mu.Lock()
	owner, mine := s.hosts[r.Host]
	s.mu.Unlock()
	if q.Get("client_id") != s.clientID || q.Get("response_type") != "code" ||
		(q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256") || mine && owner != account {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	s.org(account)
	back(w, r, s.Tokens, s.clientID, q.Get("redirect_uri"), account, nil)
	if u, err := url.Parse(w.Header().Get("Location")); err == nil {
		s.issuedAt(u.Query().Get("code"), r.Host)
	}
}

func (s *Salesforce) issuedAt(value, host string) {
	if value == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.home[value] = host
}

func (s *Salesforce) isHome(value, host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.home[value] == host
}

func oauthNo(w http.ResponseWriter, code, description string) {
	writeJSON(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": description})
}

func (s *Salesforce) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	f := r.PostForm
	switch {
	case f.Get("client_id") != s.clientID:
		oauthNo(w, "invalid_client_id", "client identifier invalid")
		return
	case f.Get("client_secret") != s.clientSecret:
		oauthNo(w, "invalid_client", "invalid client credentials")
		return
	}
	var out issued
	ok := false
	switch grant := f.Get("grant_type"); {
	case grant == "authorization_code" && s.isHome(f.Get("code"), r.Host):
		if out, ok = s.Tokens.exchange(f.Get("code"), s.clientID, f.Get("redirect_uri"), f.Get("code_verifier")); !ok {
			oauthNo(w, "invalid_grant", "expired authorization code")
			return
		}
	case grant == "refresh_token" && s.isHome(f.Get("refresh_token"), r.Host):
		out, ok = s.Tokens.renew(f.Get("refresh_token"))
	case grant != "authorization_code" && grant != "refresh_token":
		oauthNo(w, "unsupported_grant_type", "grant type not supported")
		return
	}
	if !ok {
		oauthNo(w, "invalid_grant", "expired access/refresh token")
		return
	}
	s.issuedAt(out.refresh, r.Host)
	writeJSON(w, http.StatusOK, s.answer(out, r.Host))
}

// answer is a token answer. It has no expires_in.
func (s *Salesforce) answer(out issued, host string) map[string]any {
	o := s.org(out.subject)
	if host != salesforceSandbox {
		host = salesforceLogin
	}
	id := "https://" + host + "/id/" + s.OrgID(out.subject) + "/" + salesforceIDOf("005", out.subject)
	issuedAt := strconv.FormatInt(time.Now().UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(s.clientSecret))
	mac.Write([]byte(id))
	mac.Write([]byte(issuedAt))
	s.mu.Lock()
	defer s.mu.Unlock()
	a := map[string]any{
		"access_token": out.access, "token_type": "Bearer", "scope": strings.Join(out.scopes, " "), "id": id, "issued_at": issuedAt,
		"instance_url": "https://" + o.host,
	}
	if !s.unsigned {
		a["signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	if out.refresh != "" {
		a["refresh_token"] = out.refresh
	}
	return a
}

func (s *Salesforce) revoke(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	if !s.Tokens.kill(r.PostForm.Get("token")) {
		oauthNo(w, "invalid_token", "the token is not valid")
		return
	}
	w.WriteHeader(http.StatusOK)
}

// userinfo refuses a token with 403 and plain text, unlike the REST API.
func (s *Salesforce) userinfo(w http.ResponseWriter, r *http.Request) {
	account, _, ok := s.Tokens.authorize(bearer(r))
	if !ok {
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("Bad_OAuth_Token"))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"organization_id": s.OrgID(account), "user_id": salesforceIDOf("005", account)})
}
