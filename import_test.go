package integrations_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
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
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// granted is what another application holds after a tenant connected there: that
// application is a Manager with a store of its own, at the same fakes.
func (p *purging) granted(tenant, account string) integrations.ImportGrant {
	p.t.Helper()
	cfg := p.cfg
	cfg.Store = memstore.New()
	p.kit.Use(cfg)
	p.kit.Connect(tenant, acmeKey, account)
	in, err := cfg.Store.Find(p.t.Context(), tenant, acmeKey, "")
	require.NoError(p.t, err)
	g := integrations.ImportGrant{
		TenantID: tenant, Provider: acmeKey, ExternalID: account, ExpiresAt: in.TokenExpiresAt, Scopes: in.Scopes,
		Metadata: json.RawMessage(`{"plan":"pro"}`),
	}
	g.AccessToken, g.RefreshToken, err = token.OpenGrant(cfg.Cipher, in)
	require.NoError(p.t, err)
	cfg.Store = p.st
	p.kit.Use(cfg)
	return g
}

// imports imports grants and returns the outcomes.
func (p *purging) imports(grants ...integrations.ImportGrant) []integrations.ImportResult {
	p.t.Helper()
	r, err := p.kit.Manager().Import(p.t.Context(), integrations.Grants(grants...))
	require.NoError(p.t, err)
	require.Len(p.t, r.Rows, len(grants))
	return r.Rows
}

func (p *purging) find(tenant string) store.Integration {
	p.t.Helper()
	in, err := p.st.Find(p.t.Context(), tenant, acmeKey, "")
	require.NoError(p.t, err)
	in.ReadAt = time.Time{}
	return in
}

func TestImportTakesAGrantOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t)
		g := p.granted("t1", "A")
		r := p.imports(g)[0]
		in := p.find("t1")
		require.Equal(t, integrations.ImportResult{
			TenantID: "t1", Provider: acmeKey, ExternalID: "A", Outcome: integrations.ImportCreated, IntegrationID: in.ID,
		}, r)
		require.Equal(t, g.ExpiresAt, in.TokenExpiresAt)
		require.Equal(t, []string{"read", "write"}, in.Scopes)
		require.JSONEq(t, `{"plan":"pro"}`, string(in.Metadata))
		require.NotEmpty(t, in.ExclusiveKey)
		require.True(t, in.NextRefreshAt.Before(in.TokenExpiresAt))
		conn := p.conn("t1")
		access, err := conn.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, g.AccessToken.Reveal(), access.Reveal())
		time.Sleep(2 * time.Hour) // it is renewed as any other
		require.NoError(t, conn.Check(t.Context()))
		resp, err := conn.HTTPClient().Get("https://api.example.test/me")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
		changes, err := p.st.ListDeliveries(t.Context(), store.DeliveryQuery{AllTenants: true})
		require.NoError(t, err)
		require.Empty(t, changes, "the report is the answer")
	})
}

func TestImportOfATokenThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurging(t)
		g := p.granted("t1", "A")
		time.Sleep(48 * time.Hour)
		require.Equal(t, integrations.ImportCreated, p.imports(g)[0].Outcome)
		require.Equal(t, integrations.ImportUnchanged, p.imports(g)[0].Outcome)
		resp, err := p.conn("t1").HTTPClient().Get("https://api.example.test/me")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, 1, p.kit.OAuth.Tokens.Calls())
	})
}

// TestImportAgain: what is there is replaced by nothing that is not known to be newer.
func TestImportAgain(t *testing.T) {
	never := func(g integrations.ImportGrant) integrations.ImportGrant {
		g.ExpiresAt = time.Time{}
		return g
	}
	for name, c := range map[string]struct {
		// meanwhile is what happened since the first import of g; the grant it
		// returns is imported again.
		meanwhile func(p *purging, g integrations.ImportGrant) integrations.ImportGrant
		want      integrations.ImportOutcome
		reason    string
	}{
		"nothing": {func(_ *purging, g integrations.ImportGrant) integrations.ImportGrant { return g }, integrations.ImportUnchanged, ""},
		"only what is known of it changed": {func(_ *purging, g integrations.ImportGrant) integrations.ImportGrant {
			g.ExpiresAt, g.Scopes, g.Metadata = g.ExpiresAt.Add(time.Hour), nil, json.RawMessage(`{"plan":"free"}`)
			return g
		}, integrations.ImportUnchanged, ""},
		"it was renewed here": {func(p *purging, g integrations.ImportGrant) integrations.ImportGrant {
			time.Sleep(2 * time.Hour)
			require.NoError(p.t, p.conn("t1").Check(p.t.Context()))
			return g
		}, integrations.ImportKept, "renewed here"},
		"it was renewed here, and the other has a later one": {func(p *purging, g integrations.ImportGrant) integrations.ImportGrant {
			time.Sleep(2 * time.Hour)
			require.NoError(p.t, p.conn("t1").Check(p.t.Context()))
			time.Sleep(time.Hour)
			return p.granted("t1", "A")
		}, integrations.ImportKept, "renewed here"},
		"the other renewed it": {func(p *purging, g integrations.ImportGrant) integrations.ImportGrant {
			time.Sleep(time.Hour)
			return p.granted("t1", "A")
		}, integrations.ImportUpdated, ""},
		"the other renewed it at once": {func(p *purging, g integrations.ImportGrant) integrations.ImportGrant {
			time.Sleep(30 * time.Second) // clocks differ by more
			return p.granted("t1", "A")
		}, integrations.ImportKept, "not known to be older"},
		"the other has an older one": {func(p *purging, g integrations.ImportGrant) integrations.ImportGrant {
			older := p.granted("t1", "A")
			older.ExpiresAt = g.ExpiresAt.Add(-time.Hour)
			return older
		}, integrations.ImportKept, "not known to be older"},
		"the other has another one of unknown age": {func(p *purging, _ integrations.ImportGrant) integrations.ImportGrant {
			time.Sleep(time.Hour)
			return never(p.granted("t1", "A"))
		}, integrations.ImportKept, "not known to be older"},
		"a user connected here later": {func(p *purging, g integrations.ImportGrant) integrations.ImportGrant {
			time.Sleep(30 * time.Minute)
			p.connect("t1", "", "A")
			return g
		}, integrations.ImportKept, "not known to be older"},
		"it was disconnected here": {func(p *purging, g integrations.ImportGrant) integrations.ImportGrant {
			require.NoError(p.t, p.kit.Manager().Disconnect(p.t.Context(), "t1", p.find("t1").ID))
			return g
		}, integrations.ImportKept, "disconnected here"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPurging(t, shared)
				g := p.granted("t1", "A")
				require.Equal(t, integrations.ImportCreated, p.imports(g)[0].Outcome)
				again := c.meanwhile(p, g)
				before := p.find("t1")
				r := p.imports(again)[0]
				require.NoError(t, r.Err)
				require.Equal(t, c.want, r.Outcome)
				require.Contains(t, r.Reason, c.reason)
				require.Equal(t, before.ID, r.IntegrationID)
				after := p.find("t1")
				if c.want != integrations.ImportUpdated {
					require.Equal(t, before, after, "the row, its version included")
					return
				}
				require.Equal(t, before.TokenGen+1, after.TokenGen)
				require.Equal(t, again.RefreshToken.Reveal(), p.refreshIn(after))
				access, err := p.conn("t1").Token(t.Context())
				require.NoError(t, err)
				require.Equal(t, again.AccessToken.Reveal(), access.Reveal(), "an old token is handed out")
				require.True(t, p.alive(g.RefreshToken.Reveal()), "an import revokes nothing")
			})
		})
	}
}

// TestImportRefusesARowAndGoesOn: each fault is one row's.
func TestImportRefusesARowAndGoesOn(t *testing.T) {
	p := newPurging(t)
	good := func(tenant string) integrations.ImportGrant {
		return integrations.ImportGrant{TenantID: tenant, Provider: acmeKey, ExternalID: "A-" + tenant, AccessToken: token.NewSecret("SECRET-" + tenant)}
	}
	require.Equal(t, integrations.ImportCreated, p.imports(good("first"))[0].Outcome)
	change := func(fn func(g *integrations.ImportGrant)) integrations.ImportGrant {
		g := good("t")
		fn(&g)
		return g
	}
	long := strings.Repeat("x", 192)
	rows := []struct {
		g    integrations.ImportGrant
		want error
	}{
		{change(func(g *integrations.ImportGrant) { g.Provider = "unknown" }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.TenantID = "" }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.TenantID = long }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.TenantID = "a\x00b" }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.TenantID = "\xff" }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.Label = long[:65] }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.ExternalID = "" }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.ExternalID = long }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.AccessToken = token.Secret{} }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.AccessToken = token.NewSecret("SECRET\r\nX: y") }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.RefreshToken = token.NewSecret("SECRET é") }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.Metadata = json.RawMessage(`{`) }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) {
			g.ProviderData = json.RawMessage(`"` + strings.Repeat("x", 64<<10) + `"`)
		}), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.Scopes = []string{""} }), integrations.ErrInvalid},
		{change(func(g *integrations.ImportGrant) { g.ExternalID = "A-first" }), integrations.ErrAccountTaken},
	}
	var all []integrations.ImportGrant
	for i, r := range rows {
		all = append(all, r.g, good(fmt.Sprint("between-", i)))
	}
	skipped := change(func(g *integrations.ImportGrant) {
		g.Status, g.AccessToken = integrations.StatusRevoked, token.Secret{}
	})
	all = append(all, skipped)
	report, err := p.kit.Manager().Import(t.Context(), integrations.Grants(all...))
	require.NoError(t, err)
	require.Len(t, report.Rows, len(all))
	for i, r := range rows {
		got := report.Rows[2*i]
		require.Equal(t, integrations.ImportRefused, got.Outcome, "row %d", i)
		require.ErrorIs(t, got.Err, r.want, "row %d", i)
		require.Equal(t, got.Err.Error(), got.Reason)
		require.Equal(t, integrations.ImportCreated, report.Rows[2*i+1].Outcome)
	}
	require.Equal(t, integrations.ImportSkipped, report.Rows[len(all)-1].Outcome)
	require.Equal(t, len(rows), report.Count(integrations.ImportCreated))
	require.Equal(t, len(rows)+1, report.Count(integrations.ImportRefused, integrations.ImportSkipped))
	text, err := json.Marshal(report)
	require.NoError(t, err)
	for _, printed := range []string{string(text), fmt.Sprintf("%v %+v %#v", report, report, report), fmt.Sprintf("%+v", all)} {
		require.NotContains(t, printed, "SECRET")
	}
	list, err := p.st.List(t.Context(), "t")
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestImportOfAnotherAccountIsRefused(t *testing.T) {
	p := newPurging(t)
	g := p.granted("t1", "A")
	require.Equal(t, integrations.ImportCreated, p.imports(g)[0].Outcome)
	before := p.find("t1")
	g.ExternalID, g.AccessToken, g.ExpiresAt = "B", token.NewSecret("other"), g.ExpiresAt.Add(time.Hour)
	r := p.imports(g)[0]
	require.ErrorIs(t, r.Err, integrations.ErrAccountMismatch)
	require.Equal(t, before, p.find("t1"))
}

// silent is a provider that cannot say what an import needs.
type silent struct{ providers.Provider }

func TestImportNeedsAnAdapterThatCan(t *testing.T) {
	p := newPurging(t)
	g := p.granted("t1", "A")
	cfg := p.cfg
	cfg.Providers = []providers.Provider{silent{p.cfg.Providers[0]}}
	p.kit.Use(cfg)
	require.ErrorIs(t, p.imports(g)[0].Err, errors.ErrUnsupported)
}

func TestImportEnds(t *testing.T) {
	p := newPurging(t)
	g := p.granted("t1", "A")
	down := errors.New("the store is down")
	seq := func(n int, end error) iter.Seq2[integrations.ImportGrant, error] {
		return func(yield func(integrations.ImportGrant, error) bool) {
			for i := range n {
				row := g
				row.TenantID, row.ExternalID = fmt.Sprint("t", i), fmt.Sprint("A", i)
				if !yield(row, nil) {
					return
				}
			}
			if end != nil {
				yield(integrations.ImportGrant{}, end)
			}
		}
	}
	t.Run("with its iterator", func(t *testing.T) {
		r, err := p.kit.Manager().Import(t.Context(), seq(3, down))
		require.ErrorIs(t, err, down)
		require.Equal(t, 3, r.Count(integrations.ImportCreated))
	})
	t.Run("with its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r, err := p.kit.Manager().Import(ctx, seq(3, nil))
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, r.Rows)
	})
	t.Run("with its store", func(t *testing.T) {
		n := 0
		p.st.Fail(func(_ int, method string) (faultstore.When, error) {
			if n++; n > 4 {
				return faultstore.Before, down
			}
			return faultstore.Before, nil
		})
		defer p.st.Fail(nil)
		_, err := p.kit.Manager().Import(t.Context(), seq(9, nil))
		require.ErrorIs(t, err, down)
	})
	t.Run("not with one row that the store refuses", func(t *testing.T) {
		connects := 0
		p.st.Fail(func(_ int, method string) (faultstore.When, error) {
			if method == "Connect" {
				if connects++; connects == 1 {
					return faultstore.Before, errors.New("no such character")
				}
			}
			return faultstore.Before, nil
		})
		defer p.st.Fail(nil)
		fresh := g
		fresh.TenantID, fresh.ExternalID = "fresh", "F"
		other := g
		other.TenantID, other.ExternalID = "other", "O"
		rows := p.imports(fresh, other)
		require.Equal(t, integrations.ImportRefused, rows[0].Outcome)
		require.Equal(t, integrations.ImportCreated, rows[1].Outcome)
	})
	t.Run("and its reader with it", func(t *testing.T) {
		r, err := p.kit.Manager().Import(t.Context(), integrations.TableGrants(t.Context(), nil, "t", nil))
		require.ErrorContains(t, err, "hex is nil")
		require.Empty(t, r.Rows)
	})
}

func TestImportByManyAtOnce(t *testing.T) {
	p := newPurging(t)
	var grants []integrations.ImportGrant
	for i := range 20 {
		grants = append(grants, p.granted(fmt.Sprint("t", i), fmt.Sprint("A", i)))
	}
	var mu sync.Mutex
	count := map[integrations.ImportOutcome]int{}
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			r, err := p.kit.Manager().Import(t.Context(), integrations.Grants(grants...))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, row := range r.Rows {
				count[row.Outcome]++
			}
		})
	}
	work.Wait()
	require.Equal(t, map[integrations.ImportOutcome]int{integrations.ImportCreated: 20, integrations.ImportUnchanged: 140}, count)
}

// TestImportOfEachProvider: with nothing but what a table would hold.
func TestImportOfEachProvider(t *testing.T) {
	kit := integrationstest.New(t)
	cfg := kit.Config()
	m := kit.Use(cfg)
	tok := token.NewSecret("tok")
	const cloud = "11223344-a1b2-3b33-c444-def123456789"
	grants := []integrations.ImportGrant{
		{Provider: slackapp.Key, ExternalID: "T0123ABCD"},
		{Provider: githubapp.Key, ExternalID: "4711"},
		{Provider: jiraapp.Key, ExternalID: cloud, Metadata: json.RawMessage(`{"siteUrl":"https://Acme.atlassian.net"}`)},
		{Provider: salesforceapp.Key, ExternalID: "00D5e000000KQ2e", Metadata: json.RawMessage(`{"instance_url":"https://acme--dev.sandbox.my.salesforce.com"}`)},
		{Provider: hubspotapp.Key, ExternalID: "62515"},
		{Provider: sheetsapp.Key, ExternalID: "108204268033311374519"},
	}
	for i := range grants {
		grants[i].TenantID, grants[i].AccessToken, grants[i].RefreshToken = "t1", tok, tok
	}
	r, err := m.Import(t.Context(), integrations.Grants(grants...))
	require.NoError(t, err)
	for _, row := range r.Rows {
		require.NoError(t, row.Err, row.Provider)
	}
	require.Equal(t, 6, r.Count(integrations.ImportCreated))
	data := map[string]string{}
	list, err := cfg.Store.List(t.Context(), "t1")
	require.NoError(t, err)
	for _, in := range list {
		data[in.Provider] = string(in.ProviderData)
		require.Equal(t, in.Provider != sheetsapp.Key, in.ExclusiveKey != "", in.Provider)
		switch in.Provider {
		case salesforceapp.Key:
			require.Equal(t, "00D5e000000KQ2eEAG", in.ExternalID)
		case jiraapp.Key:
			require.Equal(t, "acme.atlassian.net", in.ExternalAlias)
		case githubapp.Key:
			require.False(t, in.TokenExpiresAt.IsZero(), "it is minted anew at its first use")
		}
	}
	require.JSONEq(t, `{"team_id":"T0123ABCD","token_type":"bot"}`, data[slackapp.Key])
	require.JSONEq(t, fmt.Sprintf(`{"app_id":%d}`, kit.GitHub.App().AppID), data[githubapp.Key])
	require.JSONEq(t, `{"cloud_id":"`+cloud+`","site_url":"https://Acme.atlassian.net"}`, data[jiraapp.Key])
	require.JSONEq(t, `{"org_id":"00D5e000000KQ2eEAG","instance_url":"https://acme--dev.sandbox.my.salesforce.com","auth_host":"test.salesforce.com"}`, data[salesforceapp.Key])
	require.JSONEq(t, `{}`, data[sheetsapp.Key])

	for key, ids := range map[string][]string{
		slackapp.Key: {"acme", "U0123", "T"}, githubapp.Key: {"acme", "0", "-1"}, jiraapp.Key: {"acme.atlassian.net"},
		salesforceapp.Key: {"acme", "0055e000000KQ2e", "00D5e000000KQ2eAAA"}, hubspotapp.Key: {"acme", "0"}, sheetsapp.Key: {"a@example.com"},
	} {
		for _, id := range ids {
			r, err := m.Import(t.Context(), integrations.Grants(integrations.ImportGrant{
				TenantID: "t2", Provider: key, ExternalID: id, AccessToken: tok, Metadata: json.RawMessage(`{"instance_url":"https://acme.my.salesforce.com"}`),
			}))
			require.NoError(t, err)
			require.ErrorIs(t, r.Rows[0].Err, integrations.ErrInvalid, "%s %s", key, id)
		}
	}
	for _, metadata := range []string{`{}`, `[]`, `{"instance_url":"https://evil.example.com"}`, `{"instance_url":"https://acme.my.salesforce.com","auth_host":"evil.example.com"}`} {
		r, err := m.Import(t.Context(), integrations.Grants(integrations.ImportGrant{
			TenantID: "t2", Provider: salesforceapp.Key, ExternalID: "00D5e000000KQ2e", AccessToken: tok, Metadata: json.RawMessage(metadata),
		}))
		require.NoError(t, err)
		require.ErrorIs(t, r.Rows[0].Err, integrations.ErrInvalid, metadata)
	}
}

// TestImportLooksUpASiteOfJira: while the token lasts Atlassian is asked for what
// nobody has told.
func TestImportLooksUpASiteOfJira(t *testing.T) {
	kit := integrationstest.New(t)
	legacy := kit.Config()
	kit.Use(legacy)
	kit.Connect("t1", jiraapp.Key)
	in, err := legacy.Store.Find(t.Context(), "t1", jiraapp.Key, "")
	require.NoError(t, err)
	cfg := kit.Config()
	m := kit.Use(cfg)
	g := integrations.ImportGrant{TenantID: "t1", Provider: jiraapp.Key, ExternalID: in.ExternalID, ExpiresAt: in.TokenExpiresAt}
	g.AccessToken, g.RefreshToken, err = token.OpenGrant(legacy.Cipher, in)
	require.NoError(t, err)
	one := func(g integrations.ImportGrant) integrations.ImportResult {
		r, err := m.Import(t.Context(), integrations.Grants(g))
		require.NoError(t, err)
		return r.Rows[0]
	}
	ended, foreign := g, g
	ended.TenantID, ended.ExpiresAt = "t2", time.Now().Add(-time.Hour)
	foreign.ExternalID = "11223344-a1b2-3b33-c444-def123456789"
	require.ErrorIs(t, one(foreign).Err, integrations.ErrInvalid)
	require.Equal(t, integrations.ImportCreated, one(g).Outcome)
	got, err := cfg.Store.Find(t.Context(), "t1", jiraapp.Key, "")
	require.NoError(t, err)
	require.Equal(t, in.ExternalAlias, got.ExternalAlias)
	require.NotEmpty(t, got.ExternalAlias)
	require.ErrorIs(t, one(ended).Err, integrations.ErrAccountTaken, "nobody was asked")
}

func ExampleManager_Import() {
	kit := integrationstest.New(exampleTB{})
	report, err := kit.Manager().Import(context.Background(), integrations.Grants(
		integrations.ImportGrant{
			TenantID: "tenant-1", Provider: slackapp.Key, ExternalID: "T0123ABCD",
			AccessToken: token.NewSecret("xoxb-1-abc"), Scopes: []string{"chat:write"},
		},
		integrations.ImportGrant{TenantID: "tenant-2", Provider: "fax", ExternalID: "1", AccessToken: token.NewSecret("abc")},
	))
	for _, row := range report.Rows {
		fmt.Println(row.TenantID, row.Outcome, errors.Is(row.Err, integrations.ErrInvalid))
	}
	fmt.Println(err)
	// Output:
	// tenant-1 created false
	// tenant-2 refused true
	// <nil>
}

// Take over what a Node application keeps in PostgreSQL. The host opens the database
// with a driver of its choice.
func ExampleTableGrants() {
	takeOver := func(ctx context.Context, m *integrations.Manager, db *sql.DB, oldKey string) error {
		key, err := crypto.ParseKey("legacy", oldKey)
		if err != nil {
			return err
		}
		hex, err := crypto.NewHexFormat(key)
		if err != nil {
			return err
		}
		report, err := m.Import(ctx, integrations.TableGrants(ctx, db, "integrations", hex))
		for _, row := range report.Rows {
			if row.Outcome == integrations.ImportRefused {
				fmt.Println(row.TenantID, row.Provider, row.Reason)
			}
		}
		return err
	}
	_ = takeOver
}
