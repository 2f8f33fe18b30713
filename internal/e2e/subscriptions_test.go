package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// replicaStores are stores of several processes on one database: a pool each.
func replicaStores(t *testing.T, n int, fn func(t *testing.T, stores []store.Store)) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s.db")
		stores := []store.Store{migrated(t, openSQLite(t, path, recommended), "")}
		for len(stores) < n {
			stores = append(stores, sqlstore.New(openSQLite(t, path, recommended), sqlstore.SQLite, nil))
		}
		fn(t, stores)
	})
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			db := s.open(t, "")
			prefix := s.prefixed(t, db)
			require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
			var stores []store.Store
			for len(stores) < n {
				stores = append(stores, sqlstore.New(s.open(t, ""), s.dialect, &sqlstore.Options{TablePrefix: prefix}))
			}
			fn(t, stores)
		})
	}
}

// calls counts requests by method and the end of their path.
type calls struct {
	http.RoundTripper
	mu sync.Mutex
	n  map[string]int
	// ahead sets the provider's clock forward.
	ahead time.Duration
}

func (c *calls) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range []string{"3/webhook", "/watch", "/channels/stop", "/attempts", "/app/hook/deliveries"} {
		if strings.HasSuffix(r.URL.Path, end) {
			c.n[r.Method+" "+end]++
		}
	}
	if resp != nil && c.ahead > 0 {
		resp.Header.Set("Date", time.Now().Add(c.ahead).UTC().Format(http.TimeFormat))
	}
	return resp, err
}

func (c *calls) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = map[string]int{}
	return n
}

// together lets all Managers do everything that is due, at the same time.
func together(t *testing.T, ms []*integrations.Manager) {
	t.Helper()
	errs := make([]error, len(ms))
	var wg sync.WaitGroup
	for i, m := range ms {
		wg.Go(func() { errs[i] = m.Drain(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// TestReplicasSubscribeOnce: four replicas on one database, which start at the same
// time and again and again, make each declared subscription once.
func TestReplicasSubscribeOnce(t *testing.T) {
	const tenants = 12
	replicaStores(t, 4, func(t *testing.T, stores []store.Store) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		count := &calls{RoundTripper: kit.Network, n: map[string]int{}}
		cfg.Transport = count
		start := func(jql string, watch bool) []*integrations.Manager {
			jira, sheets := kit.Jira.App(), kit.Sheets.App()
			if jql != "" {
				jira.Webhooks = []jiraapp.Webhook{
					{Name: "issues", Events: []string{"jira:issue_created"}, JQL: jql}, {Name: "comments", Events: []string{"comment_created"}, JQL: jql},
				}
			}
			sheets.WatchChanges = watch
			cfg.Providers = []providers.Provider{jiraapp.New(jira), sheetsapp.New(sheets)}
			var ms []*integrations.Manager
			for _, st := range stores {
				cfg.Store = st
				ms = append(ms, kit.Use(cfg))
			}
			return ms
		}
		ms := start("project = A", true)
		for i := range tenants {
			kit.Connect(fmt.Sprint("t", i), jiraapp.Key)
			kit.Connect(fmt.Sprint("t", i), sheetsapp.Key)
		}
		have := func(want ...string) {
			t.Helper()
			for i := range tenants {
				jql := []string{}
				for _, h := range kit.Jira.Webhooks(kit.Jira.Site(fmt.Sprint("T-t", i))) {
					jql = append(jql, h.JQL)
				}
				require.ElementsMatch(t, want, jql)
			}
		}
		together(t, ms)
		have("project = A", "project = A")
		require.Len(t, kit.Sheets.LiveChannels(), tenants)
		n := count.take()
		require.Equal(t, tenants, n["POST 3/webhook"])
		require.Equal(t, tenants, n["POST /watch"])

		for range 3 { // restarts
			together(t, start("project = A", true))
		}
		n = count.take()
		require.Empty(t, n, "nothing is due, nothing is asked")

		// Another declaration: each changed once, then none.
		together(t, start("project = B", true))
		have("project = B", "project = B")
		n = count.take()
		require.Equal(t, tenants, n["POST 3/webhook"])
		require.Equal(t, tenants, n["DELETE 3/webhook"])
		require.Zero(t, n["POST /watch"])
		together(t, start("", false))
		have()
		require.Empty(t, kit.Sheets.LiveChannels())
		n = count.take()
		require.Equal(t, tenants, n["DELETE 3/webhook"])
		// One may be stopped twice: a stop of what is gone does no harm.
		require.GreaterOrEqual(t, n["POST /channels/stop"], tenants)
	})
}

// TestReplicasAskForMissedWebhooksOnce: one of four reads GitHub's log, and each
// missed webhook is asked for once.
func TestReplicasAskForMissedWebhooksOnce(t *testing.T) {
	replicaStores(t, 4, func(t *testing.T, stores []store.Store) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		count := &calls{RoundTripper: kit.Network, n: map[string]int{}, ahead: 10 * time.Minute}
		cfg.Transport = count
		cfg.Providers = []providers.Provider{githubapp.New(kit.GitHub.App())}
		var ms []*integrations.Manager
		for _, st := range stores {
			cfg.Store = st
			ms = append(ms, kit.Use(cfg))
		}
		kit.Connect("t1", githubapp.Key, "acme")
		id := kit.GitHub.Install("acme", "user-of-t1")
		kit.GitHub.Offline(true)
		var missed []string
		for i := range 5 {
			guid := fmt.Sprint("missed-", i)
			missed = append(missed, guid)
			kit.GitHub.Redeliver("push", guid, kit.GitHub.PushBody(id, "api", "refs/heads/"+guid))
		}
		kit.GitHub.Offline(false)
		for range 2 {
			together(t, ms)
		}
		require.Equal(t, missed, kit.GitHub.Redelivered())
		n := count.take()
		require.Equal(t, 1, n["GET /app/hook/deliveries"])
		require.Equal(t, 5, n["POST /attempts"])
		counts, err := stores[0].(store.Inbox).CountDeliveries(t.Context(), []store.Match{{Provider: githubapp.Key}})
		require.NoError(t, err)
		require.EqualValues(t, 5, counts.Pending)
	})
}
