package e2e

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/ratelimit/redislimit"
	"github.com/saas-integrations/integrations/store/sqlstore"
)

// callerEnv holds the orders of a caller: this test binary, run again as a process that
// calls GitHub as often as it may.
const callerEnv = "INTEGRATIONS_E2E_CALLER"

// callerOrders are what a caller is told.
type callerOrders struct {
	DSN, Key      string
	Provider      string // address of the fake
	Redis, Prefix string
	App           githubapp.Config
	Tenants       int
	Callers       int // of each tenant
}

// callerReport is what came of a caller's calls.
type callerReport struct {
	Status map[int]int
	Held   int // calls that were not sent because they would have had to wait too long
	Errors map[string]int
	Away   int // how often Redis was away
}

// caller is the process. It works until its input ends.
func caller(raw string) error {
	var o callerOrders
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", o.DSN)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	key, err := crypto.ParseKey("k1", o.Key)
	if err != nil {
		return err
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: o.Redis})
	defer func() { _ = client.Close() }()
	r := &callerReport{Status: map[int]int{}, Errors: map[string]int{}}
	var mu sync.Mutex
	limiter, err := redislimit.New(evalWith(client), redislimit.Config{
		Prefix: o.Prefix, Timeout: 10 * time.Second, // a busy machine is not a server that is away
		Observe: func(ratelimit.SourceEvent) {
			mu.Lock()
			defer mu.Unlock()
			r.Away++
		},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	m, err := integrations.New(ctx, integrations.Config{
		Store: sqlstore.New(db, sqlstore.SQLite, nil), Cipher: ring, BaseURL: integrationstest.BaseURL, Identify: integrationstest.Identify,
		Providers: []providers.Provider{githubapp.New(o.App)}, Transport: keptAlive(o.Provider), Limiter: limiter, Retries: -1,
		HTTPTimeout: 20 * time.Second,
	})
	if err != nil {
		stop()
		return err
	}
	// It says that it is ready, and begins when it is told to.
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode("ready"); err != nil {
		stop()
		return err
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	var wg sync.WaitGroup
	for i := range o.Tenants * o.Callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				status, err := callGitHub(ctx, m, tenantName(i%o.Tenants))
				mu.Lock()
				var limited *ratelimit.Error
				switch {
				case err == nil:
					r.Status[status]++
				case errors.As(err, &limited):
					r.Held++
				case ctx.Err() == nil:
					r.Errors[err.Error()]++
				}
				mu.Unlock()
				if limited != nil {
					select {
					case <-ctx.Done():
					case <-time.After(time.Until(limited.RetryAt)):
					}
				}
			}
		})
	}
	wg.Wait()
	return out.Encode(r)
}

// callGitHub makes a call and returns the answer's status.
func callGitHub(ctx context.Context, m *integrations.Manager, tenant string) (int, error) {
	conn, err := m.Connection(ctx, tenant, githubapp.Key)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.github.com/installation/repositories", nil)
	if err != nil {
		return 0, err
	}
	resp, err := conn.HTTPClient().Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// keptAlive is toFake with connections that are used again.
func keptAlive(address string) http.RoundTripper {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // the fake's certificate is its own
		MaxIdleConnsPerHost: 64,
	}
}

func (r callerReport) String() string {
	return fmt.Sprintf("%v, %d held back, %d times without Redis, %v", r.Status, r.Held, r.Away, r.Errors)
}
