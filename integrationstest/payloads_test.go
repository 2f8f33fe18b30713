package integrationstest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/textproto"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// accounts are what the two tenants connected: the external ids that the files in
// testdata name, and Jira's hosts beside its cloud ids.
var accounts = map[string]map[string][2]string{
	"acme": {
		slackapp.Key: {"T0ACME001"}, githubapp.Key: {"31000001"}, jiraapp.Key: {"11111111-1111-4111-8111-111111111111", "acme.atlassian.net"},
		hubspotapp.Key: {"62515"}, salesforceapp.Key: {"00D5e000000KQ2eEAG"}, sheetsapp.Key: {"100000000000000000001"},
	},
	"beta": {
		slackapp.Key: {"E0BETA001"}, githubapp.Key: {"31000002"}, jiraapp.Key: {"22222222-2222-4222-8222-222222222222", "beta.atlassian.net"},
		hubspotapp.Key: {"62516"}, salesforceapp.Key: {"00D7Q000000ABcdUAG"}, sheetsapp.Key: {"100000000000000000002"},
	},
}

// world is a kit with those accounts connected.
type world struct {
	t     *testing.T
	kit   *integrationstest.Kit
	inbox store.Inbox
	seen  map[string]bool
	// endpoints are of a provider and a tenant; "nobody" has one that was closed.
	endpoints map[[2]string]providers.Endpoint
}

func newWorld(t *testing.T) *world {
	kit := integrationstest.New(t)
	cfg := kit.Config()
	m := kit.Use(cfg)
	w := &world{t, kit, cfg.Store.(store.Inbox), map[string]bool{}, map[[2]string]providers.Endpoint{}}
	for tenant, own := range accounts {
		for key, account := range own {
			w.connect(cfg, m, tenant, key, account)
		}
	}
	return w
}

// connect stores an integration of a given account. The real flow would give it an
// id of the fake's.
func (w *world) connect(cfg integrations.Config, m *integrations.Manager, tenant, key string, account [2]string) {
	t := w.t
	c := store.Connect{
		ID: tenant + "-" + key, TenantID: tenant, Provider: key, ExternalID: account[0], ExternalAlias: account[1], ExclusiveKey: key + "|" + account[0],
	}
	var err error
	c.AccessToken, c.RefreshToken, c.KeyID, err = token.SealGrant(cfg.Cipher, tenant, key, c.ID, token.Grant{AccessToken: token.NewSecret("a-token")})
	require.NoError(t, err)
	_, err = cfg.Store.Connect(t.Context(), c)
	require.NoError(t, err)
	conn, err := m.Connection(t.Context(), tenant, key)
	require.NoError(t, err)
	switch key {
	case jiraapp.Key:
		ids := map[string][]string{"acme": {"1", "2"}, "beta": {"1"}}
		for _, id := range ids[tenant] {
			require.NoError(t, conn.SaveSubscription(t.Context(), providers.Subscription{Name: id, RemoteID: id}))
		}
		fallthrough
	case salesforceapp.Key, sheetsapp.Key:
		w.endpoints[[2]string{key, tenant}], err = conn.OpenEndpoint(t.Context())
		require.NoError(t, err)
		gone, err := conn.OpenEndpoint(t.Context())
		require.NoError(t, err)
		require.NoError(t, conn.CloseEndpoint(t.Context(), gone.ID))
		w.endpoints[[2]string{key, "nobody"}] = gone
	}
}

// request signs a body as the provider does.
func (w *world) request(key, to, event, id string, body []byte) *http.Request {
	url := integrationstest.BaseURL + "/" + key + "/webhook"
	e := w.endpoints[[2]string{key, to}]
	switch key {
	case slackapp.Key:
		return webhooktest.Slack(url, w.kit.Slack.SigningSecret(), body, time.Now())
	case githubapp.Key:
		return webhooktest.GitHub(url, w.kit.GitHub.WebhookSecret(), event, id, body)
	case jiraapp.Key:
		if to != "app" {
			return webhooktest.JiraAdmin(e.URL, e.Secret.Reveal(), id, body)
		}
		return webhooktest.JiraDynamic(url, w.kit.Jira.ClientSecret(), id, body, time.Now())
	case hubspotapp.Key:
		return webhooktest.HubSpot(url, w.kit.HubSpot.App().ClientSecret, body, time.Now())
	case salesforceapp.Key:
		if bytes.HasPrefix(body, []byte("<")) {
			return webhooktest.SalesforceOutbound(e.URL, body)
		}
		return webhooktest.SalesforceCallout(e.URL, e.Secret.Reveal(), body, time.Now())
	case sheetsapp.Key:
		// The files hold the headers that are the same for every channel.
		h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(body, '\n')))).ReadMIMEHeader()
		require.NoError(w.t, err)
		r := webhooktest.Drive(e.URL, webhooktest.DriveNotification{ChannelID: e.ID, Token: e.Secret.Reveal()})
		for name, v := range h {
			r.Header[name] = v
		}
		return r
	}
	w.t.Fatalf("no provider %s", key)
	return nil
}

// send delivers a request and returns the answer's status and what was stored:
// type, account and tenant.
func (w *world) send(r *http.Request) (int, [][3]string) {
	code := w.kit.Send(r).StatusCode
	rows, err := w.inbox.ListDeliveries(w.t.Context(), store.DeliveryQuery{AllTenants: true, Limit: 1000})
	require.NoError(w.t, err)
	var stored [][3]string
	for _, d := range rows {
		if d.Provider == store.ChangeProvider || w.seen[d.ID] {
			continue
		}
		w.seen[d.ID] = true
		stored = append(stored, [3]string{d.EventType, d.ExternalID, d.TenantID})
	}
	return code, stored
}

// payload is a line of testdata/webhooks/list.tsv.
type payload struct{ file, provider, event, to, typ, account, tenant string }

const payloadDir = "testdata/webhooks"

func payloads(t *testing.T) []payload {
	t.Helper()
	list, err := os.ReadFile(path.Join(payloadDir, "list.tsv"))
	require.NoError(t, err)
	var out []payload
	for line := range strings.Lines(string(list)) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		f := strings.Split(line, "\t")
		require.Len(t, f, 7, line)
		out = append(out, payload{f[0], f[1], f[2], f[3], f[4], f[5], f[6]})
	}
	return out
}

// TestPayloadsReachTheirTenant: webhooks of the shapes that the providers document,
// signed as they sign, through the real handlers, with two tenants connected to
// each provider. Nothing reaches a tenant but what is its own.
func TestPayloadsReachTheirTenant(t *testing.T) {
	w := newWorld(t)
	lines := payloads(t)
	byFile := map[string][]payload{}
	var files []string
	for _, p := range lines {
		if byFile[p.file] == nil {
			files = append(files, p.file)
		}
		byFile[p.file] = append(byFile[p.file], p)
	}
	require.GreaterOrEqual(t, len(files), 40)
	for n, file := range files {
		t.Run(file, func(t *testing.T) {
			body, err := os.ReadFile(path.Join(payloadDir, file))
			require.NoError(t, err)
			want, code := [][3]string{}, http.StatusOK
			for _, p := range byFile[file] {
				switch p.tenant {
				case "replied", "ignored":
				case "400", "401":
					code, err = strconv.Atoi(p.tenant)
					require.NoError(t, err)
				default:
					clear := func(s string) string { return strings.TrimPrefix(s, "-") }
					want = append(want, [3]string{p.typ, clear(p.account), clear(p.tenant)})
				}
			}
			p := byFile[file][0]
			id := fmt.Sprint("delivery-", n)
			got, stored := w.send(w.request(p.provider, p.to, p.event, id, body))
			require.Equal(t, code, got)
			require.ElementsMatch(t, want, stored)
			if len(want) > 0 {
				again, stored := w.send(w.request(p.provider, p.to, p.event, id, body))
				require.Equal(t, code, again)
				require.Empty(t, stored, "the same delivery again")
			}
		})
	}
}

// TestPayloadsAreListed: each provider has webhooks of both tenants and of nobody
// this app knows, and there is no file beside those of the list.
func TestPayloadsAreListed(t *testing.T) {
	of := map[string][]string{}
	var listed []string
	for _, p := range payloads(t) {
		of[p.provider] = append(of[p.provider], p.tenant)
		if !slices.Contains(listed, p.file) {
			listed = append(listed, p.file)
		}
	}
	for key := range accounts["acme"] {
		require.Contains(t, of[key], "acme", key)
		require.Contains(t, of[key], "beta", key)
		require.True(t, slices.Contains(of[key], "-") || slices.Contains(of[key], "401"), key)
	}
	var there []string
	require.NoError(t, fs.WalkDir(os.DirFS(payloadDir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && name != "list.tsv" {
			there = append(there, name)
		}
		return err
	}))
	require.ElementsMatch(t, listed, there)
}
