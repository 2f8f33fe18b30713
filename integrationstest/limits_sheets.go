package integrationstest

import (
	"net/http"
	"strings"
	"time"
)

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
