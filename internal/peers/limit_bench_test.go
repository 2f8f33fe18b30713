package peers

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	gofri1 "github.com/gofri/go-github-ratelimit/github_ratelimit"
	gofri2 "github.com/gofri/go-github-ratelimit/v2/github_ratelimit"
	"github.com/redis/go-redis/v9"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/ratelimit/redislimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/time/rate"
)

// plenty never refuses.
var plenty = &ratelimit.Budget{Name: "plenty", Units: 3600, Window: time.Hour, Burst: 1 << 32}

func modes(b *testing.B, impl string, one func(i int)) {
	b.Run("impl="+impl+"/mode=serial", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			one(i)
		}
	})
	b.Run("impl="+impl+"/mode=parallel", func(b *testing.B) {
		b.ReportAllocs()
		var runs atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for i := int(runs.Add(1)) << 20; pb.Next(); i++ {
				one(i)
			}
		})
	})
}

func goes(l ratelimit.Limiter, c *ratelimit.Call) {
	if l.Wait(context.Background(), c) != nil {
		panic("refused")
	}
	l.Done(c, nil)
}

func callOf(b *ratelimit.Budget, key string, h *ratelimit.Handles) *ratelimit.Call {
	return &ratelimit.Call{Provider: "p", TenantID: "t", Charges: []ratelimit.Charge{{Budget: b, Key: key}}, Handles: h}
}

// answersOf is a transport that answers at once, as GitHub does, and a request for it.
func answersOf() (http.RoundTripper, *http.Request) {
	answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{
		"Date": {time.Now().UTC().Format(http.TimeFormat)}, "X-Ratelimit-Resource": {"core"},
		"X-Ratelimit-Limit": {"15000000"}, "X-Ratelimit-Remaining": {"14999999"}, "X-Ratelimit-Used": {"1"},
		"X-Ratelimit-Reset": {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)},
	}}
	req := httptest.NewRequest(http.MethodGet, "https://api.github.com/user?page=2", http.NoBody)
	for _, h := range []string{"Accept", "User-Agent", "X-Request-Id", "Content-Type", "Accept-Language", "X-Api-Version"} {
		req.Header.Set(h, "a value")
	}
	answer.Request = req
	return roundTrip(func(*http.Request) (*http.Response, error) { return answer, nil }), req
}

// BenchmarkLimiter: what keeping a limit adds to one call. gofri's are transports, here
// over one that answers at once.
func BenchmarkLimiter(b *testing.B) {
	start := time.Now()
	var word atomic.Int64
	modes(b, "limit", func(int) {
		now := int64(time.Since(start))
		for old := word.Load(); !word.CompareAndSwap(old, max(old, now)+1); old = word.Load() {
		}
	})
	l := ratelimit.NewLocal(nil)
	c := callOf(plenty, "k", new(ratelimit.Handles))
	modes(b, "ours", func(int) { goes(l, c) })
	x := rate.NewLimiter(rate.Every(time.Second), math.MaxInt32)
	modes(b, "peer-xtime", func(int) {
		if x.Wait(context.Background()) != nil {
			panic("refused")
		}
	})
	base, req := answersOf()
	first, err := gofri1.NewRateLimitWaiter(base)
	require.NoError(b, err)
	for name, rt := range map[string]http.RoundTripper{"peer-gofri-v1": first, "peer-gofri-v2": gofri2.New(base)} {
		modes(b, name, func(int) {
			if _, err := rt.RoundTrip(req); err != nil {
				panic(err)
			}
		})
	}
}

// BenchmarkTenants: one call of one of many tenants, and what is kept of each; the peer
// is a map of limiters.
func BenchmarkTenants(b *testing.B) {
	const tenants = 100_000
	names := make([]string, tenants)
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%06d", i)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	measure := func(impl string, one func(i int)) {
		before := heap()
		for i := range tenants {
			one(i)
		}
		each := float64(heap()-before) / tenants
		modes(b, impl, func(i int) { one(i * 7919 % tenants) })
		b.Run("impl="+impl+"/memory", func(b *testing.B) {
			for b.Loop() {
			}
			b.ReportMetric(each, "B/tenant")
			b.ReportMetric(0, "ns/op")
		})
	}
	l := ratelimit.NewLocal(nil)
	calls := sync.Pool{New: func() any { return callOf(plenty, "", nil) }}
	measure("ours", func(i int) {
		c := calls.Get().(*ratelimit.Call)
		c.Charges[0].Key = names[i]
		goes(l, c)
		calls.Put(c)
	})
	var limiters sync.Map
	measure("peer-xtime", func(i int) {
		x, ok := limiters.Load(names[i])
		if !ok {
			x, _ = limiters.LoadOrStore(names[i], rate.NewLimiter(rate.Every(time.Second), math.MaxInt32))
		}
		if x.(*rate.Limiter).Wait(context.Background()) != nil {
			panic("refused")
		}
	})
	runtime.KeepAlive(l)
	runtime.KeepAlive(&limiters)
}

// BenchmarkTransport: token, limits and what answers tell of them, against oauth2's
// transport over gofri's. limit is a request copied, as a RoundTripper has to.
func BenchmarkTransport(b *testing.B) {
	base, req := answersOf()
	hosts, err := providers.NewHosts("api.github.com")
	require.NoError(b, err)
	app := roomy{githubapp.New(githubapp.Config{}), new(ratelimit.Budget)}
	*app.points = ratelimit.Budget{Name: "points", Units: 750, Window: time.Minute, Burst: math.MaxInt32}
	auth := []string{"Bearer token"}
	over := func(base http.RoundTripper) http.RoundTripper {
		return &oauth2.Transport{Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "token"}), Base: base}
	}
	for _, impl := range []struct {
		name string
		make func() http.RoundTripper
	}{
		{"limit", func() http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				out := *r
				out.Header = maps.Clone(r.Header)
				out.Header["Authorization"] = auth
				return base.RoundTrip(&out)
			})
		}},
		{"ours-full", func() http.RoundTripper {
			c, err := providers.NewConnection(providers.ConnectionConfig{
				TenantID: "t", Provider: "github", Account: "1", Source: held{&token.Token{Access: token.NewSecret("token"), Header: auth}},
				Hosts: hosts, Transport: base, Limiter: ratelimit.NewLocal(nil), Budgets: app, Classifier: app,
			})
			require.NoError(b, err)
			return c.HTTPClient().Transport
		}},
		{"peer-oauth2", func() http.RoundTripper { return over(base) }},
		{"peer-oauth2-gofri-v2", func() http.RoundTripper { return over(gofri2.New(base)) }},
	} {
		b.Run("impl="+impl.name, func(b *testing.B) {
			rt := impl.make()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rt.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// roomy is GitHub with a budget of points that a benchmark does not spend.
type roomy struct {
	*githubapp.App
	points *ratelimit.Budget
}

func (a roomy) Charges(q providers.BudgetRequest, into []ratelimit.Charge) []ratelimit.Charge {
	into = a.App.Charges(q, into)
	for i := range into {
		if into[i].Budget.Name == a.points.Name {
			into[i].Budget = a.points
		}
	}
	return into
}

// held is a source whose token is at hand.
type held struct{ tok *token.Token }

func (h held) Token(context.Context) (*token.Token, error) { return h.tok, nil }
func (h held) Rejected(context.Context, int64, bool) (*token.Token, bool, error) {
	return nil, false, nil
}
func (h held) Snapshot(context.Context) (providers.Snapshot, error) {
	return providers.Snapshot{}, nil
}

// BenchmarkShared: a limit that is kept in Redis for several processes.
func BenchmarkShared(b *testing.B) {
	address := os.Getenv("INTEGRATIONS_TEST_REDIS")
	if address == "" {
		address = "127.0.0.1:6379"
	}
	client := redis.NewClient(&redis.Options{Addr: address})
	b.Cleanup(func() { _ = client.Close() })
	if err := client.Ping(b.Context()).Err(); err != nil {
		if slices.Contains(strings.Split(os.Getenv("INTEGRATIONS_TEST_REQUIRE"), ","), "redis") {
			b.Fatalf("redis is required and does not answer: %v", err)
		}
		b.Skip("redis does not answer")
	}
	prefix := fmt.Sprintf("peers%d:", time.Now().UnixNano())
	b.Cleanup(func() {
		keys, _ := client.Keys(context.Background(), "*"+prefix+"*").Result()
		client.Del(context.Background(), append(keys, prefix)...)
	})
	budget := &ratelimit.Budget{Name: "b", Units: 1_000_000_000, Window: 24 * time.Hour, Refill: ratelimit.Whole}
	modes(b, "limit", func(int) {
		if client.Incr(context.Background(), prefix+"n").Err() != nil {
			panic("redis is away")
		}
	})
	for _, strict := range []bool{false, true} {
		scripts := map[string]*redis.Script{}
		var mu sync.Mutex
		l, err := redislimit.New(func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
			mu.Lock()
			s := scripts[script]
			if s == nil {
				s = redis.NewScript(script)
				scripts[script] = s
			}
			mu.Unlock()
			return s.Run(ctx, client, keys, args...).Result()
		}, redislimit.Config{Prefix: fmt.Sprint(prefix, strict), Strict: strict, Timeout: 10 * time.Second})
		require.NoError(b, err)
		name := "ours"
		if strict {
			name = "ours-strict"
		}
		h := new(ratelimit.Handles)
		calls := sync.Pool{New: func() any { return callOf(budget, "k", h) }}
		modes(b, name, func(int) {
			c := calls.Get().(*ratelimit.Call)
			goes(l, c)
			calls.Put(c)
		})
	}
	theirs := redis_rate.NewLimiter(client)
	modes(b, "peer-redis-rate", func(int) {
		if r, err := theirs.Allow(context.Background(), prefix, redis_rate.Limit{Rate: 10_000_000, Burst: 10_000_000, Period: 24 * time.Hour}); err != nil || r.Allowed == 0 {
			panic("refused")
		}
	})
}
