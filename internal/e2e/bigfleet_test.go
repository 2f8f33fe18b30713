package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
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

const (
	// bigLife is the life of the first tokens, and bigEarly how long before its end each
	// is due: the rule's ten percent.
	bigLife  = time.Hour
	bigEarly = bigLife / 10
	// bigNext is the life of what they are renewed to: none is due again in the test.
	bigNext = 4 * bigLife
	// seedAhead is how far ahead rows are due while they are made, which takes
	// time; they are moved back together afterwards.
	seedAhead = 24 * time.Hour
)

// bigFleet is many connections with keepers on. The hour in which all of them are
// due once is compressed to window; the margin before a token's end is not. In full
// size it takes longer than go test allows without -timeout.
type bigFleet struct {
	t       *testing.T
	db      *sql.DB
	store   *sqlstore.Store
	prefix  string
	cipher  crypto.Cipher
	kit     *integrationstest.Kit
	fake    *bigProvider
	due     int
	hour    time.Duration // the window in full size
	window  time.Duration
	writers int
}

// TestR15BigFleet: keepers renew each token that is due once and in time, leave
// the others alone, and cost next to nothing when none is due.
func TestR15BigFleet(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		db := openSQLite(t, filepath.Join(t.TempDir(), "big.db"), recommended)
		// Its writers look again and again whether they may: with many of them the lock
		// is idle most of the time.
		db.SetMaxOpenConns(4)
		bigFleetOn(t, &bigFleet{db: db, store: migrated(t, db, ""), due: 500, hour: time.Hour, writers: 1})
	})
	t.Run("postgres", func(t *testing.T) {
		s := servers[0]
		db := s.open(t, "")
		prefix := s.prefixed(t, db)
		require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
		bigFleetOn(t, &bigFleet{db: db, store: sqlstore.New(db, s.dialect, &sqlstore.Options{TablePrefix: prefix}), prefix: prefix, due: 1500, hour: 10 * time.Minute, writers: 16})
	})
}

func bigFleetOn(t *testing.T, f *bigFleet) {
	key, err := crypto.GenerateKey("k1")
	require.NoError(t, err)
	f.t, f.kit = t, integrationstest.New(t)
	f.cipher, err = crypto.NewKeyring(key)
	require.NoError(t, err)
	f.due = sized(f.due, 100_000)
	f.window = 2 * time.Second
	if soak {
		f.window = f.hour
	}
	f.fake = &bigProvider{}

	f.seed()
	before := f.rows()
	spent, began := cpu(t), time.Now()
	stop := f.keep(2)
	for limit := began.Add(f.window + 2*time.Minute); f.fake.count() < f.due && time.Now().Before(limit); {
		time.Sleep(50 * time.Millisecond)
	}
	took := time.Since(began)
	time.Sleep(time.Duration(sized(300, 20_000)) * time.Millisecond) // a renewal too many would come now
	stop()
	each := (cpu(t) - spent) / time.Duration(f.due)

	f.fake.check(t, f.due)
	late := f.lateness(before, f.rows())
	p50, p99, most := late[len(late)/2], late[len(late)*99/100], late[len(late)-1]
	t.Logf("%d tokens within %v: %d calls in %v, lateness p50 %v, p99 %v, most %v", f.due, f.window, f.fake.count(), took.Round(time.Millisecond), p50, p99, most)
	require.LessOrEqual(t, p99, time.Minute)
	// The provider is a function here, so this is without a network. For SQLite it
	// includes the database.
	t.Logf("%v of a core for each: %.1f %% for a million tokens an hour", each, 100*each.Seconds()*1e6/3600)

	idle := f.idle(time.Duration(sized(500, 31_000)) * time.Millisecond) // two looks for due rows, in full size
	t.Logf("with nothing due a keeper takes %.2f %% of a core", 100*idle)
	if soak {
		require.LessOrEqual(t, idle, 0.01)
	}
	require.Equal(t, f.due, f.fake.count())
}

// seed makes the connections: those that are due, evenly over the window, and some
// that must be left alone.
func (f *bigFleet) seed() {
	f.t.Helper()
	began := time.Now()
	extra := f.due / 50
	numbers := make(chan int)
	var wg sync.WaitGroup
	for range f.writers {
		wg.Go(func() {
			for i := range numbers {
				at := seedAhead + f.window*time.Duration(i)/time.Duration(f.due)
				if i >= f.due { // not before the keepers have ended
					at += time.Hour
				}
				f.insert(i, at-time.Since(began))
			}
		})
	}
	for i := range f.due + 2*extra {
		numbers <- i
	}
	close(numbers)
	wg.Wait()
	for i := f.due + extra; i < f.due+2*extra; i++ { // due too, if they were active
		changed, err := f.store.SetStatus(f.t.Context(), store.SetStatus{TenantID: bigTenant(i), ID: bigID(i), To: store.NeedsReconnect, Reason: "test"})
		require.NoError(f.t, err)
		require.True(f.t, changed)
	}
	// The first is due a second from now.
	back := (seedAhead - time.Since(began) - time.Second).Milliseconds()
	_, err := f.db.ExecContext(f.t.Context(), fmt.Sprintf("UPDATE %[1]sintegrations SET next_refresh_at = next_refresh_at-%[2]d, token_expires_at = token_expires_at-%[2]d", f.prefix, back))
	require.NoError(f.t, err)
	_, err = f.db.ExecContext(f.t.Context(), "UPDATE "+f.prefix+"integrations SET next_refresh_at = 1 WHERE status = 'needs_reconnect'")
	require.NoError(f.t, err)
	f.t.Logf("%d rows made in %v", f.due+2*extra, time.Since(began).Round(time.Millisecond))
}

func bigTenant(i int) string { return fmt.Sprintf("t%06d", i) }
func bigID(i int) string     { return fmt.Sprintf("int_%06d", i) }

func (f *bigFleet) insert(i int, refreshIn time.Duration) {
	g := token.Grant{AccessToken: token.NewSecret("a"), RefreshToken: token.NewSecret(fmt.Sprintf("r-%d-0", i))}
	access, refresh, keyID, err := token.SealGrant(f.cipher, bigTenant(i), replicaKey, bigID(i), g)
	if err == nil {
		_, err = f.store.Connect(f.t.Context(), store.Connect{
			ID: bigID(i), TenantID: bigTenant(i), Provider: replicaKey, ExternalID: bigTenant(i),
			AccessToken: access, RefreshToken: refresh, KeyID: keyID, ExpiresIn: refreshIn + bigEarly, RefreshIn: refreshIn,
		})
	}
	if err != nil {
		f.t.Errorf("row %d: %v", i, err)
	}
}

// rows are all rows by id.
func (f *bigFleet) rows() map[string]store.Integration {
	f.t.Helper()
	out, after := map[string]store.Integration{}, ""
	for {
		list, err := f.store.ListAll(f.t.Context(), after, 1000)
		require.NoError(f.t, err)
		for _, in := range list {
			out[in.ID], after = in, in.ID
		}
		if len(list) < 1000 {
			return out
		}
	}
}

// manager is a replica's.
func (f *bigFleet) manager() *integrations.Manager {
	f.t.Helper()
	cfg := f.kit.Config()
	cfg.Store, cfg.Cipher, cfg.Transport = f.store, f.cipher, f.fake
	cfg.Providers = []providers.Provider{providers.NewOAuth2(f.kit.OAuth.Config(replicaKey))}
	m, err := integrations.New(f.t.Context(), cfg)
	require.NoError(f.t, err)
	return m
}

// keep runs the keepers of some replicas until stop is called. Run looks every 15
// seconds, which is too seldom for a test that lasts three: there Drain takes its
// place, which looks once.
func (f *bigFleet) keep(replicas int) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var wg sync.WaitGroup
	for range replicas {
		m := f.manager()
		wg.Go(func() {
			if soak {
				if err := m.Run(ctx); err != nil {
					f.t.Errorf("Run: %v", err)
				}
				return
			}
			for ctx.Err() == nil {
				if err := m.Drain(ctx); err != nil && ctx.Err() == nil {
					f.t.Errorf("Drain: %v", err)
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// lateness is, for each row that was due, how long after that its new token was
// stored, by the database's clock, in order. It checks that this was before the
// old one's end, and that no other row was changed.
func (f *bigFleet) lateness(before, after map[string]store.Integration) []time.Duration {
	f.t.Helper()
	var late []time.Duration
	for i := range len(before) {
		was, is := before[bigID(i)], after[bigID(i)]
		if i >= f.due {
			require.Equal(f.t, was.TokenGen, is.TokenGen, "%s was not due", is.ID)
			require.Equal(f.t, was.LeaseEpoch, is.LeaseEpoch, "%s was leased and not due", is.ID)
			continue
		}
		require.Equal(f.t, was.TokenGen+1, is.TokenGen, is.ID)
		require.True(f.t, is.LastRefreshAt.Before(was.TokenExpiresAt), "%s was refreshed at %v, its token ended at %v", is.ID, is.LastRefreshAt, was.TokenExpiresAt)
		require.False(f.t, is.LastRefreshAt.Before(was.NextRefreshAt), "%s was refreshed before it was due", is.ID)
		late = append(late, is.LastRefreshAt.Sub(was.NextRefreshAt))
	}
	slices.Sort(late)
	return late
}

// idle is the share of a core that one replica's Run takes while nothing is due.
// For SQLite that includes the database.
func (f *bigFleet) idle(d time.Duration) float64 {
	m := f.manager()
	ctx, cancel := context.WithTimeout(f.t.Context(), d)
	defer cancel()
	spent, began := cpu(f.t), time.Now()
	require.NoError(f.t, m.Run(ctx))
	return (cpu(f.t) - spent).Seconds() / time.Since(began).Seconds()
}

// cpu is the processor time this process has taken.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bigProvider is a token endpoint that takes each refresh token once. It is the
// Transport of the replicas.
type bigProvider struct {
	mu      sync.Mutex
	calls   map[string]int // by refresh token
	total   int
	refused int
}

// RoundTrip answers "r-NUMBER-0" with "r-NUMBER-1", once.
func (p *bigProvider) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	refresh := form.Get("refresh_token")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls = map[string]int{}
	}
	p.calls[refresh]++
	p.total++
	status, answer := http.StatusOK, fmt.Sprintf(`{"access_token":"b","token_type":"Bearer","expires_in":%d,"refresh_token":%q}`,
		int(bigNext.Seconds()), strings.TrimSuffix(refresh, "-0")+"-1")
	if p.calls[refresh] > 1 || !strings.HasSuffix(refresh, "-0") {
		p.refused++
		status, answer = http.StatusBadRequest, `{"error":"invalid_grant"}`
	}
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(answer)),
	}, nil
}

func (p *bigProvider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// check wants one call for each of the first due connections, and no other.
func (p *bigProvider) check(t *testing.T, due int) {
	t.Helper()
	require.Equal(t, due, p.count(), "token calls")
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Zero(t, p.refused, "refresh tokens that were used before")
	for i := range due {
		require.Equal(t, 1, p.calls[fmt.Sprintf("r-%d-0", i)], "calls for %d", i)
	}
}
