package jiraapp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/stretchr/testify/require"
)

// declaring is a process whose configuration declares webhooks, on the store and
// the fakes of cfg.
func declaring(kit *integrationstest.Kit, cfg integrations.Config, hooks ...jiraapp.Webhook) *integrations.Manager {
	app := kit.Jira.App()
	app.Webhooks = hooks
	cfg.Providers = []providers.Provider{jiraapp.New(app)}
	return kit.Use(cfg)
}

// atJira are the filters of a site's webhooks.
func atJira(kit *integrationstest.Kit, site string) []string {
	out := []string{}
	for _, h := range kit.Jira.Webhooks(site) {
		out = append(out, h.JQL)
	}
	return out
}

// consistent requires that what is stored and what is at Jira are the same.
func consistent(t *testing.T, kit *integrationstest.Kit, m *integrations.Manager, tenant, site string, jql ...string) {
	t.Helper()
	require.ElementsMatch(t, jql, atJira(kit, site))
	subs, err := conn(t, m, tenant).Subscriptions(t.Context())
	require.NoError(t, err)
	var stored, there []string
	for _, s := range subs {
		stored = append(stored, s.RemoteID)
	}
	for _, h := range kit.Jira.Webhooks(site) {
		there = append(there, fmt.Sprint(h.ID))
	}
	require.ElementsMatch(t, there, stored)
}

func drain(t *testing.T, m *integrations.Manager) {
	t.Helper()
	require.NoError(t, m.Drain(t.Context()))
}

func TestDeclaredWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		a, b, c := hook("a", "project = A"), hook("b", "project = B"), hook("c", "project = C")
		m := declaring(kit, cfg, a, b)
		kit.Connect("acme", jiraapp.Key)
		kit.Connect("beta", jiraapp.Key)
		acme, beta := kit.Jira.Site("T-acme"), kit.Jira.Site("T-beta")
		require.Empty(t, atJira(kit, acme))
		drain(t, m)
		consistent(t, kit, m, "acme", acme, a.JQL, b.JQL)
		consistent(t, kit, m, "beta", beta, a.JQL, b.JQL)

		// Restarts make nothing, nor do later looks.
		before := kit.Jira.Webhooks(acme)
		for range 3 {
			m = declaring(kit, cfg, a, b)
			time.Sleep(7 * time.Hour)
			drain(t, m)
		}
		require.Equal(t, before, kit.Jira.Webhooks(acme))

		// What Jira has lost comes back.
		kit.Jira.DropWebhooks(acme)
		time.Sleep(7 * time.Hour)
		drain(t, m)
		consistent(t, kit, m, "acme", acme, a.JQL, b.JQL)

		// One of the host's own is not declared and stays.
		_, err := jiraapp.RegisterWebhooks(t.Context(), conn(t, m, "acme"), hook("own", "project = OWN"))
		require.NoError(t, err)

		// Another declaration: b goes, a changes, c is new. Renewal keeps that so.
		a2 := hook("a", "project = A2")
		m = declaring(kit, cfg, a2, c)
		drain(t, m)
		consistent(t, kit, m, "acme", acme, a2.JQL, c.JQL, "project = OWN")
		consistent(t, kit, m, "beta", beta, a2.JQL, c.JQL)
		for range 40 {
			time.Sleep(24 * time.Hour)
			drain(t, m)
		}
		consistent(t, kit, m, "acme", acme, a2.JQL, c.JQL, "project = OWN")
		for _, h := range kit.Jira.Webhooks(acme) {
			require.Greater(t, time.Until(h.ExpiresAt), 4*24*time.Hour)
		}

		// The host's own is repaired too, and nothing declared leaves it alone.
		kit.Jira.DropWebhooks(acme)
		m = declaring(kit, cfg)
		drain(t, m)
		consistent(t, kit, m, "acme", acme, "project = OWN")
		consistent(t, kit, m, "beta", beta)
		in, err := m.Integrations(t.Context(), "acme")
		require.NoError(t, err)
		require.NoError(t, m.Disconnect(t.Context(), "acme", in[0].ID))
		require.Empty(t, atJira(kit, acme))
	})
}

// TestAWebhookWhoseAnswerWasLost: it is at Jira and nobody stored it. A process
// that dies between the two leaves the same behind.
func TestAWebhookWhoseAnswerWasLost(t *testing.T) {
	for name, other := range map[string]bool{"taken over": false, "deleted": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit := integrationstest.New(t)
				cfg := kit.Config()
				m := declaring(kit, cfg, hook("a", "project = A"))
				kit.Connect("acme", jiraapp.Key)
				site := kit.Jira.Site("T-acme")
				// Listing comes first and works, then the answer to registering is lost.
				kit.Network.Fail("api.atlassian.com", "/ex/jira/"+site+"/rest/api/3/webhook", integrationstest.Latency(0), integrationstest.DropAfterWork())
				drain(t, m)
				require.Len(t, atJira(kit, site), 1)
				lost := kit.Jira.Webhooks(site)[0].ID
				subs, err := conn(t, m, "acme").Subscriptions(t.Context())
				require.NoError(t, err)
				require.Empty(t, subs)

				want := hook("a", "project = A")
				if other {
					want = hook("a", "project = OTHER")
					m = declaring(kit, cfg, want)
				}
				time.Sleep(11 * time.Minute)
				drain(t, m)
				consistent(t, kit, m, "acme", site, want.JQL)
				if !other {
					require.Equal(t, lost, kit.Jira.Webhooks(site)[0].ID)
				}
			})
		})
	}
}

// TestWebhooksOfOthersAtOneSite: two tenants that share a site and a user see each
// other's webhooks in the list.
func TestWebhooksOfOthersAtOneSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		app := kit.Jira.App()
		app.Shared, app.Webhooks = true, []jiraapp.Webhook{hook("a", "project = A")}
		cfg.Providers = []providers.Provider{jiraapp.New(app)}
		m := kit.Use(cfg)
		site := kit.Jira.AddSite("anna", "shared")
		kit.Connect("acme", jiraapp.Key, site)
		kit.Connect("beta", jiraapp.Key, site)
		for range 5 {
			drain(t, m)
			require.Equal(t, []string{"project = A", "project = A"}, atJira(kit, site))
			time.Sleep(7 * time.Hour)
		}
		ids := map[string]bool{}
		for _, tenant := range []string{"acme", "beta"} {
			subs, err := conn(t, m, tenant).Subscriptions(t.Context())
			require.NoError(t, err)
			require.Len(t, subs, 1)
			ids[subs[0].RemoteID] = true
		}
		require.Len(t, ids, 2)

		// One that is just being made may be the other's: it is left for a while.
		kit.Network.Fail("api.atlassian.com", "/ex/jira/"+site+"/rest/api/3/webhook", integrationstest.DropAfterWork())
		_, err := jiraapp.RegisterWebhooks(t.Context(), conn(t, m, "acme"), hook("own", "project = OWN"))
		require.Error(t, err)
		kit.Connect("beta", jiraapp.Key, site) // makes beta due
		drain(t, m)
		require.Len(t, atJira(kit, site), 3)
		time.Sleep(7 * time.Hour)
		drain(t, m)
		require.Equal(t, []string{"project = A", "project = A"}, atJira(kit, site))
	})
}

func TestDeclaredWebhooksMoveToAnotherURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		hooks := []jiraapp.Webhook{hook("a", "project = A"), hook("b", "project = B")}
		m := declaring(kit, cfg, hooks...)
		kit.Connect("acme", jiraapp.Key)
		kit.Connect("beta", jiraapp.Key)
		drain(t, m)
		cfg.BaseURL = "https://new.example.test/integrations"
		m = declaring(kit, cfg, hooks...)
		for range 3 { // Jira takes one URL at a time
			time.Sleep(7 * time.Hour)
			drain(t, m)
		}
		for _, tenant := range []string{"acme", "beta"} {
			site := kit.Jira.Site("T-" + tenant)
			consistent(t, kit, m, tenant, site, "project = A", "project = B")
			for _, h := range kit.Jira.Webhooks(site) {
				require.Equal(t, cfg.BaseURL+"/jira/webhook", h.URL)
			}
		}
	})
}

// TestFiveDeclaredWebhooksAreReplaced: there is no room for new ones beside the old.
func TestFiveDeclaredWebhooksAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		five := func(prefix string) (hooks []jiraapp.Webhook, jql []string) {
			for _, name := range strings.Fields("a b c d e") {
				hooks = append(hooks, hook(name, "project = "+prefix+name))
				jql = append(jql, "project = "+prefix+name)
			}
			return hooks, jql
		}
		old, _ := five("OLD")
		m := declaring(kit, cfg, old...)
		kit.Connect("acme", jiraapp.Key)
		drain(t, m)
		next, jql := five("NEW")
		m = declaring(kit, cfg, next...)
		drain(t, m)
		consistent(t, kit, m, "acme", kit.Jira.Site("T-acme"), jql...)
	})
}

// TestADeclaredWebhookThatJiraRefuses: the others are there, and the one before it
// stays in its place.
func TestADeclaredWebhookThatJiraRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		m := declaring(kit, cfg, hook("a", "project = A"))
		kit.Connect("acme", jiraapp.Key)
		drain(t, m)
		m = declaring(kit, cfg, hook("a", "summary ~ x"), hook("b", "project = B"))
		drain(t, m)
		consistent(t, kit, m, "acme", kit.Jira.Site("T-acme"), "project = A", "project = B")
	})
}

func TestValidateDeclaredWebhooks(t *testing.T) {
	with := func(fn func(*jiraapp.Config)) error { return app(fn).Validate() }
	require.NoError(t, with(func(c *jiraapp.Config) {
		c.Scopes, c.Webhooks = []string{"read:jira-work", "manage:jira-webhook"}, []jiraapp.Webhook{hook("a", "project = A")}
	}))
	err := with(func(c *jiraapp.Config) {
		c.Scopes, c.NoWebhooks = []string{"read:jira-work"}, true
		c.Webhooks = []jiraapp.Webhook{hook("a", "x"), hook("a", "x"), {Name: "no events", JQL: "x"}, hook("", "x"), hook("b", "x"), hook("c", " ")}
	})
	for _, part := range []string{
		"NoWebhooks is set", "has 6 elements", `"a" is declared twice`, `"no events" has no events`, "1 to 191 bytes", `"c" has no JQL`, "manage:jira-webhook",
	} {
		require.ErrorContains(t, err, part)
	}
}

func TestMissedWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		m := declaring(kit, kit.Config(), hook("a", "project = ACME"))
		kit.Connect("acme", jiraapp.Key)
		kit.Connect("beta", jiraapp.Key)
		acme, beta := kit.Jira.Site("T-acme"), kit.Jira.Site("T-beta")
		var h heard
		h.on(m, jiraapp.TypeIssueCreated)
		drain(t, m)
		key := kit.Jira.AddIssue(acme, "ACME", "x")
		body := kit.Jira.EventBody(acme, jiraapp.TypeIssueCreated, key)

		// One arrived in the end, and is listed nevertheless.
		arrived := kit.Jira.GiveUp(acme, body)
		require.Equal(t, 200, kit.Jira.Deliver(arrived, body))
		for range 120 {
			kit.Jira.GiveUp(acme, body)
		}
		kit.Jira.GiveUp(acme, []byte(`{"webhookEvent":"jira:issue_created","issue":{"self":"https://`+kit.Jira.Host(beta)+`/rest/api/2/issue/1"},"matchedWebhookIds":[1]}`))
		kit.Jira.GiveUp(acme, []byte(`nonsense`))
		time.Sleep(7 * time.Hour)
		drain(t, m)
		require.Len(t, h.take(), 121)

		// It goes on from there.
		kit.Jira.GiveUp(acme, body)
		time.Sleep(7 * time.Hour)
		drain(t, m)
		require.Equal(t, []string{"acme jira:issue_created ACME-1"}, h.take())
	})
}

// counting counts requests to paths that end in webhook/failed.
type counting struct {
	http.RoundTripper
	n *int
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/webhook/failed") {
		*c.n++
	}
	return c.RoundTripper.RoundTrip(r)
}

// TestMissedWebhooksRefused: Jira's page says that only Connect apps can ask.
func TestMissedWebhooksRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		n := 0
		cfg.Transport = counting{kit.Network, &n}
		m := declaring(kit, cfg, hook("a", "project = ACME"))
		kit.Connect("acme", jiraapp.Key)
		kit.Connect("beta", jiraapp.Key)
		kit.Jira.RefuseFailed(kit.Jira.Site("T-acme"))
		kit.Jira.RefuseFailed(kit.Jira.Site("T-beta"))
		for range 6 * 24 { // hours
			drain(t, m)
			time.Sleep(time.Hour)
		}
		require.Equal(t, 2, n)
		for range 2 * 24 {
			drain(t, m)
			time.Sleep(time.Hour)
		}
		require.Equal(t, 4, n)
		consistent(t, kit, m, "acme", kit.Jira.Site("T-acme"), "project = ACME")
	})
}

func TestNoRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		app := kit.Jira.App()
		app.NoRecovery, app.Webhooks = true, []jiraapp.Webhook{hook("a", "project = ACME")}
		cfg.Providers = []providers.Provider{jiraapp.New(app)}
		m := kit.Use(cfg)
		kit.Connect("acme", jiraapp.Key)
		var h heard
		h.on(m, jiraapp.TypeIssueCreated)
		drain(t, m)
		site := kit.Jira.Site("T-acme")
		kit.Jira.GiveUp(site, kit.Jira.EventBody(site, jiraapp.TypeIssueCreated, kit.Jira.AddIssue(site, "ACME", "x")))
		time.Sleep(7 * time.Hour)
		drain(t, m)
		require.Empty(t, h.take())
	})
}

// TestATakenOverWebhook: as Jira's own examples list it, with a number for its end
// and without a URL, and its events in another order.
func TestATakenOverWebhook(t *testing.T) {
	until := time.Now().Add(20 * 24 * time.Hour).Truncate(time.Millisecond)
	w := answers(answer(200, fmt.Sprintf(`{"startAt":0,"maxResults":100,"total":1,"isLast":true,"values":[
		{"id":1007,"jqlFilter":"project = A","events":["comment_created","jira:issue_created"],"fieldIdsFilter":null,"expirationDate":%d}]}`, until.UnixMilli())))
	c, m := kept(t, w)
	a := app(func(c *jiraapp.Config) { c.Webhooks = []jiraapp.Webhook{hook("a", "project = A")} })
	require.NoError(t, a.KeepSubscriptions(t.Context(), c))
	require.Equal(t, "GET "+base+"3/webhook?maxResults=100&startAt=0", w.one(t).method+" "+w.one(t).url)
	require.Equal(t, "1007", m.subs["a"].RemoteID)
	require.True(t, m.subs["a"].ExpiresAt.Equal(until))
	require.True(t, m.subs["a"].RenewAt.Equal(until.Add(-5*24*time.Hour)))

	// Without webhooks nothing is asked.
	w = answers(answer(500, ""))
	c, _ = kept(t, w)
	require.NoError(t, app().KeepSubscriptions(t.Context(), c))
	require.NoError(t, app().ReadMissed(t.Context(), c, nil))
	require.Empty(t, w.sent)
}
