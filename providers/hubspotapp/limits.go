package hubspotapp

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/webhook"
)

// limits are HubSpot's for an OAuth app of the marketplace (developers.hubspot.com,
// usage guidelines, checked 2026-11): 110 requests in any ten seconds for each portal,
// search apart with five a second, no daily cap. Of apps that are distributed
// privately a portal's own plan decides; their answers tell the numbers.
type limits struct {
	calls, search, daily *ratelimit.Budget
}

func newLimits() limits {
	return limits{
		calls:  &ratelimit.Budget{Name: "ten_seconds", Units: 85, Window: 10 * time.Second, Burst: 25},
		search: &ratelimit.Budget{Name: "search", Units: 4, Window: time.Second, Burst: 1},
		// Nothing is counted here: it is there for refusals that last the day.
		daily: &ratelimit.Budget{Name: "daily"},
	}
}

// Budgets implements providers.BudgetKeeper.
func (a *App) Budgets() []*ratelimit.Budget {
	return []*ratelimit.Budget{a.limits.calls, a.limits.search, a.limits.daily}
}

// Charges implements providers.BudgetKeeper.
func (a *App) Charges(q providers.BudgetRequest, into []ratelimit.Charge) []ratelimit.Charge {
	return append(into,
		ratelimit.Charge{Budget: a.budget(q.Request), Key: q.Account},
		ratelimit.Charge{Budget: a.limits.daily, Key: q.Account})
}

func (a *App) budget(r *http.Request) *ratelimit.Budget {
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/search") {
		return a.limits.search
	}
	return a.limits.calls
}

// Readings implements providers.BudgetKeeper: policyName says which limit refused.
func (a *App) Readings(q providers.BudgetRequest, ans providers.BudgetAnswer, into []ratelimit.Reading) []ratelimit.Reading {
	r := ratelimit.Reading{Budget: a.budget(q.Request), Key: q.Account, Remaining: -1}
	if ans.Verdict == providers.AnswerLimited {
		switch policyOf(ans.Head) {
		case "DAILY":
			r.Budget = a.limits.daily
		case "SECONDLY", "SECONDLY_ROLLING":
			if r.Budget != a.limits.search {
				r.Budget = a.limits.calls
			}
		}
		r.Refused, r.RetryAfter = true, ans.RetryAfter
		return append(into, r)
	}
	// Search tells nothing.
	left, err := strconv.Atoi(ans.Header.Get("X-HubSpot-RateLimit-Remaining"))
	if err != nil || left < 0 || r.Budget != a.limits.calls {
		return into
	}
	r.Remaining = left
	return append(into, r)
}

// policyOf reads policyName of a refusal. The head may be cut off: members before
// the cut are read all the same.
func policyOf(head []byte) (policy string) {
	_ = webhook.Fields(head, func(key, raw []byte) bool {
		if string(key) == "policyName" {
			policy, _ = webhook.String(raw)
		}
		return true
	})
	return policy
}
