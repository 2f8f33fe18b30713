package integrations_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// changes collects what a host is told, as "kind reason".
func changes(m *integrations.Manager) func() []string {
	var mu sync.Mutex
	var told []string
	m.OnChange(func(_ context.Context, c integrations.Change) error {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, strings.TrimSpace(string(c.Kind)+" "+c.Reason))
		return nil
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := told
		told = nil
		return out
	}
}

// permutations are all orders of the given names.
func permutations(names []string) [][]string {
	if len(names) < 2 {
		return [][]string{names}
	}
	var out [][]string
	for i := range names {
		rest := append(slices.Clone(names[:i]), names[i+1:]...)
		for _, p := range permutations(rest) {
			out = append(out, append([]string{names[i]}, p...))
		}
	}
	return out
}

// TestSlackUninstallInEveryOrder: Slack tells of an uninstall by two events, in any
// order, and late. None of an earlier install ends a later one, and each end is
// told once.
func TestSlackUninstallInEveryOrder(t *testing.T) {
	for _, order := range permutations([]string{"app_uninstalled", "tokens_revoked", "user's token", "again", "reinstall"}) {
		t.Run(strings.Join(order, ","), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit := integrationstest.New(t)
				m := kit.Manager()
				told := changes(m)
				kit.Connect("t1", slackapp.Key, "T1")
				require.NoError(t, m.Drain(t.Context()))
				require.Equal(t, []string{"connected"}, told())
				time.Sleep(time.Minute)
				bodies := map[string][]byte{
					"app_uninstalled": kit.Slack.EventBody("T1", `{"type":"app_uninstalled"}`),
					"tokens_revoked":  kit.Slack.EventBody("T1", `{"type":"tokens_revoked","tokens":{"oauth":[],"bot":["UBOTT1"]}}`),
					"user's token":    kit.Slack.EventBody("T1", `{"type":"tokens_revoked","tokens":{"oauth":["UINSTALLER"],"bot":[]}}`),
				}
				bodies["again"] = bodies["app_uninstalled"] // Slack repeats what was answered late
				var want []string
				ended, connects := false, 0
				for _, step := range order {
					time.Sleep(time.Minute)
					if step == "reinstall" {
						kit.Connect("t1", slackapp.Key, "T1")
						connects++
						want = append(want, map[bool]string{true: "connected", false: "reconnected"}[ended])
						ended = false
					} else {
						require.Equal(t, 200, kit.Slack.Deliver(bodies[step]))
						if step != "user's token" && connects == 0 && !ended {
							ended = true
							reason := step
							if step == "again" {
								reason = "app_uninstalled"
							}
							want = append(want, "revoked "+reason)
						}
					}
					require.NoError(t, m.Drain(t.Context()))
					_, err := m.Connection(t.Context(), "t1", slackapp.Key)
					require.Equal(t, ended, err != nil, step)
				}
				require.False(t, ended)
				require.Equal(t, want, told())

				// The new install can be uninstalled.
				time.Sleep(time.Minute)
				require.Equal(t, 200, kit.Slack.Uninstall("T1"))
				require.NoError(t, m.Drain(t.Context()))
				require.Equal(t, []string{"revoked app_uninstalled"}, told())
				require.Equal(t, 200, kit.Slack.Deliver(kit.Slack.EventBody("T1", `{"type":"tokens_revoked","tokens":{"bot":["UBOTT1"]}}`)))
				require.NoError(t, m.Drain(t.Context()))
				require.Empty(t, told())
			})
		})
	}
}

// TestSlackOrganisationIsUninstalled: an install on an organisation hears of it under
// the organisation's id, and a workspace's own install does not.
func TestSlackOrganisationIsUninstalled(t *testing.T) {
	kit := integrationstest.New(t)
	m := kit.Manager()
	kit.Slack.OrgInstall("E1")
	kit.Connect("org", slackapp.Key, "E1")
	kit.Connect("team", slackapp.Key, "T1")
	require.Equal(t, 200, kit.Slack.Uninstall("E1"))
	require.NoError(t, m.Drain(t.Context()))
	_, err := m.Connection(t.Context(), "org", slackapp.Key)
	require.ErrorIs(t, err, integrations.ErrDisconnected)
	_, err = m.Connection(t.Context(), "team", slackapp.Key)
	require.NoError(t, err)
}

// installed is a kit with one installation and its id.
func installed(t *testing.T) (kit *integrationstest.Kit, id int64, told func() []string) {
	kit = integrationstest.New(t)
	told = changes(kit.Manager())
	kit.Connect("t1", githubapp.Key, "acme")
	require.NoError(t, kit.Manager().Drain(t.Context()))
	require.Equal(t, []string{"connected"}, told())
	return kit, kit.GitHub.Install("acme", "user-of-t1"), told
}

func status(t *testing.T, m *integrations.Manager, tenant string) (integrations.Status, githubapp.Account) {
	t.Helper()
	list, err := m.Integrations(t.Context(), tenant)
	require.NoError(t, err)
	a, err := githubapp.ReadAccount(providers.Snapshot{ProviderData: list[0].ProviderData})
	require.NoError(t, err)
	return list[0].Status, a
}

// TestGitHubPausesInEveryOrder: the last state of the installation wins, in whatever
// order and however late the events come. Its end is for good.
func TestGitHubPausesInEveryOrder(t *testing.T) {
	steps := []string{"suspend", "unsuspend", "suspend again", "unsuspend again"}
	for _, order := range permutations(steps) {
		t.Run(strings.Join(order, ","), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit, id, told := installed(t)
				m := kit.Manager()
				bodies := map[string][]byte{}
				kit.GitHub.Offline(true)
				for _, s := range steps {
					time.Sleep(time.Minute)
					if strings.HasPrefix(s, "suspend") {
						kit.GitHub.Suspend(id)
					} else {
						kit.GitHub.Unsuspend(id)
					}
					action, _, _ := strings.Cut(s, " ")
					bodies[s] = kit.GitHub.LifecycleBody(id, action)
				}
				kit.GitHub.Offline(false)
				deliver := func(s string) {
					time.Sleep(time.Second)
					require.Equal(t, 200, kit.GitHub.Redeliver("installation", s, bodies[s]))
					require.NoError(t, m.Drain(t.Context()))
				}
				latest := -1
				for _, s := range order {
					deliver(s)
					latest = max(latest, slices.Index(steps, s))
					st, _ := status(t, m, "t1")
					want := integrations.StatusActive
					if strings.HasPrefix(steps[latest], "suspend") {
						want = integrations.StatusSuspended
					}
					require.Equal(t, want, st, s)
				}
				_ = told()
				bodies["deleted"] = kit.GitHub.LifecycleBody(id, "deleted")
				deliver("deleted")
				require.Equal(t, []string{"revoked installation_deleted"}, told())
				// Of other bytes: an equal body would be a duplicate.
				bodies["late"] = []byte(strings.Replace(string(bodies["unsuspend again"]), `"someone"`, `"else"`, 1))
				deliver("late")
				st, _ := status(t, m, "t1")
				require.Equal(t, integrations.StatusRevoked, st)
				require.Empty(t, told())
			})
		})
	}
}

func TestGitHubTellsOfOtherGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, id, told := installed(t)
		m := kit.Manager()
		drain := func() { require.NoError(t, m.Drain(t.Context())) }
		before, _ := status(t, m, "t1")
		require.Equal(t, integrations.StatusActive, before)
		time.Sleep(time.Minute)
		require.Equal(t, 200, kit.GitHub.AcceptPermissions(id, map[string]string{"issues": "write"}))
		drain()
		require.Equal(t, []string{"scopes_changed installation_new_permissions_accepted"}, told())
		_, account := status(t, m, "t1")
		require.Equal(t, map[string]string{"issues": "write"}, maps.Clone(account.Permissions))

		time.Sleep(time.Minute)
		added := kit.GitHub.LifecycleBody(id, "added", "docs")
		require.Equal(t, 200, kit.GitHub.ChooseRepository(id, "docs", true))
		drain()
		require.Equal(t, []string{"scopes_changed installation_repositories_added"}, told())
		time.Sleep(time.Minute)
		require.Equal(t, 200, kit.GitHub.ChooseRepository(id, "docs", false))
		drain()
		require.Equal(t, []string{"scopes_changed installation_repositories_removed"}, told())

		// One that comes late is old news.
		require.Equal(t, 200, kit.GitHub.Deliver("installation_repositories", added))
		drain()
		require.Empty(t, told())
		now, _ := status(t, m, "t1")
		require.Equal(t, integrations.StatusActive, now)
	})
}

// TestOtherGrantsAreToldOnce: an event whose handler fails is handled again.
func TestOtherGrantsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		m := kit.Manager()
		told := changes(m)
		runs := 0
		m.OnWebhook(webhook.On(githubapp.Key, "installation_repositories", func(context.Context, webhook.Event) error {
			if runs++; runs < 3 {
				return errors.New("not now")
			}
			return nil
		}))
		kit.Connect("t1", githubapp.Key, "acme")
		require.Equal(t, 200, kit.GitHub.ChooseRepository(kit.GitHub.Install("acme", "user-of-t1"), "docs", true))
		for range 5 {
			require.NoError(t, m.Drain(t.Context()))
			time.Sleep(time.Minute)
		}
		require.Equal(t, 3, runs)
		require.ElementsMatch(t, []string{"connected", "scopes_changed installation_repositories_added"}, told())
	})
}

// TestAUserRevokesTheApp: only that user's integrations end, and not the
// installation of the same App.
func TestAUserRevokesTheApp(t *testing.T) {
	kit := integrationstest.New(t)
	cfg := kit.Config()
	users := kit.GitHub.App()
	users.Key, users.Mode, users.Slug = "github_user", githubapp.ModeUser, ""
	cfg.Providers = append(cfg.Providers, githubapp.New(users))
	m := kit.Use(cfg)
	told := changes(m)
	for _, tenant := range []string{"t1", "t2"} {
		kit.Connect(tenant, githubapp.Key, "org-"+tenant)
		kit.Connect(tenant, "github_user")
	}
	require.NoError(t, m.Drain(t.Context()))
	require.Len(t, told(), 4)
	conn, err := m.Connection(t.Context(), "t1", "github_user")
	require.NoError(t, err)
	snapshot, err := conn.Snapshot(t.Context())
	require.NoError(t, err)
	body := fmt.Appendf(nil, `{"action":"revoked","sender":{"id":%s,"login":"user-of-t1","type":"User"}}`, snapshot.ExternalID)
	for _, key := range []string{"github", "github_user"} {
		r := webhooktest.GitHub(integrationstest.BaseURL+"/"+key+"/webhook", kit.GitHub.WebhookSecret(), "github_app_authorization", "revoked-1", body)
		require.Equal(t, 200, kit.Send(r).StatusCode)
	}
	require.NoError(t, m.Drain(t.Context()))
	require.Equal(t, []string{"revoked github_app_authorization_revoked"}, told())
	_, err = m.Connection(t.Context(), "t1", "github_user")
	require.ErrorIs(t, err, integrations.ErrDisconnected)
	for _, other := range [][2]string{{"t1", "github"}, {"t2", "github"}, {"t2", "github_user"}} {
		_, err = m.Connection(t.Context(), other[0], other[1])
		require.NoError(t, err, other)
	}
}

// TestAContactsDeletionIsAnEvent: HubSpot has no webhook for an app that was removed.
// That a contact is to be forgotten is an event as any other, and changes nothing of
// the integration.
func TestAContactsDeletionIsAnEvent(t *testing.T) {
	kit := integrationstest.New(t)
	m := kit.Manager()
	told := changes(m)
	var got []string
	m.OnWebhook(hubspotapp.On("contact.privacyDeletion", func(_ context.Context, ev webhook.Event, n *hubspotapp.Notification) error {
		got = append(got, fmt.Sprint(ev.TenantID, " ", n.ObjectID))
		return nil
	}))
	kit.Connect("t1", hubspotapp.Key)
	require.Equal(t, 200, kit.HubSpot.Deliver(kit.HubSpot.Event("T-t1", "contact.privacyDeletion", map[string]any{"objectId": 123})))
	require.NoError(t, m.Drain(t.Context()))
	require.Equal(t, []string{"t1 123"}, got)
	require.Equal(t, []string{"connected"}, told())
}
