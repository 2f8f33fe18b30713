package integrations_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

func TestNewReportsAllFaultsTogether(t *testing.T) {
	_, err := integrations.New(t.Context(), integrations.Config{
		BaseURL: "http://app.example.com", ReturnTo: "//evil", AllowedReturnOrigins: []string{"app.example.com/x"},
		Providers: []providers.Provider{slackapp.New(slackapp.Config{SigningSecrets: []string{"short"}}), githubapp.New(githubapp.Config{PrivateKeyPEM: "x"})},
	})
	for _, part := range []string{
		"Store is nil", "Cipher is nil", "Identify is nil", "BaseURL must be https", "ReturnTo", "AllowedReturnOrigins",
		"slack: ClientID is empty", "slack: SigningSecrets", "github: PrivateKeyPEM is no RSA key", "github: AppID is missing",
	} {
		require.ErrorContains(t, err, part)
	}
	kit := integrationstest.New(t)
	cfg := kit.Config()
	cfg.Providers = append(cfg.Providers, slackapp.New(kit.Slack.App()))
	_, err = integrations.New(t.Context(), cfg)
	require.ErrorContains(t, err, `"slack" is used twice`)
}

// bare is a store without any optional ability.
type bare struct{ store.Store }

func TestAbilitiesTheStoreLacks(t *testing.T) {
	kit := integrationstest.New(t)
	cfg := kit.Config()
	cfg.Store = bare{memstore.New()}
	_, err := integrations.New(t.Context(), cfg)
	require.ErrorIs(t, err, errors.ErrUnsupported)

	cfg.Providers = []providers.Provider{providers.NewOAuth2(kit.OAuth.Config(acmeKey))}
	m := kit.Use(cfg)
	kit.Connect("t1", acmeKey)
	conn, err := m.Connection(t.Context(), "t1", acmeKey)
	require.NoError(t, err)
	_, err = conn.Checkpoint("x").Load(t.Context())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	m.OnChange(func(context.Context, integrations.Change) error { return nil })
	require.ErrorIs(t, m.Drain(t.Context()), errors.ErrUnsupported)
	require.ErrorIs(t, m.Run(t.Context()), errors.ErrUnsupported)
}

func TestDisconnectIsSeenByAnotherManagerWithinCacheFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		other, err := integrations.New(t.Context(), cfg)
		require.NoError(t, err)
		m := kit.Use(cfg)
		kit.Connect("t1", slackapp.Key)
		held, err := other.Connection(t.Context(), "t1", slackapp.Key)
		require.NoError(t, err)
		_, err = slackapp.Notify(t.Context(), held, slackapp.Message{Text: "before"})
		require.NoError(t, err)
		require.NoError(t, m.Disconnect(t.Context(), "t1", held.IntegrationID()))
		_, err = m.Connection(t.Context(), "t1", slackapp.Key)
		require.ErrorIs(t, err, integrations.ErrDisconnected)
		time.Sleep(10 * time.Second) // the default of CacheFor
		_, err = slackapp.Notify(t.Context(), held, slackapp.Message{Text: "after"})
		require.ErrorIs(t, err, integrations.ErrDisconnected)
		_, err = other.Connection(t.Context(), "t1", slackapp.Key)
		require.ErrorIs(t, err, integrations.ErrDisconnected)
		require.Len(t, kit.Slack.Sent(), 1)
	})
}

func TestLifecycleEventsChangeTheStatus(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("t1", githubapp.Key)
	kit.Connect("t1", slackapp.Key)
	m := kit.Manager()
	var mu sync.Mutex
	var kinds []string
	m.OnChange(func(_ context.Context, c integrations.Change) error {
		mu.Lock()
		defer mu.Unlock()
		kinds = append(kinds, c.Provider+" "+string(c.Kind))
		return nil
	})
	conn, err := m.Connection(t.Context(), "t1", githubapp.Key)
	require.NoError(t, err)
	snapshot, err := conn.Snapshot(t.Context())
	require.NoError(t, err)
	var id int64
	_, err = fmt.Sscan(snapshot.ExternalID, &id)
	require.NoError(t, err)

	require.Equal(t, http.StatusOK, kit.GitHub.Suspend(id))
	require.NoError(t, m.Drain(t.Context()))
	require.ErrorIs(t, conn.Check(t.Context()), integrations.ErrSuspended)
	require.Equal(t, http.StatusOK, kit.GitHub.Unsuspend(id))
	require.NoError(t, m.Drain(t.Context()))
	require.NoError(t, conn.Check(t.Context()))
	require.Equal(t, http.StatusOK, kit.GitHub.Uninstall(id))
	require.NoError(t, m.Drain(t.Context()))
	require.ErrorIs(t, conn.Check(t.Context()), integrations.ErrDisconnected)

	// An uninstall that is told after a re-install is of the earlier one.
	old := kit.Slack.EventBody("T-t1", `{"type":"app_uninstalled"}`)
	old = bytes.Replace(old, fmt.Appendf(nil, `"event_time":%d`, time.Now().Unix()), fmt.Appendf(nil, `"event_time":%d`, time.Now().Add(-time.Minute).Unix()), 1)
	require.Equal(t, http.StatusOK, kit.Slack.Deliver(old))
	require.NoError(t, m.Drain(t.Context()))
	_, err = m.Connection(t.Context(), "t1", slackapp.Key)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"github connected", "slack connected", "github suspended", "github resumed", "github revoked"}, kinds)
}

func TestHealthSaysWhatIsWrong(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("t1", slackapp.Key)
	h, err := kit.Manager().Health(t.Context())
	require.NoError(t, err)
	require.False(t, h.Running)
	require.Equal(t, map[integrations.Status]int64{integrations.StatusActive: 1}, h.Integrations)
	require.Equal(t, int64(1), h.Pending)
	require.Len(t, h.Problems, 1)
}

func TestRunAndShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		kit.Connect("t1", slackapp.Key)
		got := collect(kit, slackapp.Key)
		m := kit.Manager()
		done := make(chan error, 1)
		go func() { done <- m.Run(t.Context()) }()
		synctest.Wait()
		h, err := m.Health(t.Context())
		require.NoError(t, err)
		require.True(t, h.Running)
		require.Equal(t, http.StatusOK, kit.Slack.Event("T-t1", `{"type":"app_mention"}`))
		time.Sleep(2 * time.Second)
		require.Equal(t, []string{"t1 app_mention"}, got())
		require.Panics(t, func() { m.OnChange(func(context.Context, integrations.Change) error { return nil }) })
		require.NoError(t, m.Shutdown(t.Context()))
		require.NoError(t, <-done)
	})
}

// sink collects what could leak.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *sink) Observe(_ context.Context, event any) {
	fmt.Fprintf(s, "%v %+v %#v\n", event, event, event)
}

func (s *sink) errorf(err error) {
	if err != nil {
		fmt.Fprintf(s, "%v %+v %#v\n", err, err, err)
	}
}

// TestL1NothingLeaks runs good and bad ways through everything and looks for
// every secret there is in logs, errors, events, HTTP answers and printed values.
func TestL1NothingLeaks(t *testing.T) {
	out := &sink{}
	kit := integrationstest.New(t)
	kit.Slack.Tokens.SetLife(12 * time.Hour)
	cfg := kit.Config()
	cfg.Logger = slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	logs := integrations.LogObserver(cfg.Logger)
	cfg.Observer = observer(func(e any) {
		out.Observe(t.Context(), e)
		logs.Observe(t.Context(), e)
	})
	key, err := crypto.GenerateKey("l1")
	require.NoError(t, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(t, err)
	cfg.Cipher = ring
	oauth := kit.OAuth.Config(acmeKey)
	generic := providers.NewOAuth2(oauth)
	cfg.Providers = append(cfg.Providers, generic)
	m := kit.Use(cfg)
	ctx := t.Context()
	var browsers []*integrationstest.Browser
	walk := func(key, deny string) {
		b := kit.Browser("t1", "u1")
		b.Account, b.Deny = "ACC", deny
		b.Open(kit.ConnectURL(key))
		browsers = append(browsers, b)
	}
	for _, key := range []string{slackapp.Key, githubapp.Key, acmeKey} {
		walk(key, "access_denied")
		walk(key, "")
	}
	kit.Network.Fail("auth.example.test", "/token", integrationstest.Garbage(), integrationstest.Status(500), integrationstest.DropAfterWork())
	for range 3 {
		walk(acmeKey, "")
	}
	conn, err := m.Connection(ctx, "t1", slackapp.Key)
	require.NoError(t, err)
	_, err = slackapp.Notify(ctx, conn, slackapp.Message{Text: "x", Channel: "#nowhere"})
	out.errorf(err)
	_, err = conn.HTTPClient().Get("https://evil.example/?q=1")
	out.errorf(err)
	kit.Network.Fail("slack.com", "/api/oauth.v2.access", integrationstest.Status(503), integrationstest.HalfBody(), integrationstest.Answer(200, `{"ok":false,"error":"invalid_refresh_token"}`))
	for range 4 {
		kit.Slack.Tokens.ExpireAccess()
		_, err = slackapp.Notify(ctx, conn, slackapp.Message{Text: "x"})
		out.errorf(err)
		out.errorf(m.Drain(ctx))
	}
	body := []byte(`{"type":"event_callback","event_id":"Ev1","team_id":"T1","event":{"type":"message","text":"private words"}}`)
	for _, secret := range []string{kit.Slack.SigningSecret(), "another signing secret"} {
		resp := kit.Send(webhooktest.Slack(integrationstest.BaseURL+"/slack/webhook", secret, body, time.Now()))
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		fmt.Fprintf(out, "%v %s\n", resp.Header, text)
	}
	list, err := m.Integrations(ctx, "t1")
	require.NoError(t, err)
	for _, in := range list {
		fmt.Fprintf(out, "%+v %s\n", in, in.ProviderData)
		out.errorf(m.Disconnect(ctx, "t1", in.ID))
	}
	snapshot, err := conn.Snapshot(ctx)
	out.errorf(err)
	fmt.Fprintf(out, "%+v\n", snapshot)
	for _, v := range []any{key, ring, generic, slackapp.New(kit.Slack.App()), githubapp.New(kit.GitHub.App()), conn, m} {
		fmt.Fprintf(out, "%v\n%+v\n", v, v)
	}
	// Bodies of pages, and all redirects that stay at the app.
	for _, b := range browsers {
		for _, v := range b.Visits() {
			fmt.Fprintf(out, "%s\n", v.Body)
		}
		last := b.Visits()[len(b.Visits())-1]
		fmt.Fprintf(out, "%s\n", last.Header.Get("Location"))
	}

	secrets := []string{key.Reveal(), oauth.ClientSecret, kit.Slack.SigningSecret(), kit.GitHub.WebhookSecret(), kit.Slack.App().ClientSecret, kit.GitHub.App().ClientSecret, "private words", "BEGIN RSA"}
	for _, s := range []*integrationstest.TokenServer{kit.Slack.Tokens, kit.GitHub.Tokens, kit.OAuth.Tokens} {
		for presented := range s.Presented() {
			if presented != "" {
				secrets = append(secrets, presented)
			}
		}
	}
	require.Greater(t, len(secrets), 15)
	text := out.buf.String()
	require.Greater(t, len(text), 5000)
	for _, s := range secrets {
		require.NotContains(t, text, s)
	}
	require.NotContains(t, strings.ToLower(text), "bearer ")
}
