package salesforceapp_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/internal/limitstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/stretchr/testify/require"
)

func TestCharges(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch} {
		r := httptest.NewRequest(method, "https://acme.my.salesforce.com/services/data/v66.0/query", nil)
		require.Equal(t, []string{"daily acct", "concurrent acct"}, limitstest.Charges(salesforceapp.New(salesforceapp.Config{}), r))
	}
}

func TestReadings(t *testing.T) {
	usage := func(v string) http.Header { return http.Header{"Sforce-Limit-Info": {v}} }
	const spent = `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`
	for name, c := range map[string]struct {
		answer limitstest.Answer
		want   []string
	}{
		"an answer":           {limitstest.Answer{Status: 200, Header: usage("api-usage=10018/100000")}, []string{"daily acct limit=100000 left=89982 reset=15m0s"}},
		"the newer form":      {limitstest.Answer{Status: 200, Header: usage("api-usage=18/5000; api-bursts=1/750")}, []string{"daily acct limit=5000 left=4982 reset=15m0s"}},
		"an app's own":        {limitstest.Answer{Status: 200, Header: usage("per-app-api-usage=17/250(appName=x)")}, nil},
		"more than allowed":   {limitstest.Answer{Status: 200, Header: usage("api-usage=120/100")}, []string{"daily acct limit=100 left=0 reset=15m0s"}},
		"no limit":            {limitstest.Answer{Status: 200, Header: usage("api-usage=1/0")}, nil},
		"no numbers":          {limitstest.Answer{Status: 200, Header: usage("api-usage=-1/ten")}, nil},
		"without a header":    {limitstest.Answer{Status: 200}, nil},
		"numbers without end": {limitstest.Answer{Status: 200, Header: usage("api-usage=0/9223372036854775807")}, []string{"daily acct limit=2147483647 left=2147483647 reset=15m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, limitstest.Readings(salesforceapp.New(salesforceapp.Config{}), query(), c.answer))
		})
	}
	// Refusals come without a time: how long is left to chance, within bounds.
	app := salesforceapp.New(salesforceapp.Config{})
	for body, want := range map[string]struct {
		budget      string
		least, most time.Duration
	}{
		spent: {"daily", 5 * time.Minute, 15 * time.Minute},
		`[{"message":"ConcurrentPerOrgLongTxn Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`: {"concurrent", 5 * time.Second, 30 * time.Second},
	} {
		require.Equal(t, providers.AnswerLimited, app.ClassifyAnswer(403, nil, []byte(body)))
		r := app.Readings(providers.BudgetRequest{Request: query(), Account: "acct"}, providers.BudgetAnswer{
			Status: 403, Header: usage("api-usage=100/100"), Head: []byte(body), Verdict: providers.AnswerLimited, RetryAfter: app.LimitedFor(nil, []byte(body)),
		}, nil)
		require.Len(t, r, 1)
		require.Equal(t, want.budget, r[0].Budget.Name)
		require.True(t, r[0].Refused)
		require.GreaterOrEqual(t, r[0].Pause(), want.least)
		require.LessOrEqual(t, r[0].Pause(), want.most)
	}
}

func query() *http.Request {
	return httptest.NewRequest(http.MethodGet, "https://acme.my.salesforce.com/services/data/v66.0/query", nil)
}

func FuzzF11Limits(f *testing.F) {
	f.Add(200, "api-usage=10018/100000; api-bursts=1/750", "")
	f.Add(403, "api-usage=9223372036854775807/9223372036854775807", `[{"message":"Concurrent","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`)
	f.Add(200, "api-usage=0/1", "")
	app := salesforceapp.New(salesforceapp.Config{})
	f.Fuzz(func(t *testing.T, status int, usage, body string) {
		if err := limitstest.Check(app, query(), limitstest.Answer{Status: status, Header: http.Header{"Sforce-Limit-Info": {usage}}, Body: body}); err != nil {
			t.Fatal(err)
		}
	})
}
