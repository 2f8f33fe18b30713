package token

import "sync/atomic"

// index finds handles by the hash of a name of theirs. Look-ups take no lock and
// may run at any time; put and remove are for one goroutine at a time. A table has
// to be stored before. A slot takes 12 bytes, where an entry of a sync.Map takes about a hundred, and between a
// quarter and seven eighths of the slots are full.
type index struct {
	table atomic.Pointer[table]
	live  int // handles
	used  int // slots, those of removed handles too
}

// table is an open-addressing one with linear probing. Handles never move within
// it: a look-up at the same time finds what was there before or after.
type table struct {
	hashes  []atomic.Uint32 // 0 where no handle ever was
	handles []atomic.Pointer[Handle]
}

const (
	leastSlots = 16
	// Full above fullNum/fullDen of its slots, a table is replaced by one that is
	// 7/12 full.
	fullNum, fullDen   = 7, 8
	freshNum, freshDen = 12, 7
)

func newTable(slots int) *table {
	return &table{make([]atomic.Uint32, slots), make([]atomic.Pointer[Handle], slots)}
}

// slot is where the search for a hash begins. Slots are in the order of hashes,
// which any number of them can be.
func (t *table) slot(hash uint32) int { return int(uint64(hash) * uint64(len(t.hashes)) >> 32) }

// from returns the first handle with the hash at slot i or after, and its slot;
// nil when there is none. Others than the one sought may have the hash too.
func (t *table) from(i int, hash uint32) (*Handle, int) {
	for ; ; i++ {
		if i >= len(t.hashes) {
			i = 0
		}
		switch t.hashes[i].Load() {
		case hash:
			if h := t.handles[i].Load(); h != nil {
				return h, i
			}
		case 0:
			return nil, i
		}
	}
}

// add puts a handle into the first slot that was never used; there is one.
func (t *table) add(hash uint32, h *Handle) {
	i := t.slot(hash)
	for t.hashes[i].Load() != 0 {
		if i++; i == len(t.hashes) {
			i = 0
		}
	}
	t.handles[i].Store(h) // first: a hash promises that its handle is there
	t.hashes[i].Store(hash)
}

// put adds a handle.
func (x *index) put(hash uint32, h *Handle) {
	t := x.table.Load()
	if (x.used+1)*fullDen > len(t.hashes)*fullNum {
		t = x.rebuild(x.live + 1)
	}
	t.add(hash, h)
	x.live++
	x.used++
}

// remove takes a handle out if it is there. The hash stays, as a sign that others
// may follow.
func (x *index) remove(hash uint32, h *Handle) {
	t := x.table.Load()
	found, i := t.from(t.slot(hash), hash)
	for found != nil && found != h {
		found, i = t.from(i+1, hash)
	}
	if found == nil {
		return
	}
	t.handles[i].Store(nil)
	x.live--
	if len(t.hashes) > leastSlots && x.live < len(t.hashes)/4 {
		x.rebuild(x.live)
	}
}

// rebuild makes a table for so many handles.
func (x *index) rebuild(handles int) *table {
	next := newTable(max(leastSlots, handles*freshNum/freshDen+1))
	old := x.table.Load()
	x.used = x.live
	for i := range old.hashes {
		if h := old.handles[i].Load(); h != nil {
			next.add(old.hashes[i].Load(), h)
		}
	}
	x.table.Store(next)
	return next
}

// all calls fn for each handle. Those that are added or removed meanwhile may be
// among them or not.
func (x *index) all(fn func(h *Handle)) {
	t := x.table.Load()
	for i := range t.handles {
		if h := t.handles[i].Load(); h != nil {
			fn(h)
		}
	}
}
