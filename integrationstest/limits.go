package integrationstest

import (
	"maps"
	"net/http"
	"sync"
	"time"
)

// Enforced is what a fake saw that enforces its provider's limits, by the clock of
// the process. It is safe for concurrent use.
type Enforced struct {
	mu       sync.Mutex
	answered int
	refused  map[string]int
	meters   map[string]*meter
	inflight map[string]int
	most     map[string]int
	forms    int
}

// Answered is how many calls were within the limits.
func (e *Enforced) Answered() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answered
}

// Refused is how many calls were not, by the name of the limit.
func (e *Enforced) Refused() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.refused)
}

// Used is how many units of a limit a key has used in all: the account, or "" where
// all share it.
func (e *Enforced) Used(limit, key string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.meters[limit+" "+key]; m != nil {
		return m.total
	}
	return 0
}

// Windows is how many units of a limit a key used in each window that is over, where
// they do not slide. A window is over when a call comes after its end.
func (e *Enforced) Windows(limit, key string) []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.meters[limit+" "+key]; m != nil {
		return append([]int(nil), m.windows...)
	}
	return nil
}

// AtOnce is how many calls of an account were under way at most.
func (e *Enforced) AtOnce(account string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most[account]
}

func newEnforced() *Enforced {
	return &Enforced{refused: map[string]int{}, meters: map[string]*meter{}, inflight: map[string]int{}, most: map[string]int{}}
}

// allowance is a limit of which a call uses some units.
type allowance struct {
	limit, key string
	units      int
	span       time.Duration
	// whole windows begin with the first call, at a full second, and aligned ones at
	// the full hour; else the window slides.
	whole, aligned bool
	cost           int
}

// meter counts what was used of one allowance.
type meter struct {
	began       time.Time
	used, total int
	log         []spending // of a window that slides, the oldest first
	windows     []int      // used in each whole window but the last
}

type spending struct {
	at    time.Time
	units int
}

// settle forgets what is over.
func (m *meter) settle(a allowance, now time.Time) {
	if !a.whole && !a.aligned {
		for len(m.log) > 0 && !m.log[0].at.Add(a.span).After(now) {
			m.used -= m.log[0].units
			m.log = m.log[1:]
		}
		return
	}
	if m.began.IsZero() || !m.began.Add(a.span).After(now) {
		if !m.began.IsZero() {
			m.windows = append(m.windows, m.used)
		}
		m.used, m.began = 0, now.Truncate(time.Second)
		if a.aligned {
			m.began = now.Truncate(a.span)
		}
	}
}

// resets is when units come back.
func (m *meter) resets(a allowance) time.Time {
	if a.whole || a.aligned {
		return m.began.Add(a.span)
	}
	if len(m.log) == 0 {
		return time.Now()
	}
	return m.log[0].at.Add(a.span)
}

func (e *Enforced) meter(a allowance, now time.Time) *meter {
	m := e.meters[a.limit+" "+a.key]
	if m == nil {
		m = &meter{}
		e.meters[a.limit+" "+a.key] = m
	}
	m.settle(a, now)
	return m
}

// take uses all of the allowances, or none: then it returns the one that refused and
// when to come back.
func (e *Enforced) take(all ...allowance) (refused string, again time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, a := range all {
		if m := e.meter(a, now); m.used+a.cost > a.units {
			e.refused[a.limit]++
			return a.limit, m.resets(a)
		}
	}
	for _, a := range all {
		m := e.meter(a, now)
		m.used += a.cost
		m.total += a.cost
		if !a.whole && !a.aligned {
			m.log = append(m.log, spending{now, a.cost})
		}
	}
	e.answered++
	return "", time.Time{}
}

// left is what is left of an allowance, and when all of it is back.
func (e *Enforced) left(a allowance) (int, time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.meter(a, time.Now())
	return max(0, a.units-m.used), m.resets(a)
}

// begin counts a call under way; false when there are too many.
func (e *Enforced) begin(account string, most int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.inflight[account] >= most {
		e.refused["concurrent"]++
		return false
	}
	e.inflight[account]++
	e.most[account] = max(e.most[account], e.inflight[account])
	return true
}

func (e *Enforced) end(account string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inflight[account]--
}

// form goes round the forms in which a provider refuses.
func (e *Enforced) form(n int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forms++
	return e.forms % n
}

// wrap puts a handler before the one of a host.
func (n *Network) wrap(host string, with func(next http.Handler) http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[host] = with(n.handlers[host])
}

// owner is whose an access token is, "" when nobody knows it.
func (s *TokenServer) owner(value string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.access[value]; a != nil {
		return a.family.subject
	}
	return ""
}
