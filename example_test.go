package integrations_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
	"golang.org/x/sync/errgroup"
)

// setUp is the quick start of the README and of the package comment. The store
// is sqlstore.New(db, sqlstore.SQLite, nil) there.
func setUp(ctx context.Context, group *errgroup.Group, mux *http.ServeMux, st store.Store, encryptionKey string, slackConfig slackapp.Config,
	identify func(*http.Request) (integrations.Identity, error), tellTheTenant func(context.Context, integrations.Change) error,
) (*integrations.Manager, error) {
	key, err := crypto.ParseKey("k1", encryptionKey)
	if err != nil {
		return nil, err
	}
	keyring, err := crypto.NewKeyring(key)
	if err != nil {
		return nil, err
	}
	m, err := integrations.New(ctx, integrations.Config{
		Store:     st,
		Cipher:    keyring,
		BaseURL:   "https://app.example.com/integrations",
		Identify:  identify,
		Providers: []providers.Provider{slackapp.New(slackConfig)},
	})
	if err != nil {
		return nil, err
	}
	mux.Handle("/integrations/", m.Handler())
	m.OnChange(func(ctx context.Context, c integrations.Change) error { return tellTheTenant(ctx, c) })
	group.Go(func() error { return m.Run(ctx) })
	return m, nil
}

// announce is a host's code under test: it posts pushes to the tenant's Slack.
func announce(m *integrations.Manager) {
	m.OnWebhook(githubapp.Push(func(ctx context.Context, ev webhook.Event, p *github.PushEvent) error {
		conn, err := m.Connection(ctx, ev.TenantID, slackapp.Key)
		if errors.Is(err, integrations.ErrNotConnected) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = slackapp.Notify(ctx, conn, slackapp.Message{Text: p.GetRepo().GetFullName() + " was pushed"})
		return err
	}))
}

// TestAnnounce is a host's unit test: fakes, a store in memory, no background
// work.
func TestAnnounce(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("tenant-1", slackapp.Key)
	announce(kit.Manager())
	id := kit.GitHub.Install("acme", "ann")
	kit.Connect("tenant-1", githubapp.Key, "acme")

	kit.GitHub.Push(id, "api", "refs/heads/main")
	if err := kit.Manager().Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sent := kit.Slack.Sent(); len(sent) != 1 || sent[0].Text != "acme/api was pushed" {
		t.Fatalf("sent %+v", sent)
	}
}

// tb lets an example use the kit.
type tb struct{}

func (tb) Helper()                           {}
func (tb) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func ExampleNew() {
	kit := integrationstest.New(tb{})
	ctx, stop := context.WithCancel(context.Background())
	group, ctx := errgroup.WithContext(ctx)
	_, err := setUp(ctx, group, http.NewServeMux(), kit.Config().Store, "7478efc48024e7a9fc361ac87890532532248df7fd806d6c7f68eb0308e9a645",
		kit.Slack.App(), integrationstest.Identify, func(context.Context, integrations.Change) error { return nil })
	fmt.Println(err)
	stop()
	fmt.Println(group.Wait())
	// Output:
	// <nil>
	// <nil>
}

// A feature that some tenants turn on needs a scope more. They grant it at a
// button, and the integration stays what it was.
func ExampleManager_UpgradeURL() {
	kit := integrationstest.New(tb{})
	cfg, app := kit.Config(), kit.Slack.App()
	app.OptionalScopes = []string{"users:read"}
	cfg.Providers = []providers.Provider{slackapp.New(app)}
	m, ctx := kit.Use(cfg), context.Background()
	kit.Connect("tenant-1", slackapp.Key)
	conn, err := m.Connection(ctx, "tenant-1", slackapp.Key)
	if err != nil {
		fmt.Println(err)
		return
	}

	var missing *integrations.MissingScopeError
	if err := conn.RequireScopes(ctx, "users:read"); errors.As(err, &missing) { // or slackapp.Classify of a call's error
		fmt.Println(err)
		to, err := m.UpgradeURL(ctx, conn.TenantID(), conn.IntegrationID(), integrations.ConnectOptions{
			ReturnTo: "/members", Scopes: missing.Need,
		})
		fmt.Println(to, err)

		// The user presses the button and agrees.
		user := kit.Browser("tenant-1", "user-of-tenant-1")
		user.Account = "T-tenant-1"
		fmt.Println(user.Open(to).Header.Get("Location"))
	}
	fmt.Println(conn.RequireScopes(ctx, "users:read"))
	// Output:
	// integrations: missing scope users:read
	// https://app.example.test/integrations/slack/connect?return_to=%2Fmembers&scope=users%3Aread&scopes=upgrade <nil>
	// /members?integration=slack&result=connected
	// <nil>
}

func ExampleManager_Connection() {
	kit := integrationstest.New(tb{})
	kit.Connect("tenant-1", slackapp.Key)
	m, ctx := kit.Manager(), context.Background()

	conn, err := m.Connection(ctx, "tenant-1", slackapp.Key)
	if err != nil {
		fmt.Println(err)
		return
	}
	posted, err := slackapp.Notify(ctx, conn, slackapp.Message{Text: "Deployed"})
	fmt.Println(posted.Channel, err)
	who, err := slackapp.Client(conn).AuthTestContext(ctx) // slack-go
	fmt.Println(who.TeamID, err)
	resp, err := conn.HTTPClient().Get("https://slack.com/api/auth.test") // any SDK
	fmt.Println(resp.StatusCode, err)

	_, err = m.Connection(ctx, "tenant-2", slackapp.Key)
	fmt.Println(errors.Is(err, integrations.ErrNotConnected))
	// Output:
	// CT-tenant-1 <nil>
	// T-tenant-1 <nil>
	// 200 <nil>
	// true
}

// ExampleRewrap rotates a key: k2 takes the place of k1.
func ExampleRewrap() {
	ctx := context.Background()
	k1, err := crypto.GenerateKey("k1")
	if err != nil {
		fmt.Println(err)
		return
	}
	k2, err := crypto.GenerateKey("k2")
	if err != nil {
		fmt.Println(err)
		return
	}
	before, err := crypto.NewKeyring(k1, k2) // in all replicas before k2 is the primary
	if err != nil {
		fmt.Println(err)
		return
	}
	kit := integrationstest.New(tb{})
	cfg := kit.Config()
	cfg.Cipher = before
	kit.Use(cfg)
	kit.Connect("tenant-1", slackapp.Key)
	count := func() {
		rows, err := cfg.Store.(store.Admin).CountByKey(ctx)
		fmt.Println(rows, err)
	}
	count()

	keyring, err := crypto.NewKeyring(k2, k1) // in all replicas by now
	if err != nil {
		fmt.Println(err)
		return
	}
	done, err := integrations.Rewrap(ctx, cfg.Store, keyring, &integrations.RewrapOptions{
		RowsPerSecond: 2000,
		Progress: func(p integrations.RewrapProgress) {
			fmt.Printf("%d of %d rows\n", p.Done, p.Total)
		},
	})
	fmt.Println(done.Moved, err)
	count() // none is under k1: it may go
	// Output:
	// map[k1:2] <nil>
	// 1 of 2 rows
	// 2 of 2 rows
	// 2 <nil>
	// map[k2:2] <nil>
}

// jobs is the queue a host has already: River, Asynq, SQS. It keeps what it took and
// does it in its own time.
type jobs struct {
	taken map[string]bool // ids it has had
	todo  [][]byte
}

// Enqueue takes an event for good, once however often it comes.
func (q *jobs) Enqueue(_ context.Context, ev webhook.Event) error {
	if q.taken[ev.ID] {
		return nil
	}
	job, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	q.taken[ev.ID] = true
	q.todo = append(q.todo, job)
	return nil
}

// With an Enqueuer, stored webhooks go into the host's own queue.
func ExampleConfig_enqueuer() {
	kit := integrationstest.New(tb{})
	queue := &jobs{taken: map[string]bool{}}
	cfg := kit.Config()
	cfg.Enqueuer = queue
	m := kit.Use(cfg)
	kit.Connect("tenant-1", slackapp.Key, "T1")

	fmt.Println(kit.Slack.Event("T1", `{"type":"message","text":"hello"}`)) // stored, then answered
	fmt.Println(m.Drain(context.Background()))                              // Run does it all the time
	for _, job := range queue.todo {                                        // the host's worker
		var ev webhook.Event
		fmt.Println(json.Unmarshal(job, &ev), ev.TenantID, ev.Type)
	}
	// Output:
	// 200
	// <nil>
	// <nil> tenant-1 message
}

// A handler that failed too often leaves a dead event. Once it is mended, Replay lets
// it have what it missed.
func ExampleManager_Replay() {
	kit := integrationstest.New(tb{})
	cfg := kit.Config()
	cfg.Handling.MaxStarts = 1
	m, ctx := kit.Use(cfg), context.Background()
	mended := false
	m.OnWebhook(webhook.On(slackapp.Key, "message", func(_ context.Context, ev webhook.Event) error {
		if !mended {
			return errors.New("no such table: messages")
		}
		fmt.Println("handled", ev.Type)
		return nil
	}))
	kit.Connect("tenant-1", slackapp.Key, "T1")
	kit.Slack.Event("T1", `{"type":"message","text":"hello"}`)
	fmt.Println(m.Drain(ctx))

	dead, err := m.Events(ctx, integrations.EventQuery{TenantID: "tenant-1", States: []integrations.EventState{integrations.EventDead}})
	fmt.Println(len(dead), dead[0].LastError, err)
	mended = true
	fmt.Println(m.Replay(ctx, integrations.EventQuery{TenantID: "tenant-1"}))
	fmt.Println(m.Drain(ctx))
	// Output:
	// <nil>
	// 1 no such table: messages <nil>
	// 1 <nil>
	// handled message
	// <nil>
}
