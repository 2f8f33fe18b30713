package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/ratelimit/redislimit"
	"github.com/stretchr/testify/require"
)

func redisAddress() string {
	if a := os.Getenv("INTEGRATIONS_TEST_REDIS"); a != "" {
		return a
	}
	return "127.0.0.1:6379"
}

// openRedis connects and returns a prefix of the test's own, or leaves the test out
// where Redis is not there and not asked for.
func openRedis(t testing.TB) (client *redis.Client, prefix string) {
	t.Helper()
	client = redis.NewClient(&redis.Options{Addr: redisAddress()})
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		if required("redis") {
			t.Fatalf("redis is required and does not answer: %v", err)
		}
		t.Skip("redis does not answer")
	}
	var id [6]byte
	_, err := rand.Read(id[:])
	require.NoError(t, err)
	prefix = "test" + hex.EncodeToString(id[:]) + ":"
	t.Cleanup(func() {
		keys, _ := client.Keys(context.Background(), prefix+"*").Result()
		if len(keys) > 0 {
			client.Del(context.Background(), keys...)
		}
	})
	return client, prefix
}

// evalWith runs scripts with go-redis, by their hash once the server knows them.
func evalWith(client *redis.Client) redislimit.Eval {
	var scripts sync.Map
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		s, ok := scripts.Load(script)
		if !ok {
			s, _ = scripts.LoadOrStore(script, redis.NewScript(script))
		}
		return s.(*redis.Script).Run(ctx, client, keys, args...).Result()
	}
}

// TestSharedLimitIsNeverPassed: replicas that take all they get take exactly what the
// budget allows, whatever its kind.
func TestSharedLimitIsNeverPassed(t *testing.T) {
	const replicas, callers = 8, 8
	for _, strict := range []bool{false, true} {
		for _, b := range []*ratelimit.Budget{
			{Name: "window", Units: 2000, Window: time.Hour, Refill: ratelimit.Whole},
			{Name: "aligned", Units: 2000, Window: 24 * time.Hour, Refill: ratelimit.Aligned},
			{Name: "even", Units: 2000, Window: 1000 * time.Hour, Burst: 2000},
		} {
			t.Run(fmt.Sprintf("%s/strict=%v", b.Name, strict), func(t *testing.T) {
				client, prefix := openRedis(t)
				var granted atomic.Int64
				var wg sync.WaitGroup
				for range replicas {
					l, err := redislimit.New(evalWith(client), redislimit.Config{
						Prefix: prefix, Strict: strict, Local: ratelimit.LocalConfig{MaxWait: time.Second}, Timeout: 10 * time.Second,
						Observe: func(e ratelimit.SourceEvent) { t.Errorf("redis is away: %v", e.Err) },
					})
					require.NoError(t, err)
					for i := range callers {
						wg.Go(func() {
							c := &ratelimit.Call{Provider: "p", TenantID: fmt.Sprint(i), Charges: []ratelimit.Charge{{Budget: b, Key: "k"}}}
							for {
								if l.Wait(t.Context(), c) != nil {
									return
								}
								granted.Add(1)
								l.Done(c, nil)
							}
						})
					}
				}
				wg.Wait()
				n := granted.Load()
				t.Logf("%d of %d", n, b.Units)
				require.LessOrEqual(t, n, int64(b.Units))
				require.GreaterOrEqual(t, n, int64(b.Units*98/100))
			})
		}
	}
}

// TestEachWindowEndsWhenAnswersSay: also the ones after the first.
func TestEachWindowEndsWhenAnswersSay(t *testing.T) {
	client, prefix := openRedis(t)
	b := &ratelimit.Budget{Name: "window", Units: 1, Window: 15 * time.Second, Refill: ratelimit.Whole}
	c := &ratelimit.Call{Provider: "p", TenantID: "t", Charges: []ratelimit.Charge{{Budget: b, Key: "k"}}}
	start := time.Now()
	for range 4 {
		l, err := redislimit.New(evalWith(client), redislimit.Config{Prefix: prefix, Strict: true, Timeout: 10 * time.Second})
		require.NoError(t, err)
		require.NoError(t, l.Wait(t.Context(), c))
		l.Done(c, []ratelimit.Reading{{Budget: b, Key: "k", Remaining: 0, ResetIn: 200 * time.Millisecond}})
	}
	require.GreaterOrEqual(t, time.Since(start), 600*time.Millisecond)
	require.Less(t, time.Since(start), 10*time.Second)
}

func BenchmarkShared(b *testing.B) {
	ctx := context.Background()
	client, prefix := openRedis(b)
	run := func(impl string, one func()) {
		b.Run("impl="+impl+"/mode=serial", func(b *testing.B) {
			for b.Loop() {
				one()
			}
		})
		b.Run("impl="+impl+"/mode=parallel", func(b *testing.B) {
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one()
				}
			})
		})
	}
	budget := &ratelimit.Budget{Name: "b", Units: 10_000_000, Window: 24 * time.Hour, Refill: ratelimit.Whole}
	for _, strict := range []bool{false, true} {
		l, err := redislimit.New(evalWith(client), redislimit.Config{Prefix: fmt.Sprintf("%s%v", prefix, strict), Strict: strict, Timeout: 10 * time.Second})
		require.NoError(b, err)
		run(fmt.Sprintf("ours-strict=%v", strict), func() {
			c := &ratelimit.Call{Provider: "p", TenantID: "t", Charges: []ratelimit.Charge{{Budget: budget, Key: "k"}}}
			if l.Wait(ctx, c) == nil {
				l.Done(c, nil)
			}
		})
	}
	run("limit-incr", func() { client.Incr(ctx, prefix+"n") })
}
