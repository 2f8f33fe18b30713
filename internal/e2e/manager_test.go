package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// TestS1NoSecretInDatabaseFiles: after tokens, flows, refreshes and webhooks the
// files hold none of what was secret.
func TestS1NoSecretInDatabaseFiles(t *testing.T) {
	dir := t.TempDir()
	db := openSQLite(t, filepath.Join(dir, "s.db"), recommended)
	kit := integrationstest.New(t)
	kit.Slack.Tokens.SetLife(12 * time.Hour)
	cfg := kit.Config()
	cfg.Store = migrated(t, db, "")
	oauth := kit.OAuth.Config("acme")
	cfg.Providers = append(cfg.Providers, providers.NewOAuth2(oauth))
	m := kit.Use(cfg)
	var visits []integrationstest.Visit
	for _, tenant := range []string{"t1", "t2", "t3"} {
		for _, key := range []string{slackapp.Key, githubapp.Key, "acme"} {
			b := kit.Browser(tenant, "u")
			b.Account = "ACC-" + tenant
			b.Open(kit.ConnectURL(key))
			visits = append(visits, b.Visits()...)
			unfinished := kit.Browser(tenant, "u")
			unfinished.Do("GET", kit.ConnectURL(key), nil, "none")
			visits = append(visits, unfinished.Visits()...)
		}
	}
	kit.Slack.Tokens.ExpireAccess()
	for _, tenant := range []string{"t1", "t2", "t3"} {
		conn, err := m.Connection(t.Context(), tenant, slackapp.Key)
		require.NoError(t, err)
		_, err = slackapp.Notify(t.Context(), conn, slackapp.Message{Text: "x"})
		require.NoError(t, err)
	}
	require.Equal(t, 200, kit.Slack.Event("ACC-t1", `{"type":"message","text":"PRIVATE-WORDS-OF-A-USER"}`))

	var secrets []string
	for _, s := range []*integrationstest.TokenServer{kit.Slack.Tokens, kit.GitHub.Tokens, kit.OAuth.Tokens} {
		for value := range s.Presented() {
			if value != "" {
				secrets = append(secrets, value)
			}
		}
	}
	for _, v := range visits {
		for _, c := range v.Header.Values("Set-Cookie") {
			if _, rest, ok := strings.Cut(c, "="); ok {
				if value, _, _ := strings.Cut(rest, ";"); value != "" {
					secrets = append(secrets, value)
				}
			}
		}
		if _, after, ok := strings.Cut(v.Header.Get("Location"), "state="); ok {
			state, _, _ := strings.Cut(after, "&")
			secrets = append(secrets, state)
		}
	}
	secrets = append(secrets, "PRIVATE-WORDS-OF-A-USER", oauth.ClientSecret, kit.Slack.SigningSecret(), kit.GitHub.WebhookSecret(), "verifier=")
	require.Greater(t, len(secrets), 40)
	searched := 0
	search := func() {
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, f := range files {
			text, err := os.ReadFile(filepath.Join(dir, f.Name()))
			require.NoError(t, err)
			searched += len(text)
			for _, s := range secrets {
				require.NotContains(t, string(text), s, f.Name())
			}
		}
	}
	search() // with the write-ahead log as it is
	_, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	require.NoError(t, err)
	search()
	require.Greater(t, searched, 50_000)
	text, err := os.ReadFile(filepath.Join(dir, "s.db"))
	require.NoError(t, err)
	require.Contains(t, string(text), "ACC-t1", "the search finds what is there")
}

func TestTwoManagersOnOneDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	kit := integrationstest.New(t)
	cfg := kit.Config()
	cfg.CacheFor = 50 * time.Millisecond
	cfg.Store = migrated(t, openSQLite(t, path, recommended), "")
	m := kit.Use(cfg)
	cfg.Store = sqlstore.New(openSQLite(t, path, recommended), sqlstore.SQLite, nil)
	other, err := integrations.New(t.Context(), cfg)
	require.NoError(t, err)
	kit.Connect("t1", slackapp.Key)
	conn, err := other.Connection(t.Context(), "t1", slackapp.Key)
	require.NoError(t, err)
	require.NoError(t, conn.Check(t.Context()))
	require.NoError(t, m.Disconnect(t.Context(), "t1", conn.IntegrationID()))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for conn.Check(ctx) == nil {
		require.NoError(t, ctx.Err(), "the disconnect is not seen")
	}
	require.ErrorIs(t, conn.Check(t.Context()), integrations.ErrDisconnected)
}
