package integrationstest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

const (
	hubspotAppID     = 54321
	hubspotLife      = 30 * time.Minute
	hubspotUser      = 7
	hubspotFirstID   = 62515
	hubspotBatchSize = 100
)

// HubSpot is a HubSpot that lives in this process, with real answer shapes. The
// account of a browser is a portal's id, or a name that stands for one, see
// [HubSpot.Portal].
type HubSpot struct {
	// Tokens issues and counts its tokens; their subject is the portal's id.
	Tokens *TokenServer

	kit                    *Kit
	clientID, clientSecret string

	mu          sync.Mutex
	portals     map[string]*hubspotPortal // by id
	names       map[string]string         // id by name
	nextID      int64
	events      int64
	unnamed     bool // tokens come without hub_id
	enforced    bool // the limits are kept by Enforce
	uninstalled map[string]bool
}

type hubspotPortal struct {
	id      int64
	lacks   []string // scopes its plan does not have
	granted []string
	objects map[string][]*HubSpotObject // by type
	quota   int                         // API calls left, -1 for no limit
}

func newHubSpot(k *Kit) *HubSpot {
	h := &HubSpot{
		Tokens: newTokenServer("hs-"), kit: k, clientID: "hubspot-" + randomHex(), clientSecret: "secret-" + randomHex(),
		portals: map[string]*hubspotPortal{}, names: map[string]string{}, nextID: hubspotFirstID, uninstalled: map[string]bool{},
	}
	h.Tokens.SetLife(hubspotLife)
	h.Tokens.SetRotation(NonRotating, 0)
	site := http.NewServeMux()
	site.HandleFunc("GET /oauth/authorize", h.authorizePage)
	k.Network.Handle("app.hubspot.com", site)
	k.Network.Handle("app-eu1.hubspot.com", site)
	api := http.NewServeMux()
	api.HandleFunc("POST /oauth/2026-09/token", h.token)
	api.HandleFunc("POST /oauth/2026-09/token/introspect", h.introspect)
	api.HandleFunc("POST /oauth/2026-09/token/revoke", h.revoke)
	api.HandleFunc("DELETE /appinstalls/2026-03/external-install", h.api(h.uninstall))
	api.HandleFunc("GET /account-info/2026-03/details", h.api(h.details))
	h.crm(api)
	k.Network.Handle("api.hubapi.com", api)
	return h
}

// App is the HubSpot app registered at this fake.
func (h *HubSpot) App() hubspotapp.Config {
	return hubspotapp.Config{
		ClientID: h.clientID, ClientSecret: h.clientSecret, AppID: hubspotAppID,
		Scopes: []string{
			"oauth", "crm.objects.contacts.read", "crm.objects.contacts.write", "crm.objects.companies.read", "crm.objects.companies.write",
		},
	}
}

// Portal is the id of the account with a name; a number is its own.
func (h *HubSpot) Portal(account string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.portal(account).id
}

// portal must be called with h.mu held.
func (h *HubSpot) portal(account string) *hubspotPortal {
	id := account
	if n, err := strconv.ParseInt(account, 10, 64); err != nil || n <= 0 {
		if id = h.names[account]; id == "" {
			for h.nextID++; h.portals[strconv.FormatInt(h.nextID, 10)] != nil; h.nextID++ {
			}
			id = strconv.FormatInt(h.nextID, 10)
			h.names[account] = id
		}
	}
	p := h.portals[id]
	if p == nil {
		p = &hubspotPortal{objects: map[string][]*HubSpotObject{}, quota: -1}
		p.id, _ = strconv.ParseInt(id, 10, 64)
		h.portals[id] = p
	}
	return p
}

// Lack takes scopes out of an account's plan: optional ones are not granted, and
// calls that need them are refused.
func (h *HubSpot) Lack(account string, scopes ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.portal(account)
	p.lacks = append(p.lacks, scopes...)
	p.granted = slices.DeleteFunc(p.granted, func(s string) bool { return slices.Contains(scopes, s) })
}

// OmitHubID lets token answers come without the account's id, which the
// specification allows.
func (h *HubSpot) OmitHubID() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unnamed = true
}

// SetQuota sets how many more API calls of an account are answered before
// HubSpot's limit of ten seconds is met; -1 is no limit.
func (h *HubSpot) SetQuota(account string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.portal(account).quota = n
}

// Uninstalled reports whether the app was removed from an account.
func (h *HubSpot) Uninstalled(account string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.uninstalled[strconv.FormatInt(h.portal(account).id, 10)]
}

// Uninstall removes the app from an account, as its administrator does. Nobody is
// told.
func (h *HubSpot) Uninstall(account string) {
	h.mu.Lock()
	id := strconv.FormatInt(h.portal(account).id, 10)
	h.uninstalled[id] = true
	h.mu.Unlock()
	h.Tokens.Revoke(id)
}

// Renewable reports whether a refresh token of an account is good. Revoking one
// leaves access tokens as they are, so Tokens.Live does not tell.
func (h *HubSpot) Renewable(account string) bool {
	id := strconv.FormatInt(h.Portal(account), 10)
	h.Tokens.mu.Lock()
	defer h.Tokens.mu.Unlock()
	for _, r := range h.Tokens.refresh {
		if r.family.subject == id && !r.dead && !r.family.dead {
			return true
		}
	}
	return false
}

// authorizePage is where a user agrees. Spaces between scopes are %20, as
// HubSpot's own clients write them.
func (h *HubSpot) authorizePage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	scopes := strings.Fields(q.Get("scope"))
	if q.Get("client_id") != h.clientID || strings.Contains(r.URL.RawQuery, "+") || !slices.Contains(scopes, "oauth") ||
		q.Has("response_type") || (q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256") {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	p := h.portal(accountOf(r))
	id := strconv.FormatInt(p.id, 10)
	p.granted = append(scopes, strings.Fields(q.Get("optional_scope"))...)
	p.granted = slices.DeleteFunc(p.granted, func(s string) bool { return slices.Contains(p.lacks, s) })
	delete(h.uninstalled, id)
	h.mu.Unlock()
	back(w, r, h.Tokens, h.clientID, q.Get("redirect_uri"), id, nil)
}

// hubspotTokenFault is an error of the token endpoints, with RFC 6749's members and
// HubSpot's older ones.
func hubspotTokenFault(w http.ResponseWriter, code, status, text string) {
	writeJSON(w, http.StatusBadRequest, map[string]any{
		"error": code, "error_description": text, "status": status, "message": text, "correlationId": randomHex(),
	})
}

// client reads a form of the app's. HubSpot takes nothing from the query or from
// a header.
func (h *HubSpot) client(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.URL.RawQuery != "" || r.Header.Get("Authorization") != "" || r.ParseForm() != nil ||
		r.Header.Get("Content-Type") != "application/x-www-form-urlencoded":
		hubspotTokenFault(w, "invalid_request", "BAD_REQUEST", "only a form is accepted")
	case r.PostForm.Get("client_id") != h.clientID:
		hubspotTokenFault(w, "invalid_client", "BAD_CLIENT_ID", "missing or unknown client id")
	case r.PostForm.Get("client_secret") != h.clientSecret:
		hubspotTokenFault(w, "invalid_client", "BAD_CLIENT_SECRET", "missing or invalid client secret")
	default:
		return true
	}
	return false
}

func (h *HubSpot) token(w http.ResponseWriter, r *http.Request) {
	if !h.client(w, r) {
		return
	}
	f := r.PostForm
	var out issued
	var ok bool
	switch f.Get("grant_type") {
	case "authorization_code":
		if out, ok = h.Tokens.exchange(f.Get("code"), h.clientID, f.Get("redirect_uri"), f.Get("code_verifier")); !ok {
			hubspotTokenFault(w, "invalid_grant", "BAD_AUTH_CODE", "missing or unknown auth code")
			return
		}
	case "refresh_token":
		if out, ok = h.Tokens.renew(f.Get("refresh_token")); !ok {
			hubspotTokenFault(w, "invalid_grant", "BAD_REFRESH_TOKEN", "refresh token is invalid, expired or revoked")
			return
		}
		if out.refresh == "" {
			out.refresh = f.Get("refresh_token") // unchanged
		}
	default:
		hubspotTokenFault(w, "unsupported_grant_type", "BAD_GRANT_TYPE", "unsupported grant type")
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.portal(out.subject)
	answer := map[string]any{
		"token_type": "bearer", "token_use": "access_token", "access_token": out.access, "refresh_token": out.refresh,
		"expires_in": int(out.life.Seconds()), "scopes": p.granted,
	}
	if !h.unnamed {
		answer["hub_id"], answer["user_id"] = p.id, hubspotUser
	}
	writeJSON(w, http.StatusOK, answer)
}

func (h *HubSpot) introspect(w http.ResponseWriter, r *http.Request) {
	if !h.client(w, r) {
		return
	}
	subject, _, ok := h.Tokens.authorize(r.PostForm.Get("token"))
	if !ok {
		writeJSON(w, http.StatusOK, map[string]any{"active": false})
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.portal(subject)
	writeJSON(w, http.StatusOK, map[string]any{
		"active": true, "token_use": "access_token", "token_type": "bearer", "hub_id": p.id, "hub_domain": subject + ".example.test",
		"user": "someone@example.test", "user_id": hubspotUser, "app_id": hubspotAppID, "client_id": h.clientID, "scopes": p.granted,
	})
}

// revoke ends a refresh token. Access tokens live on.
func (h *HubSpot) revoke(w http.ResponseWriter, r *http.Request) {
	if !h.client(w, r) {
		return
	}
	h.Tokens.mu.Lock()
	defer h.Tokens.mu.Unlock()
	if t := h.Tokens.refresh[r.PostForm.Get("token")]; t != nil {
		t.dead = true
	}
	w.WriteHeader(http.StatusOK)
}

// hubspotFault is an error of the API.
func hubspotFault(w http.ResponseWriter, status int, category, text string, more map[string]any) {
	body := map[string]any{"status": "error", "message": text, "correlationId": randomHex(), "category": category}
	maps.Copy(body, more)
	writeJSON(w, status, body)
}

// api lets calls with a good token of an account within its limit through, with
// the account locked.
func (h *HubSpot) api(fn func(w http.ResponseWriter, r *http.Request, p *hubspotPortal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		subject, known, ok := h.Tokens.authorize(bearer(r))
		switch {
		case !known || h.Tokens.revoked(bearer(r)):
			hubspotFault(w, http.StatusUnauthorized, "INVALID_AUTHENTICATION", "Authentication credentials not found or not valid.", nil)
			return
		case !ok:
			hubspotFault(w, http.StatusUnauthorized, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired 5 hour(s) ago.",
				map[string]any{"context": map[string]any{"expire time": []string{"2026-11-01T00:00:00Z"}}})
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		p := h.portal(subject)
		if limited := h.limit(w, r, p); !limited {
			fn(w, r, p)
		}
	}
}

// limit puts the rate headers on an answer, which searches come without, and
// refuses what is over the limit.
func (h *HubSpot) limit(w http.ResponseWriter, r *http.Request, p *hubspotPortal) bool {
	if h.enforced {
		return false
	}
	left, policy := 110, "TEN_SECONDLY_ROLLING"
	if p.quota >= 0 {
		left = p.quota - 1
		p.quota = max(left, 0)
	}
	if strings.HasSuffix(r.URL.Path, "/search") {
		policy = "SECONDLY"
	} else {
		w.Header().Set("X-HubSpot-RateLimit-Max", "110")
		w.Header().Set("X-HubSpot-RateLimit-Remaining", strconv.Itoa(max(left, 0)))
		w.Header().Set("X-HubSpot-RateLimit-Interval-Milliseconds", "10000")
	}
	if left >= 0 {
		return false
	}
	hubspotLimited(w, policy)
	return true
}

// hubspotLimited refuses a call because of a limit.
func hubspotLimited(w http.ResponseWriter, policy string) {
	writeJSON(w, http.StatusTooManyRequests, map[string]any{
		"status": "error", "message": "You have reached your " + strings.ToLower(policy) + " limit.", "errorType": "RATE_LIMIT", "correlationId": randomHex(),
		"policyName": policy, "groupName": "publicapi:crm:objects", "requestId": randomHex(),
	})
}

func (h *HubSpot) details(w http.ResponseWriter, _ *http.Request, p *hubspotPortal) {
	writeJSON(w, http.StatusOK, map[string]any{
		"portalId": p.id, "accountType": "STANDARD", "timeZone": "Europe/Dublin", "companyCurrency": "EUR", "additionalCurrencies": []string{},
		"utcOffset": "+00:00", "utcOffsetMilliseconds": 0, "uiDomain": "app-eu1.hubspot.com", "dataHostingLocation": "eu1",
	})
}

func (h *HubSpot) uninstall(w http.ResponseWriter, _ *http.Request, p *hubspotPortal) {
	id := strconv.FormatInt(p.id, 10)
	h.uninstalled[id] = true
	h.Tokens.Revoke(id)
	w.WriteHeader(http.StatusNoContent)
}

// Event is an event of an account with an id of its own. more are further
// members: "objectId", "propertyName" and so on.
func (h *HubSpot) Event(account, subscriptionType string, more map[string]any) map[string]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events++
	ev := map[string]any{
		"eventId": h.events, "subscriptionId": 12345, "portalId": h.portal(account).id, "appId": hubspotAppID,
		"occurredAt": time.Now().UnixMilli(), "subscriptionType": subscriptionType, "attemptNumber": 0, "changeSource": "CRM_UI",
	}
	maps.Copy(ev, more)
	return ev
}

// Deliver signs events as HubSpot does and delivers them to the Manager, at most
// 100 in a request. It returns the answer's status, the first that is not 200 when
// there are several.
func (h *HubSpot) Deliver(events ...map[string]any) int {
	for batch := range slices.Chunk(events, hubspotBatchSize) {
		if status := h.DeliverBody(mustJSON(batch)); status != http.StatusOK {
			return status
		}
	}
	return http.StatusOK
}

// DeliverBody signs a body and delivers it to the Manager.
func (h *HubSpot) DeliverBody(body []byte) int {
	return h.kit.deliver(webhooktest.HubSpot(h.kit.webhookURL(hubspotapp.Key), h.clientSecret, body, time.Now()))
}
