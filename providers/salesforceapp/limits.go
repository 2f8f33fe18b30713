package salesforceapp

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
)

// Limit is an allowance of an org and what is left of it.
type Limit struct {
	Max, Remaining int64
}

// Limits returns the org's allowances by Salesforce's names, such as
// "DailyApiRequests".
func Limits(ctx context.Context, conn *providers.Connection) (map[string]Limit, error) {
	var out map[string]Limit
	_, err := Do(ctx, conn, Request{Path: "limits", Out: &out})
	return out, err
}

// Usage is how much of an allowance is used, as an answer's header tells.
type Usage struct {
	// Name is "api-usage" for the org's requests of the last 24 hours.
	Name        string
	Used, Limit int64
}

// ReadUsage reads Sforce-Limit-Info, "api-usage=10018/100000; api-bursts=1/750",
// which comes with every answer of the REST API (developer.salesforce.com, REST
// API developer guide, "Limit Info Header", checked 2026-11). What does not look
// like that is left out.
func ReadUsage(h http.Header) []Usage {
	var out []Usage
	for part := range strings.SplitSeq(h.Get("Sforce-Limit-Info"), ";") {
		name, numbers, ok := strings.Cut(strings.TrimSpace(part), "=")
		numbers, _, _ = strings.Cut(numbers, "(") // 17/250(appName=…)
		used, limit, slash := strings.Cut(numbers, "/")
		u, err := strconv.ParseInt(used, 10, 64)
		l, err2 := strconv.ParseInt(limit, 10, 64)
		if !ok || !slash || err != nil || err2 != nil || u < 0 || l < 0 {
			continue
		}
		out = append(out, Usage{name, u, l})
	}
	return out
}

// budgets are Salesforce's (Salesforce developer limits and allocations quick
// reference, checked 2026-11). The allowance of an org is of the last 24 hours and
// told by every answer; how many requests of 20 seconds and more may be under way at
// a time is 25, so that no more than that are.
type budgets struct {
	daily, long *ratelimit.Budget
}

func newBudgets() budgets {
	return budgets{
		// Units stand for an org of which no answer told yet: nothing is held back.
		daily: &ratelimit.Budget{Name: "daily", Units: 5_000_000, Window: 24 * time.Hour, Refill: ratelimit.Whole},
		long:  &ratelimit.Budget{Name: "concurrent", Concurrent: 25},
	}
}

// Budgets implements providers.BudgetKeeper.
func (a *App) Budgets() []*ratelimit.Budget {
	return []*ratelimit.Budget{a.budgets.daily, a.budgets.long}
}

// Charges implements providers.BudgetKeeper.
func (a *App) Charges(q providers.BudgetRequest, into []ratelimit.Charge) []ratelimit.Charge {
	return append(into,
		ratelimit.Charge{Budget: a.budgets.daily, Key: q.Account},
		ratelimit.Charge{Budget: a.budgets.long, Key: q.Account})
}

// rolling is how long what an answer tells of the last 24 hours is believed: the
// allowance comes back bit by bit.
const rolling = 15 * time.Minute

// Readings implements providers.BudgetKeeper.
func (a *App) Readings(q providers.BudgetRequest, ans providers.BudgetAnswer, into []ratelimit.Reading) []ratelimit.Reading {
	r := ratelimit.Reading{Budget: a.budgets.daily, Key: q.Account, Remaining: -1}
	for _, u := range ReadUsage(ans.Header) {
		if u.Name == "api-usage" && u.Limit > 0 {
			r.Limit, r.Remaining, r.ResetIn = int(min(u.Limit, math.MaxInt32)), int(min(max(0, u.Limit-u.Used), math.MaxInt32)), rolling
		}
	}
	if ans.Verdict == providers.AnswerLimited {
		if _, message := firstError(ans.Head); strings.HasPrefix(message, "Concurrent") {
			r.Budget = a.budgets.long
			r.Limit, r.Remaining, r.ResetIn = 0, -1, 0
		}
		r.Refused, r.RetryAfter = true, ans.RetryAfter
	}
	if r.Remaining < 0 && !r.Refused {
		return into
	}
	return append(into, r)
}
