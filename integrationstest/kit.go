// Package integrationstest is a test kit: the providers of this library and a
// generic OAuth 2 server in this process, and a ready configuration that reaches
// them.
//
//	kit := integrationstest.New(t)
//	kit.Connect("tenant-1", slackapp.Key)
//	conn, err := kit.Manager().Connection(ctx, "tenant-1", slackapp.Key)
//
// The kit is a Transport that answers the providers' real host names, so what is
// under test keeps its host allow-list, its https rule and its paths. No socket
// is opened.
package integrationstest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/store/memstore"
)

// BaseURL is where the kit's app has its handlers.
const BaseURL = "https://app.example.test/integrations"

// TB is what the kit needs of a testing.TB.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Kit is a set of fakes and the Manager that uses them. It is safe for
// concurrent use.
type Kit struct {
	// Network is the Transport that reaches the fakes, for scripting faults.
	Network    *Network
	Slack      *Slack
	GitHub     *GitHub
	Jira       *Jira
	Salesforce *Salesforce
	HubSpot    *HubSpot
	Sheets     *Sheets
	// OAuth is a generic server for providers made with providers.NewOAuth2.
	OAuth *OAuth

	t    TB
	mu   sync.Mutex
	m    *integrations.Manager
	base string
}

// New returns a kit. A call of it that fails ends the test.
func New(t TB) *Kit {
	k := &Kit{Network: newNetwork(), t: t, base: BaseURL}
	k.Slack = newSlack(k)
	k.GitHub = newGitHub(k)
	k.Jira = newJira(k)
	k.Salesforce = newSalesforce(k)
	k.HubSpot = newHubSpot(k)
	k.Sheets = newSheets(k)
	k.OAuth = newOAuth(k.Network)
	return k
}

// Config is a complete configuration on an empty store in memory: all providers
// at their fakes, and an Identify that believes a kit's [Browser]. Change what the
// test is about and give it to [Kit.Use].
func (k *Kit) Config() integrations.Config {
	key, err := crypto.GenerateKey("test")
	if err != nil {
		k.t.Fatalf("integrationstest: %v", err)
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		k.t.Fatalf("integrationstest: %v", err)
	}
	return integrations.Config{
		Store: memstore.New(), Cipher: ring, BaseURL: k.base, Identify: Identify, Transport: k.Network,
		// Tests have no time to wait for the limits of real providers, and want to see
		// the first answer.
		Limiter: ratelimit.NewLocal(&ratelimit.LocalConfig{RefusalsOnly: true}), Retries: -1,
		Providers: []providers.Provider{
			slackapp.New(k.Slack.App()),
			githubapp.New(k.GitHub.App()),
			jiraapp.New(k.Jira.App()),
			salesforceapp.New(k.Salesforce.App()),
			hubspotapp.New(k.HubSpot.App()),
			sheetsapp.New(k.Sheets.App()),
		},
	}
}

// Identify believes the headers of a kit's [Browser]. It is for tests only: a
// real one reads the host's session.
func Identify(r *http.Request) (integrations.Identity, error) {
	who := integrations.Identity{TenantID: r.Header.Get(headerTenant), UserID: r.Header.Get(headerUser)}
	if who.TenantID == "" || who.UserID == "" {
		return integrations.Identity{}, integrations.ErrUnauthenticated
	}
	return who, nil
}

// Use makes a Manager of cfg and lets the kit's webhooks and browsers reach it.
func (k *Kit) Use(cfg integrations.Config) *integrations.Manager {
	k.t.Helper()
	m, err := integrations.New(context.Background(), cfg)
	if err != nil {
		k.t.Fatalf("integrationstest: %v", err)
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m, k.base = m, cfg.BaseURL
	return m
}

// Manager is the Manager in use; the first call makes one of [Kit.Config] unless
// [Kit.Use] has.
func (k *Kit) Manager() *integrations.Manager {
	k.t.Helper()
	k.mu.Lock()
	m := k.m
	k.mu.Unlock()
	if m == nil {
		return k.Use(k.Config())
	}
	return m
}

// Browser is a fresh browser in which a user of a tenant is signed in.
func (k *Kit) Browser(tenant, user string) *Browser {
	k.t.Helper()
	return k.BrowserAt(k.Manager(), tenant, user)
}

// BrowserAt is [Kit.Browser] at one of several Managers, which stand for replicas.
func (k *Kit) BrowserAt(m *integrations.Manager, tenant, user string) *Browser {
	u, err := url.Parse(k.baseURL())
	if err != nil {
		k.t.Fatalf("integrationstest: %v", err)
		return nil
	}
	return newBrowser(m.Handler(), u.Host, k.Network, tenant, user)
}

// Connect links a tenant to a provider by walking through the real handlers, as
// the user "user-of-TENANT", and ends the test if that does not end well. The
// account defaults to one that belongs to the tenant alone: "T-TENANT". Where the
// library asks which account, it is the answer.
func (k *Kit) Connect(tenant, key string, account ...string) {
	k.t.Helper()
	a := "T-" + tenant
	for _, named := range account {
		a = named
	}
	k.ConnectLabel(tenant, key, "", a)
}

// ConnectLabel is [Kit.Connect] under a label, which Config.AllowLabel has to
// allow.
func (k *Kit) ConnectLabel(tenant, key, label, account string) {
	k.t.Helper()
	b := k.Browser(tenant, "user-of-"+tenant)
	b.Account = account
	v := b.Open(k.ConnectURL(key) + "?label=" + url.QueryEscape(label))
	if offersAccounts(v) {
		v = b.Choose(v, b.Account)
	}
	if u, err := url.Parse(v.Header.Get("Location")); err != nil || u.Query().Get("result") != "connected" {
		k.t.Fatalf("integrationstest: connect %s for %s ended at %s with status %d and %q", key, tenant, v.URL, v.Status, v.Header.Get("Location"))
	}
}

// ConnectURL is where a user starts to connect a provider.
func (k *Kit) ConnectURL(key string) string { return k.baseURL() + "/" + key + "/connect" }

func (k *Kit) baseURL() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.base
}

func (k *Kit) callbackURL(key string) string { return k.baseURL() + "/" + key + "/callback" }
func (k *Kit) webhookURL(key string) string  { return k.baseURL() + "/" + key + "/webhook" }

// deliver gives a webhook to the Manager and returns the answer's status.
func (k *Kit) deliver(r *http.Request) int {
	return k.Send(r).StatusCode
}

// Send gives a request to the Manager's handlers as it is, for webhooks that were
// made or changed by hand.
func (k *Kit) Send(r *http.Request) *http.Response {
	rec := httptest.NewRecorder()
	k.Manager().WebhooksHandler().ServeHTTP(rec, r)
	return rec.Result()
}

// String keeps a kit out of test output: it holds secrets of the fakes.
func (k *Kit) String() string { return fmt.Sprintf("integrationstest.Kit(%s)", k.baseURL()) }
