package providers

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
)

// BudgetKeeper is an ability of a provider that knows its limits. Of one that does
// not, the calls of an account are held back after a refusal and nothing more.
// Implementations must be safe for concurrent use.
type BudgetKeeper interface {
	// Budgets are all there are.
	Budgets() []*ratelimit.Budget
	// Charges appends what a request draws from them, the narrowest first.
	Charges(q BudgetRequest, into []ratelimit.Charge) []ratelimit.Charge
	// Readings appends what an answer tells of them. A refusal must say which one
	// refused.
	Readings(q BudgetRequest, a BudgetAnswer, into []ratelimit.Reading) []ratelimit.Reading
}

// BudgetRequest is a request that draws from budgets. It must not be changed or
// kept.
type BudgetRequest struct {
	Request *http.Request
	// Account is the external account of the connection.
	Account string
}

// BudgetAnswer is what came back. It must not be changed or kept.
type BudgetAnswer struct {
	Status int
	Header http.Header
	// Head is what a classifier was shown of the body.
	Head []byte
	// Verdict is what the classifier said.
	Verdict Answer
	// RetryAfter is how long a refusal asks to wait, 0 when it does not say.
	RetryAfter time.Duration
}

// untold is the budget of providers that tell none: only refusals move it.
var untold = &ratelimit.Budget{}

// spending is what one attempt draws, in memory that is used again.
type spending struct {
	call     ratelimit.Call
	charges  [8]ratelimit.Charge
	readings [8]ratelimit.Reading
}

var spendings = sync.Pool{New: func() any { return new(spending) }}

// free empties what was used: most calls draw from two or three budgets, and all of it
// would cost as much as the limiter does.
func (s *spending) free(told int) {
	clear(s.charges[:min(len(s.call.Charges), len(s.charges))])
	clear(s.readings[:min(told, len(s.readings))])
	s.call = ratelimit.Call{}
	spendings.Put(s)
}

// spend waits until a request may go. The spending is nil when no limits are kept;
// else spent or free must be called.
func (t *transport) spend(ctx context.Context, r *http.Request) (*spending, time.Duration, error) {
	if t.cfg.Limiter == nil {
		return nil, 0, nil
	}
	s := spendings.Get().(*spending)
	s.call = ratelimit.Call{
		Provider: t.cfg.Provider, TenantID: t.origin.TenantID(), Priority: ratelimit.PriorityOf(ctx), Handles: &t.handles,
	}
	if k := t.cfg.Budgets; k != nil {
		s.call.Charges = k.Charges(BudgetRequest{Request: r, Account: t.origin.Account()}, s.charges[:0])
	} else {
		s.charges[0] = ratelimit.Charge{Budget: untold, Key: t.origin.Account()}
		s.call.Charges = s.charges[:1]
	}
	var start time.Time
	if t.cfg.Observe != nil {
		start = time.Now()
	}
	err := t.cfg.Limiter.Wait(ctx, &s.call)
	var wait time.Duration
	if t.cfg.Observe != nil {
		wait = time.Since(start)
	}
	if err != nil {
		s.free(0)
		return nil, wait, err
	}
	return s, wait, nil
}

// spent tells the limiter what an attempt brought, nil for one that was not sent or
// not answered.
func (t *transport) spent(s *spending, r *http.Request, resp *http.Response, head []byte, verdict Answer) {
	if s == nil {
		return
	}
	var readings []ratelimit.Reading
	defer func() { s.free(len(readings)) }()
	if resp == nil {
		t.cfg.Limiter.Done(&s.call, nil)
		return
	}
	retryAfter := t.retryAfter(resp.Header, head, verdict)
	if k := t.cfg.Budgets; k != nil {
		readings = k.Readings(BudgetRequest{Request: r, Account: t.origin.Account()}, BudgetAnswer{
			Status: resp.StatusCode, Header: resp.Header, Head: head, Verdict: verdict, RetryAfter: retryAfter,
		}, s.readings[:0])
	} else if verdict == AnswerLimited {
		s.readings[0] = ratelimit.Reading{Budget: untold, Key: t.origin.Account(), Remaining: -1, Refused: true, RetryAfter: retryAfter}
		readings = s.readings[:1]
	}
	t.cfg.Limiter.Done(&s.call, readings)
}

// BudgetView is how one of a provider's budgets stands for a connection.
type BudgetView struct {
	// Name is the budget's, Key whose it is: the account, or "" for the whole app.
	Name, Key string
	ratelimit.View
}

// Budget shows how the budgets of the connection's account stand, as far as this
// process knows: what was spent here and what the last answers told. It is empty for
// a provider that tells none and for a limiter that is no [ratelimit.Viewer].
func (c *Connection) Budget() []BudgetView {
	v, ok := c.cfg.Limiter.(ratelimit.Viewer)
	if !ok || c.cfg.Budgets == nil {
		return nil
	}
	var out []BudgetView
	for _, b := range c.cfg.Budgets.Budgets() {
		key := c.origin.Account()
		if b.Shared {
			key = ""
		}
		out = append(out, BudgetView{Name: b.Name, Key: key, View: v.View(c.cfg.Provider, b, key)})
	}
	return out
}
