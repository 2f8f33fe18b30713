package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// ingest is a database whose inbox is filled.
type ingest struct {
	db     *sql.DB
	d      sqlstore.Dialect
	prefix string
	store  *sqlstore.Store
}

// ingests runs fn on each database. SQLite has the synchronous mode FULL, its
// default.
func ingests(run func(name string, open func(t testing.TB) *ingest)) {
	run("sqlite", func(t testing.TB) *ingest {
		db := openSQLite(t, filepath.Join(t.TempDir(), "ingest.db"), recommended+"&_pragma=synchronous(FULL)")
		return &ingest{db, sqlstore.SQLite, "", migrated(t, db, "")}
	})
	for _, s := range servers {
		run(s.name, func(t testing.TB) *ingest {
			db := s.open(t, "")
			db.SetMaxOpenConns(32)
			db.SetMaxIdleConns(32)
			prefix := s.prefixed(t, db)
			require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
			return &ingest{db, s.dialect, prefix, sqlstore.New(db, s.dialect, &sqlstore.Options{TablePrefix: prefix})}
		})
	}
}

// inboxes runs a test on each database.
func inboxes(t *testing.T, fn func(t *testing.T, in *ingest)) {
	ingests(func(name string, open func(t testing.TB) *ingest) {
		t.Run(name, func(t *testing.T) { fn(t, open(t)) })
	})
}

// hooked is a kit whose Manager has a store and counts what its handlers run for.
type hooked struct {
	*integrationstest.Kit
	runs atomic.Int64
}

// newHooked connects tenant "t1" to Slack and GitHub. It returns the id of the
// installation.
func newHooked(t testing.TB, st store.Store) (*hooked, int64) {
	h := &hooked{Kit: integrationstest.New(t)}
	cfg := h.Config()
	cfg.Store = st
	m := h.Use(cfg)
	h.Connect("t1", slackapp.Key, "TEAM")
	installation := h.GitHub.Install("acme", "user-of-t1")
	h.Connect("t1", githubapp.Key, "acme")
	for _, key := range []string{slackapp.Key, githubapp.Key} {
		m.OnWebhook(webhook.On(key, webhook.AnyType, func(context.Context, webhook.Event) error {
			h.runs.Add(1)
			return nil
		}))
	}
	return h, installation
}

// many calls fn for each number below n, some at a time.
func many(n int, fn func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				fn(i)
			}
		})
	}
	wg.Wait()
}

// TestW2Replay: whoever has captured requests and sends them again, under other
// ids, as other events, or after their time, makes no handler run.
func TestW2Replay(t *testing.T) {
	inboxes(t, func(t *testing.T, in *ingest) {
		h, installation := newHooked(t, in.store)
		n := sized(100, 10_000)
		pushes := make([][]byte, n)
		for i := range pushes {
			pushes[i] = h.GitHub.PushBody(installation, "repo", fmt.Sprint("refs/heads/b", i))
		}
		guid := func(what string, i int) string { return fmt.Sprintf("%s-%06d", what, i) }
		captured := func(i int, at time.Time) *http.Request {
			body := fmt.Sprintf(`{"type":"event_callback","team_id":"TEAM","event_id":"Ev%d","event":{"type":"app_mention"}}`, i)
			return webhooktest.Slack(integrationstest.BaseURL+"/slack/webhook", h.Slack.SigningSecret(), []byte(body), at)
		}
		now := time.Now()
		many(n, func(i int) {
			require.Equal(t, 200, h.GitHub.Redeliver("push", guid("first", i), pushes[i]))
			require.Equal(t, 200, h.Send(captured(i, now)).StatusCode)
		})
		require.NoError(t, h.Manager().Drain(t.Context()))
		require.EqualValues(t, 2*n, h.runs.Load())

		for what, replay := range map[string]func(i int) (status, want int){
			"the same body, a new id": func(i int) (int, int) { return h.GitHub.Redeliver("push", guid("new", i), pushes[i]), 200 },
			"the same body, many new ids at once": func(i int) (int, int) {
				return h.GitHub.Redeliver("push", guid("crowd", i), pushes[i%4]), 200
			},
			"the same id, a new body": func(i int) (int, int) {
				return h.GitHub.Redeliver("push", guid("first", i), h.GitHub.PushBody(installation, "repo", "refs/heads/other")), 200
			},
			"as another event": func(i int) (int, int) { return h.GitHub.Redeliver("issues", guid("swap", i), pushes[i]), 400 },
			"as an event that nothing is known of": func(i int) (int, int) {
				return h.GitHub.Redeliver("an_event_of_next_year", guid("unknown", i), pushes[i]), 200
			},
			"a new body as another event": func(i int) (int, int) {
				return h.GitHub.Redeliver("issue_comment", guid("swap2", i), h.GitHub.PushBody(installation, "repo", "refs/heads/x")), 400
			},
			"the same request in time": func(i int) (int, int) { return h.Send(captured(i, now)).StatusCode, 200 },
			"an old timestamp": func(i int) (int, int) {
				return h.Send(captured(i, now.Add(-301*time.Second-time.Duration(i)*time.Second))).StatusCode, 401
			},
			"an old timestamp, never seen": func(i int) (int, int) { return h.Send(captured(n+i, now.Add(-301*time.Second))).StatusCode, 401 },
			"a timestamp to come":          func(i int) (int, int) { return h.Send(captured(n+i, now.Add(time.Hour))).StatusCode, 401 },
			"a fresh timestamp, an old signature": func(i int) (int, int) {
				r := captured(i, now.Add(-time.Hour))
				r.Header.Set("X-Slack-Request-Timestamp", fmt.Sprint(now.Unix()))
				return h.Send(r).StatusCode, 401
			},
		} {
			many(n, func(i int) {
				if status, want := replay(i); status != want {
					t.Errorf("%s: answered %d, want %d", what, status, want)
				}
			})
			require.NoError(t, h.Manager().Drain(t.Context()))
			require.EqualValues(t, 2*n, h.runs.Load(), what)
		}
	})
}
