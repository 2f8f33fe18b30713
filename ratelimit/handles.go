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
	places atomic.Pointer[[]place] // replaced as a whole
}

// place is where the bucket of a table's key is.
type place struct {
	table  *table
	key    string
	bucket *bucket
}

// find returns the table of a budget that c draws from or is told of, and the bucket
// of a key in it.
func (l *Local) find(c *Call, b *Budget, key string) (*table, *bucket) {
	h := c.Handles
	if h == nil {
		t := l.table(c.Provider, b)
		return t, t.bucket(key)
	}
	if places := h.places.Load(); places != nil {
		for i := range *places {
			p := &(*places)[i]
			if p.table.budget == b && p.table.limiter == l && p.key == key && p.table.provider == c.Provider {
				if p.bucket.state.Load() == removed {
					break
				}
				return p.table, p.bucket
			}
		}
	}
	t := l.table(c.Provider, b)
	k := t.bucket(key)
	h.keep(place{t, key, k})
	return t, k
}

// keep remembers a place, instead of one whose bucket is not in the table any more
// where there is one. Of two that come at the same time one is not remembered.
func (h *Handles) keep(p place) {
	old := h.places.Load()
	var next []place
	if old != nil {
		for _, o := range *old {
			if o.bucket.state.Load() != removed && o.bucket != p.bucket {
				next = append(next, o)
			}
		}
	}
	if len(next) == handlesMost {
		return
	}
	next = append(next, p)
	h.places.CompareAndSwap(old, &next)
}
