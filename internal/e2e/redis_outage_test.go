package e2e

import (
	"errors"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/ratelimit/redislimit"
	"github.com/stretchr/testify/require"
)

// ownRedis is a server of one test, which it may kill. What it wrote is on the disk
// before it answers.
type ownRedis struct {
	t       *testing.T
	address string
	dir     string
	cmd     *exec.Cmd
}

func startRedis(t *testing.T) *ownRedis {
	if _, err := exec.LookPath("redis-server"); err != nil {
		if required("redis") {
			t.Fatal("redis is required and redis-server is not installed")
		}
		t.Skip("redis-server is not installed")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())
	r := &ownRedis{t: t, address: free.Addr().String(), dir: t.TempDir()}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *ownRedis) start() {
	_, port, err := net.SplitHostPort(r.address)
	require.NoError(r.t, err)
	r.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	require.NoError(r.t, r.cmd.Start())
	client := redis.NewClient(&redis.Options{Addr: r.address})
	defer func() { _ = client.Close() }()
	require.Eventually(r.t, func() bool { return client.Ping(r.t.Context()).Err() == nil }, 30*time.Second, 20*time.Millisecond)
}

// kill ends the server as kill -9 does.
func (r *ownRedis) kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}

// seen is what replicas were told of the server.
type seen struct {
	mu         sync.Mutex
	away, back []ratelimit.SourceEvent
}

func (s *seen) observe(e ratelimit.SourceEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Err != nil {
		s.away = append(s.away, e)
	} else {
		s.back = append(s.back, e)
	}
}

func (s *seen) counts() (away, back int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.away), len(s.back)
}

// TestRedisDiesAndComesBack: what is promised, and no more, is that the server never gives
// out more than a budget, over its death too, and that all replicas together take no more
// than a budget while it is away. So a window with an outage holds at most two.
func TestRedisDiesAndComesBack(t *testing.T) {
	t.Parallel()
	const replicas = 4
	server := startRedis(t)
	b := &ratelimit.Budget{Name: "window", Units: 400, Window: time.Hour, Refill: ratelimit.Whole}
	var told seen
	var limiters []*ratelimit.Shared
	for range replicas {
		client := redis.NewClient(&redis.Options{Addr: server.address})
		t.Cleanup(func() { _ = client.Close() })
		l, err := redislimit.New(evalWith(client), redislimit.Config{
			Prefix: "x:", Local: ratelimit.LocalConfig{MaxWait: time.Second}, Timeout: 5 * time.Second, Observe: told.observe,
		})
		require.NoError(t, err)
		limiters = append(limiters, l)
	}
	// take lets each replica take up to so many, and returns how many all got.
	take := func(most int) int {
		var got atomic.Int64
		var wg sync.WaitGroup
		for _, l := range limiters {
			wg.Go(func() {
				c := &ratelimit.Call{Provider: "p", TenantID: "t", Charges: []ratelimit.Charge{{Budget: b, Key: "k"}}}
				for range most {
					err := l.Wait(t.Context(), c)
					if errors.Is(err, ratelimit.ErrRateLimited) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					got.Add(1)
					l.Done(c, nil)
				}
			})
		}
		wg.Wait()
		return int(got.Load())
	}
	before := take(25)
	require.Equal(t, 100, before)
	server.kill()
	away := take(1000)
	t.Logf("%d before, %d while it was away", before, away)
	require.LessOrEqual(t, away, b.Units+replicas, "a share each, and a unit each that was taken ahead")
	require.GreaterOrEqual(t, away, b.Units)
	require.Len(t, told.away, replicas, "each was told once")
	for _, e := range told.away {
		require.InDelta(t, 1.0/replicas, e.Share, 0.001)
	}

	server.start()
	time.Sleep(1100 * time.Millisecond) // each leaves it alone for a second
	after := take(1000)
	t.Logf("%d after it came back", after)
	require.LessOrEqual(t, before+after, b.Units)
	require.GreaterOrEqual(t, before+after, b.Units-replicas)
	require.Len(t, told.back, replicas)
	for _, e := range told.back {
		require.EqualValues(t, 1, e.Share)
	}
}

// TestRedisDiesUnderTraffic: calls go on at the budget's pace while the server is away,
// and none of them fails.
func TestRedisDiesUnderTraffic(t *testing.T) {
	t.Parallel()
	const replicas, callers = 4, 8
	server := startRedis(t)
	b := &ratelimit.Budget{Name: "even", Units: 200, Window: time.Second, Burst: 20}
	var told seen
	var got atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range replicas {
		client := redis.NewClient(&redis.Options{Addr: server.address})
		t.Cleanup(func() { _ = client.Close() })
		l, err := redislimit.New(evalWith(client), redislimit.Config{Prefix: "x:", Observe: told.observe})
		require.NoError(t, err)
		for range callers {
			wg.Go(func() {
				c := &ratelimit.Call{Provider: "p", TenantID: "t", Charges: []ratelimit.Charge{{Budget: b, Key: "k"}}}
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := l.Wait(t.Context(), c); err != nil {
						t.Error(err)
						return
					}
					got.Add(1)
					l.Done(c, nil)
				}
			})
		}
	}
	// phase is how many calls went in a time, and how many may have.
	phase := func(name string, d time.Duration, bursts int) int64 {
		start := time.Now()
		n := got.Load()
		time.Sleep(d)
		n = got.Load() - n
		// Those that were let go just before are counted in it, one of each caller at most.
		most := int64(time.Since(start).Seconds()*float64(b.Units)) + int64(bursts*b.Burst) + replicas*callers
		t.Logf("%s: %d of %d at most", name, n, most)
		require.LessOrEqual(t, n, most, name)
		return n
	}
	phase("before", time.Second, 1)
	server.kill()
	// What the server had given out before, a burst at most, and one of the shares.
	n := phase("away", 2*time.Second, 2)
	require.Greater(t, n, int64(100), "calls go on")
	server.start()
	require.Eventually(t, func() bool { _, back := told.counts(); return back >= replicas }, 30*time.Second, 10*time.Millisecond)
	n = phase("back", time.Second, 2)
	require.Greater(t, n, int64(50))
	away, back := told.counts()
	require.Equal(t, away, back, "whoever was told that it is away was told that it is back")
	close(stop)
	wg.Wait()
}
