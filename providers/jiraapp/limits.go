package jiraapp

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
)

// limits are Jira's (developer.atlassian.com/cloud/jira/platform/rate-limiting,
// checked 2026-11; the numbers are from third parties that quote it). Three limits
// that know nothing of each other: an allowance of points for an hour, which all sites
// of an app share unless Atlassian has given it allowances by site; a burst for each
// site and method; writes to one issue. Points are taken as one for a call and one
// for each object it may return.
type limits struct {
	global, site  *ratelimit.Budget
	reads, writes *ratelimit.Budget
	issue         *ratelimit.Budget
}

func newLimits(cfg Config) limits {
	points := cfg.HourlyPoints
	if points == 0 {
		points = 65_000
	}
	l := limits{
		reads:  &ratelimit.Budget{Name: "burst", Units: 80, Window: time.Second, Burst: 20},
		writes: &ratelimit.Budget{Name: "burst_writes", Units: 40, Window: time.Second, Burst: 10},
		// 20 in two seconds and 100 in thirty: the second is the narrower over time.
		issue: &ratelimit.Budget{Name: "issue_writes", Units: 86, Window: 30 * time.Second, Burst: 14},
	}
	if cfg.PointsBySite {
		l.site = &ratelimit.Budget{Name: "site_points", Units: points, Window: time.Hour, Refill: ratelimit.Aligned}
	} else {
		l.global = &ratelimit.Budget{Name: "global_points", Units: points, Window: time.Hour, Refill: ratelimit.Aligned, Shared: true}
	}
	return l
}

// Budgets implements providers.BudgetKeeper.
func (a *App) Budgets() []*ratelimit.Budget {
	l := &a.limits
	points, _ := l.points("")
	return []*ratelimit.Budget{points, l.reads, l.writes, l.issue}
}

// points is the budget of points and whose it is.
func (l *limits) points(account string) (*ratelimit.Budget, string) {
	if l.site != nil {
		return l.site, account
	}
	return l.global, ""
}

// burst is the budget of a method.
func (l *limits) burst(method string) *ratelimit.Budget {
	if method == http.MethodPut || method == http.MethodDelete {
		return l.writes
	}
	return l.reads
}

// Charges implements providers.BudgetKeeper.
func (a *App) Charges(q providers.BudgetRequest, into []ratelimit.Charge) []ratelimit.Charge {
	l := &a.limits
	path := apiPath(q.Request.URL.Path)
	if key := writtenIssue(q.Request.Method, path); key != "" {
		into = append(into, ratelimit.Charge{Budget: l.issue, Key: q.Account + " " + key})
	}
	into = append(into, ratelimit.Charge{Budget: l.burst(q.Request.Method), Key: q.Account})
	b, key := l.points(q.Account)
	return append(into, ratelimit.Charge{Budget: b, Key: key, Cost: cost(q.Request, path)})
}

// apiPath is the path after /ex/jira/{cloudid}/rest/api/{version}.
func apiPath(path string) string {
	_, rest, found := strings.Cut(path, "/rest/api/")
	if !found {
		return ""
	}
	_, rest, _ = strings.Cut(rest, "/")
	return rest
}

// writtenIssue is the issue that a request writes to, "" for none.
func writtenIssue(method, path string) string {
	if method == http.MethodGet || method == http.MethodHead {
		return ""
	}
	rest, ok := strings.CutPrefix(path, "issue/")
	if !ok {
		return ""
	}
	key, _, _ := strings.Cut(rest, "/")
	if key == "bulk" || len(key) > 64 {
		return ""
	}
	return key
}

// mostObjects is what a search may return at most.
const mostObjects = 100

// cost is how many points a request is taken to cost: an estimate, as Atlassian's
// sources disagree. A search costs as many as it asks for.
func cost(r *http.Request, path string) int {
	if r.Method != http.MethodGet || !strings.HasPrefix(path, "search") {
		return 2
	}
	n, err := strconv.Atoi(r.URL.Query().Get("maxResults"))
	if err != nil || n < 1 {
		n = 50
	}
	return 1 + min(n, mostObjects)
}

// Readings implements providers.BudgetKeeper: RateLimit-Reason says which limit
// refused.
func (a *App) Readings(q providers.BudgetRequest, ans providers.BudgetAnswer, into []ratelimit.Reading) []ratelimit.Reading {
	if ans.Verdict != providers.AnswerLimited {
		return into
	}
	l := &a.limits
	r := ratelimit.Reading{Remaining: -1, Refused: true, RetryAfter: ans.RetryAfter}
	switch ans.Header.Get("RateLimit-Reason") {
	case "jira-quota-global-based":
		r.Budget, r.Key = l.points(q.Account)
	case "jira-quota-tenant-based":
		if l.site == nil {
			// The app shares its points; one site has none left all the same.
			r.Budget, r.Key = l.burst(q.Request.Method), q.Account
			break
		}
		r.Budget, r.Key = l.site, q.Account
	case "jira-per-issue-on-write":
		if key := writtenIssue(q.Request.Method, apiPath(q.Request.URL.Path)); key != "" {
			r.Budget, r.Key = l.issue, q.Account+" "+key
			break
		}
		fallthrough
	default:
		r.Budget, r.Key = l.burst(q.Request.Method), q.Account
	}
	return append(into, r)
}
