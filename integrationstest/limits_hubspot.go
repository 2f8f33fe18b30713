package integrationstest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

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
