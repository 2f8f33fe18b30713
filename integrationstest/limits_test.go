package integrationstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

// patient is a limiter whose callers wait for hours.
func patient() *ratelimit.Local {
	return ratelimit.NewLocal(&ratelimit.LocalConfig{MaxWait: 3 * time.Hour, MaxWaiting: 100_000})
}

// traffic is what tenants send to a provider: each of so many callers of each tenant
// makes calls until the time is over.
type traffic struct {
	key     string
	tenants []string
	callers int
	lasts   time.Duration
	request func(tenant string, caller, n int) *http.Request
}

// run sends it and returns how many calls of each tenant were answered. A call that is
// refused or fails ends the test.
func (f traffic) run(t *testing.T, kit *integrationstest.Kit) map[string]int {
	t.Helper()
	start := time.Now()
	var mu sync.Mutex
	answered := map[string]int{}
	var wg sync.WaitGroup
	for _, tenant := range f.tenants {
		conn, err := kit.Manager().Connection(t.Context(), tenant, f.key)
		require.NoError(t, err)
		client := conn.HTTPClient()
		for caller := range f.callers {
			wg.Go(func() {
				for n := 0; time.Since(start) < f.lasts; n++ {
					resp, err := client.Do(f.request(tenant, caller, n).WithContext(t.Context()))
					if err != nil {
						t.Errorf("%s: %v", tenant, err)
						return
					}
					_ = resp.Body.Close()
					if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusForbidden {
						t.Errorf("%s: answered %d", tenant, resp.StatusCode)
						return
					}
					mu.Lock()
					answered[tenant]++
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	return answered
}

// enforced is a kit with a patient limiter and tenants connected to a provider.
func enforced(t *testing.T, key string, tenants ...string) *integrationstest.Kit {
	kit := integrationstest.New(t)
	cfg := kit.Config()
	cfg.Limiter = patient()
	kit.Use(cfg)
	for _, tenant := range tenants {
		kit.Connect(tenant, key)
	}
	return kit
}

func get(url string) *http.Request {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		panic(err)
	}
	return r
}

func post(url, kind, body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", kind)
	return r
}

func TestCallsKeepGitHubsLimits(t *testing.T) {
	for name, c := range map[string]struct {
		lasts   time.Duration
		limit   string
		least   int // used of the limit by each account
		request func(string, int, int) *http.Request
	}{
		// 4,900 of 5,000, as 100 are left to others; then each caller's next one in the next
		// hour.
		"core":      {time.Hour - time.Minute, "core", 4900 + 190, func(string, int, int) *http.Request { return get("https://api.github.com/installation/repositories") }},
		"two hours": {2*time.Hour - time.Minute, "core", 2*4900 + 190, func(string, int, int) *http.Request { return get("https://api.github.com/installation/repositories") }},
		// Reads and writes: 900 points in any minute.
		"points": {3 * time.Minute, "points", 2200, func(_ string, _, n int) *http.Request {
			r := get("https://api.github.com/installation/repositories")
			if n%2 == 0 {
				r.Method = http.MethodPatch
			}
			return r
		}},
		// 500 of an hour, made at most 80 a minute.
		"content": {time.Hour - time.Minute, "content_hour", 480, func(string, int, int) *http.Request {
			return post("https://api.github.com/repos/o/r/issues", "application/json", `{"title":"x"}`)
		}},
		"search": {10 * time.Minute, "search", 270, func(string, int, int) *http.Request { return get("https://api.github.com/search/issues?q=x") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit := enforced(t, githubapp.Key, "a", "b")
				limits := kit.GitHub.Enforce(integrationstest.GitHubLimits{Takes: 200 * time.Millisecond})
				got := traffic{key: githubapp.Key, tenants: []string{"a", "b"}, callers: 200, lasts: c.lasts, request: c.request}.run(t, kit)
				require.Empty(t, limits.Refused())
				for _, tenant := range []string{"a", "b"} {
					account := installation(t, kit, tenant)
					used := limits.Used(c.limit, account)
					t.Logf("%s: %d calls, %d used of %s, %d at once", tenant, got[tenant], used, c.limit, limits.AtOnce(account))
					require.GreaterOrEqual(t, used, c.least)
					require.LessOrEqual(t, limits.AtOnce(account), 100)
				}
			})
		})
	}
}

// installation is the account of a tenant.
func installation(t *testing.T, kit *integrationstest.Kit, tenant string) string {
	all, err := kit.Manager().Integrations(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, all, 1)
	return all[0].ExternalID
}

// TestGitHubsReserveIsLeft: with 100 left, callers with time wait for the next hour and
// others are told when that is.
func TestGitHubsReserveIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := enforced(t, githubapp.Key, "a")
		limits := kit.GitHub.Enforce(integrationstest.GitHubLimits{})
		account := installation(t, kit, "a")
		began := time.Now()
		f := traffic{key: githubapp.Key, tenants: []string{"a"}, callers: 50, lasts: 30 * time.Minute,
			request: func(string, int, int) *http.Request { return get("https://api.github.com/installation/repositories") }}
		var waited sync.WaitGroup
		waited.Go(func() { f.run(t, kit) })
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		require.Equal(t, 4900, limits.Used("core", account))

		conn, err := kit.Manager().Connection(t.Context(), "a", githubapp.Key)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		asked := time.Now()
		_, err = conn.HTTPClient().Do(get("https://api.github.com/installation/repositories").WithContext(ctx))
		var limited *ratelimit.Error
		require.True(t, errors.As(err, &limited), "%v", err)
		require.WithinDuration(t, began.Add(time.Hour), limited.RetryAt, 2*time.Second)
		require.Zero(t, time.Since(asked), "nobody waits for nothing")
		require.Contains(t, limited.Scope, "core")

		waited.Wait()
		require.WithinDuration(t, began.Add(time.Hour), time.Now(), 2*time.Second, "the others waited for the next hour")
		require.Empty(t, limits.Refused())
	})
}

// TestASecondaryRefusalIsObeyed: whatever its form, nothing is sent before its time, and
// then one by one at first.
func TestASecondaryRefusalIsObeyed(t *testing.T) {
	for form, answer := range map[string]integrationstest.Fault{
		"429":     integrationstest.RateLimited(30 * time.Second),
		"no time": integrationstest.Answer(http.StatusForbidden, `{"message":"You have exceeded a secondary rate limit."}`),
	} {
		t.Run(form, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit := enforced(t, githubapp.Key, "a", "b")
				kit.GitHub.Enforce(integrationstest.GitHubLimits{})
				call := func(tenant string) int {
					conn, err := kit.Manager().Connection(t.Context(), tenant, githubapp.Key)
					require.NoError(t, err)
					resp, err := conn.HTTPClient().Do(get("https://api.github.com/installation/repositories").WithContext(t.Context()))
					require.NoError(t, err)
					_ = resp.Body.Close()
					return resp.StatusCode
				}
				require.Equal(t, 200, call("a"))
				kit.Network.Fail("api.github.com", "/installation", answer)
				start := time.Now()
				require.Contains(t, []int{403, 429}, call("a"))
				require.Equal(t, 200, call("b"))
				require.Zero(t, time.Since(start), "another account does not wait")
				require.Equal(t, 200, call("a"))
				want := time.Minute
				if form == "429" {
					want = 30 * time.Second
				}
				require.Equal(t, want, time.Since(start))
			})
		})
	}
}

func TestCallsKeepSlacksLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenants := []string{"a", "b", "c"}
		kit := enforced(t, slackapp.Key, tenants...)
		limits := kit.Slack.Enforce()
		lists := traffic{key: slackapp.Key, tenants: tenants, callers: 20, lasts: 10 * time.Minute,
			request: func(string, int, int) *http.Request {
				return post("https://slack.com/api/conversations.list", "application/x-www-form-urlencoded", "")
			}}.run(t, kit)
		posts := traffic{key: slackapp.Key, tenants: tenants, callers: 20, lasts: 10 * time.Minute,
			request: func(_ string, caller, _ int) *http.Request {
				return post("https://slack.com/api/chat.postMessage", "application/x-www-form-urlencoded", fmt.Sprintf("channel=C%d&text=x", caller%4))
			}}.run(t, kit)
		require.Empty(t, limits.Refused())
		for _, tenant := range tenants {
			t.Logf("%s: %d lists, %d messages", tenant, lists[tenant], posts[tenant])
			require.GreaterOrEqual(t, lists[tenant], 200, "20 a minute")
			require.GreaterOrEqual(t, posts[tenant], 4*600, "1 a second to each of four channels")
		}
	})
}

func TestCallsKeepHubSpotsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := enforced(t, hubspotapp.Key, "a", "b")
		limits := kit.HubSpot.Enforce()
		calls := traffic{key: hubspotapp.Key, tenants: []string{"a", "b"}, callers: 60, lasts: 5 * time.Minute,
			request: func(string, int, int) *http.Request {
				return get("https://api.hubapi.com/account-info/2026-03/details")
			}}.run(t, kit)
		searches := traffic{key: hubspotapp.Key, tenants: []string{"a", "b"}, callers: 60, lasts: time.Minute,
			request: func(string, int, int) *http.Request {
				return post("https://api.hubapi.com/crm/objects/2026-09/contacts/search", "application/json", `{"limit":10}`)
			}}.run(t, kit)
		require.Empty(t, limits.Refused())
		for _, tenant := range []string{"a", "b"} {
			t.Logf("%s: %d calls, %d searches", tenant, calls[tenant], searches[tenant])
			require.GreaterOrEqual(t, calls[tenant], 30*85)
			require.GreaterOrEqual(t, searches[tenant], 60*4)
		}
	})
}

func TestCallsKeepJirasLimits(t *testing.T) {
	for name, c := range map[string]struct {
		points int
		lasts  time.Duration
		least  int // of both sites together
		path   string
	}{
		"burst":  {0, time.Minute, 2 * 60 * 79, "api/2/myself"},
		"points": {3000, 2*time.Hour - time.Second, 2 * 2950 / 11, "api/2/search/jql?jql=x&maxResults=10"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit := integrationstest.New(t)
				cfg := kit.Config()
				cfg.Limiter = patient()
				app := kit.Jira.App()
				app.HourlyPoints = c.points
				for i, p := range cfg.Providers {
					if p.Info().Key == jiraapp.Key {
						cfg.Providers[i] = jiraapp.New(app)
					}
				}
				kit.Use(cfg)
				sites := map[string]string{}
				for _, tenant := range []string{"a", "b"} {
					sites[tenant] = kit.Jira.AddSite("person-of-"+tenant, tenant)
					kit.Connect(tenant, jiraapp.Key, "person-of-"+tenant)
				}
				limits := kit.Jira.Enforce(integrationstest.JiraLimits{Points: c.points})
				got := traffic{key: jiraapp.Key, tenants: []string{"a", "b"}, callers: 50, lasts: c.lasts,
					request: func(tenant string, _, _ int) *http.Request {
						return get("https://api.atlassian.com/ex/jira/" + sites[tenant] + "/rest/" + c.path)
					}}.run(t, kit)
				require.Empty(t, limits.Refused())
				t.Logf("%v", got)
				require.GreaterOrEqual(t, got["a"]+got["b"], c.least)
				require.InEpsilon(t, got["a"], got["b"], 0.1, "they take turns")
			})
		})
	}
}

func TestCallsKeepGooglesLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tenants []string
		for i := range 8 {
			tenants = append(tenants, fmt.Sprintf("t%d", i))
		}
		kit := enforced(t, sheetsapp.Key, tenants...)
		ids := map[string]string{}
		for _, tenant := range tenants {
			ids[tenant] = kit.Sheets.AddSpreadsheet(installation(t, kit, tenant), "Sheet")
		}
		limits := kit.Sheets.Enforce()
		var sent atomic.Int64
		got := traffic{key: sheetsapp.Key, tenants: tenants, callers: 20, lasts: 10 * time.Minute,
			request: func(tenant string, _, _ int) *http.Request {
				sent.Add(1)
				return get("https://sheets.googleapis.com/v4/spreadsheets/" + ids[tenant])
			}}.run(t, kit)
		require.Empty(t, limits.Refused())
		t.Logf("%d calls: %v", sent.Load(), got)
		require.GreaterOrEqual(t, limits.Used("project_reads", ""), 10*240)
		for _, tenant := range tenants {
			require.InDelta(t, limits.Answered()/8, got[tenant], 15, "each of eight has its part of the project's quota")
		}
	})
}

// TestEnforcedRefuses: callers without limits of their own are refused as the providers
// refuse, so that the tests above show something.
func TestEnforcedRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		for tenant, key := range map[string]string{"g": githubapp.Key, "s": slackapp.Key, "h": hubspotapp.Key} {
			kit.Connect(tenant, key)
		}
		github, slack, hubspot := kit.GitHub.Enforce(integrationstest.GitHubLimits{Requests: 200, Takes: time.Second}), kit.Slack.Enforce(), kit.HubSpot.Enforce()
		send := func(tenant, key string, request func() *http.Request, n int) map[int]int {
			var mu sync.Mutex
			status := map[int]int{}
			var wg sync.WaitGroup
			conn, err := kit.Manager().Connection(t.Context(), tenant, key)
			require.NoError(t, err)
			tok, err := conn.Token(t.Context())
			require.NoError(t, err)
			for range n {
				wg.Go(func() {
					r := request()
					r.Header.Set("Authorization", "Bearer "+tok.Reveal())
					resp, err := kit.Network.RoundTrip(r)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					status[resp.StatusCode]++
				})
			}
			wg.Wait()
			return status
		}
		repositories := func() *http.Request { return get("https://api.github.com/installation/repositories") }
		require.Equal(t, 100, send("g", githubapp.Key, repositories, 150)[200], "a hundred at a time")
		require.Equal(t, 100, send("g", githubapp.Key, repositories, 100)[200])
		require.Zero(t, send("g", githubapp.Key, repositories, 2)[200], "the window is spent")
		require.Equal(t, map[string]int{"concurrent": 50, "core": 2}, github.Refused())

		posted := send("s", slackapp.Key, func() *http.Request {
			return post("https://slack.com/api/chat.postMessage", "application/json", `{"channel":"C1","text":"x"}`)
		}, 5)
		require.Equal(t, map[int]int{200: 3, 429: 2}, posted)
		require.Equal(t, map[string]int{"channel_second": 2}, slack.Refused())

		require.Equal(t, map[int]int{200: 110, 429: 5}, send("h", hubspotapp.Key, func() *http.Request { return get("https://api.hubapi.com/account-info/2026-03/details") }, 115))
		require.Equal(t, map[string]int{"ten_seconds": 5}, hubspot.Refused())
		require.Equal(t, 110, hubspot.Answered())
	})
}
