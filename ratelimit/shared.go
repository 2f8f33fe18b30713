package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Source gives out the units of budgets that several processes share. Package
// redislimit has one. Implementations must be safe for concurrent use.
type Source interface {
	// Take answers each of asks with a [Grant], all or nothing: if one of them
	// cannot be given its Least, none is given anything. It must never give out
	// more than the budgets allow, whoever asks.
	Take(ctx context.Context, asks []Ask) ([]Grant, error)
	// Report tells what a provider's answers said.
	Report(ctx context.Context, provider string, readings []Reading) error
}

// Ask is a request for units of a budget.
type Ask struct {
	Provider string
	Budget   *Budget
	Key      string
	// Want is how many would be used soon, Least how many are needed now.
	Want, Least int
}

// Grant is the answer to an [Ask].
type Grant struct {
	// Units were given, 0 when there were not enough. They are to be used within
	// Lasts and are lost then.
	Units int
	Lasts time.Duration
	// RetryIn is when to ask again if nothing was given.
	RetryIn time.Duration
	// Replicas is how many processes drew from the provider's budgets lately.
	Replicas int
}

// SharedConfig says how a [Shared] works. Source is required.
type SharedConfig struct {
	LocalConfig
	Source Source
	// Strict asks the source for every call, in one visit, instead of taking units
	// ahead: nothing is ever lost with a process that ends.
	Strict bool
	// Timeout bounds a visit to the source. Defaults to 250 ms.
	Timeout time.Duration
	// Away is how long the source is left alone after it failed. Defaults to 1 s.
	Away time.Duration
	// Observe, when not nil, is told when the source is away and when it is back.
	// It must not block.
	Observe func(e SourceEvent)
}

// SourceEvent tells that a [Source] failed or works again.
type SourceEvent struct {
	// Err is what it failed with, nil when it works again.
	Err error
	// Share is the part of each budget that this process uses meanwhile: one
	// divided by the number of replicas seen last.
	Share float64
}

// Shared is a [Limiter] whose budgets several processes share through a [Source].
// While the source is away each process keeps to its share of every budget. It is
// safe for concurrent use and starts no goroutine.
type Shared struct {
	cfg  SharedConfig
	with *Local // units from the source
	// alone is used while the source is away, with a share of each budget.
	alone    atomic.Pointer[alone]
	replicas atomic.Int32
	// again is when the source is asked again, by the clock of alone.
	again atomic.Int64
}

// alone is a limiter for the time without a source.
type alone struct {
	limiter  *Local
	replicas int32
	mu       sync.Mutex
	shares   map[*Budget]*Budget
}

// NewShared returns a limiter, or an error when there is no Source.
func NewShared(cfg SharedConfig) (*Shared, error) {
	if cfg.Source == nil {
		return nil, errors.New("integrations/ratelimit: SharedConfig.Source is nil")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 250*time.Millisecond)
	cfg.Away = cmp.Or(cfg.Away, time.Second)
	s := &Shared{cfg: cfg, with: NewLocal(&cfg.LocalConfig)}
	s.with.source = s
	s.replicas.Store(1)
	return s, nil
}

// errSource means that the source could not be asked.
var errSource = errors.New("integrations/ratelimit: the source of shared budgets cannot be reached")

// Wait implements [Limiter].
func (s *Shared) Wait(ctx context.Context, c *Call) error {
	for {
		c.by = nil
		if a := s.alone.Load(); a != nil && a.now() < time.Duration(s.again.Load()) {
			return a.wait(ctx, c)
		}
		if err := s.with.Wait(ctx, c); !errors.Is(err, errSource) {
			return err
		}
	}
}

// Done implements [Limiter].
func (s *Shared) Done(c *Call, readings []Reading) {
	if a := c.by; a != nil {
		a.done(c, readings)
	} else {
		s.with.Done(c, readings)
	}
	var news []Reading
	for _, r := range readings {
		if s.worthTelling(c, r) {
			r.ResetIn = r.believedReset()
			news = append(news, r)
		}
	}
	if len(news) == 0 || s.alone.Load() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
	defer cancel()
	s.heard(s.cfg.Source.Report(ctx, c.Provider, news))
}

// tellEvery is how often the source is told what answers say of a window.
const tellEvery = time.Second

func (s *Shared) worthTelling(c *Call, r Reading) bool {
	if r.Refused {
		return true
	}
	if r.Remaining < 0 || r.Budget.Units == 0 || r.ResetIn < 0 {
		return false
	}
	now := s.with.now()
	_, k := s.with.find(c, r.Budget, r.Key)
	ln := k.makeLine()
	last := ln.reported.Load()
	return (last == 0 || int64(now)-last >= int64(tellEvery)) && ln.reported.CompareAndSwap(last, max(1, int64(now)))
}

// View implements [Viewer]: what this process has taken, and what the last answer
// said of the limit.
func (s *Shared) View(provider string, b *Budget, key string) View {
	return s.with.View(provider, b, key)
}

const (
	// askFaster and askSlower are when units taken ahead ran out so soon, or lasted
	// so long, that another number is asked for next time.
	askFaster = 50 * time.Millisecond
	askSlower = time.Second
	// aheadShare is the part of a budget that one process takes ahead at most: what
	// several of them lose when they end is little.
	aheadShare = 400
)

// fetch asks the source for what c lacks. It is called by the one who has the turn
// in ln. It returns how long to wait when there was nothing, 0 when there was.
func (s *Shared) fetch(ctx context.Context, c *Call, ln *line) (time.Duration, error) {
	now := s.with.now()
	var asks []Ask
	var buckets []*bucket
	for i := range c.Charges {
		ch := &c.Charges[i]
		if ch.Budget.Units == 0 {
			continue
		}
		_, k := s.with.find(c, ch.Budget, ch.Key)
		if w := unpack(k.state.Load()); w.end > now.Milliseconds() && w.used >= ch.cost() {
			continue
		}
		least := int(ch.cost())
		want := least
		if !s.cfg.Strict {
			want = max(least, k.makeLine().ahead(k, ch.Budget, now))
		}
		asks = append(asks, Ask{Provider: c.Provider, Budget: ch.Budget, Key: ch.Key, Want: want, Least: least})
		buckets = append(buckets, k)
	}
	visit, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	grants, err := s.cfg.Source.Take(visit, asks)
	if err == nil && len(grants) != len(asks) {
		err = errors.New("integrations/ratelimit: the source answered with another number of grants")
	}
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		s.heard(err)
		return 0, errSource
	}
	s.heard(nil)
	now = s.with.now()
	var wait time.Duration
	for i, g := range grants {
		s.replicas.Store(int32(max(1, g.Replicas)))
		switch {
		case g.Units > 0:
			buckets[i].stash(now, g.Lasts, int64(g.Units))
		case g.RetryIn > 0:
			buckets[i].stop(now, g.RetryIn)
			wait = max(wait, g.RetryIn)
		}
	}
	return wait, nil
}

// ahead is how many units to ask for: as many as are used in the time between two
// visits, and few enough that little is lost.
func (l *line) ahead(k *bucket, b *Budget, now time.Duration) int {
	switch since := now - l.fetched; {
	case l.fetched == 0:
		l.want = 1
	case since < askFaster:
		l.want *= 2
	case since > askSlower:
		l.want /= 2
	}
	l.fetched = max(now, 1)
	most := k.units(b) / aheadShare
	if b.Refill == Continuous {
		most = max(most, int64(b.Burst)/4)
	}
	l.want = max(1, min(l.want, int(most)))
	return l.want
}

// heard notes whether the source works.
func (s *Shared) heard(err error) {
	a := s.alone.Load()
	if err == nil {
		if a != nil && s.alone.CompareAndSwap(a, nil) {
			s.tell(SourceEvent{Share: 1})
		}
		return
	}
	if a == nil {
		a = &alone{limiter: NewLocal(&s.cfg.LocalConfig), replicas: s.replicas.Load(), shares: map[*Budget]*Budget{}}
		if s.alone.CompareAndSwap(nil, a) {
			s.tell(SourceEvent{Err: err, Share: 1 / float64(a.replicas)})
		} else {
			a = s.alone.Load()
		}
	}
	if a != nil {
		s.again.Store(int64(a.now() + s.cfg.Away))
	}
}

func (s *Shared) tell(e SourceEvent) {
	if s.cfg.Observe != nil {
		s.cfg.Observe(e)
	}
}

func (a *alone) now() time.Duration { return a.limiter.now() }

// share is this process's part of a budget.
func (a *alone) share(b *Budget) *Budget {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.shares[b]; s != nil {
		return s
	}
	part := func(n int) int {
		if n == 0 {
			return 0
		}
		return max(1, n/int(a.replicas))
	}
	s := *b
	s.Units, s.Burst, s.Concurrent = part(b.Units), part(b.Burst), part(b.Concurrent)
	a.shares[b] = &s
	return &s
}

func (a *alone) wait(ctx context.Context, c *Call) error {
	c.by = a
	return a.limiter.Wait(ctx, a.call(c))
}

func (a *alone) call(c *Call) *Call {
	mine := *c
	mine.Handles = nil // of the budgets with a source
	mine.Charges = make([]Charge, len(c.Charges))
	for i, ch := range c.Charges {
		ch.Budget = a.share(ch.Budget)
		mine.Charges[i] = ch
	}
	return &mine
}

func (a *alone) done(c *Call, readings []Reading) {
	mine := make([]Reading, len(readings))
	for i, r := range readings {
		r.Budget = a.share(r.Budget)
		r.Limit = 0 // of all replicas together
		mine[i] = r
	}
	a.limiter.Done(a.call(c), mine)
}
