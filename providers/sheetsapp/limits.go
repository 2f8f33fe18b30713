package sheetsapp

import (
	"net/http"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
)

// limits are Google's of the Sheets and the Drive API
// (developers.google.com/workspace/sheets/api/limits and …/drive/api/guides/limits,
// checked 2026-11). Those of the project are shared by all tenants of the host; those
// of a user are kept for each account. Google refills them each minute and tells no
// numbers with its answers.
type limits struct {
	projectReads, projectWrites, userReads, userWrites *ratelimit.Budget
	driveProject, driveUser                            *ratelimit.Budget
}

func newLimits(cfg Config) limits {
	// A part of a minute's units may go at once, the others come evenly, so that a
	// minute never has more than the limit and a flood of one tenant leaves others
	// their turn.
	even := func(name string, perMinute int, shared bool) *ratelimit.Budget {
		burst := max(1, perMinute/5)
		// One a minute has no part to spare: it goes once a minute.
		return &ratelimit.Budget{Name: name, Units: max(1, perMinute-burst), Window: time.Minute, Burst: burst, Shared: shared}
	}
	project, user := cfg.ProjectPerMinute, cfg.UserPerMinute
	if project == 0 {
		project = 300
	}
	if user == 0 {
		user = 60
	}
	return limits{
		projectReads: even("project_reads", project, true), projectWrites: even("project_writes", project, true),
		userReads: even("user_reads", user, false), userWrites: even("user_writes", user, false),
		driveProject: even("drive_project", 1_000_000, true), driveUser: even("drive_user", 325_000, false),
	}
}

// Budgets implements providers.BudgetKeeper.
func (a *App) Budgets() []*ratelimit.Budget {
	l := &a.limits
	return []*ratelimit.Budget{l.userReads, l.userWrites, l.projectReads, l.projectWrites, l.driveUser, l.driveProject}
}

// Charges implements providers.BudgetKeeper.
func (a *App) Charges(q providers.BudgetRequest, into []ratelimit.Charge) []ratelimit.Charge {
	l := &a.limits
	user, project, cost := l.userReads, l.projectReads, 1
	switch {
	case isDrive(q.Request):
		user, project, cost = l.driveUser, l.driveProject, driveUnits(q.Request)
	case !reads(q.Request):
		user, project = l.userWrites, l.projectWrites
	}
	return append(into,
		ratelimit.Charge{Budget: user, Key: q.Account, Cost: cost},
		ratelimit.Charge{Budget: project, Cost: cost})
}

func isDrive(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/drive/") || strings.HasPrefix(r.URL.Path, "/upload/drive/")
}

// reads tells a read of the Sheets API: some are POSTs.
func reads(r *http.Request) bool {
	return r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, ":batchGetByDataFilter") || strings.HasSuffix(r.URL.Path, ":getByDataFilter")
}

// driveUnits are what Drive charges for a request.
func driveUnits(r *http.Request) int {
	path := strings.TrimPrefix(r.URL.Path, "/drive/v3")
	switch {
	case r.Method != http.MethodGet:
		return 50
	case r.URL.Query().Get("alt") == "media" || strings.HasSuffix(path, "/export"):
		return 200
	case path == "/files" || path == "/changes":
		return 100
	}
	return 5
}

// Readings implements providers.BudgetKeeper. A refusal names the limit in its text:
// one "per user" is the user's, else it is taken for the project's.
func (a *App) Readings(q providers.BudgetRequest, ans providers.BudgetAnswer, into []ratelimit.Reading) []ratelimit.Reading {
	if ans.Verdict != providers.AnswerLimited {
		return into
	}
	charges := a.Charges(q, make([]ratelimit.Charge, 0, 2))
	refused := charges[1]
	if text := string(ans.Head); strings.Contains(text, "per user") || strings.Contains(text, "PerUser") || strings.Contains(text, "userRateLimitExceeded") {
		refused = charges[0]
	}
	return append(into, ratelimit.Reading{Budget: refused.Budget, Key: refused.Key, Remaining: -1, Refused: true, RetryAfter: ans.RetryAfter})
}
