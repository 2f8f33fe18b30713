package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// TestS2SwappedColumnsDoNotOpen: whoever can write to the database and puts a
// sealed token into any other place, of the same row, another tenant or another
// provider, gets an error and not a token, nor "no token".
func TestS2SwappedColumnsDoNotOpen(t *testing.T) {
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			type place struct{ tenant, id, column string }
			var places []place
			values := map[place][]byte{}
			for tenant := range 5 {
				for _, provider := range []string{"slack", "github", "jira"} {
					id := fmt.Sprintf("%s-of-%d", provider, tenant)
					in := store.Connect{ID: id, TenantID: tenantName(tenant), Provider: provider, ExternalID: id}
					var err error
					in.AccessToken, in.RefreshToken, in.KeyID, err = token.SealGrant(c.cipher, in.TenantID, provider, id,
						token.Grant{AccessToken: token.NewSecret("access of " + id), RefreshToken: token.NewSecret("refresh of " + id)})
					require.NoError(t, err)
					_, err = c.store.Connect(t.Context(), in)
					require.NoError(t, err)
					for column, sealed := range map[string][]byte{"access_token": in.AccessToken, "refresh_token": in.RefreshToken} {
						p := place{in.TenantID, id, column}
						places = append(places, p)
						values[p] = sealed
					}
				}
			}
			require.Len(t, places, 30)
			swaps := 0
			for shift := range places {
				tx, err := c.db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				for i, from := range places {
					to := places[(i+shift)%len(places)]
					_, err := tx.ExecContext(t.Context(), c.query("UPDATE {p}integrations SET "+to.column+" = ? WHERE id = ?"), values[from], to.id)
					require.NoError(t, err)
				}
				require.NoError(t, tx.Commit())
				for _, p := range places {
					in, err := c.store.Get(t.Context(), p.tenant, p.id)
					require.NoError(t, err)
					if p.column == "access_token" { // each alone: neither hides the other
						in.RefreshToken = nil
					} else {
						in.AccessToken = nil
					}
					access, refresh, err := token.OpenGrant(c.cipher, in)
					if shift == 0 {
						require.NoError(t, err)
						require.Contains(t, access.Reveal()+refresh.Reveal(), " of "+p.id)
						continue
					}
					require.ErrorIs(t, err, crypto.ErrSealed)
					require.True(t, access.IsZero() && refresh.IsZero())
					swaps++
				}
			}
			require.Equal(t, 30*29, swaps)
		})
	})
}

// TestK2MissingKey: without the key of its rows the library says so, touches none
// of them, and goes on where it was when the key is back.
func TestK2MissingKey(t *testing.T) {
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			both, alone := c.rings(t)
			kit := integrationstest.New(t)
			kit.Slack.Tokens.SetLife(12 * time.Hour)
			manager := func(ring crypto.Cipher) *integrations.Manager {
				cfg := kit.Config()
				cfg.Store, cfg.Cipher = c.store, ring
				return kit.Use(cfg)
			}
			m := manager(c.cipher)
			kit.Connect("t1", slackapp.Key)
			kit.Connect("t1", githubapp.Key)
			kit.Connect("t2", jiraapp.Key)
			conn, err := m.Connection(t.Context(), "t1", slackapp.Key)
			require.NoError(t, err)
			e, err := conn.OpenEndpoint(t.Context())
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, kit.Slack.Event("T-t1", `{"type":"app_mention"}`))
			// All are due, so that whoever renews ahead wants them.
			_, err = c.db.ExecContext(t.Context(), c.query("UPDATE {p}integrations SET next_refresh_at = 1, token_expires_at = 1 WHERE refresh_token IS NOT NULL"))
			require.NoError(t, err)
			// Of webhooks the worker notes that it tried.
			look := func() []string {
				t.Helper()
				rows := append(dump(t, c.db, c.prefix+"integrations"), dump(t, c.db, c.prefix+"webhook_endpoints")...)
				return append(rows, dump(t, c.db, "(SELECT id, body, key_id, status FROM "+c.prefix+"webhook_inbox) q")...)
			}
			before := look()
			require.Greater(t, len(before), 5)

			m = manager(alone)
			handled := 0
			m.OnWebhook(webhook.On(slackapp.Key, webhook.AnyType, func(context.Context, webhook.Event) error { handled++; return nil }))
			m.OnChange(func(context.Context, integrations.Change) error { handled++; return nil })
			calls := kit.Slack.Tokens.Calls()
			for _, c := range [][2]string{{"t1", slackapp.Key}, {"t1", githubapp.Key}, {"t2", jiraapp.Key}} {
				_, err := m.Connection(t.Context(), c[0], c[1])
				require.ErrorIs(t, err, integrations.ErrUnknownKey)
				require.ErrorContains(t, err, "k1")
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.URL, strings.NewReader("{}"))
			require.NoError(t, err)
			require.GreaterOrEqual(t, kit.Send(r).StatusCode, 500, "to be sent again")
			require.NoError(t, m.Drain(t.Context()))
			got, err := integrations.Rewrap(t.Context(), c.store, alone, nil)
			require.ErrorIs(t, err, integrations.ErrUnknownKey)
			require.ErrorContains(t, err, "k1")
			require.Equal(t, integrations.RewrapResult{Unknown: int64(len(before))}, got)
			h, err := m.Health(t.Context())
			require.NoError(t, err)
			require.Contains(t, strings.Join(h.Problems, "\n"), fmt.Sprintf("%d rows are sealed with the key k1, which the keyring lacks", len(before)))
			require.Zero(t, handled)
			require.Equal(t, calls, kit.Slack.Tokens.Calls())
			require.Equal(t, before, look(), "byte for byte")

			m = manager(both)
			conn, err = m.Connection(t.Context(), "t1", slackapp.Key)
			require.NoError(t, err)
			_, err = slackapp.Notify(t.Context(), conn, slackapp.Message{Text: "back"})
			require.NoError(t, err)
		})
	})
}
