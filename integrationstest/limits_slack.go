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
