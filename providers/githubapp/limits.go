package githubapp

import (
	"bytes"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
)

// defaultReserve is how many requests of an hour are left to others unless Config
// says otherwise.
const defaultReserve = 100

// limits are GitHub's (docs.github.com/rest/using-the-rest-api/
// rate-limits-for-the-rest-api, checked 2026-11). All are kept for each account: an
// installation, or the user of an OAuth app.
//
// The numbers of the primary limits are those of an account of which no answer told
// yet; answers tell the true ones. Those of search, code_search and graphql are from
// memory.
type limits struct {
	core, search, codeSearch, graphql  *ratelimit.Budget
	points, contentMinute, contentHour *ratelimit.Budget
	secondary                          *ratelimit.Budget
}

func newLimits(reserve int) limits {
	window := func(name string, units int, w time.Duration, reserve int) *ratelimit.Budget {
		return &ratelimit.Budget{Name: name, Units: units, Window: w, Refill: ratelimit.Whole, Reserve: reserve}
	}
	return limits{
		core:       window("core", 5000, time.Hour, reserve),
		search:     window("search", 30, time.Minute, 0),
		codeSearch: window("code_search", 10, time.Minute, 0),
		graphql:    window("graphql", 5000, time.Hour, reserve),
		// 900 points a minute; reading costs one, writing five.
		points: &ratelimit.Budget{Name: "points", Units: 750, Window: time.Minute, Burst: 150},
		// 80 a minute and 500 an hour of what makes content.
		contentMinute: &ratelimit.Budget{Name: "content_minute", Units: 60, Window: time.Minute, Burst: 20},
		contentHour:   &ratelimit.Budget{Name: "content_hour", Units: 400, Window: time.Hour, Burst: 100},
		secondary:     &ratelimit.Budget{Name: "secondary", Concurrent: 100, SlowStart: true},
	}
}

// Budgets implements providers.BudgetKeeper.
func (a *App) Budgets() []*ratelimit.Budget {
	l := &a.limits
	return []*ratelimit.Budget{l.core, l.search, l.codeSearch, l.graphql, l.points, l.contentMinute, l.contentHour, l.secondary}
}

// Charges implements providers.BudgetKeeper.
func (a *App) Charges(q providers.BudgetRequest, into []ratelimit.Charge) []ratelimit.Charge {
	l := &a.limits
	charge := func(b *ratelimit.Budget, cost int) {
		into = append(into, ratelimit.Charge{Budget: b, Key: q.Account, Cost: cost})
	}
	primary := a.primary(q.Request.URL.Path)
	reading := q.Request.Method == http.MethodGet || q.Request.Method == http.MethodHead || q.Request.Method == http.MethodOptions
	points := 1
	if primary == nil {
		return into // costs nothing
	}
	charge(primary, 1)
	if primary == l.core {
		if !reading {
			points = 5
		}
		if q.Request.Method == http.MethodPost {
			charge(l.contentMinute, 1)
			charge(l.contentHour, 1)
		}
	}
	charge(l.points, points)
	charge(l.secondary, 1)
	return into
}

// primary is the budget of a path's hourly or minute's limit, nil for what is free.
func (a *App) primary(path string) *ratelimit.Budget {
	path = a.apiPath(path)
	switch {
	case path == "/rate_limit":
		return nil
	case path == "/graphql":
		return a.limits.graphql
	case strings.HasPrefix(path, "/search/code"):
		return a.limits.codeSearch
	case strings.HasPrefix(path, "/search/"):
		return a.limits.search
	}
	return a.limits.core
}

// apiPath is a path without what an Enterprise Server puts before it.
func (a *App) apiPath(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, "/api/v3"), "/api")
}

// Readings implements providers.BudgetKeeper: every answer tells the resource that it
// was charged to, and what is left of it. A 304 costs nothing of that
// (docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api, "Use
// conditional requests"); whether it costs points is not said, so it does here.
func (a *App) Readings(q providers.BudgetRequest, ans providers.BudgetAnswer, into []ratelimit.Reading) []ratelimit.Reading {
	if p := a.primary(q.Request.URL.Path); p != nil && ans.Status == http.StatusNotModified {
		into = append(into, ratelimit.Reading{Budget: p, Key: q.Account, Remaining: -1, Uncharged: true})
	}
	h := ans.Header
	b := a.resource(first(h, "X-Ratelimit-Resource"))
	limited := ans.Verdict == providers.AnswerLimited
	spent := first(h, "X-Ratelimit-Remaining") == "0" && !secondaryLimit(ans.Head)
	if b != nil {
		r := ratelimit.Reading{
			Budget: b, Key: q.Account, ResetIn: resetIn(h),
			Limit: number(h, "X-Ratelimit-Limit", 0), Remaining: number(h, "X-Ratelimit-Remaining", -1),
		}
		if limited && spent {
			r.Refused, r.RetryAfter = true, ans.RetryAfter
			if r.ResetIn != 0 { // else a minute
				r.RetryAfter = max(r.RetryAfter, r.ResetIn+time.Second)
			}
		}
		into = append(into, r)
	}
	if !limited || b == nil || !spent {
		into = append(into, ratelimit.Reading{
			Budget: a.limits.secondary, Key: q.Account, Remaining: -1, Refused: limited, RetryAfter: ans.RetryAfter,
		})
	}
	return into
}

func secondaryLimit(head []byte) bool {
	return bytes.Contains(head, []byte("secondary rate limit")) || bytes.Contains(head, []byte("abuse detection"))
}

func (a *App) resource(name string) *ratelimit.Budget {
	switch name {
	case "core":
		return a.limits.core
	case "search":
		return a.limits.search
	case "code_search":
		return a.limits.codeSearch
	case "graphql":
		return a.limits.graphql
	}
	return nil
}

// resetMost is more than any of GitHub's windows lasts.
const resetMost = 24*time.Hour - time.Second

// resetIn is how long the window that an answer tells of still lasts: 0 when it does
// not tell or tells nonsense, negative when it is over.
func resetIn(h http.Header) time.Duration {
	reset, err := strconv.ParseInt(first(h, "X-Ratelimit-Reset"), 10, 64)
	if err != nil || reset <= 0 || reset > math.MaxUint32 {
		return 0
	}
	in := time.Unix(reset, 0).Sub(dated(h))
	switch {
	case in > resetMost:
		return 0
	case in <= 0:
		return -1
	}
	return in
}

// number reads a header, named as first takes it, that must be a number of a sensible
// size.
func number(h http.Header, name string, otherwise int) int {
	n, err := strconv.ParseInt(first(h, name), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return otherwise
	}
	return int(n)
}

// dated is the provider's clock at the moment of the answer: resets are by it.
func dated(h http.Header) time.Time {
	if t, err := parseDate(first(h, "Date")); err == nil {
		return t
	}
	return time.Now()
}

// first is the first value of a header, by its name as [http.CanonicalHeaderKey] writes
// it: Get, which takes any spelling, costs five times as much.
func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// parseDate is [http.ParseTime], faster for the one form that servers send
// (RFC 9110 section 5.6.7): "Wed, 25 Nov 2026 19:52:33 GMT". It is asked of each answer.
func parseDate(s string) (time.Time, error) {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	if len(s) != len(http.TimeFormat) || s[3:5] != ", " || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' || s[19] != ':' || s[22] != ':' || s[25:] != " GMT" {
		return http.ParseTime(s)
	}
	month := strings.Index(months, s[8:11])
	day, year, hour, minute, second := digits(s[5:7]), digits(s[12:16]), digits(s[17:19]), digits(s[20:22]), digits(s[23:25])
	if month < 0 || month%3 != 0 || min(day, year, hour, minute, second) < 0 || hour > 23 || minute > 59 || second > 59 {
		return http.ParseTime(s)
	}
	t := time.Date(year, time.Month(month/3+1), day, hour, minute, second, 0, time.UTC)
	if t.Day() != day || !strings.HasPrefix(s, t.Weekday().String()[:3]) {
		return http.ParseTime(s)
	}
	return t, nil
}

// digits is the number that s is, negative when it is none.
func digits(s string) (n int) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}
