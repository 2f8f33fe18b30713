package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

const crewSecret = "a signing secret of the jobs"

// crew is a number of hands on one database. Those that die are replaced.
type crew struct {
	t      *testing.T
	post   *post
	orders handOrders

	mu    sync.Mutex
	hands []*handProcess
	ended map[string]time.Time // when a hand was gone, by name
	names int
	done  bool
	exits atomic.Int64 // by themselves
	wg    sync.WaitGroup
}

type handProcess struct {
	name, address string
	cmd           *exec.Cmd
	killed        bool
	gone          chan struct{}
}

// crews runs fn with an empty inbox on each database, all at the same time: mostly
// they wait.
func crews(t *testing.T, h webhook.Handling, fn func(t *testing.T, c *crew)) {
	var all sync.WaitGroup
	defer all.Wait()
	posts(t, func(name string, open func(testing.TB) *post) {
		run := func(t *testing.T) {
			p := open(t)
			p.exec(t, "CREATE TABLE {p}e2e_runs (event_id VARCHAR(64) NOT NULL, delivery VARCHAR(191) NOT NULL, order_key VARCHAR(191) NOT NULL, hand VARCHAR(64) NOT NULL, what VARCHAR(16) NOT NULL, at BIGINT NOT NULL)")
			p.exec(t, "CREATE TABLE {p}e2e_effects (event_id VARCHAR(64) NOT NULL)")
			c := &crew{t: t, post: p, ended: map[string]time.Time{}, orders: handOrders{
				Driver: p.driver, DSN: p.dsn, Dialect: p.dialect.String(), Prefix: p.prefix, Key: p.key, Secret: crewSecret, Handling: h,
			}}
			t.Cleanup(func() {
				c.stop()
				p.exec(t, "DROP TABLE {p}e2e_runs")
				p.exec(t, "DROP TABLE {p}e2e_effects")
			})
			fn(t, c)
		}
		all.Go(func() { t.Run(name, run) })
	})
}

// hire starts n hands.
func (c *crew) hire(n int) {
	c.t.Helper()
	c.hands = make([]*handProcess, n)
	for i := range n {
		h, err := c.start()
		require.NoError(c.t, err)
		c.hands[i] = h
		c.watch(i, h)
	}
}

// start starts a hand and waits until it receives.
func (c *crew) start() (*handProcess, error) {
	c.mu.Lock()
	c.names++
	o := c.orders
	o.Name = fmt.Sprint("hand-", c.names)
	c.mu.Unlock()
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), handEnv+"="+string(raw))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h := &handProcess{name: o.Name, cmd: cmd, gone: make(chan struct{})}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		return nil, fmt.Errorf("%s said no address: %w", o.Name, cmd.Wait())
	}
	h.address = lines.Text()
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return h, nil
}

// watch replaces the i-th hand when it is gone.
func (c *crew) watch(i int, h *handProcess) {
	c.wg.Go(func() {
		_ = h.cmd.Wait()
		c.mu.Lock()
		c.ended[h.name] = time.Now()
		killed, done := h.killed, c.done
		c.mu.Unlock()
		close(h.gone)
		if done {
			return
		}
		if !killed {
			c.exits.Add(1)
		}
		next, err := c.start()
		if err != nil {
			c.t.Error(err)
			return
		}
		c.mu.Lock()
		c.hands[i] = next
		done = c.done
		c.mu.Unlock()
		if done {
			_ = next.cmd.Process.Kill()
		}
		c.watch(i, next)
	})
}

// kill kills one of them with SIGKILL.
func (c *crew) kill() {
	c.mu.Lock()
	h := c.hands[rand.IntN(len(c.hands))]
	h.killed = true
	_ = h.cmd.Process.Kill()
	c.mu.Unlock()
	<-h.gone
}

// dead is how many are gone.
func (c *crew) dead() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ended)
}

func (c *crew) stop() {
	c.mu.Lock()
	c.done = true
	for _, h := range c.hands {
		if h != nil {
			_ = h.cmd.Process.Kill()
		}
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// send sends a job as the provider does: again, to whoever is there, until it is
// acknowledged.
func (c *crew) send(ctx context.Context, client *http.Client, j job) error {
	body, err := json.Marshal(j)
	if err != nil {
		return err
	}
	for {
		c.mu.Lock()
		address := c.hands[rand.IntN(len(c.hands))].address
		c.mu.Unlock()
		resp, err := client.Do(webhooktest.HMAC(address, signedBy(crewSecret), body, time.Now()).WithContext(ctx))
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			if resp.StatusCode != http.StatusServiceUnavailable {
				return fmt.Errorf("answered %d", resp.StatusCode)
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// sendAll sends jobs from several goroutines at once.
func (c *crew) sendAll(jobs []job) {
	c.t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	next := make(chan job)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for j := range next {
				if err := c.send(c.t.Context(), client, j); err != nil {
					c.t.Error(err)
				}
			}
		})
	}
	for _, j := range jobs {
		next <- j
	}
	close(next)
	wg.Wait()
}

// one is a number that a query gives.
func (c *crew) one(query string, args ...any) int {
	c.t.Helper()
	var n int
	require.NoError(c.t, c.post.db.QueryRowContext(context.WithoutCancel(c.t.Context()), c.post.text(query), args...).Scan(&n))
	return n
}
