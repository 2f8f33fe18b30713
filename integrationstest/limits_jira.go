package integrationstest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

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
