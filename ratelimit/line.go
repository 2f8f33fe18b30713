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
	waiting int

	inflight int
	// slow, when above 0, is how many calls may be under way after a refusal.
	slow int

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

func (l *line) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}

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
	l.waiting++
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
		l.waiting--
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

// pokeTurn lets the one who has the turn look again.
func (l *line) pokeTurn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn != nil {
		l.turn.poke()
	}
}

// begin counts a call under way; false when there are as many as may be in one of so
// many replicas.
func (l *line) begin(b *Budget, replicas int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := b.Concurrent
	if most > 0 {
		most = max(1, most/replicas)
	}
	if l.slow > 0 && (most == 0 || l.slow < most) {
		most = l.slow
	}
	if most > 0 && l.inflight >= most {
		return false
	}
	l.inflight++
	return true
}

// slowMost is how many calls under way end a slow start.
const slowMost = 128

// end is begin's opposite. After a refusal it starts slowly, after another answer
// it goes on faster.
func (l *line) end(b *Budget, answered, refused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight--
	switch {
	case !b.SlowStart:
	case refused:
		l.slow = 1
	case answered && l.slow > 0:
		if l.slow *= 2; l.slow >= slowMost {
			l.slow = 0
		}
	}
	if l.turn != nil {
		l.turn.poke()
	}
}

// uncount takes back what begin counted for a call that did not go. The one who has
// the turn did it itself, or it is told.
func (l *line) uncount(own bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight--
	if l.turn != nil && !own {
		l.turn.poke()
	}
}

// empty reports whether nothing would be lost with the line.
func (l *line) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting == 0 && l.inflight == 0 && l.slow == 0
}
