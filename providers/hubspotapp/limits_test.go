package hubspotapp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/internal/limitstest"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/stretchr/testify/require"
)

// limited is a request of "METHOD /path" to HubSpot.
func limited(call string) *http.Request {
	method, path, _ := strings.Cut(call, " ")
	return httptest.NewRequest(method, "https://api.hubapi.com"+path, nil)
}

func TestCharges(t *testing.T) {
	app := hubspotapp.New(hubspotapp.Config{})
	for call, want := range map[string]string{
		"GET /crm/objects/2026-09/contacts":             "ten_seconds acct",
		"POST /crm/objects/2026-09/contacts":            "ten_seconds acct",
		"POST /crm/objects/2026-09/contacts/batch/read": "ten_seconds acct",
		"POST /crm/objects/2026-09/contacts/search":     "search acct",
		"GET /crm/objects/2026-09/contacts/search":      "ten_seconds acct", // an object named so
		"DELETE /crm/objects/2026-09/contacts/1":        "ten_seconds acct",
	} {
		t.Run(call, func(t *testing.T) {
			require.Equal(t, []string{want, "daily acct"}, limitstest.Charges(app, limited(call)))
		})
	}
}

func TestReadings(t *testing.T) {
	const get, search = "GET /crm/objects/2026-09/contacts", "POST /crm/objects/2026-09/contacts/search"
	policy := func(name string) string {
		return `{"status":"error","message":"You have reached your limit.","errorType":"RATE_LIMIT","policyName":"` + name + `"}`
	}
	left := func(n string) http.Header { return http.Header{"X-Hubspot-Ratelimit-Remaining": {n}} }
	for name, c := range map[string]struct {
		call   string
		answer limitstest.Answer
		want   []string
	}{
		"an answer":               {get, limitstest.Answer{Status: 200, Header: left("17")}, []string{"ten_seconds acct left=17"}},
		"a search tells nothing":  {search, limitstest.Answer{Status: 200, Header: left("17")}, nil},
		"no header":               {get, limitstest.Answer{Status: 200}, nil},
		"no number":               {get, limitstest.Answer{Status: 200, Header: left("some")}, nil},
		"a number below zero":     {get, limitstest.Answer{Status: 200, Header: left("-3")}, nil},
		"a number without end":    {get, limitstest.Answer{Status: 200, Header: left("99999999999999999999")}, nil},
		"ten seconds":             {get, limitstest.Answer{Status: 429, Body: policy("TEN_SECONDLY_ROLLING")}, []string{"ten_seconds acct refused=10s"}},
		"a second":                {search, limitstest.Answer{Status: 429, Body: policy("SECONDLY")}, []string{"search acct refused=1s"}},
		"a second, no search":     {get, limitstest.Answer{Status: 429, Body: policy("SECONDLY")}, []string{"ten_seconds acct refused=1s"}},
		"the day":                 {get, limitstest.Answer{Status: 429, Body: policy("DAILY")}, []string{"daily acct refused=1h0m0s"}},
		"a policy nobody knows":   {get, limitstest.Answer{Status: 429, Body: policy("YEARLY")}, []string{"ten_seconds acct refused=10s"}},
		"no policy":               {search, limitstest.Answer{Status: 429, Body: "slow down"}, []string{"search acct refused=10s"}},
		"the account moves":       {get, limitstest.Answer{Status: 477, Header: http.Header{"Retry-After": {"90"}}}, []string{"ten_seconds acct refused=1m30s"}},
		"a pause of a week":       {get, limitstest.Answer{Status: 429, Header: http.Header{"Retry-After": {"604800"}}}, []string{"ten_seconds acct refused=24h0m0s"}},
		"a pause in a body's cut": {get, limitstest.Answer{Status: 429, Body: policy("DAILY") + strings.Repeat(" ", 600)}, []string{"daily acct refused=1h0m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, limitstest.Readings(hubspotapp.New(hubspotapp.Config{}), limited(c.call), c.answer))
		})
	}
}

func FuzzF11Limits(f *testing.F) {
	f.Add(429, true, "0", "", `{"policyName":"DAILY"}`)
	f.Add(200, false, "9223372036854775808", "9223372036854775807", `{"policyName":{}`)
	app := hubspotapp.New(hubspotapp.Config{})
	f.Fuzz(func(t *testing.T, status int, search bool, remaining, retryAfter, body string) {
		call := "GET /crm/objects/2026-09/contacts"
		if search {
			call = "POST /crm/objects/2026-09/contacts/search"
		}
		h := http.Header{"X-Hubspot-Ratelimit-Remaining": {remaining}, "Retry-After": {retryAfter}}
		if err := limitstest.Check(app, limited(call), limitstest.Answer{Status: status, Header: h, Body: body}); err != nil {
			t.Fatal(err)
		}
	})
}
