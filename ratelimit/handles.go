package ratelimit

import "sync/atomic"

// handlesMost is how many budgets a [Handles] remembers: more than one call draws
// from, and few enough to look through.
const handlesMost = 8

// Handles remembers where a limiter keeps the budgets of calls that draw from the
// same ones again and again, such as those of one connection, so that they need not
// be looked up each time. It remembers the first eight. The zero value is ready for
// use; it is safe for concurrent use and must not be copied afterwards.
type Handles struct {
	first atomic.Pointer[handle] // of a list that is never changed, only replaced
}

// handle is where the bucket of a budget's key is.
type handle struct {
	budget *Budget // the table's
	key    string
	table  *table
	bucket *bucket
	next   *handle
}

// find returns the table of a budget that c draws from or is told of, and the bucket
// of a key in it.
func (l *Local) find(c *Call, b *Budget, key string) (*table, *bucket) {
	if h := l.known(c, b, key); h != nil && h.bucket.state.Load() != removed {
		return h.table, h.bucket
	}
	t := l.table(c.Provider, b)
	k := t.bucket(key)
	if c.Handles != nil {
		c.Handles.keep(&handle{budget: b, key: key, table: t, bucket: k})
	}
	return t, k
}

// known is what the call's handles remember of a key, nil when that is nothing.
func (l *Local) known(c *Call, b *Budget, key string) *handle {
	if c.Handles == nil {
		return nil
	}
	h := c.Handles.first.Load()
	for h != nil && (h.budget != b || h.key != key || h.table.limiter != l || h.table.provider != c.Provider) {
		h = h.next
	}
	return h
}

// keep remembers one more, and forgets those whose bucket is not in its table any
// more. Of two that come at the same time one is not remembered.
func (s *Handles) keep(h *handle) {
	old := s.first.Load()
	kept := 1
	for o := old; o != nil; o = o.next {
		if o.bucket.state.Load() != removed && o.bucket != h.bucket {
			again := *o
			again.next, h.next = h.next, &again
			kept++
		}
	}
	if kept <= handlesMost {
		s.first.CompareAndSwap(old, h)
	}
}

// pass lets a call go that draws from one budget with even refill whose bucket is at
// hand, if it has the units and nobody waits: the usual call. What false says is that
// it has to be looked at closely.
func (l *Local) pass(c *Call) bool {
	if len(c.Charges) != 1 {
		return false
	}
	ch := &c.Charges[0]
	h := l.known(c, ch.Budget, ch.Key)
	if h == nil || !h.table.plain {
		return false
	}
	now := int64(l.now())
	k := h.bucket
	full := k.state.Load()
	next := max(full, now) + ch.cost()*h.table.interval
	return full != removed && next-now <= h.table.burst && k.pause.Load() <= now && !k.awaited() &&
		k.state.CompareAndSwap(full, next)
}
