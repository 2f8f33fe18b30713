package webhook

import (
	"time"

	"github.com/saas-integrations/integrations/store"
)

// claimTenants is how many tenants' events are claimed in one statement.
const claimTenants = 16

// turns decides whose event is next: whose are claimed, and which of those that are
// claimed is handled. Tenants take turns, and none has more than its share of the
// places to run and to wait, so that a flood of one leaves room for the others. It
// is not safe for concurrent use.
type turns struct {
	places    int // events that run
	perTenant int // of these, one tenant's
	batch     int // events that wait
	share     int // of these, one tenant's

	tenants map[string]*tenant
	due     []*tenant // may have more in the store, and room for it
	ready   []*tenant // have an event that may run
	// suspects are events whose handler was cut short. One of them runs at a time:
	// what ran beside an event that ends the process must not be started with it
	// again and again, and count as many starts.
	suspects []claimed
	suspect  bool // one runs
	running  int
	waiting  int // without suspects
}

// tenant is a tenant that has events here or is due.
type tenant struct {
	id    string
	since time.Time // when its first event in the store became due
	// more says that the store may have due events of it, marked that it was told so
	// while a claim was under way.
	more, marked   bool
	inDue, inReady bool
	queue          []claimed
	running        int
}

func newTurns(h Handling) turns {
	return turns{
		places: h.Concurrency, perTenant: h.TenantConcurrency, batch: h.Batch, share: max(1, h.Batch*h.TenantConcurrency/h.Concurrency),
		tenants: map[string]*tenant{},
	}
}

func (ts *turns) of(id string) *tenant {
	t := ts.tenants[id]
	if t == nil {
		t = &tenant{id: id}
		ts.tenants[id] = t
	}
	return t
}

// mark notes that a tenant has had due events since a time of the store.
func (ts *turns) mark(id string, since time.Time) {
	t := ts.of(id)
	if !t.more || since.Before(t.since) {
		t.since = since
	}
	t.more, t.marked = true, true
	ts.settle(t)
}

// settle puts a tenant where it belongs.
func (ts *turns) settle(t *tenant) {
	if t.more && !t.inDue && 2*len(t.queue) <= ts.share {
		t.inDue = true
		ts.due = append(ts.due, t)
	}
	if len(t.queue) > 0 && !t.inReady && t.running < ts.perTenant {
		t.inReady = true
		ts.ready = append(ts.ready, t)
	}
	if !t.more && !t.inDue && len(t.queue) == 0 && t.running == 0 {
		delete(ts.tenants, t.id)
	}
}

// pick takes the tenants whose turn it is to be claimed, and how many events of
// each. They must be given to claimed afterwards.
func (ts *turns) pick() (picked []store.DueTenant, limit int) {
	want := ts.batch - ts.waiting
	if 2*want < ts.batch && ts.running >= ts.places {
		return nil, 0 // nobody could run: a claim is worth its cost when it brings some
	}
	limit = want
	for len(ts.due) > 0 && len(picked) < min(want, claimTenants) {
		t := ts.due[0]
		ts.due = ts.due[1:]
		t.inDue = false
		if !t.more || 2*len(t.queue) > ts.share {
			ts.settle(t)
			continue
		}
		t.marked = false
		picked = append(picked, store.DueTenant{TenantID: t.id, Since: t.since})
		limit = min(limit, ts.share-len(t.queue))
	}
	if len(picked) > 0 {
		limit = max(1, min(limit, want/len(picked)))
	}
	return picked, limit
}

// claimed takes in what a claim of picked tenants brought and who has more. What it
// returns has no place here.
func (ts *turns) claimed(picked []store.DueTenant, events []claimed, more []string) (back []claimed) {
	for _, p := range picked {
		ts.of(p.TenantID).more = false
	}
	for _, id := range more {
		ts.of(id).more = true
	}
	for _, c := range events {
		t := ts.of(c.TenantID)
		if c.RunAt.After(t.since) {
			t.since = c.RunAt
		}
		switch {
		case !c.suspect():
			t.queue = append(t.queue, c)
			ts.waiting++
		case len(ts.suspects) < ts.batch:
			ts.suspects = append(ts.suspects, c)
		default:
			back = append(back, c)
		}
	}
	for _, p := range picked {
		t := ts.of(p.TenantID)
		t.more = t.more || t.marked
		ts.settle(t)
	}
	return back
}

// failed puts picked tenants back that could not be claimed.
func (ts *turns) failed(picked []store.DueTenant) {
	for _, p := range picked {
		ts.settle(ts.of(p.TenantID))
	}
}

// next takes the event that is to run.
func (ts *turns) next() (claimed, bool) {
	if c, ok := ts.nextSuspect(); ok {
		return c, true
	}
	for len(ts.ready) > 0 {
		t := ts.ready[0]
		ts.ready = ts.ready[1:]
		t.inReady = false
		if t.running >= ts.perTenant {
			continue // of a suspect, since
		}
		c := t.queue[0]
		t.queue = t.queue[1:]
		t.running++
		ts.running++
		ts.waiting--
		ts.settle(t)
		return c, true
	}
	return claimed{}, false
}

// nextSuspect takes the event that was started least: what only ran beside one that
// ends the process falls behind it in starts.
func (ts *turns) nextSuspect() (claimed, bool) {
	if ts.suspect {
		return claimed{}, false
	}
	best := -1
	for i, c := range ts.suspects {
		if ts.of(c.TenantID).running < ts.perTenant && (best < 0 || c.Starts < ts.suspects[best].Starts) {
			best = i
		}
	}
	if best < 0 {
		return claimed{}, false
	}
	c := ts.suspects[best]
	ts.suspects = append(ts.suspects[:best], ts.suspects[best+1:]...)
	ts.suspect = true
	ts.of(c.TenantID).running++
	ts.running++
	return c, true
}

// done takes back the place of an event that ran.
func (ts *turns) done(c claimed) {
	if c.suspect() {
		ts.suspect = false
	}
	t := ts.of(c.TenantID)
	t.running--
	ts.running--
	ts.settle(t)
}

// drop empties the queues.
func (ts *turns) drop() []claimed {
	all := ts.suspects
	for _, t := range ts.tenants {
		all = append(all, t.queue...)
		t.queue, t.inReady = nil, false
	}
	ts.suspects, ts.ready, ts.waiting = nil, nil, 0
	return all
}

// idle reports that nothing runs and nothing waits here.
func (ts *turns) idle() bool { return ts.running == 0 && ts.waiting == 0 && len(ts.suspects) == 0 }
