package integrationstest

import (
	"encoding/json"
	"net/http"
	"net/url"
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
	}
	s.Tokens.SetLife(0)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/v2/authorize", func(w http.ResponseWriter, r *http.Request) { consent(w, r, s.Tokens, s.clientID) })
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
		answer := s.install(out)
		delete(answer, "authed_user")
		delete(answer, "incoming_webhook")
		writeJSON(w, http.StatusOK, answer)
		return
	}
	out, ok := s.Tokens.exchange(f.Get("code"), s.clientID, f.Get("redirect_uri"), f.Get("code_verifier"))
	if !ok {
		no(w, "invalid_code")
		return
	}
	writeJSON(w, http.StatusOK, s.install(out))
}

func (s *Slack) install(out issued) map[string]any {
	a := map[string]any{
		"ok": true, "app_id": "A0001", "access_token": out.access, "token_type": "bot",
		"scope": "chat:write,channels:read,incoming-webhook", "bot_user_id": "UBOT" + out.subject,
		"team": map[string]any{"id": out.subject, "name": "Workspace " + out.subject}, "enterprise": nil, "is_enterprise_install": false,
		"authed_user":      map[string]any{"id": "UINSTALLER"},
		"incoming_webhook": map[string]any{"channel": "#deploys", "channel_id": "C" + out.subject, "url": "https://hooks.slack.com/services/T/B/" + randomHex()},
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

func (s *Slack) call(w http.ResponseWriter, r *http.Request, method, team string, p url.Values) {
	switch method {
	case "auth.test":
		writeJSON(w, http.StatusOK, map[string]any{
			"ok": true, "url": "https://" + strings.ToLower(team) + ".slack.com/", "team": "Workspace " + team, "team_id": team,
			"user": "bot", "user_id": "UBOT" + team, "bot_id": "B" + team,
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
