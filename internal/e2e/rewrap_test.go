package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// rings are the keyrings of a rotation from the crowd's key to a new one: both,
// with the new one as the primary, and the new one alone.
func (c *crowd) rings(t testing.TB) (both, alone *crypto.Keyring) {
	t.Helper()
	k2, err := crypto.GenerateKey("k2")
	require.NoError(t, err)
	both, err = crypto.NewKeyring(k2, c.key)
	require.NoError(t, err)
	alone, err = crypto.NewKeyring(k2)
	require.NoError(t, err)
	return both, alone
}

// all are the rows of a crowd by id.
func (c *crowd) all(t testing.TB) map[string]store.Integration {
	t.Helper()
	out, after := map[string]store.Integration{}, ""
	for {
		list, err := c.store.ListAll(t.Context(), after, 1000)
		require.NoError(t, err)
		if len(list) == 0 {
			return out
		}
		for _, in := range list {
			out[in.ID], after = in, in.ID
		}
	}
}

// asMade checks that a row has the tokens it was made with, sealed with the key of
// ring.
func (c *crowd) asMade(t testing.TB, i int, in store.Integration, ring crypto.Cipher) {
	t.Helper()
	access, refresh, err := token.OpenGrant(ring, in)
	require.NoError(t, err, in.ID)
	require.Equal(t, crowdAccess(i), access.Reveal())
	if c.bare > 0 && i%c.bare == 0 {
		require.Nil(t, in.RefreshToken)
	} else {
		require.Equal(t, crowdRefresh(i), refresh.Reveal())
	}
	require.Equal(t, [3]int64{1, 1, 0}, [3]int64{in.TokenGen, in.Version, in.LeaseEpoch}, in.ID)
}

func (c *crowd) byKey(t testing.TB) map[string]int64 {
	t.Helper()
	n, err := c.store.CountByKey(t.Context())
	require.NoError(t, err)
	return n
}

// TestK1RewrapUnderLoad moves all rows to a new key while two replicas refresh 200
// of them a second. Every third has no refresh token.
func TestK1RewrapUnderLoad(t *testing.T) {
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			c.bare = 3
			rows := sized(600, 10_000)
			c.grow(t, rows)
			(&rewrapLoad{t: t, c: c, rows: rows, provider: &countingProvider{current: map[string]int{}}}).run(sized(200, 400))
		})
	})
}

// rewrapLoad is a rewrap with replicas at work.
type rewrapLoad struct {
	t        *testing.T
	c        *crowd
	rows     int
	provider *countingProvider

	calls, failed atomic.Int64
	fault         atomic.Pointer[error]
}

func (l *rewrapLoad) run(speed int) {
	t, c := l.t, l.c
	both, alone := c.rings(t)
	// Every token that can be renewed has ended, the others never do.
	for _, set := range []string{"token_expires_at = 1, next_refresh_at = 1 WHERE refresh_token IS NOT NULL", "token_expires_at = NULL, next_refresh_at = 0 WHERE refresh_token IS NULL"} {
		_, err := c.db.ExecContext(t.Context(), c.query("UPDATE {p}integrations SET "+set))
		require.NoError(t, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var work sync.WaitGroup
	l.load(ctx, &work, []*integrations.Manager{l.replica(both), l.replica(both)})
	for l.provider.total.Load() < 20 && l.failed.Load() == 0 {
		time.Sleep(time.Millisecond)
	}

	began, before := time.Now(), l.provider.total.Load()
	got, err := integrations.Rewrap(t.Context(), c.store, both, &integrations.RewrapOptions{RowsPerSecond: speed})
	took, refreshes := time.Since(began), l.provider.total.Load()-before
	require.NoError(t, err)
	left := c.byKey(t)["k1"] // while the replicas go on
	stop()
	work.Wait()

	t.Logf("%d rows in %v: %+v; %d refreshes meanwhile, %.0f a second; %d tokens handed out, %d errors", l.rows, took.Round(time.Millisecond), got, refreshes,
		float64(refreshes)/took.Seconds(), l.calls.Load(), l.failed.Load())
	if fault := l.fault.Load(); fault != nil {
		t.Fatalf("%d calls failed, one of them: %v", l.failed.Load(), *fault)
	}
	require.Positive(t, refreshes)
	require.Zero(t, left, "rows under the old key")
	require.Zero(t, got.Unknown+got.Unreadable)
	require.Equal(t, map[string]int64{"k2": int64(l.rows)}, c.byKey(t))
	require.Zero(t, l.provider.refused.Load(), "a refresh token was sent twice: an update was lost")
	rows := c.all(t)
	require.Len(t, rows, l.rows)
	for i := range l.rows {
		in := rows[crowdID(i)]
		n := l.provider.of(in.ID)
		require.Equal(t, store.Active, in.Status)
		require.Equal(t, int64(1+n), in.TokenGen, in.ID)
		if n == 0 {
			in.LeaseEpoch = 0 // it may have been leased when the load ended
			c.asMade(t, i, in, alone)
			continue
		}
		access, refresh, err := token.OpenGrant(alone, in)
		require.NoError(t, err, in.ID)
		require.Equal(t, [2]string{accessOf(in.ID, n), refreshOf(in.ID, n)}, [2]string{access.Reveal(), refresh.Reveal()})
	}
	again, err := integrations.Rewrap(t.Context(), c.store, both, nil)
	require.NoError(t, err)
	require.Zero(t, again)
}

func (l *rewrapLoad) replica(cipher crypto.Cipher) *integrations.Manager {
	l.t.Helper()
	kit := integrationstest.New(l.t)
	cfg := kit.Config()
	cfg.Store, cfg.Cipher, cfg.Transport, cfg.CacheFor = l.c.store, cipher, l.provider, replicaCache
	cfg.Providers = []providers.Provider{providers.NewOAuth2(kit.OAuth.Config(replicaKey))}
	m, err := integrations.New(l.t.Context(), cfg)
	require.NoError(l.t, err)
	return m
}

// load asks for tokens, of which two thirds have to be renewed, 200 of them a
// second, until ctx ends.
func (l *rewrapLoad) load(ctx context.Context, work *sync.WaitGroup, replicas []*integrations.Manager) {
	due := make(chan int, 300)
	work.Go(func() {
		defer close(due)
		order := rand.Perm(l.rows)
		for n, began := 0, time.Now(); ; n++ {
			// What was late is made up for.
			time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / 300)))
			select {
			case due <- order[n%l.rows]:
			case <-ctx.Done():
				return
			}
		}
	})
	for w := range 16 {
		m := replicas[w%len(replicas)]
		work.Go(func() {
			for i := range due {
				// Not of ctx: what has begun is to be finished.
				if err := l.call(context.WithoutCancel(ctx), m, i); err != nil {
					l.failed.Add(1)
					l.fault.Store(&err)
				}
				l.calls.Add(1)
			}
		})
	}
}

func (l *rewrapLoad) call(ctx context.Context, m *integrations.Manager, i int) error {
	conn, err := m.Connection(ctx, crowdTenant(i), replicaKey)
	if err != nil {
		return err
	}
	tok, err := conn.Token(ctx)
	if err != nil {
		return err
	}
	if !strings.Contains(tok.Reveal(), crowdID(i)) {
		return fmt.Errorf("%s has another's token", crowdID(i))
	}
	return nil
}

// countingProvider is a token endpoint whose tokens name the integration and count
// its refreshes, and end after a second. It takes each refresh token once.
type countingProvider struct {
	total, refused atomic.Int64
	mu             sync.Mutex
	current        map[string]int // refreshes by integration
}

func accessOf(id string, n int) string  { return "access of " + id + " " + strconv.Itoa(n) }
func refreshOf(id string, n int) string { return "refresh of " + id + " " + strconv.Itoa(n) }

func (p *countingProvider) of(id string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current[id]
}

func (p *countingProvider) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	refresh := form.Get("refresh_token")
	id := refresh[strings.Index(refresh, "integration-"):][:len(crowdID(0))]
	p.mu.Lock()
	n := p.current[id]
	ok := refresh == refreshOf(id, n) || n == 0 && strings.HasPrefix(refresh, "refresh-")
	if ok {
		p.current[id] = n + 1
	}
	p.mu.Unlock()
	status, answer := http.StatusOK, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":1,"refresh_token":%q}`, accessOf(id, n+1), refreshOf(id, n+1))
	if !ok {
		p.refused.Add(1)
		status, answer = http.StatusBadRequest, `{"error":"invalid_grant"}`
	}
	p.total.Add(1)
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

// TestRewrapsThatCross: several at once move each row once and stay out of each
// other's way.
func TestRewrapsThatCross(t *testing.T) {
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			c.bare = 3
			rows := sized(1500, 10_000)
			c.grow(t, rows)
			both, alone := c.rings(t)
			var results [3]integrations.RewrapResult
			var errs [3]error
			var wg sync.WaitGroup
			for i := range results {
				wg.Go(func() {
					results[i], errs[i] = integrations.Rewrap(t.Context(), c.store, both, &integrations.RewrapOptions{BatchSize: 100 + 50*i, RowsPerSecond: -1})
				})
			}
			wg.Wait()
			var moved int64
			for i, r := range results {
				require.NoError(t, errs[i])
				moved += r.Moved
			}
			t.Logf("%+v", results)
			require.Equal(t, int64(rows), moved)
			for i, in := range c.all(t) {
				n, err := strconv.Atoi(strings.TrimPrefix(i, "integration-"))
				require.NoError(t, err)
				c.asMade(t, n, in, alone)
			}
		})
	})
}

// TestSealedRowsAreFoundByTheirKey: what is under a key is listed by an index, in
// its order, and changed by the primary key where locks go by the plan.
func TestSealedRowsAreFoundByTheirKey(t *testing.T) {
	explain := map[string]string{"sqlite": "EXPLAIN QUERY PLAN ", "postgres": "EXPLAIN ", "mysql": "EXPLAIN "}
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			c.grow(t, 5000)
			_, err := c.db.ExecContext(t.Context(), c.query("UPDATE {p}integrations SET key_id = 'k2' WHERE id < ?"), crowdID(4500)) // most is done
			require.NoError(t, err)
			c.analyze(t, "integrations")
			c.inbox(t, 2000)
			said := &recorder{}
			db := sql.OpenDB(said)
			defer func() { require.NoError(t, db.Close()) }()
			st := sqlstore.New(db, c.dialect, &sqlstore.Options{TablePrefix: c.prefix})
			for kind, index := range map[store.SealedKind]string{
				store.SealedTokens: "integrations_key", store.SealedSecrets: "webhook_endpoints_key", store.SealedBodies: "webhook_inbox_key",
			} {
				after := map[store.SealedKind]string{store.SealedTokens: crowdID(100), store.SealedBodies: "delivery-00000100"}[kind]
				_, err := st.ListSealed(t.Context(), kind, "k1", after, 50)
				require.NoError(t, err)
				plan := c.plan(t, explain[name]+said.query, said.args...)
				if kind != store.SealedSecrets || name == "sqlite" { // of an empty table others think what they like
					require.Contains(t, plan, c.prefix+index, plan)
				}
				for _, sorting := range []string{"Sort", "filesort", "TEMP B-TREE"} {
					require.NotContains(t, plan, sorting, plan)
				}
			}
			if name != mysql.name {
				return // the others lock the rows that they change and no more
			}
			rs := make([]store.Reseal, 200)
			for i := range rs {
				rs[i] = store.Reseal{Old: store.Sealed{TenantID: crowdTenant(i), ID: crowdID(i), Gen: 1, Values: [2][]byte{{1}, {2}}}, Values: [2][]byte{{3}, {4}}, KeyID: "k2"}
			}
			_, err = st.Reseal(t.Context(), store.SealedTokens, rs)
			require.NoError(t, err)
			plan := c.plan(t, explain[name]+said.query, said.args...)
			require.Contains(t, plan, " PRIMARY 38 ", plan)
		})
	})
}

// inbox fills the inbox: one in twenty waits or failed, the others are done.
func (c *crowd) inbox(t testing.TB, rows int) {
	t.Helper()
	for from := 0; from < rows; from += 100 {
		var ds []store.Delivery
		for i := from; i < min(rows, from+100); i++ {
			id := fmt.Sprintf("delivery-%08d", i)
			ds = append(ds, store.Delivery{ID: id, Provider: replicaKey, DeliveryID: id, TenantID: crowdTenant(i), IntegrationID: crowdID(i), EventType: "push", Body: []byte("sealed"), KeyID: "k1"})
		}
		_, err := c.store.InsertDeliveries(t.Context(), ds)
		require.NoError(t, err)
	}
	for _, set := range []string{"status = 1 WHERE id NOT LIKE '%0'", "status = 2 WHERE id LIKE '%50'"} {
		_, err := c.db.ExecContext(t.Context(), c.query("UPDATE {p}webhook_inbox SET "+set))
		require.NoError(t, err)
	}
	c.analyze(t, "webhook_inbox")
}
