package ratelimit_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
)

// plenty never refuses, so that nobody waits in a benchmark.
var plenty = &ratelimit.Budget{Name: "plenty", Units: 1 << 40, Window: time.Second, Burst: 1 << 40}

// BenchmarkLimiter: one call of one budget. The limit is what cannot be left out:
// reading the clock and one compare-and-swap.
func BenchmarkLimiter(b *testing.B) {
	ctx := context.Background()
	modes := func(b *testing.B, impl string, one func()) {
		b.Run("impl="+impl+"/mode=serial", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				one()
			}
		})
		b.Run("impl="+impl+"/mode=parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one()
				}
			})
		})
	}
	start := time.Now()
	var word atomic.Int64
	modes(b, "limit", func() {
		now := int64(time.Since(start))
		for old := word.Load(); !word.CompareAndSwap(old, max(old, now)+1); old = word.Load() {
		}
	})
	l := ratelimit.NewLocal(nil)
	c := call("t", of(plenty, "k"))
	modes(b, "ours", func() {
		if l.Wait(ctx, c) != nil {
			panic("refused")
		}
		l.Done(c, nil)
	})
}

// BenchmarkTenants: one call of one of many tenants, and what a tenant takes.
func BenchmarkTenants(b *testing.B) {
	const tenants = 100_000
	ctx := context.Background()
	names := make([]string, tenants)
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%06d", i)
	}
	measure := func(b *testing.B, impl string, fill func(), one func(i int)) {
		b.Run("impl="+impl, func(b *testing.B) {
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			fill()
			for i := range tenants {
				one(i)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			i := 0
			b.ResetTimer()
			for b.Loop() {
				i = (i + 7919) % tenants
				one(i)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/tenants, "B/tenant")
		})
	}
	var l *ratelimit.Local
	var c *ratelimit.Call
	one := func(i int) {
		c.Charges[0].Key = names[i]
		if l.Wait(ctx, c) != nil {
			panic("refused")
		}
		l.Done(c, nil)
	}
	measure(b, "ours", func() { l, c = ratelimit.NewLocal(nil), call("t", of(plenty, "")) }, one)
}
