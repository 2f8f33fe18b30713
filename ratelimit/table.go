package ratelimit

import (
	"hash/maphash"
	"maps"
	"sync"
)

const (
	shards = 64
	// sweepAt is the size of a shard at which buckets that hold nothing are looked
	// for; it doubles with what stays.
	sweepAt = 256
)

// table is the buckets of one budget of a limiter by key, in parts so that tenants do
// not wait for each other's look-ups.
type table struct {
	limiter         *Local
	provider        string
	budget          *Budget
	interval, burst int64 // of a Continuous budget, in nanoseconds
	// plain says that units that come back evenly are all there is to the budget.
	plain bool
	seed  maphash.Seed
	parts [shards]struct {
		sync.RWMutex
		buckets map[string]*bucket
		sweepAt int
	}
}

// table returns the buckets of a budget.
func (l *Local) table(provider string, b *Budget) *table {
	key := tableKey{provider, b}
	if t := (*l.tables.Load())[key]; t != nil {
		return t
	}
	l.grow.Lock()
	defer l.grow.Unlock()
	known := *l.tables.Load()
	if t := known[key]; t != nil {
		return t
	}
	t := &table{limiter: l, provider: provider, budget: b, seed: maphash.MakeSeed()}
	t.interval, t.burst = b.interval(), int64(max(b.Burst, 1))*b.interval()
	t.plain = b.Units > 0 && b.Refill == Continuous && !b.counted() && l.source == nil && !l.cfg.RefusalsOnly
	next := maps.Clone(known)
	next[key] = t
	l.tables.Store(&next)
	return t
}

func (t *table) peek(key string) *bucket {
	p := &t.parts[maphash.String(t.seed, key)%shards]
	p.RLock()
	defer p.RUnlock()
	return p.buckets[key]
}

// bucket returns the bucket of a key, a new one if there is none.
func (t *table) bucket(key string) *bucket {
	p := &t.parts[maphash.String(t.seed, key)%shards]
	p.RLock()
	k := p.buckets[key]
	p.RUnlock()
	if k != nil && k.state.Load() != removed {
		return k
	}
	p.Lock()
	defer p.Unlock()
	if k := p.buckets[key]; k != nil && k.state.Load() != removed {
		return k
	}
	if p.buckets == nil {
		p.buckets, p.sweepAt = make(map[string]*bucket), sweepAt
	}
	if len(p.buckets) >= p.sweepAt {
		now := t.limiter.now()
		for name, k := range p.buckets {
			s := k.state.Load()
			if k.idle(t.budget, now) && k.state.CompareAndSwap(s, removed) {
				delete(p.buckets, name)
			}
		}
		p.sweepAt = max(sweepAt, 2*len(p.buckets))
	}
	k = new(bucket)
	p.buckets[key] = k
	return k
}

// awaited reports whether somebody waits.
func (k *bucket) awaited() bool {
	l := k.line.Load()
	return l != nil && l.length() > 0
}

// makeLine returns the bucket's line, a new one if it has none.
func (k *bucket) makeLine() *line {
	if l := k.line.Load(); l != nil {
		return l
	}
	k.line.CompareAndSwap(nil, new(line))
	return k.line.Load()
}
