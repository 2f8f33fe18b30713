package integrationstest

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// slackTiers are how many calls of a method a workspace may make in any minute, with the
// fifth that Slack tolerates (docs.slack.dev/apis/web-api/rate-limits, checked 2026-11).
var slackTiers = map[string]int{"conversations.list": 24, "users.list": 24, "auth.test": 720, "chat.postMessage": 720, "conversations.history": 60, "users.info": 120}

// Enforce makes the Web API refuse, with 429 and Retry-After, what is over a method's
// tier in a workspace ("tier" of "TEAM METHOD"), and what is over 63 messages to a
// channel in any minute or 3 in any second ("channel" and "channel_second" of "TEAM
// CHANNEL").
func (s *Slack) Enforce() *Enforced {
	e := newEnforced()
	s.kit.Network.wrap("slack.com", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			team := s.Tokens.owner(bearer(r))
			method, ok := strings.CutPrefix(r.URL.Path, "/api/")
			if team == "" || !ok {
				next.ServeHTTP(w, r)
				return
			}
			units := slackTiers[method]
			if units == 0 {
				units = 60
			}
			all := []allowance{{limit: "tier", key: team + " " + method, units: units, span: time.Minute, cost: 1}}
			if method == "chat.postMessage" {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				copied := r.Clone(r.Context())
				copied.Body = io.NopCloser(bytes.NewReader(body))
				channel := team + " " + s.params(copied).Get("channel")
				all = append(all, allowance{limit: "channel", key: channel, units: 63, span: time.Minute, cost: 1},
					allowance{limit: "channel_second", key: channel, units: 3, span: time.Second, cost: 1})
			}
			refused, again := e.take(all...)
			if refused == "" {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Retry-After", strconv.Itoa(int(time.Until(again)/time.Second)+1))
			writeJSON(w, http.StatusTooManyRequests, map[string]any{"ok": false, "error": "ratelimited"})
		})
	})
	return e
}

// Enforce makes the API refuse what is over an account's 110 calls in any ten seconds
// ("ten_seconds") or five searches in any second ("search"), as for an app of the
// marketplace (developers.hubspot.com, usage guidelines, checked 2026-11).
func (h *HubSpot) Enforce() *Enforced {
	e := newEnforced()
	h.mu.Lock()
	h.enforced = true
	h.mu.Unlock()
	h.kit.Network.wrap("api.hubapi.com", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			account := h.Tokens.owner(bearer(r))
			if account == "" {
				next.ServeHTTP(w, r)
				return
			}
			a, policy := allowance{limit: "ten_seconds", key: account, units: 110, span: 10 * time.Second, cost: 1}, "TEN_SECONDLY_ROLLING"
			if strings.HasSuffix(r.URL.Path, "/search") {
				a.limit, a.units, a.span, policy = "search", 5, time.Second, "SECONDLY"
			}
			refused, _ := e.take(a)
			if a.limit != "search" {
				left, _ := e.left(a)
				w.Header().Set("X-HubSpot-RateLimit-Max", "110")
				w.Header().Set("X-HubSpot-RateLimit-Remaining", strconv.Itoa(left))
				w.Header().Set("X-HubSpot-RateLimit-Interval-Milliseconds", "10000")
			}
			if refused == "" {
				next.ServeHTTP(w, r)
				return
			}
			hubspotLimited(w, policy)
		})
	})
	return e
}

// JiraLimits are those of an app. The zero value has Jira's own numbers, as far as they
// are known.
type JiraLimits struct {
	// Points may be spent in each hour, by all sites of the app. Defaults to 65,000.
	Points int
}

// Enforce makes the API refuse what is over the app's points of an hour
// ("points" of ""), a site's 100 calls in any second, 50 of PUT and DELETE ("burst",
// "burst_writes"), and an issue's 20 writes in any two seconds and 100 in any thirty
// ("issue", "issue_thirty" of "SITE ISSUE"). A call costs a point, and one for each object
// that it may return; RateLimit-Reason names the limit.
func (j *Jira) Enforce(l JiraLimits) *Enforced {
	if l.Points == 0 {
		l.Points = 65_000
	}
	e := newEnforced()
	j.SetQuota(1 << 30)
	j.kit.Network.wrap(jiraAPIHost, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rest, ok := strings.CutPrefix(r.URL.Path, "/ex/jira/")
			if !ok || j.Tokens.owner(bearer(r)) == "" {
				next.ServeHTTP(w, r)
				return
			}
			site, path, _ := strings.Cut(rest, "/rest/api/")
			_, path, _ = strings.Cut(path, "/")
			refused, again := e.take(l.of(r, site, path)...)
			if refused == "" {
				next.ServeHTTP(w, r)
				return
			}
			reason := map[string]string{"points": "jira-quota-global-based", "issue": "jira-per-issue-on-write", "issue_thirty": "jira-per-issue-on-write"}[refused]
			if reason == "" {
				reason = "jira-burst-based"
			}
			w.Header().Set("Retry-After", strconv.Itoa(int(time.Until(again)/time.Second)+1))
			w.Header().Set("X-RateLimit-Reset", again.UTC().Add(time.Second).Format(time.RFC3339))
			w.Header().Set("RateLimit-Reason", reason)
			jiraGateway(w, http.StatusTooManyRequests, "Rate limit exceeded.")
		})
	})
	return e
}

// of are the allowances that a call of a site uses.
func (l JiraLimits) of(r *http.Request, site, path string) []allowance {
	cost, burst, units := 1, "burst", 100
	if r.Method == http.MethodPut || r.Method == http.MethodDelete {
		burst, units = "burst_writes", 50
	}
	if r.Method == http.MethodGet {
		cost = 2
		if strings.HasPrefix(path, "search") {
			n, err := strconv.Atoi(r.URL.Query().Get("maxResults"))
			if err != nil || n < 1 {
				n = 50
			}
			cost = 1 + min(n, 100)
		}
	}
	all := []allowance{
		{limit: "points", units: l.Points, span: time.Hour, aligned: true, cost: cost},
		{limit: burst, key: site, units: units, span: time.Second, cost: 1},
	}
	if rest, ok := strings.CutPrefix(path, "issue/"); ok && r.Method != http.MethodGet {
		issue, _, _ := strings.Cut(rest, "/")
		all = append(all, allowance{limit: "issue", key: site + " " + issue, units: 20, span: 2 * time.Second, cost: 1},
			allowance{limit: "issue_thirty", key: site + " " + issue, units: 100, span: 30 * time.Second, cost: 1})
	}
	return all
}

// Enforce makes the Sheets API refuse what is over 300 reads or writes in any minute of
// the whole project ("project_reads", "project_writes" of "") or 60 of a user
// ("user_reads", "user_writes") (developers.google.com/workspace/sheets/api/limits,
// checked 2026-11).
func (s *Sheets) Enforce() *Enforced {
	e := newEnforced()
	s.kit.Network.wrap("sheets.googleapis.com", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user := s.Tokens.owner(bearer(r))
			if user == "" {
				next.ServeHTTP(w, r)
				return
			}
			kind := "writes"
			if r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "ByDataFilter") {
				kind = "reads"
			}
			refused, _ := e.take(allowance{limit: "user_" + kind, key: user, units: 60, span: time.Minute, cost: 1},
				allowance{limit: "project_" + kind, units: 300, span: time.Minute, cost: 1})
			if refused == "" {
				next.ServeHTTP(w, r)
				return
			}
			whose := ""
			if strings.HasPrefix(refused, "user") {
				whose = " per user"
			}
			googleFault(w, http.StatusTooManyRequests, "RESOURCE_EXHAUSTED",
				"Quota exceeded for quota metric '"+kind+"' and limit '"+kind+" per minute"+whose+"' of service 'sheets.googleapis.com' for consumer 'project_number:1'.",
				"", "RATE_LIMIT_EXCEEDED")
		})
	})
	return e
}
