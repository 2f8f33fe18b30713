package sheetsapp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/internal/limitstest"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/stretchr/testify/require"
)

// apiRequest is a request of "METHOD host/path".
func apiRequest(call string) *http.Request {
	method, rest, _ := strings.Cut(call, " ")
	return httptest.NewRequest(method, "https://"+rest, nil)
}

func TestCharges(t *testing.T) {
	const sheets, drive = "sheets.googleapis.com/v4/spreadsheets/id", "www.googleapis.com/drive/v3"
	reads, writes := []string{"user_reads acct", "project_reads"}, []string{"user_writes acct", "project_writes"}
	units := func(n string) []string { return []string{"drive_user acct " + n, "drive_project  " + n} }
	for call, want := range map[string][]string{
		"GET " + sheets:                                   reads,
		"GET " + sheets + "/values/A1:B2":                 reads,
		"GET " + sheets + "/values:batchGet":              reads,
		"POST " + sheets + "/values:batchGetByDataFilter": reads,
		"POST " + sheets + ":getByDataFilter":             reads,
		"PUT " + sheets + "/values/A1":                    writes,
		"POST " + sheets + "/values/A1:append":            writes,
		"POST " + sheets + ":batchUpdate":                 writes,
		"GET " + drive + "/files/id":                      units("5"),
		"GET " + drive + "/files":                         units("100"),
		"GET " + drive + "/changes?pageToken=7":           units("100"),
		"GET " + drive + "/files/id?alt=media":            units("200"),
		"GET " + drive + "/files/id/export":               units("200"),
		"POST " + drive + "/files/id/watch":               units("50"),
		"DELETE " + drive + "/files/id":                   units("50"),
		"POST www.googleapis.com/upload/drive/v3/files":   units("50"),
	} {
		t.Run(call, func(t *testing.T) {
			require.Equal(t, want, limitstest.Charges(sheetsapp.New(sheetsapp.Config{}), apiRequest(call)))
		})
	}
}

// TestQuotas: within any minute no more than the quota goes, whatever it is.
func TestQuotas(t *testing.T) {
	for _, c := range []sheetsapp.Config{{}, {ProjectPerMinute: 1200, UserPerMinute: 7}, {ProjectPerMinute: 2, UserPerMinute: 1}} {
		project, user := c.ProjectPerMinute, c.UserPerMinute
		if project == 0 {
			project, user = 300, 60
		}
		for _, b := range sheetsapp.New(c).Budgets() {
			most := map[string]int{"project_reads": project, "project_writes": project, "user_reads": user, "user_writes": user, "drive_project": 1_000_000, "drive_user": 325_000}[b.Name]
			require.Positive(t, b.Units, "%s of %+v", b.Name, c) // 0 would be no bound
			if most == 1 {
				require.Equal(t, [2]int{1, 1}, [2]int{b.Units, b.Burst}, "one after the other, a minute apart")
				continue
			}
			require.LessOrEqual(t, b.Units+b.Burst, most, b.Name)
			require.Equal(t, time.Minute, b.Window)
			require.Equal(t, strings.Contains(b.Name, "project"), b.Shared)
		}
	}
}

func TestReadings(t *testing.T) {
	const get = "GET sheets.googleapis.com/v4/spreadsheets/id"
	const file = "GET www.googleapis.com/drive/v3/files/id"
	project := strings.ReplaceAll(strings.ReplaceAll(quotaExceeded, " per user", ""), "PerUser", "")
	for name, c := range map[string]struct {
		call   string
		answer limitstest.Answer
		want   []string
	}{
		"an answer":         {get, limitstest.Answer{Status: 200}, nil},
		"no permission":     {get, limitstest.Answer{Status: 403, Body: denied}, nil},
		"the user's":        {get, limitstest.Answer{Status: 429, Body: quotaExceeded}, []string{"user_reads acct refused=1m0s"}},
		"the project's":     {get, limitstest.Answer{Status: 429, Body: project}, []string{"project_reads refused=1m0s"}},
		"nobody says whose": {get, limitstest.Answer{Status: 429}, []string{"project_reads refused=1m0s"}},
		"Drive's, 403":      {file, limitstest.Answer{Status: 403, Body: userRate}, []string{"drive_user acct refused=1m0s"}},
		"with a time":       {get, limitstest.Answer{Status: 429, Header: http.Header{"Retry-After": {"7"}}, Body: quotaExceeded}, []string{"user_reads acct refused=7s"}},
		"a pause of a week": {get, limitstest.Answer{Status: 429, Header: http.Header{"Retry-After": {"604800"}}}, []string{"project_reads refused=24h0m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, limitstest.Readings(sheetsapp.New(sheetsapp.Config{}), apiRequest(c.call), c.answer))
		})
	}
}

func FuzzF11Limits(f *testing.F) {
	f.Add(429, "GET", "/v4/spreadsheets/id", "", quotaExceeded)
	f.Add(403, "POST", "/drive/v3/files", "99999999999999999999", userRate)
	app := sheetsapp.New(sheetsapp.Config{})
	f.Fuzz(func(t *testing.T, status int, method, path, retryAfter, body string) {
		r := apiRequest("GET sheets.googleapis.com/")
		r.Method, r.URL.Path = method, path
		if err := limitstest.Check(app, r, limitstest.Answer{Status: status, Header: http.Header{"Retry-After": {retryAfter}}, Body: body}); err != nil {
			t.Fatal(err)
		}
	})
}
