package integrations_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

// TestK2HealthSaysWhichKeysAreMissing: health is red for rows that cannot be
// opened, and says what is left to be moved.
func TestK2HealthSaysWhichKeysAreMissing(t *testing.T) {
	v := newRotation(t, 0)
	kit := integrationstest.New(t)
	cfg := kit.Config()
	cfg.Cipher = v.old
	kit.Use(cfg)
	kit.Connect("t1", slackapp.Key)
	health := func(c crypto.Cipher) []string {
		cfg.Cipher = c
		m, err := integrations.New(t.Context(), cfg)
		require.NoError(t, err)
		h, err := m.Health(t.Context())
		require.NoError(t, err)
		return h.Problems[1:] // the first is that Run is not running
	}
	require.Empty(t, health(v.old))
	require.Empty(t, health(struct{ crypto.Cipher }{v.new}), "a cipher that cannot tell")
	require.Equal(t, []string{"2 rows are sealed with the key k1, which the keyring lacks: they cannot be opened until it is added."}, health(v.new))
	require.Equal(t, []string{"2 rows are sealed with the key k1 and not with the primary key k2: Rewrap moves them."}, health(v.mix))
	got, err := integrations.Rewrap(t.Context(), cfg.Store, v.mix, nil)
	require.NoError(t, err)
	require.Equal(t, int64(2), got.Moved, "the tokens, and the change that tells of them")
	require.Empty(t, health(v.new))
}

// TestALostKeyIsLivedWith: tenants whose tokens nobody can open connect again, or
// disconnect.
func TestALostKeyIsLivedWith(t *testing.T) {
	v := newRotation(t, 0)
	kit := integrationstest.New(t)
	cfg := kit.Config()
	cfg.Cipher = v.old
	kit.Use(cfg)
	kit.Connect("t1", slackapp.Key)
	kit.Connect("t1", githubapp.Key)
	kit.Connect("t2", slackapp.Key)
	cfg.Cipher = v.new
	m := kit.Use(cfg)
	before, err := m.Integrations(t.Context(), "t1")
	require.NoError(t, err)
	require.Len(t, before, 2)
	_, err = m.Connection(t.Context(), "t1", slackapp.Key)
	require.ErrorIs(t, err, integrations.ErrUnknownKey)

	kit.Connect("t1", slackapp.Key)
	kit.Connect("t1", githubapp.Key)
	conn, err := m.Connection(t.Context(), "t1", slackapp.Key)
	require.NoError(t, err)
	_, err = slackapp.Notify(t.Context(), conn, slackapp.Message{Text: "back"})
	require.NoError(t, err)
	after, err := m.Integrations(t.Context(), "t1")
	require.NoError(t, err)
	require.Equal(t, [2]string{before[0].ID, before[1].ID}, [2]string{after[0].ID, after[1].ID})

	other, err := m.Integrations(t.Context(), "t2")
	require.NoError(t, err)
	require.NoError(t, m.Disconnect(t.Context(), "t2", other[0].ID))
	other, err = m.Integrations(t.Context(), "t2")
	require.NoError(t, err)
	require.Equal(t, integrations.StatusDisconnected, other[0].Status)
}

// TestAReplayAfterTheKeyIsDropped: the body of a handled webhook is still under the
// dropped key. It waits for the key, and for a Rewrap.
func TestAReplayAfterTheKeyIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newRotation(t, 0)
		kit := integrationstest.New(t)
		cfg := kit.Config()
		inbox := cfg.Store.(store.Inbox)
		use := func(c crypto.Cipher) (*integrations.Manager, func() []string) {
			cfg.Cipher = c
			m := kit.Use(cfg)
			return m, collect(kit, slackapp.Key)
		}
		m, got := use(v.old)
		kit.Connect("t1", slackapp.Key)
		require.Equal(t, 200, kit.Slack.Event("T-t1", `{"type":"app_mention"}`))
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, []string{"t1 app_mention"}, got())
		_, err := integrations.Rewrap(t.Context(), cfg.Store, v.mix, nil)
		require.NoError(t, err)

		replay := store.DeliveryQuery{AllTenants: true, Provider: slackapp.Key}
		n, err := inbox.ReplayDeliveries(t.Context(), replay)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		m, got = use(v.new)
		require.NoError(t, m.Drain(t.Context()))
		require.Empty(t, got())
		h, err := m.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(1), h.Keys["k1"])
		require.Contains(t, h.Problems[1], "the keyring lacks")

		done, err := integrations.Rewrap(t.Context(), cfg.Store, v.mix, nil)
		require.NoError(t, err)
		require.Equal(t, integrations.RewrapResult{Moved: 1}, done)
		time.Sleep(time.Minute)
		require.NoError(t, m.Drain(t.Context()))
		require.Equal(t, []string{"t1 app_mention"}, got())
	})
}
