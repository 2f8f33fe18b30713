package e2e

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// soak says that tests run in full size.
var soak = os.Getenv("INTEGRATIONS_SOAK") == "1"

// sized is a number in CI and in full size.
func sized(small, full int) int {
	if soak {
		return full
	}
	return small
}

// fleet is a number of replicas, each a process, on one database, and the fake
// provider they talk to.
type fleet struct {
	t      testing.TB
	kit    *integrationstest.Kit
	orders orders
	db     *sql.DB
	store  *sqlstore.Store
	cipher crypto.Cipher
	expire func() // ends the access tokens of all rows
	exec   func(query string)

	mu       sync.Mutex
	replicas map[string]*process
	watch    func(replica string)
}

// onRefresh calls fn for each refresh after the provider did its work and before
// it answers; nil ends that.
func (f *fleet) onRefresh(fn func(replica string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch = fn
}

func (f *fleet) watcher() func(replica string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.watch
}

// process is a running replica.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// databases are where fleets can be.
func databases(t *testing.T, fn func(t *testing.T, f *fleet)) {
	for _, d := range fleets {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			fn(t, d.open(t))
		})
	}
}

// fleets are how a fleet is made on each database.
var fleets = []struct {
	name string
	open func(t testing.TB) *fleet
}{{"sqlite", sqliteFleet}, {postgres.name, postgres.fleet}, {mysql.name, mysql.fleet}}

func sqliteFleet(t testing.TB) *fleet {
	path := filepath.Join(t.TempDir(), "fleet.db")
	db := openSQLite(t, path, recommended)
	return newFleet(t, db, migrated(t, db, ""), orders{Driver: "sqlite", DSN: "file:" + path + recommended, Dialect: "sqlite"})
}

func (s server) fleet(t testing.TB) *fleet {
	db := s.open(t, "")
	prefix := s.prefixed(t, db)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
	st := sqlstore.New(db, s.dialect, &sqlstore.Options{TablePrefix: prefix})
	return newFleet(t, db, st, orders{Driver: s.driver, DSN: s.address(), Dialect: s.dialect.String(), Prefix: prefix})
}

func newFleet(t testing.TB, db *sql.DB, st *sqlstore.Store, o orders) *fleet {
	f := &fleet{t: t, kit: integrationstest.New(t), db: db, store: st, replicas: map[string]*process{}}
	key, err := crypto.GenerateKey("k1")
	require.NoError(t, err)
	f.cipher, err = crypto.NewKeyring(key)
	require.NoError(t, err)
	oauth := f.kit.OAuth.Config(replicaKey)
	o.Key, o.ClientID, o.ClientSecret = key.Reveal(), oauth.ClientID, oauth.ClientSecret
	o.HTTPTimeout, o.CommitBudget = time.Second, 2*time.Second // a busy machine is not a store that fails
	srv := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // replicas die in the middle of things
	srv.StartTLS()
	t.Cleanup(srv.Close)
	o.Provider = srv.Listener.Addr().String()
	f.orders = o
	f.exec = func(query string) {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	f.expire = func() {
		f.exec("UPDATE " + o.Prefix + "integrations SET token_expires_at = 1, next_refresh_at = 1 WHERE status = 'active'")
	}
	t.Cleanup(f.stop)
	return f
}

// leaseTTL is the lease of the replicas' configuration.
func (f *fleet) leaseTTL() time.Duration { return 2 * (f.orders.HTTPTimeout + f.orders.CommitBudget) }

// serve answers as the kit's network does.
func (f *fleet) serve(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "https", r.Host, ""
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the replica died while it sent
	}
	out.Body = io.NopCloser(strings.NewReader(string(body)))
	resp, err := f.kit.Network.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if watch := f.watcher(); watch != nil && strings.Contains(string(body), "grant_type=refresh_token") {
		watch(r.Header.Get(headerFrom))
	}
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// connect makes a Manager in this process and connects all tenants.
func (f *fleet) connect(tenants int) *integrations.Manager {
	f.t.Helper()
	f.orders.Tenants = tenants
	cfg := f.kit.Config()
	cfg.Store, cfg.Cipher, cfg.CacheFor = f.store, f.cipher, replicaCache
	cfg.HTTPTimeout, cfg.CommitBudget = f.orders.HTTPTimeout, f.orders.CommitBudget
	cfg.Providers = []providers.Provider{providers.NewOAuth2(f.kit.OAuth.Config(replicaKey))}
	m := f.kit.Use(cfg)
	for i := range tenants {
		f.kit.Connect(tenantName(i), replicaKey)
	}
	return m
}

// start starts replicas by name.
func (f *fleet) start(names ...string) {
	f.t.Helper()
	for _, name := range names {
		f.startWith(name, f.orders)
	}
}

// startWith starts a replica with orders of its own.
func (f *fleet) startWith(name string, o orders) {
	f.t.Helper()
	o.Name = name
	raw, err := json.Marshal(o)
	require.NoError(f.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), replicaEnv+"="+string(raw))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(f.t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(f.t, err)
	require.NoError(f.t, cmd.Start())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicas[name] = &process{cmd: cmd, in: in, out: bufio.NewScanner(out)}
}

// names are n names of replicas.
func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint("r", i)
	}
	return out
}

// round lets a replica make its calls. False means that it died over them.
func (f *fleet) round(name string, n int) (report, bool) {
	f.mu.Lock()
	p := f.replicas[name]
	f.mu.Unlock()
	var r report
	if _, err := fmt.Fprintln(p.in, n); err != nil || !p.out.Scan() {
		_ = p.cmd.Wait()
		return r, false
	}
	require.NoError(f.t, json.Unmarshal(p.out.Bytes(), &r))
	return r, true
}

// rounds lets all replicas make their calls at once.
func (f *fleet) rounds(n int) map[string]report {
	f.mu.Lock()
	all := make([]string, 0, len(f.replicas))
	for name := range f.replicas {
		all = append(all, name)
	}
	f.mu.Unlock()
	out := map[string]report{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, name := range all {
		wg.Go(func() {
			r, alive := f.round(name, n)
			if !alive {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[name] = r
		})
	}
	wg.Wait()
	return out
}

// kill ends a replica as the kernel does.
func (f *fleet) kill(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.replicas[name].cmd.Process.Kill()
}

func (f *fleet) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.replicas {
		_ = p.in.Close()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// current checks that the refresh token in each row is one that the provider
// still takes, by renewing with it.
func (f *fleet) current(m *integrations.Manager) {
	f.t.Helper()
	reuses := f.kit.OAuth.Tokens.Reuses()
	for i := range f.orders.Tenants {
		list, err := f.store.List(f.t.Context(), tenantName(i))
		require.NoError(f.t, err)
		require.Len(f.t, list, 1)
		_, refresh, err := token.OpenGrant(f.cipher, list[0])
		require.NoError(f.t, err)
		require.True(f.t, f.kit.OAuth.Tokens.Current(refresh.Reveal()), "the row of %s holds a refresh token that was replaced", tenantName(i))
	}
	require.Equal(f.t, reuses, f.kit.OAuth.Tokens.Reuses())
}
