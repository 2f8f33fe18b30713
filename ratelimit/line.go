package ratelimit

import (
	"sync"
	"sync/atomic"
	"time"
)

// line is those who wait for one bucket, and what bounds the calls under way. One
// of those who wait has the turn: it sleeps until the bucket may have what it
// needs, tries, and leaves, which gives the turn to the next. So nobody who came
// later is served first, and no goroutine of the limiter's own is needed.
type line struct {
	mu sync.Mutex
	// classes are those who wait, by priority.
	classes [Background + 1]class
	turn    *waiter
	// waiting is how many there are. It changes under mu and is read without, so that
	// a call that meets nobody does not lock for it.
	waiting atomic.Int32

	// calls is a packed underway.
	calls atomic.Uint64

	// Of units that come from a Source: how many were asked for last, and when. Of
	// the one who has the turn alone.
	want    int
	fetched time.Duration
	// reported is when an answer was last told to the source.
	reported atomic.Int64
}

// class is those of one priority: a ring of tenants, each with its own queue.
type class struct {
	tenants []*tenantQueue
	next    int // in tenants, whose turn it is
}

type tenantQueue struct {
	tenant  string
	waiters []*waiter
}

// waiter is one call that waits. wake has room for one.
type waiter struct {
	tenant   string
	priority Priority
	wake     chan struct{}
}

func newWaiter(tenant string, p Priority) *waiter {
	return &waiter{tenant: tenant, priority: min(p, Background), wake: make(chan struct{}, 1)}
}

func (w *waiter) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (l *line) length() int { return int(l.waiting.Load()) }

// join puts w at the end of its tenant's queue and reports how many go before it;
// false when too many of the tenant wait already. Without fair there is one queue.
func (l *line) join(w *waiter, fair bool, most int) (ahead int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tenant := w.tenant
	if !fair {
		tenant = ""
	}
	c := &l.classes[w.priority]
	var q *tenantQueue
	for _, t := range c.tenants {
		if t.tenant == tenant {
			q = t
			break
		}
	}
	if q != nil && len(q.waiters) >= most {
		return 0, false
	}
	if q == nil {
		q = &tenantQueue{tenant: tenant}
		c.tenants = append(c.tenants, q)
	}
	for p := range w.priority {
		ahead += l.classes[p].length()
	}
	// One of each other tenant for each of its own that waits, as far as there are.
	for _, t := range c.tenants {
		if t == q {
			ahead += len(t.waiters)
		} else {
			ahead += min(len(t.waiters), len(q.waiters)+1)
		}
	}
	q.waiters = append(q.waiters, w)
	l.waiting.Add(1)
	if l.turn == nil || l.turn.priority > w.priority {
		l.give(w)
	}
	return ahead, true
}

func (c *class) length() (n int) {
	for _, t := range c.tenants {
		n += len(t.waiters)
	}
	return n
}

// give makes it w's turn.
func (l *line) give(w *waiter) {
	l.turn = w
	if w != nil {
		w.poke()
	}
}

// has reports whether it is w's turn.
func (l *line) has(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.turn == w
}

// leave takes w out and gives its turn to the next: of the first class that has
// one, the next tenant's first.
func (l *line) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.classes[w.priority]
	for i, q := range c.tenants {
		at := -1
		for j, other := range q.waiters {
			if other == w {
				at = j
				break
			}
		}
		if at < 0 {
			continue
		}
		q.waiters = append(q.waiters[:at], q.waiters[at+1:]...)
		l.waiting.Add(-1)
		if len(q.waiters) == 0 {
			c.tenants = append(c.tenants[:i], c.tenants[i+1:]...)
			if c.next > i {
				c.next--
			}
		} else if l.turn == w {
			c.next = i + 1
		}
		break
	}
	if l.turn != w {
		return
	}
	l.give(nil)
	for p := range l.classes {
		c := &l.classes[p]
		if len(c.tenants) == 0 {
			continue
		}
		c.next %= len(c.tenants)
		l.give(c.tenants[c.next].waiters[0])
		return
	}
}

// pokeTurn lets the one who has the turn look again, after something changed. Who
// joins later looks anyway.
func (l *line) pokeTurn() {
	if l.length() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn != nil {
		l.turn.poke()
	}
}

// underway is how many calls are under way. slow, when above 0, is how many may be
// after a refusal.
type underway struct{ calls, slow int }

func unpackCalls(s uint64) underway { return underway{calls: int(uint32(s)), slow: int(s >> 32)} }

func (u underway) pack() uint64 { return uint64(u.slow)<<32 | uint64(u.calls) }

// begin counts a call under way; false when there are as many as may be in one of so
// many replicas.
func (l *line) begin(b *Budget, replicas int) bool {
	most := b.Concurrent
	if most > 0 && replicas > 1 {
		most = max(1, most/replicas)
	}
	for {
		s := l.calls.Load()
		u := unpackCalls(s)
		if most > 0 && u.calls >= most || u.slow > 0 && u.calls >= u.slow {
			return false
		}
		u.calls++
		if l.calls.CompareAndSwap(s, u.pack()) {
			return true
		}
	}
}

// slowMost is how many calls under way end a slow start.
const slowMost = 128

// end is begin's opposite. After a refusal it starts slowly, after another answer
// it goes on faster.
func (l *line) end(b *Budget, answered, refused bool) {
	for {
		s := l.calls.Load()
		u := unpackCalls(s)
		u.calls = max(0, u.calls-1)
		switch {
		case !b.SlowStart:
		case refused:
			u.slow = 1
		case answered && u.slow > 0:
			if u.slow *= 2; u.slow >= slowMost {
				u.slow = 0
			}
		}
		if l.calls.CompareAndSwap(s, u.pack()) {
			break
		}
	}
	l.pokeTurn()
}

// uncount takes back what begin counted for a call that did not go. The one who has
// the turn did it itself, or it is told.
func (l *line) uncount(own bool) {
	for {
		s := l.calls.Load()
		u := unpackCalls(s)
		u.calls = max(0, u.calls-1)
		if l.calls.CompareAndSwap(s, u.pack()) {
			break
		}
	}
	if !own {
		l.pokeTurn()
	}
}

// empty reports whether nothing would be lost with the line.
func (l *line) empty() bool {
	return l.length() == 0 && l.calls.Load() == 0
}
