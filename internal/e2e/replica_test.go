package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/token"
)

// replicaEnv holds the orders of a replica: this test binary, run again as a
// process of its own.
const replicaEnv = "INTEGRATIONS_E2E_REPLICA"

func TestMain(m *testing.M) {
	if orders := os.Getenv(replicaEnv); orders != "" {
		if err := replica(orders); err != nil {
			fmt.Fprintln(os.Stderr, "replica:", err)
			os.Exit(1)
		}
		return
	}
	if orders := os.Getenv(rewrapEnv); orders != "" {
		if err := rewrapper(orders); err != nil {
			fmt.Fprintln(os.Stderr, "rewrapper:", err)
			os.Exit(1)
		}
		return
	}
	if orders := os.Getenv(handEnv); orders != "" {
		if err := hand(orders); err != nil {
			fmt.Fprintln(os.Stderr, "hand:", err)
			os.Exit(1)
		}
		return
	}
	if orders := os.Getenv(callerEnv); orders != "" {
		if err := caller(orders); err != nil {
			fmt.Fprintln(os.Stderr, "caller:", err)
			os.Exit(1)
		}
		return
	}
	redis.SetLogger(silence{}) // in some tests the server dies
	flag.Parse()
	if !given("test.parallel") {
		// The tests wait for databases and for leases, not for processors.
		_ = flag.Set("test.parallel", "6")
	}
	os.Exit(m.Run())
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// given says that the command line sets a flag.
func given(name string) (is bool) {
	flag.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}

// orders are what a replica is told.
type orders struct {
	Name                      string
	Driver, DSN, Dialect      string
	Prefix                    string
	Key                       string // of the cipher
	Provider                  string // address of the fake
	ClientID, ClientSecret    string
	HTTPTimeout, CommitBudget time.Duration
	Tenants, Callers          int
	// Journal is the directory of its journal, "" for none. DieAt, when not 0, is
	// the record after which the replica kills itself before it does anything else.
	Journal string
	DieAt   int64
	// OneByOne leaves at most one refresh under way in a replica.
	OneByOne bool
	// TokenOnly makes the calls end with the token, without the API.
	TokenOnly bool
	// Stream, when above 0, is the pause between two uses of a token, which go on
	// until SIGTERM.
	Stream time.Duration
}

// report is what came of one round of a replica's calls. Failed are those whose
// error is not integrations.ErrTransient, which says to try again.
type report struct {
	Round, OK, Transient, Failed int
	Errors                       map[string]int
}

const (
	replicaKey   = "acme"
	replicaCache = 20 * time.Millisecond
	headerFrom   = "X-Replica"
)

// tenantName is the tenant of a number.
func tenantName(i int) string { return fmt.Sprintf("tenant-%03d", i) }

// manager makes the Manager of a replica.
func (o orders) manager(ctx context.Context) (*integrations.Manager, *sql.DB, error) {
	dialect, ok := sqlstore.DialectByName(o.Dialect)
	if !ok {
		return nil, nil, fmt.Errorf("no dialect %q", o.Dialect)
	}
	db, err := sql.Open(o.Driver, o.DSN)
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(8)
	key, err := crypto.ParseKey("k1", o.Key)
	if err != nil {
		return nil, nil, err
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		return nil, nil, err
	}
	var t integrationstest.TB = failing{}
	oauth := integrationstest.New(t).OAuth.Config(replicaKey)
	oauth.ClientID, oauth.ClientSecret = o.ClientID, o.ClientSecret
	journal, err := o.journal()
	if err != nil {
		return nil, nil, err
	}
	m, err := integrations.New(ctx, integrations.Config{
		Journal: journal,
		Store:   sqlstore.New(db, dialect, &sqlstore.Options{TablePrefix: o.Prefix}), Cipher: ring,
		BaseURL: integrationstest.BaseURL, Identify: integrationstest.Identify,
		Providers: []providers.Provider{providers.NewOAuth2(oauth)}, Transport: named{o.Name, toFake(o.Provider)},
		CacheFor: replicaCache, HTTPTimeout: o.HTTPTimeout, CommitBudget: o.CommitBudget,
	})
	return m, db, err
}

func (o orders) journal() (token.Journal, error) {
	if o.Journal == "" {
		return nil, nil
	}
	j, err := token.NewDirJournal(o.Journal)
	return &deadly{Journal: j, dieAt: o.DieAt}, err
}

// deadly is a journal whose process dies, as by kill -9, once a record is on the
// disk: before anybody is told, and before the store is asked.
type deadly struct {
	token.Journal
	dieAt int64
	n     atomic.Int64
}

func (d *deadly) Append(ctx context.Context, record []byte) (string, error) {
	id, err := d.Journal.Append(ctx, record)
	if err == nil && d.n.Add(1) == d.dieAt {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return id, err
}

// failing ends the process where the kit would end a test.
type failing struct{}

func (failing) Helper()                           {}
func (failing) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// toFake sends every request to the fake, whatever host it names.
func toFake(address string) http.RoundTripper {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the fake's certificate is its own
		DisableKeepAlives: true,
	}
}

// named tells the fake who calls.
type named struct {
	name string
	next http.RoundTripper
}

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Header.Set(headerFrom, n.name)
	return n.next.RoundTrip(out)
}

// replica is the process: for each line of its input it calls the API for every
// tenant from many goroutines and prints what came of it.
func replica(raw string) error {
	var o orders
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		return err
	}
	ctx := context.Background()
	m, db, err := o.manager(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if o.Stream > 0 {
		return o.stream(ctx, m)
	}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var round int
		if _, err := fmt.Sscan(in.Text(), &round); err != nil {
			return m.Shutdown(ctx)
		}
		if err := out.Encode(o.round(ctx, m, round)); err != nil {
			return err
		}
	}
	return in.Err()
}

func (o orders) round(ctx context.Context, m *integrations.Manager, round int) report {
	r := report{Round: round, Errors: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for t := range o.Tenants {
		for range o.Callers {
			wg.Go(func() {
				err := o.call(ctx, m, tenantName(t))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					r.OK++
					return
				case errors.Is(err, integrations.ErrTransient):
					r.Transient++
				default:
					r.Failed++
				}
				r.Errors[err.Error()]++
			})
		}
		if o.OneByOne {
			wg.Wait()
		}
	}
	wg.Wait()
	return r
}

// call asks the API who a tenant's account is.
func (o orders) call(ctx context.Context, m *integrations.Manager, tenant string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := m.Connection(ctx, tenant, replicaKey)
	if err != nil {
		return err
	}
	if o.TokenOnly {
		_, err := conn.Token(ctx)
		return err
	}
	_, err = providers.API{Adapter: "acme"}.Do(ctx, conn.HTTPClient(), providers.APICall{URL: "https://api.example.test/me"})
	return err
}
