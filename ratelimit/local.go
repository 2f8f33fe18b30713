package ratelimit

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// LocalConfig says how a [Local] works.
type LocalConfig struct {
	// MaxWait is how long a caller without a deadline is made to wait before it
	// gets an [*Error] instead. Defaults to 1 minute.
	MaxWait time.Duration
	// MaxWaiting is how many calls of one tenant may wait for one budget. Defaults
	// to 256.
	MaxWaiting int
	// RefusalsOnly lets all calls go until a provider refuses one, as if budgets had
	// no numbers: for tests, which have no time to wait.
	RefusalsOnly bool
}

// Local is a [Limiter] for one process. What a provider's budget allows goes at
// once; what it does not waits, those of higher [Priority] first and, where all
// tenants share a budget, the tenants in turn. It is safe for concurrent use and
// starts no goroutine.
type Local struct {
	cfg   LocalConfig
	start time.Time
	// tables are by provider and budget, replaced as a whole when one is added.
	tables atomic.Pointer[map[tableKey]*table]
	grow   sync.Mutex
	source *Shared // nil: the units are this process's own
}

type tableKey struct {
	provider string
	budget   *Budget
}

// NewLocal returns a limiter that knows nothing yet. Nil means all defaults.
func NewLocal(cfg *LocalConfig) *Local {
	l := &Local{start: time.Now()}
	if cfg != nil {
		l.cfg = *cfg
	}
	l.cfg.MaxWait = cmp.Or(l.cfg.MaxWait, time.Minute)
	l.cfg.MaxWaiting = cmp.Or(l.cfg.MaxWaiting, 256)
	l.tables.Store(&map[tableKey]*table{})
	return l
}

func (l *Local) now() time.Duration { return time.Since(l.start) }

// Wait implements [Limiter].
func (l *Local) Wait(ctx context.Context, c *Call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.pass(c) {
		return nil
	}
	refuser, wait := l.take(c, nil, 0)
	for refuser >= 0 {
		var err error
		if refuser, wait, err = l.queue(ctx, c, refuser, wait); err != nil {
			return err
		}
	}
	return nil
}

// take takes what c draws from all its budgets, or nothing; then it returns which
// one refused and how long until it may not. waiting is the line in which the caller
// has the turn, of the budget at; those of budgets after it that are not empty are not
// passed. Those of budgets before it are: the caller was let through there, and if all
// went back to them nobody would ever get ahead.
func (l *Local) take(c *Call, waiting *line, at int) (refuser int, wait time.Duration) {
	now := l.now()
	for i := range c.Charges {
		wait, ok := l.takeOne(c, &c.Charges[i], now, waiting, i < at)
		if ok {
			continue
		}
		for j := range c.Charges[:i] {
			l.giveBack(c, &c.Charges[j], now, waiting)
		}
		return i, wait
	}
	return -1, 0
}

func (l *Local) takeOne(c *Call, ch *Charge, now time.Duration, waiting *line, pass bool) (time.Duration, bool) {
	b := ch.Budget
	for {
		t, k := l.find(c, b, ch.Key)
		ln := k.line.Load()
		if ln == nil && b.counted() {
			ln = k.makeLine()
		}
		if ln != nil {
			if ln != waiting && !pass && ln.length() > 0 {
				return 0, false
			}
			if b.counted() && !ln.begin(b, l.replicas()) {
				return longWait, false // ended by the end of a call
			}
		}
		var wait time.Duration
		var short, gone bool
		switch {
		case l.cfg.RefusalsOnly:
			wait, gone = k.paused(now)
		case l.source != nil && b.Units > 0:
			wait, short, gone = k.takeStash(now, ch.cost())
		default:
			wait, gone = k.take(t, now, ch.cost())
		}
		if !gone && !short && wait <= 0 {
			return 0, true
		}
		if short {
			wait = unitsWait
		}
		if ln != nil && b.counted() {
			ln.uncount(ln == waiting)
		}
		if !gone {
			return wait, false
		}
	}
}

// longWait stands for a wait that nobody can tell, unitsWait for one that a visit to
// the source may end.
const (
	longWait  = time.Duration(1<<63 - 1)
	unitsWait = time.Duration(-1)
)

func (l *Local) replicas() int {
	if l.source == nil {
		return 1
	}
	return int(l.source.replicas.Load())
}

func (l *Local) giveBack(c *Call, ch *Charge, now time.Duration, waiting *line) {
	_, k := l.find(c, ch.Budget, ch.Key)
	if !l.cfg.RefusalsOnly {
		k.giveBack(ch.Budget, now, ch.cost(), l.source != nil)
	}
	if ln := k.line.Load(); ln != nil && ch.Budget.counted() {
		ln.uncount(ln == waiting)
	}
}

// drawn is what the call drew from a reading's budget.
func (c *Call) drawn(r *Reading) (units int64) {
	for i := range c.Charges {
		if ch := &c.Charges[i]; ch.Budget == r.Budget && ch.Key == r.Key {
			units += ch.cost()
		}
	}
	return units
}

func (ch *Charge) cost() int64 { return int64(max(ch.Cost, 1)) }

// counted reports whether calls under way are counted.
func (b *Budget) counted() bool { return b.Concurrent > 0 || b.SlowStart }

// queue waits in the line of the budget that refused, until the call may go, which is
// other below 0, or another budget refuses.
func (l *Local) queue(ctx context.Context, c *Call, refuser int, wait time.Duration) (other int, otherWait time.Duration, err error) {
	ch := &c.Charges[refuser]
	_, k := l.find(c, ch.Budget, ch.Key)
	if wait == 0 {
		wait = k.until(ch.Budget, l.now(), ch.cost(), l.source != nil || l.cfg.RefusalsOnly)
	}
	ln := k.makeLine()
	w := newWaiter(c.TenantID, c.Priority)
	ahead, ok := ln.join(w, ch.Budget.Shared, l.cfg.MaxWaiting)
	if !ok {
		return -1, 0, l.refusal(c, ch, l.expected(k, ch, wait, l.cfg.MaxWaiting))
	}
	defer ln.leave(w)
	if until := l.expected(k, ch, wait, ahead); until > 0 && l.tooLong(ctx, until) {
		return -1, 0, l.refusal(c, ch, until)
	}
	for {
		if !ln.has(w) {
			select {
			case <-ctx.Done():
				return -1, 0, ctx.Err()
			case <-w.wake:
			}
			continue
		}
		other, wait := l.take(c, ln, refuser)
		if other != refuser {
			return other, wait, nil
		}
		if wait == unitsWait {
			if wait, err = l.source.fetch(ctx, c, ln); err != nil {
				return -1, 0, err
			}
			if wait == 0 {
				continue
			}
		}
		if wait != longWait && l.tooLong(ctx, wait) {
			return -1, 0, l.refusal(c, ch, wait)
		}
		if !sleep(ctx, wait, w.wake) {
			return -1, 0, ctx.Err()
		}
	}
}

// expected is how long a caller with so many before it will wait, 0 when that
// cannot be told.
func (l *Local) expected(k *bucket, ch *Charge, wait time.Duration, ahead int) time.Duration {
	b := ch.Budget
	if wait == longWait {
		return 0
	}
	wait = max(wait, 0)
	if b.Units == 0 {
		return wait // a pause
	}
	units := k.units(b)
	if b.Refill == Continuous {
		return wait + time.Duration(int64(ahead)*ch.cost()*b.interval())
	}
	return wait + b.Window*time.Duration(int64(ahead)*ch.cost()/max(1, units))
}

// tooLong reports whether waiting so long is pointless or more than allowed.
func (l *Local) tooLong(ctx context.Context, wait time.Duration) bool {
	if deadline, has := ctx.Deadline(); has {
		return time.Until(deadline) < wait
	}
	return wait > l.cfg.MaxWait
}

// sleep returns after d, or when somebody pokes; false when ctx ended.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	if d == longWait {
		select {
		case <-ctx.Done():
			return false
		case <-wake:
			return true
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-t.C:
	}
	return true
}

func (l *Local) refusal(c *Call, ch *Charge, wait time.Duration) error {
	scope := c.Provider
	for _, s := range []string{ch.Budget.Name, ch.Key} {
		if s != "" {
			scope += " " + s
		}
	}
	return &Error{RetryAt: time.Now().Add(wait), Scope: scope}
}

// Done implements [Limiter].
func (l *Local) Done(c *Call, readings []Reading) {
	var now time.Duration
	if len(readings) > 0 {
		now = l.now()
	}
	for i := range readings {
		r := &readings[i]
		_, k := l.find(c, r.Budget, r.Key)
		if r.Uncharged && !l.cfg.RefusalsOnly {
			// Before the numbers are read, which do not hold the call either.
			k.giveBack(r.Budget, now, c.drawn(r), l.source != nil)
		}
		k.read(r, now, l.source != nil || l.cfg.RefusalsOnly)
		if ln := k.line.Load(); ln != nil {
			ln.pokeTurn()
		}
	}
	for i := range c.Charges {
		ch := &c.Charges[i]
		if !ch.Budget.counted() {
			continue
		}
		_, k := l.find(c, ch.Budget, ch.Key)
		ln := k.makeLine()
		answered, refused := false, false
		for j := range readings {
			answered = true
			refused = refused || readings[j].Refused && readings[j].Budget == ch.Budget && readings[j].Key == ch.Key
		}
		ln.end(ch.Budget, answered, refused)
	}
}

// View implements [Viewer].
func (l *Local) View(provider string, b *Budget, key string) View {
	now := l.now()
	k := l.table(provider, b).peek(key)
	if k == nil {
		k = new(bucket)
	}
	return k.view(b, now)
}
