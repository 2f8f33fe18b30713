package githubapp_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/internal/limitstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/stretchr/testify/require"
)

func TestCharges(t *testing.T) {
	app := githubapp.New(githubapp.Config{})
	for call, want := range map[string][]string{
		"GET /user":                                  {"core acct", "points acct", "secondary acct"},
		"HEAD /user":                                 {"core acct", "points acct", "secondary acct"},
		"POST /repos/o/r/issues":                     {"core acct", "content_minute acct", "content_hour acct", "points acct 5", "secondary acct"},
		"PATCH /repos/o/r/issues/1":                  {"core acct", "points acct 5", "secondary acct"},
		"DELETE /repos/o/r/git/refs/x":               {"core acct", "points acct 5", "secondary acct"},
		"GET /search/issues":                         {"search acct", "points acct", "secondary acct"},
		"GET /search/code":                           {"code_search acct", "points acct", "secondary acct"},
		"POST /graphql":                              {"graphql acct", "points acct", "secondary acct"},
		"GET /rate_limit":                            nil,
		"GET /api/v3/search/code":                    {"code_search acct", "points acct", "secondary acct"},
		"POST /api/graphql":                          {"graphql acct", "points acct", "secondary acct"},
		"GET /repos/o/search/contents/graphql":       {"core acct", "points acct", "secondary acct"},
		"GET /api/v3/repos/o/r/contents/search/x.go": {"core acct", "points acct", "secondary acct"},
	} {
		t.Run(call, func(t *testing.T) {
			require.Equal(t, want, limitstest.Charges(app, request(call)))
		})
	}
}

// request is one of "METHOD /path".
func request(call string) *http.Request {
	method, path, _ := strings.Cut(call, " ")
	return httptest.NewRequest(method, "https://api.github.com"+path, nil)
}

func TestReadings(t *testing.T) {
	const secondary = `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`
	for name, c := range map[string]struct {
		status int
		header []string // pairs; a reset is in seconds from now
		body   string
		want   []string
	}{
		"an answer": {200, []string{"Resource", "core", "Limit", "15000", "Remaining", "14999", "Reset", "1800"}, "",
			[]string{"core acct limit=15000 left=14999 reset=30m0s", "secondary acct"}},
		"of another resource": {200, []string{"Resource", "search", "Limit", "30", "Remaining", "7", "Reset", "12"}, "",
			[]string{"search acct limit=30 left=7 reset=12s", "secondary acct"}},
		"of one nobody knows": {200, []string{"Resource", "scim", "Limit", "1", "Remaining", "0", "Reset", "12"}, "", []string{"secondary acct"}},
		"without headers":     {200, nil, "", []string{"secondary acct"}},
		"the hour is spent": {403, []string{"Resource", "core", "Limit", "5000", "Remaining", "0", "Reset", "600"}, `{"message":"API rate limit exceeded"}`,
			[]string{"core acct limit=5000 left=0 reset=10m0s refused=10m1s"}},
		"the hour is spent, 429": {429, []string{"Resource", "graphql", "Limit", "5000", "Remaining", "0", "Reset", "600"}, "",
			[]string{"graphql acct limit=5000 left=0 reset=10m0s refused=10m1s"}},
		"spent, nobody says until when": {403, []string{"Resource", "core", "Remaining", "0"}, "", []string{"core acct left=0 refused=1m0s"}},
		"spent, the window is over":     {403, []string{"Resource", "core", "Remaining", "0", "Reset", "-5"}, "", []string{"core acct left=0 reset=0s refused=1s"}},
		"spent, and to wait longer": {403, []string{"Resource", "core", "Remaining", "0", "Reset", "5", "Retry-After", "60"}, "",
			[]string{"core acct left=0 reset=5s refused=1m0s"}},
		"secondary, 403": {403, []string{"Resource", "core", "Limit", "5000", "Remaining", "4000", "Reset", "600", "Retry-After", "30"}, secondary,
			[]string{"core acct limit=5000 left=4000 reset=10m0s", "secondary acct refused=30s"}},
		"secondary, 429 without a time": {429, []string{"Resource", "core", "Limit", "5000", "Remaining", "4000", "Reset", "600"}, secondary,
			[]string{"core acct limit=5000 left=4000 reset=10m0s", "secondary acct refused=1m0s"}},
		"secondary with nothing left": {403, []string{"Resource", "core", "Remaining", "0", "Reset", "600"}, secondary,
			[]string{"core acct left=0 reset=10m0s", "secondary acct refused=1m0s"}},
		"spent of one nobody knows": {429, []string{"Resource", "scim", "Remaining", "0", "Reset", "600"}, "", []string{"secondary acct refused=1m0s"}},
		"a missing permission":      {403, []string{"Resource", "core", "Remaining", "10"}, `{"message":"Resource not accessible by integration"}`, []string{"core acct left=10", "secondary acct"}},
		"a reset in a year":         {403, []string{"Resource", "core", "Remaining", "0", "Reset", "31536000"}, "", []string{"core acct left=0 refused=1m0s"}},
		"no numbers":                {200, []string{"Resource", "core", "Limit", "many", "Remaining", "-1", "Reset", "x"}, "", []string{"core acct", "secondary acct"}},
		"far too large":             {200, []string{"Resource", "core", "Limit", "99999999999", "Remaining", "99999999999", "Reset", "9999999999999999"}, "", []string{"core acct", "secondary acct"}},
		"a pause of a week":         {429, []string{"Retry-After", "604800"}, "", []string{"secondary acct refused=24h0m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := http.Header{}
				for i := 0; i < len(c.header); i += 2 {
					name, value := c.header[i], c.header[i+1]
					if seconds, err := strconv.Atoi(value); err == nil && name == "Reset" && seconds < 1<<31 {
						value = strconv.FormatInt(time.Now().Unix()+int64(seconds), 10)
					}
					if name != "Retry-After" {
						name = "X-RateLimit-" + name
					}
					h.Set(name, value)
				}
				require.Equal(t, c.want, limitstest.Readings(githubapp.New(githubapp.Config{}), request("GET /user"), limitstest.Answer{Status: c.status, Header: h, Body: c.body}))
			})
		})
	}
}

// TestResetsAreByTheProvidersClock: an hour that ends in ten minutes there ends in ten
// minutes here, wherever this machine's clock stands.
func TestResetsAreByTheProvidersClock(t *testing.T) {
	there := time.Now().Add(-3 * time.Hour)
	h := http.Header{
		"Date":                 {there.UTC().Format(http.TimeFormat)},
		"X-Ratelimit-Resource": {"core"}, "X-Ratelimit-Limit": {"5000"}, "X-Ratelimit-Remaining": {"17"},
		"X-Ratelimit-Reset": {strconv.FormatInt(there.Unix()+600, 10)},
	}
	require.Equal(t, "core acct limit=5000 left=17 reset=10m0s",
		limitstest.Readings(githubapp.New(githubapp.Config{}), request("GET /user"), limitstest.Answer{Status: 200, Header: h})[0])
}

func TestReserve(t *testing.T) {
	for reserve, want := range map[int]int{0: 100, 7: 7, -1: 0} {
		app := githubapp.New(githubapp.Config{Reserve: reserve})
		for _, b := range app.Budgets() {
			if b.Name == "core" || b.Name == "graphql" {
				require.Equal(t, want, b.Reserve)
			} else {
				require.Zero(t, b.Reserve, b.Name)
			}
		}
	}
}

func FuzzF11Limits(f *testing.F) {
	f.Add(403, "core", "5000", "0", "1800000000", "", "Wed, 25 Nov 2026 10:00:00 GMT", "secondary rate limit")
	f.Add(429, "search", "", "-1", "9223372036854775807", "99999999999", "Mon, 01 Jan 0001 00:00:00 GMT", "")
	f.Add(200, "graphql", "2147483648", "9223372036854775808", "-1", "Fri, 31 Dec 9999 23:59:59 GMT", "", "abuse detection")
	app := githubapp.New(githubapp.Config{})
	f.Fuzz(func(t *testing.T, status int, resource, limit, remaining, reset, retryAfter, date, body string) {
		h := http.Header{}
		for name, value := range map[string]string{
			"X-RateLimit-Resource": resource, "X-RateLimit-Limit": limit, "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset, "Retry-After": retryAfter, "Date": date,
		} {
			if value != "" {
				h.Set(name, value)
			}
		}
		if err := limitstest.Check(app, request("GET /user"), limitstest.Answer{Status: status, Header: h, Body: body}); err != nil {
			t.Fatal(err)
		}
	})
}
