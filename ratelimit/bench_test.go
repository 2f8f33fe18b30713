package ratelimit_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
)

// plenty never refuses, so that nobody waits in a benchmark, and its buckets are kept
// while one runs: a unit takes a second to come back.
var plenty = &ratelimit.Budget{Name: "plenty", Units: 3600, Window: time.Hour, Burst: 1 << 32}

// modes runs a benchmark by one goroutine and by as many as there are cores.
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

// goes is one call, from the question to its end.
func goes(l ratelimit.Limiter, c *ratelimit.Call) {
	if l.Wait(context.Background(), c) != nil {
		panic("refused")
	}
	l.Done(c, nil)
}

// BenchmarkLimiter: one call of one budget. The limit is what cannot be left out:
// reading the clock and one compare-and-swap. ours has handles, as a connection's
// calls have; ours-lookup has none; ours-concurrent also counts calls under way.
func BenchmarkLimiter(b *testing.B) {
	start := time.Now()
	var word atomic.Int64
	modes(b, "limit", func(int) {
		now := int64(time.Since(start))
		for old := word.Load(); !word.CompareAndSwap(old, max(old, now)+1); old = word.Load() {
		}
	})
	for _, impl := range []string{"ours", "ours-lookup", "ours-concurrent"} {
		l := ratelimit.NewLocal(nil)
		c := call("t", of(plenty, "k"))
		if impl != "ours-lookup" {
			c.Handles = new(ratelimit.Handles)
		}
		if impl == "ours-concurrent" {
			counted := *plenty
			counted.Concurrent = math.MaxInt32
			c.Charges[0].Budget = &counted
		}
		modes(b, impl, func(int) { goes(l, c) })
	}
}

// BenchmarkTenants: one call of one of many tenants, and what the limiter keeps of
// each; the tenants' names are not counted. The limit is a map with a lock and one
// number for each tenant, and the clock.
func BenchmarkTenants(b *testing.B) {
	const tenants = 100_000
	names := make([]string, tenants)
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%06d", i)
	}
	for _, impl := range []struct {
		name string
		make func() (one func(i int))
	}{
		{"limit", func() func(int) {
			var mu sync.Mutex
			numbers := map[string]int64{}
			start := time.Now()
			return func(i int) {
				now := int64(time.Since(start))
				mu.Lock()
				numbers[names[i]] = max(numbers[names[i]], now) + 1
				mu.Unlock()
			}
		}},
		{"ours", func() func(int) {
			l := ratelimit.NewLocal(nil)
			calls := sync.Pool{New: func() any { return call("t", of(plenty, "")) }}
			return func(i int) {
				c := calls.Get().(*ratelimit.Call)
				c.Charges[0].Key = names[i]
				goes(l, c)
				calls.Put(c)
			}
		}},
		{"ours-held", func() func(int) {
			l := ratelimit.NewLocal(nil)
			calls := sync.Pool{New: func() any { return call("t", of(plenty, "")) }}
			handles := make([]ratelimit.Handles, tenants)
			return func(i int) {
				c := calls.Get().(*ratelimit.Call)
				c.Charges[0].Key, c.Handles = names[i], &handles[i]
				goes(l, c)
				calls.Put(c)
			}
		}},
	} {
		before := heap()
		one := impl.make()
		for i := range tenants {
			one(i)
		}
		each := float64(heap()-before) / tenants
		modes(b, impl.name, func(i int) { one(i * 7919 % tenants) })
		b.Run("impl="+impl.name+"/memory", func(b *testing.B) {
			for b.Loop() {
			}
			b.ReportMetric(each, "B/tenant")
			b.ReportMetric(0, "ns/op")
		})
		runtime.KeepAlive(one)
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first one empties pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
