package webhook

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/saas-integrations/integrations/store"
)

const (
	// A transaction takes so many rows and bytes. What is larger by itself goes
	// alone.
	commitRows  = 1000
	commitBytes = 4 << 20
	// commitQueue is how many rows wait at most.
	commitQueue = 10_000
	// commitTries is how often a transaction is tried. commitFailures is how many
	// callers in a row may then fail alone before it is the store that is at fault
	// and not one of them.
	commitTries    = 2
	commitFailures = 3
	// yields is how often a leader gives way at most.
	yields = 8
)

var (
	errQueue = errors.New("integrations/webhook: too many events wait for the store")
	errInbox = errors.New("integrations/webhook: the inbox did not tell of each event whether it is new")
	// errNoReturn is of an inbox that calls runtime.Goexit.
	errNoReturn = errors.New("integrations/webhook: the inbox did not return")
)

// Inserter is the part of a [store.Inbox] that a [Receiver] needs.
type Inserter interface {
	// InsertDeliveries is that of store.Inbox.
	InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error)
}

// Committer is an [Inserter] that stores what several callers bring in one
// transaction, because the commit is most of the price of a small one. It waits
// for nobody: who comes alone is stored alone and at once; who comes while others
// are being stored is stored next, together with all that came meanwhile. It
// starts no goroutine. It is safe for concurrent use.
type Committer struct {
	inbox   Inserter
	leaders int // at most

	mu      sync.Mutex
	leading int
	queue   []*caller // in order of arrival
	rows    int       // of the queue
}

// caller is one call of InsertDeliveries.
type caller struct {
	ds    []store.Delivery
	bytes int
	isNew []bool
	err   error
	// turn is told once: true when this caller is to lead, false when its rows are
	// dealt with.
	turn chan bool
	// left says that the caller has gone, leads that it was told to lead. Both
	// belong to Committer.mu.
	left, leads bool
}

// NewCommitter returns a committer for an inbox, which must not be nil. It makes
// as many inserts at a time as the inbox asks for if that is a
// [store.ParallelInbox], else one.
func NewCommitter(inbox Inserter) (*Committer, error) {
	if inbox == nil {
		return nil, errors.New("integrations/webhook: committer: the inbox is nil")
	}
	c := &Committer{inbox: inbox, leaders: 1}
	if p, ok := inbox.(store.ParallelInbox); ok {
		c.leaders = max(p.ParallelInserts(), 1)
	}
	return c, nil
}

// InsertDeliveries stores ds, all of them or none, and returns nil only when they
// are durable. ds must not be changed any more, whatever it returns. When ctx ends
// first it returns ctx's error, and nobody knows then whether they are stored.
// Other errors mean that the store failed, twice in a row, or that 10,000
// deliveries wait for it.
func (c *Committer) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	me := &caller{ds: ds, turn: make(chan bool, 1)}
	for i := range ds {
		me.bytes += len(ds[i].Body) + len(ds[i].Headers)
	}
	lead, err := c.enter(me)
	if err != nil {
		return nil, err
	}
	if lead {
		c.lead(ctx, me)
		return me.isNew, me.err
	}
	select {
	case lead = <-me.turn:
	case <-ctx.Done():
		if !c.leave(me) {
			return nil, ctx.Err()
		}
		lead = <-me.turn
	}
	if lead {
		c.giveWay()
		c.lead(ctx, me)
	}
	return me.isNew, me.err
}

// enter reports whether the caller is to lead at once. Else it is in the queue.
func (c *Committer) enter(me *caller) (lead bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leading < c.leaders {
		c.leading++
		return true, nil
	}
	if c.rows+len(me.ds) > commitQueue {
		return false, errQueue
	}
	c.rows += len(me.ds)
	c.queue = append(c.queue, me)
	return false, nil
}

// leave reports false when the caller may go. One who was told to lead may not:
// nobody else would.
func (c *Committer) leave(me *caller) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	me.left = true
	return me.leads
}

// giveWay lets those run who are ready to, as long as they bring more rows: the
// callers of the last transaction have just been told, and may have the next
// event. What is not there yet is not waited for.
func (c *Committer) giveWay() {
	for i, before := 0, -1; i < yields; i++ {
		c.mu.Lock()
		rows := c.rows
		c.mu.Unlock()
		if rows <= before || rows >= commitRows {
			return
		}
		before = rows
		runtime.Gosched()
	}
}

// lead stores the rows of a caller and of those who wait, and hands the lead on.
func (c *Committer) lead(ctx context.Context, me *caller) {
	defer c.handOn()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	c.commit(ctx, c.gather(me))
}

// gather takes as many callers out of the queue as go into one transaction.
func (c *Committer) gather(me *caller) []*caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, rows, bytes := []*caller{me}, len(me.ds), me.bytes
	for len(c.queue) > 0 {
		next := c.queue[0]
		if !next.left {
			rows, bytes = rows+len(next.ds), bytes+next.bytes
			if rows > commitRows || bytes > commitBytes {
				break
			}
			batch = append(batch, next)
		}
		c.pop()
	}
	return batch
}

// pop takes the first out of the queue. The caller holds mu.
func (c *Committer) pop() *caller {
	first := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	c.rows -= len(first.ds)
	return first
}

// handOn makes the one who has waited longest the next leader. It has to leave the
// queue here: in it another leader would store it, and the lead would be lost.
func (c *Committer) handOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 {
		if next := c.pop(); !next.left {
			next.leads = true
			next.turn <- true
			return
		}
	}
	c.leading--
}

// commit stores the rows of a batch and tells all but the first, who asks.
func (c *Committer) commit(ctx context.Context, batch []*caller) {
	for _, b := range batch {
		b.err = errNoReturn // unless it does
	}
	told := 1
	tell := func(end int) {
		for ; told < end; told++ {
			batch[told].turn <- false
		}
	}
	defer func() { tell(len(batch)) }()
	for range commitTries {
		if c.insert(ctx, batch) == nil || ctx.Err() != nil {
			return
		}
	}
	if len(batch) == 1 {
		return
	}
	for i, failures := 0, 0; i < len(batch) && failures < commitFailures && ctx.Err() == nil; i++ {
		failures++
		if c.insert(ctx, batch[i:i+1]) == nil {
			failures = 0
		}
		tell(i + 1)
	}
}

// insert stores the rows of some callers in one transaction. What comes of it is
// theirs.
func (c *Committer) insert(ctx context.Context, some []*caller) error {
	ds := some[0].ds
	if len(some) > 1 {
		ds = nil
		for _, s := range some {
			ds = append(ds, s.ds...)
		}
	}
	isNew, err := c.call(ctx, ds)
	for _, s := range some {
		if s.err = err; err == nil {
			s.isNew, isNew = isNew[:len(s.ds)], isNew[len(s.ds):]
		}
	}
	return err
}

// call is the store's, whose panics end here.
func (c *Committer) call(ctx context.Context, ds []store.Delivery) (isNew []bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			isNew, err = nil, newPanicError(v)
		}
	}()
	isNew, err = c.inbox.InsertDeliveries(ctx, ds)
	if err == nil && len(isNew) != len(ds) {
		err = errInbox
	}
	return isNew, err
}
