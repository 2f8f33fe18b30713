package integrationstest

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// GitHubLimits are those of an account. The zero value has GitHub's own numbers
// (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api, checked
// 2026-11).
type GitHubLimits struct {
	// Requests may be made in each Window, of core and of graphql each. Default to 5,000
	// and an hour.
	Requests int
	Window   time.Duration
	// Takes is how long each call takes.
	Takes time.Duration
}

// Enforce makes the API refuse what is over GitHub's limits from now on, each account
// apart: the primary limits of core, graphql, search (30 a minute) and code_search (10),
// and the secondary ones: 100 calls at a time, 900 points in any minute, 80 calls that
// make content in any minute and 500 in any hour. The limits are named "core" and so on,
// "concurrent", "points", "content_minute" and "content_hour". Refusals come as 403 and as
// 429, secondary ones with and without Retry-After.
func (g *GitHub) Enforce(l GitHubLimits) *Enforced {
	l.Requests, l.Window = cmp.Or(l.Requests, 5000), cmp.Or(l.Window, time.Hour)
	e := newEnforced()
	g.SetQuota(1 << 30)
	g.kit.Network.wrap("api.github.com", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			account := g.Tokens.owner(bearer(r))
			if account == "" || r.URL.Path == "/rate_limit" {
				next.ServeHTTP(w, r) // the App itself has limits apart
				return
			}
			l.serve(e, account, next, w, r)
		})
	})
	return e
}

func (l GitHubLimits) serve(e *Enforced, account string, next http.Handler, w http.ResponseWriter, r *http.Request) {
	primary := allowance{limit: "core", key: account, units: l.Requests, span: l.Window, whole: true, cost: 1}
	points := 1
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	minute := func(limit string, units int) {
		primary.limit, primary.units, primary.span = limit, units, time.Minute
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/search/code"):
		minute("code_search", 10)
	case strings.HasPrefix(r.URL.Path, "/search/"):
		minute("search", 30)
	case r.URL.Path == "/graphql":
		primary.limit = "graphql"
	case !reading:
		points = 5
	}
	all := []allowance{primary, {limit: "points", key: account, units: 900, span: time.Minute, cost: points}}
	if r.Method == http.MethodPost && primary.limit == "core" {
		all = append(all, allowance{limit: "content_minute", key: account, units: 80, span: time.Minute, cost: 1},
			allowance{limit: "content_hour", key: account, units: 500, span: time.Hour, cost: 1})
	}
	refused, again := "concurrent", time.Now().Add(time.Second)
	if e.begin(account, 100) {
		defer e.end(account)
		if refused, again = e.take(all...); refused == "" && rest(r.Context(), l.Takes) != nil {
			return
		}
	}
	h := &githubHeader{ResponseWriter: w, primary: primary}
	h.left, h.resets = e.left(primary)
	switch form := e.form(4); {
	case refused == "":
		next.ServeHTTP(h, r)
	case refused == primary.limit:
		message(h, []int{http.StatusForbidden, http.StatusTooManyRequests}[form%2], "API rate limit exceeded for installation ID "+account+".")
	default:
		if form < 2 {
			h.Header().Set("Retry-After", strconv.Itoa(int(time.Until(again)/time.Second)+1))
		}
		message(h, []int{http.StatusForbidden, http.StatusTooManyRequests}[form%2],
			fmt.Sprintf("You have exceeded a secondary rate limit (%s). Please wait a few minutes before you try again.", refused))
	}
}

// githubHeader tells the primary limit with every answer.
type githubHeader struct {
	http.ResponseWriter
	primary allowance
	left    int
	resets  time.Time
	wrote   bool
}

func (w *githubHeader) WriteHeader(status int) {
	w.wrote = true
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(w.primary.units))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(w.left))
	h.Set("X-RateLimit-Used", strconv.Itoa(w.primary.units-w.left))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(w.resets.Unix(), 10))
	h.Set("X-RateLimit-Resource", w.primary.limit)
	w.ResponseWriter.WriteHeader(status)
}

func (w *githubHeader) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}
