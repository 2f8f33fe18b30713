package ratelimit

import (
	"math"
	"sync/atomic"
	"time"
)

// bucket is what is kept of one budget for one key. It is small, because there may
// be one for each of many tenants, and is worked on without a lock; what belongs to
// waiting is apart and made when somebody has to wait.
type bucket struct {
	// state is, for a Continuous budget, when all units will be back (the
	// "theoretical arrival time" of the generic cell rate algorithm), in
	// nanoseconds of the limiter's clock; else a packed window. removed marks a
	// bucket that is not in the table any more.
	state atomic.Int64
	// pause is until when nobody may go, by the same clock.
	pause atomic.Int64
	// limit is the number of units of a window that an answer told, 0 before.
	limit atomic.Int32
	line  atomic.Pointer[line]
}

const removed = math.MinInt64

// A packed window is when it ends, in milliseconds of the limiter's clock, whether
// an answer told that end, and the units that were spent.
const (
	usedBits   = 24
	usedMost   = 1<<usedBits - 1
	learnedBit = 1 << usedBits
	endShift   = usedBits + 1
)

type window struct {
	end     int64 // in milliseconds
	learned bool
	used    int64
}

func unpack(s int64) window {
	return window{end: s >> endShift, learned: s&learnedBit != 0, used: s & usedMost}
}

func (w window) pack() int64 {
	s := w.end<<endShift | min(w.used, usedMost)
	if w.learned {
		s |= learnedBit
	}
	return s
}

// takeStash spends units that were taken from a [Source] before, as a packed window
// keeps them: until when they last, and how many are left. short means that there
// are not enough.
func (k *bucket) takeStash(now time.Duration, cost int64) (wait time.Duration, short, gone bool) {
	if until := k.pause.Load(); until > int64(now) {
		return time.Duration(until) - now, false, false
	}
	for {
		s := k.state.Load()
		if s == removed {
			return 0, false, true
		}
		w := unpack(s)
		if w.end <= now.Milliseconds() || w.used < cost {
			return 0, true, false
		}
		w.used -= cost
		if k.state.CompareAndSwap(s, w.pack()) {
			return 0, false, false
		}
	}
}

// stash adds units that are to be used within lasts.
func (k *bucket) stash(now, lasts time.Duration, units int64) {
	at := now.Milliseconds()
	for {
		s := k.state.Load()
		if s == removed {
			return
		}
		w := unpack(s)
		if w.end <= at {
			w = window{}
		}
		w = window{end: max(w.end, at+lasts.Milliseconds()), used: w.used + units}
		if k.state.CompareAndSwap(s, w.pack()) {
			return
		}
	}
}

// stop lets nobody go for d.
func (k *bucket) stop(now, d time.Duration) {
	until := int64(now + d)
	for {
		old := k.pause.Load()
		if old >= until || k.pause.CompareAndSwap(old, until) {
			return
		}
	}
}

// units is how many units a window has.
func (k *bucket) units(b *Budget) int64 {
	if n := k.limit.Load(); n > 0 {
		return int64(n)
	}
	return int64(b.Units)
}

// spendable is how many of them may be spent: all but the reserve, and half at least.
func (k *bucket) spendable(b *Budget) int64 {
	n := k.units(b)
	return n - min(int64(b.Reserve), n/2)
}

// interval is how long one unit of a Continuous budget takes to come back. What answers
// tell of its size does not change it.
func (b *Budget) interval() int64 { return max(1, int64(b.Window)/max(1, int64(b.Units))) }

// paused is how long nobody may go.
func (k *bucket) paused(now time.Duration) (wait time.Duration, gone bool) {
	return max(0, time.Duration(k.pause.Load())-now), k.state.Load() == removed
}

// take spends cost units. If they are not there it returns how long until they may
// be; gone means that the bucket is not in the table any more.
func (k *bucket) take(t *table, now time.Duration, cost int64) (wait time.Duration, gone bool) {
	b := t.budget
	if until := k.pause.Load(); until > int64(now) {
		return time.Duration(until) - now, false
	}
	switch {
	case b.Units == 0:
		return 0, k.state.Load() == removed
	case b.Refill == Continuous:
		return k.takeContinuous(int64(now), cost*t.interval, t.burst)
	default:
		return k.takeWindow(b, now, cost)
	}
}

func (k *bucket) takeContinuous(now, need, burst int64) (time.Duration, bool) {
	// A call that costs more than the burst waits for a full one.
	burst = max(burst, need)
	for {
		full := k.state.Load()
		if full == removed {
			return 0, true
		}
		next := max(full, now) + need
		if over := next - now - burst; over > 0 {
			return time.Duration(over), false
		}
		if k.state.CompareAndSwap(full, next) {
			return 0, false
		}
	}
}

func (k *bucket) takeWindow(b *Budget, now time.Duration, cost int64) (time.Duration, bool) {
	at := now.Milliseconds()
	for {
		s := k.state.Load()
		if s == removed {
			return 0, true
		}
		w := unpack(s)
		if w.end <= at {
			w = window{end: at + max(1, b.windowFromNow().Milliseconds())}
		}
		// A call that costs more than a window may have a whole one.
		if w.used > 0 && w.used+cost > k.spendable(b) {
			return time.Duration(w.end)*time.Millisecond - now, false
		}
		w.used += cost
		if k.state.CompareAndSwap(s, w.pack()) {
			return 0, false
		}
	}
}

// windowFromNow is how long a window lasts that begins now. The wall clock is asked
// each time, because somebody may have set it.
func (b *Budget) windowFromNow() time.Duration {
	if b.Refill == Aligned {
		return b.Window - time.Duration(time.Now().UnixNano()%int64(b.Window))
	}
	return b.Window
}

// giveBack returns units that were not used after all.
func (k *bucket) giveBack(b *Budget, now time.Duration, cost int64, shared bool) {
	switch {
	case b.Units == 0:
	case shared:
		k.stash(now, 0, cost)
	case b.Refill == Continuous:
		back := cost * b.interval()
		for {
			s := k.state.Load()
			if s == removed || k.state.CompareAndSwap(s, s-back) {
				return
			}
		}
	default:
		for {
			s := k.state.Load()
			w := unpack(s)
			if s == removed || w.end <= now.Milliseconds() {
				return
			}
			w.used = max(0, w.used-cost)
			if k.state.CompareAndSwap(s, w.pack()) {
				return
			}
		}
	}
}

const (
	// sameWindow is how far apart two answers may put the end of one window.
	sameWindow = 2 * time.Second
	// pauseUntold is how long a refusal holds that does not say how long: slack-go
	// and GitHub's documentation both take a minute.
	pauseUntold = time.Minute
	// pauseMost and resetMost cap what an answer can ask for.
	pauseMost = 24 * time.Hour
	resetMost = 24 * time.Hour
)

// believedReset is ResetIn, or 0 when that is nonsense.
func (r Reading) believedReset() time.Duration {
	if r.ResetIn > max(resetMost, 2*r.Budget.Window) {
		return 0
	}
	return r.ResetIn
}

// Pause is how long everybody who draws from the budget has to wait after a refusal,
// a day at most; 0 when there was none.
func (r Reading) Pause() time.Duration {
	if !r.Refused {
		return 0
	}
	for _, wait := range []time.Duration{r.RetryAfter, r.believedReset(), pauseUntold} {
		if wait > 0 {
			return min(wait, pauseMost)
		}
	}
	return 0
}

// read moves the bucket as an answer says. With shared the units are not kept here.
func (k *bucket) read(r *Reading, now time.Duration, shared bool) {
	b := r.Budget
	reset := r.believedReset()
	if r.Limit > 0 && r.Limit <= usedMost && b.Units > 0 && b.Refill != Continuous {
		k.limit.Store(int32(r.Limit))
	}
	if r.Remaining >= 0 && b.Units > 0 && !shared {
		switch {
		case b.Refill == Continuous:
			k.readContinuous(b, int64(now), int64(r.Remaining))
		case reset < 0, reset > 0 && reset < sameWindow && b.Window > 10*sameWindow:
			// It tells of a window that is as good as over.
		default:
			k.readWindow(b, now, reset, int64(r.Remaining))
		}
	}
	if pause := r.Pause(); pause > 0 {
		k.stop(now, pause)
	}
}

// readContinuous lets no more than remaining go at once from now on. More is not
// believed: calls under way are not counted by the provider yet.
func (k *bucket) readContinuous(b *Budget, now, remaining int64) {
	each := b.interval()
	burst := int64(max(b.Burst, 1))
	if remaining >= burst {
		return
	}
	told := now + (burst-remaining)*each
	for {
		s := k.state.Load()
		if s == removed || s >= told || k.state.CompareAndSwap(s, told) {
			return
		}
	}
}

// readWindow takes over what an answer tells of the window. Within one window only
// more spending is believed; an answer about a window that is over is not.
func (k *bucket) readWindow(b *Budget, now, reset time.Duration, remaining int64) {
	used := max(0, k.units(b)-remaining)
	for {
		s := k.state.Load()
		if s == removed {
			return
		}
		w := unpack(s)
		at, end := now.Milliseconds(), (now + reset).Milliseconds()
		slack := sameWindow.Milliseconds()
		switch {
		case reset == 0:
			if w.end <= at {
				w = window{end: at + b.Window.Milliseconds()}
			}
			w.used = max(w.used, used)
		case w.end <= at:
			w = window{end: end, learned: true, used: used}
		case !w.learned:
			w = window{end: end, learned: true, used: max(w.used, used)}
		case end < w.end-slack:
			return
		case end > w.end+slack:
			w = window{end: end, learned: true, used: used}
		default:
			w.used = max(w.used, used)
		}
		if k.state.CompareAndSwap(s, w.pack()) {
			return
		}
	}
}

// view is how the bucket stands.
func (k *bucket) view(b *Budget, now time.Duration) View {
	v := View{Limit: int(k.units(b))}
	s := k.state.Load()
	switch {
	case b.Units == 0 || s == removed:
		v.Limit, v.Remaining = b.Concurrent, b.Concurrent
	case b.Refill == Continuous:
		each := b.interval()
		back := max(0, s-int64(now))
		v.Remaining = int(max(0, int64(max(b.Burst, 1))-(back+each-1)/each))
		v.ResetIn = time.Duration(back)
	default:
		v.Remaining = v.Limit
		if w := unpack(s); w.end > now.Milliseconds() {
			v.Remaining = int(max(0, int64(v.Limit)-w.used))
			v.ResetIn = time.Duration(w.end)*time.Millisecond - now
		}
	}
	if wait := time.Duration(k.pause.Load()) - now; wait > 0 {
		v.Remaining, v.ResetIn = 0, max(v.ResetIn, wait)
	}
	if l := k.line.Load(); l != nil {
		v.Waiting = l.length()
	}
	return v
}

// idle reports whether nothing would be lost with the bucket.
func (k *bucket) idle(b *Budget, now time.Duration) bool {
	if l := k.line.Load(); l != nil && (b.Units == 0 || !l.empty()) {
		// Without units nothing in the bucket would show that a call began just now.
		return false
	}
	if k.pause.Load() > int64(now) {
		return false
	}
	s := k.state.Load()
	if b.Units == 0 || b.Refill == Continuous {
		return s <= int64(now)
	}
	return unpack(s).end <= now.Milliseconds()
}
