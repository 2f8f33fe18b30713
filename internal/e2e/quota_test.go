package e2e

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/stretchr/testify/require"
)

// callerProcess is a caller that works.
type callerProcess struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	ready  chan struct{}
	report callerReport
	err    chan error
}

func startCaller(t *testing.T, o callerOrders) *callerProcess {
	raw, err := json.Marshal(o)
	require.NoError(t, err)
	p := &callerProcess{cmd: exec.Command(os.Args[0]), ready: make(chan struct{}), err: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), callerEnv+"="+string(raw))
	p.cmd.Stderr = os.Stderr
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		answers := json.NewDecoder(out)
		var ready string
		err := answers.Decode(&ready)
		close(p.ready)
		if err == nil {
			err = answers.Decode(&p.report)
		}
		if exit := p.cmd.Wait(); err == nil {
			err = exit
		}
		p.err <- err
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// TestFleetKeepsGitHubsLimit: sixteen processes that call as often as they may, sharing
// through Redis, are never refused by a GitHub that enforces its limits, and use 97 % of
// each account's requests. In CI a window is a few seconds long and has 160 requests, of
// which the reserve leaves 90 %; in full size it has 5,000, and the secondary limits alone
// let 900 go in a minute.
func TestFleetKeepsGitHubsLimit(t *testing.T) {
	const replicas = 16
	windows := sized(2, 1)
	_, prefix := openRedis(t)
	f := sqliteFleet(t)
	requests, window := sized(160, 5000), time.Duration(sized(8, 480))*time.Second
	// A call that goes before the end of a window and arrives after it draws from the
	// next: the reserve is for as many as can be under way.
	tenants, callers := sized(3, 4), sized(1, 8)
	app := f.kit.GitHub.App()
	app.Reserve = sized(16, 100)
	cfg := f.kit.Config()
	cfg.Store, cfg.Cipher = f.store, f.cipher
	cfg.Providers = []providers.Provider{githubapp.New(app)}
	m := f.kit.Use(cfg)
	accounts := make([]string, tenants)
	for i := range tenants {
		f.kit.Connect(tenantName(i), githubapp.Key)
		all, err := m.Integrations(t.Context(), tenantName(i))
		require.NoError(t, err)
		accounts[i] = all[0].ExternalID
	}
	limits := f.kit.GitHub.Enforce(integrationstest.GitHubLimits{Requests: requests, Window: window, Takes: 20 * time.Millisecond})

	var fleet []*callerProcess
	for range replicas {
		fleet = append(fleet, startCaller(t, callerOrders{
			DSN: f.orders.DSN, Key: f.orders.Key, Provider: f.orders.Provider, Redis: redisAddress(), Prefix: prefix,
			App: app, Tenants: tenants, Callers: callers,
		}))
	}
	for _, p := range fleet {
		<-p.ready
	}
	for i, p := range fleet {
		_, err := p.in.Write([]byte("\n"))
		require.NoError(t, err)
		for i == 0 && limits.Answered() < 2*tenants {
			// The answers to the first have told how many requests an hour has: 5,000 is what
			// is taken for it before.
			time.Sleep(time.Millisecond)
		}
	}
	began := time.Now()
	for over := 0; over < tenants; {
		time.Sleep(100 * time.Millisecond)
		require.Less(t, time.Since(began), time.Duration(windows+1)*window+time.Minute)
		over = 0
		for _, account := range accounts {
			if len(limits.Windows("core", account)) >= windows {
				over++
			}
		}
	}
	total := map[int]int{}
	for _, p := range fleet {
		_ = p.in.Close()
	}
	for i, p := range fleet {
		require.NoError(t, <-p.err)
		t.Logf("replica %d: %v", i, p.report)
		require.Empty(t, p.report.Errors)
		for status, n := range p.report.Status {
			total[status] += n
		}
	}
	t.Logf("%v in %v: %v", total, time.Since(began).Round(time.Millisecond), limits.Refused())
	require.Empty(t, limits.Refused())
	for _, account := range accounts {
		used := limits.Windows("core", account)
		t.Logf("account %s: %v of %d in each window, %d at once", account, used, requests, limits.AtOnce(account))
		for _, n := range used[:windows] {
			require.GreaterOrEqual(t, 100*n, sized(85, 97)*requests) // of 90 and 98 that the reserve leaves
			require.LessOrEqual(t, n, requests)
		}
		require.LessOrEqual(t, limits.AtOnce(account), 100)
	}
}
