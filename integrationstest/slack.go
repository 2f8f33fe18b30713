package integrationstest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

// Slack is a Slack that lives in this process, with real answer shapes: errors
// come with HTTP 200. The account of a browser is the workspace's id.
type Slack struct {
	// Tokens issues and counts its tokens. They do not end until SetLife says so:
	// that is token rotation.
	Tokens *TokenServer

	kit                                   *Kit
	clientID, clientSecret, signingSecret string

	mu         sync.Mutex
	sent       []SlackMessage
	next       map[string][]string // scripted errors by method
	misplaced  int
	org        map[string]bool
	deliveries int
	consents   map[string]slackConsent // by code or refresh token
	scopes     map[string][]string     // granted so far, by token's owner
}

// slackConsent is what a user agreed to.
type slackConsent struct {
	user string // whose token it is, "" for the bot's
	by   string // who agreed
}

// SlackMessage is a message that was posted.
type SlackMessage struct {
	Team, Channel, Text, Blocks, ThreadTS string
	// UnfurlLinks and UnfurlMedia are as the caller sent them, "" for not at all.
	UnfurlLinks, UnfurlMedia string
	Timestamp                string
}

func newSlack(k *Kit) *Slack {
	s := &Slack{
		Tokens: newTokenServer("xoxb-"), kit: k, clientID: "slack-" + randomHex(), clientSecret: "secret-" + randomHex(),
		signingSecret: randomHex(), next: map[string][]string{}, org: map[string]bool{},
		consents: map[string]slackConsent{}, scopes: map[string][]string{},
	}
	s.Tokens.SetLife(0)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/v2/authorize", s.authorizePage)
	mux.HandleFunc("POST /api/oauth.v2.access", s.access)
	mux.HandleFunc("/api/{method}", s.api)
	k.Network.Handle("slack.com", mux)
	return s
}

// App is the Slack app registered at this fake, with a bot scope.
func (s *Slack) App() slackapp.Config {
	return slackapp.Config{
		ClientID: s.clientID, ClientSecret: s.clientSecret, SigningSecrets: []string{s.signingSecret},
		Scopes: []string{"chat:write", "channels:read", "incoming-webhook"},
	}
}

// SigningSecret signs this fake's webhooks.
func (s *Slack) SigningSecret() string { return s.signingSecret }

// Sent returns the messages posted so far.
func (s *Slack) Sent() []SlackMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]SlackMessage(nil), s.sent...)
}

// FailNext scripts errors for the next calls of a method, as {"ok":false}.
func (s *Slack) FailNext(method string, codes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next[method] = append(s.next[method], codes...)
}

// Misplaced counts calls that carried a token anywhere but in the header.
func (s *Slack) Misplaced() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.misplaced
}

// OrgInstall makes an account an organisation: installs on it are organisation
// wide and name no workspace.
func (s *Slack) OrgInstall(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.org[account] = true
}

func (s *Slack) isOrg(account string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.org[account]
}

func no(w http.ResponseWriter, code string) {
	writeJSON(w, http.StatusOK, map[string]any{"ok": false, "error": code})
}

// slackUser is the id of a person in every workspace.
func slackUser(name string) string {
	return "U" + strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '-' || r == '_' {
			return -1
		}
		return r
	}, name))
}

// authorizePage is where a user agrees to a bot's scopes or to some of their own.
// Slack adds them to those of before.
func (s *Slack) authorizePage(w http.ResponseWriter, r *http.Request) {
	consent(w, r, s.Tokens, s.clientID)
	to, err := url.Parse(w.Header().Get("Location"))
	if err != nil || to.Query().Get("code") == "" {
		return
	}
	c, asked := slackConsent{by: slackUser(userOf(r))}, granted(r, "scope")
	if r.URL.Query().Has("user_scope") {
		c.user, asked = c.by, granted(r, "user_scope")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consents[to.Query().Get("code")] = c
	owner := accountOf(r) + c.user
	for _, scope := range asked {
		if !slices.Contains(s.scopes[owner], scope) {
			s.scopes[owner] = append(s.scopes[owner], scope)
		}
	}
}

// access is oauth.v2.access.
func (s *Slack) access(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	f := r.PostForm
	switch {
	case f.Get("client_id") != s.clientID:
		no(w, "invalid_client_id")
		return
	case f.Get("client_secret") != s.clientSecret:
		no(w, "bad_client_secret")
		return
	}
	if f.Get("grant_type") == "refresh_token" {
		out, ok := s.Tokens.renew(f.Get("refresh_token"))
		if !ok {
			no(w, "invalid_refresh_token")
			return
		}
		writeJSON(w, http.StatusOK, s.flat(out, s.consentOf(f.Get("refresh_token"), out)))
		return
	}
	out, ok := s.Tokens.exchange(f.Get("code"), s.clientID, f.Get("redirect_uri"), f.Get("code_verifier"))
	if !ok {
		no(w, "invalid_code")
		return
	}
	writeJSON(w, http.StatusOK, s.install(out, s.consentOf(f.Get("code"), out)))
}

// consentOf is what a code or refresh token stands for, and the fresh one too.
func (s *Slack) consentOf(value string, out issued) slackConsent {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.consents[value]
	s.consents[out.refresh], s.consents[out.access] = c, c
	return c
}

// install is the answer to a code: a user's token is apart from the rest.
func (s *Slack) install(out issued, c slackConsent) map[string]any {
	a := s.flat(out, c)
	authed := map[string]any{"id": c.by}
	if c.user != "" {
		for _, name := range []string{"access_token", "refresh_token", "expires_in", "token_type", "scope"} {
			if v, has := a[name]; has {
				authed[name] = v
				delete(a, name)
			}
		}
	} else {
		a["incoming_webhook"] = map[string]any{"channel": "#deploys", "channel_id": "C" + out.subject, "url": "https://hooks.slack.com/services/T/B/" + randomHex()}
	}
	a["authed_user"] = authed
	return a
}

// flat is an answer about one token.
func (s *Slack) flat(out issued, c slackConsent) map[string]any {
	s.mu.Lock()
	scopes := strings.Join(s.scopes[out.subject+c.user], ",")
	s.mu.Unlock()
	a := map[string]any{
		"ok": true, "app_id": "A0001", "access_token": out.access, "token_type": "bot", "scope": scopes,
		"team": map[string]any{"id": out.subject, "name": "Workspace " + out.subject}, "enterprise": nil, "is_enterprise_install": false,
	}
	if c.user != "" {
		a["token_type"] = "user"
	} else {
		a["bot_user_id"] = "UBOT" + out.subject
	}
	if s.isOrg(out.subject) {
		a["team"], a["is_enterprise_install"] = nil, true
		a["enterprise"] = map[string]any{"id": out.subject, "name": "Organisation " + out.subject}
	}
	if out.life > 0 {
		a["expires_in"] = int(out.life.Seconds())
	}
	if out.refresh != "" {
		a["refresh_token"] = out.refresh
	}
	return a
}

// api is the Web API.
func (s *Slack) api(w http.ResponseWriter, r *http.Request) {
	method := r.PathValue("method")
	params := s.params(r)
	s.mu.Lock()
	if r.URL.Query().Has("token") || params.Has("token") {
		s.misplaced++
	}
	if codes := s.next[method]; len(codes) > 0 {
		s.next[method] = codes[1:]
		s.mu.Unlock()
		no(w, codes[0])
		return
	}
	s.mu.Unlock()
	team, known, ok := s.Tokens.authorize(bearer(r))
	switch {
	case !known:
		no(w, "invalid_auth")
	case s.Tokens.revoked(bearer(r)):
		no(w, "token_revoked")
	case !ok:
		no(w, "token_expired")
	default:
		s.call(w, r, method, team, params)
	}
}

// slackScopes are what methods need.
var slackScopes = map[string]string{"chat.postMessage": "chat:write", "conversations.list": "channels:read", "users.list": "users:read"}

// allows refuses a method that the token has no scope for.
func (s *Slack) allows(w http.ResponseWriter, r *http.Request, method, team string) bool {
	need := slackScopes[method]
	s.mu.Lock()
	have := s.scopes[team+s.consents[bearer(r)].user]
	s.mu.Unlock()
	if need == "" || slices.Contains(have, need) {
		return true
	}
	writeJSON(w, http.StatusOK, map[string]any{"ok": false, "error": "missing_scope", "needed": need, "provided": strings.Join(have, ",")})
	return false
}

func (s *Slack) call(w http.ResponseWriter, r *http.Request, method, team string, p url.Values) {
	if !s.allows(w, r, method, team) {
		return
	}
	user := "UBOT" + team
	s.mu.Lock()
	if c := s.consents[bearer(r)]; c.user != "" {
		user = c.user
	}
	s.mu.Unlock()
	switch method {
	case "users.list":
		writeJSON(w, http.StatusOK, map[string]any{
			"ok": true, "members": []any{map[string]any{"id": user, "team_id": team}}, "response_metadata": map[string]any{"next_cursor": ""},
		})
	case "auth.test":
		writeJSON(w, http.StatusOK, map[string]any{
			"ok": true, "url": "https://" + strings.ToLower(team) + ".slack.com/", "team": "Workspace " + team, "team_id": team,
			"user": "bot", "user_id": user, "bot_id": "B" + team,
		})
	case "auth.revoke":
		s.Tokens.kill(bearer(r))
		writeJSON(w, http.StatusOK, map[string]any{"ok": true, "revoked": true})
	case "chat.postMessage":
		s.post(w, team, p)
	case "conversations.list":
		writeJSON(w, http.StatusOK, map[string]any{
			"ok": true, "channels": []any{map[string]any{"id": "C" + team, "name": "deploys", "is_channel": true}},
			"response_metadata": map[string]any{"next_cursor": ""},
		})
	default:
		no(w, "unknown_method")
	}
}

func (s *Slack) post(w http.ResponseWriter, team string, p url.Values) {
	if p.Get("channel") == "" || p.Get("channel") == "#nowhere" {
		no(w, "channel_not_found")
		return
	}
	if p.Get("text") == "" && p.Get("blocks") == "" {
		no(w, "no_text")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := SlackMessage{
		Team: team, Channel: p.Get("channel"), Text: p.Get("text"), Blocks: p.Get("blocks"), ThreadTS: p.Get("thread_ts"),
		UnfurlLinks: p.Get("unfurl_links"), UnfurlMedia: p.Get("unfurl_media"),
		Timestamp: strconv.FormatInt(time.Now().Unix(), 10) + "." + strconv.Itoa(100000+len(s.sent)),
	}
	s.sent = append(s.sent, m)
	channel := m.Channel
	if strings.HasPrefix(channel, "#") {
		channel = "C" + strings.ToUpper(strings.TrimPrefix(channel, "#"))
	}
	writeJSON(w, http.StatusOK, map[string]any{"ok": true, "channel": channel, "ts": m.Timestamp, "message": map[string]any{"text": m.Text}})
}

// params reads a call's parameters from a form, multipart form or JSON.
func (s *Slack) params(r *http.Request) url.Values {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var m map[string]any
		p := url.Values{}
		if json.NewDecoder(r.Body).Decode(&m) == nil {
			for k, v := range m {
				if text, ok := v.(string); ok {
					p.Set(k, text)
				} else if b, err := json.Marshal(v); err == nil {
					p.Set(k, string(b))
				}
			}
		}
		return p
	}
	_ = r.ParseMultipartForm(1 << 20)
	return r.PostForm
}

// Event delivers an event of the Events API for a workspace to the Manager: inner
// is the inner event's JSON. It returns the answer's status.
func (s *Slack) Event(team string, inner string) int {
	return s.Deliver(s.EventBody(team, inner))
}

// EventBody is the body of such a delivery, each with an id of its own.
func (s *Slack) EventBody(team, inner string) []byte {
	s.mu.Lock()
	s.deliveries++
	id := "Ev" + strconv.Itoa(s.deliveries) + strings.ToUpper(randomHex())
	s.mu.Unlock()
	authorization := map[string]any{"enterprise_id": nil, "team_id": team, "user_id": "UBOT" + team, "is_bot": true, "is_enterprise_install": false}
	if s.isOrg(team) {
		authorization["enterprise_id"], authorization["team_id"], authorization["is_enterprise_install"] = team, nil, true
	}
	body, err := json.Marshal(map[string]any{
		"token": "unused", "team_id": team, "api_app_id": "A0001", "event": json.RawMessage(inner), "type": "event_callback",
		"event_id": id, "event_time": time.Now().Unix(), "authorizations": []any{authorization}, "is_ext_shared_channel": false,
	})
	if err != nil {
		panic("integrationstest: inner event is not JSON")
	}
	return body
}

// Uninstall removes the app from a workspace: its tokens die and the Manager is
// told.
func (s *Slack) Uninstall(team string) int {
	s.Tokens.Revoke(team)
	return s.Event(team, `{"type":"app_uninstalled"}`)
}

// Deliver signs a body and delivers it to the Manager.
func (s *Slack) Deliver(body []byte) int {
	return s.kit.deliver(webhooktest.Slack(s.kit.webhookURL(slackapp.Key), s.signingSecret, body, time.Now()))
}
