package jiraapp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/internal/limitstest"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/stretchr/testify/require"
)

// siteCall is a request of "METHOD path" below rest/api/ of a site.
func siteCall(call string) *http.Request {
	method, path, _ := strings.Cut(call, " ")
	return httptest.NewRequest(method, "https://api.atlassian.com/ex/jira/cloud/rest/api/"+path, nil)
}

func TestCharges(t *testing.T) {
	app, bySite := jiraapp.New(jiraapp.Config{}), jiraapp.New(jiraapp.Config{PointsBySite: true})
	for call, want := range map[string][]string{
		"GET 2/issue/A-1":                        {"burst acct", "global_points 2"},
		"PUT 2/issue/A-1":                        {"issue_writes acct A-1", "burst_writes acct", "global_points 2"},
		"DELETE 3/issue/A-1/comment/7":           {"issue_writes acct A-1", "burst_writes acct", "global_points 2"},
		"POST 2/issue/A-1/comment":               {"issue_writes acct A-1", "burst acct", "global_points 2"},
		"POST 2/issue":                           {"burst acct", "global_points 2"},
		"POST 2/issue/bulk":                      {"burst acct", "global_points 2"},
		"GET 2/search/jql":                       {"burst acct", "global_points 51"},
		"GET 2/search/jql?maxResults=7":          {"burst acct", "global_points 8"},
		"GET 2/search/jql?maxResults=9999":       {"burst acct", "global_points 101"},
		"GET 2/search/jql?maxResults=-4":         {"burst acct", "global_points 51"},
		"GET 3/project/search":                   {"burst acct", "global_points 2"},
		"PUT 2/issue/" + strings.Repeat("A", 65): {"burst_writes acct", "global_points 2"},
	} {
		t.Run(call, func(t *testing.T) {
			require.Equal(t, want, trimmed(limitstest.Charges(app, siteCall(call))))
		})
	}
	require.Equal(t, []string{"burst acct", "site_points acct 2"}, limitstest.Charges(bySite, siteCall("GET 2/myself")))
}

// trimmed writes a budget of the whole app without the gap where its key would be.
func trimmed(charges []string) []string {
	for i, c := range charges {
		charges[i] = strings.ReplaceAll(c, "  ", " ")
	}
	return charges
}

func TestReadings(t *testing.T) {
	app, bySite := jiraapp.New(jiraapp.Config{}), jiraapp.New(jiraapp.Config{PointsBySite: true})
	refusal := func(reason string, more ...string) limitstest.Answer {
		h := http.Header{"RateLimit-Reason": {reason}}
		h.Set("RateLimit-Reason", reason)
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return limitstest.Answer{Status: 429, Header: h}
	}
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			app    *jiraapp.App
			call   string
			answer limitstest.Answer
			want   []string
		}{
			"an answer":                  {app, "GET 2/myself", limitstest.Answer{Status: 200, Header: http.Header{"X-Ratelimit-Remaining": {"0"}}}, nil},
			"the app's points":           {app, "GET 2/myself", refusal("jira-quota-global-based", "Retry-After", "600"), []string{"global_points refused=10m0s"}},
			"the app's, by site":         {bySite, "GET 2/myself", refusal("jira-quota-global-based", "Retry-After", "600"), []string{"site_points acct refused=10m0s"}},
			"a site's points":            {bySite, "GET 2/myself", refusal("jira-quota-tenant-based", "Retry-After", "600"), []string{"site_points acct refused=10m0s"}},
			"a site's, of shared points": {app, "GET 2/myself", refusal("jira-quota-tenant-based", "Retry-After", "600"), []string{"burst acct refused=10m0s"}},
			"a burst":                    {app, "GET 2/myself", refusal("jira-burst-based", "Retry-After", "2"), []string{"burst acct refused=2s"}},
			"a burst of writes":          {app, "PUT 2/issue/A-1", refusal("jira-burst-based", "Retry-After", "2"), []string{"burst_writes acct refused=2s"}},
			"an issue":                   {app, "PUT 2/issue/A-1", refusal("jira-per-issue-on-write", "Retry-After", "3"), []string{"issue_writes acct A-1 refused=3s"}},
			"an issue that none names":   {app, "PUT 2/myself", refusal("jira-per-issue-on-write", "Retry-After", "3"), []string{"burst_writes acct refused=3s"}},
			"no reason, no time":         {app, "GET 2/myself", limitstest.Answer{Status: 429}, []string{"burst acct refused=1m0s"}},
			"unavailable with a time":    {app, "GET 2/myself", limitstest.Answer{Status: 503, Header: http.Header{"Retry-After": {"9"}}}, []string{"burst acct refused=9s"}},
			"unavailable":                {app, "GET 2/myself", limitstest.Answer{Status: 503}, nil},
			"a reset":                    {app, "GET 2/myself", refusal("jira-burst-based", "X-RateLimit-Reset", time.Now().Add(2*time.Minute).UTC().Format("2006-01-02T15:04Z")), []string{"burst acct refused=2m0s"}},
			"a reset in a year":          {app, "GET 2/myself", refusal("jira-burst-based", "X-RateLimit-Reset", "2099-01-01T00:00Z"), []string{"burst acct refused=24h0m0s"}},
			"a reset long ago":           {app, "GET 2/myself", refusal("jira-burst-based", "X-RateLimit-Reset", "1999-01-01T00:00:00Z"), []string{"burst acct refused=1m0s"}},
		} {
			require.Equal(t, c.want, limitstest.Readings(c.app, siteCall(c.call), c.answer), name)
		}
	})
}

func FuzzF11Limits(f *testing.F) {
	f.Add(429, "PUT", "2/issue/A-1", "5", "jira-per-issue-on-write", "", "9999-12-31T23:59Z")
	f.Add(503, "GET", "2/search/jql", "99999999999999999999", "jira-quota-tenant-based", "9223372036854775807", "")
	app := jiraapp.New(jiraapp.Config{})
	f.Fuzz(func(t *testing.T, status int, method, path, results, reason, retryAfter, reset string) {
		r := siteCall("GET 2/myself")
		r.Method, r.URL.Path = method, "/ex/jira/cloud/rest/api/"+path
		r.URL.RawQuery = "maxResults=" + results
		h := http.Header{"Retry-After": {retryAfter}}
		h.Set("RateLimit-Reason", reason)
		h.Set("X-RateLimit-Reset", reset)
		if err := limitstest.Check(app, r, limitstest.Answer{Status: status, Header: h}); err != nil {
			t.Fatal(err)
		}
	})
}
