// Package limitstest shows what a provider's limits make of requests and answers, as
// text that tests compare, and what must hold of any answer.
package limitstest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
)

// head is how much of a body a classifier is shown.
const head = 512

// Account is the account of all requests here.
const Account = "acct"

// Keeper is an adapter with limits.
type Keeper interface {
	providers.BudgetKeeper
	providers.AnswerClassifier
}

// Charges are what a request draws: "budget key cost", the cost left out when it is 1.
func Charges(k Keeper, r *http.Request) []string {
	var out []string
	for _, c := range k.Charges(providers.BudgetRequest{Request: r, Account: Account}, nil) {
		text := c.Budget.Name + " " + c.Key
		if c.Cost > 1 {
			text += fmt.Sprintf(" %d", c.Cost)
		}
		out = append(out, strings.TrimSpace(text))
	}
	return out
}

// Answer is an answer of a provider.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// readings are what k makes of an answer. The verdict and the pause come to it as the
// transport finds them.
func (a Answer) readings(k Keeper, r *http.Request) []ratelimit.Reading {
	if a.Header == nil {
		a.Header = http.Header{}
	}
	ans := providers.BudgetAnswer{Status: a.Status, Header: a.Header, Head: []byte(a.Body[:min(len(a.Body), head)])}
	ans.Verdict = k.ClassifyAnswer(a.Status, a.Header, ans.Head)
	if ans.Verdict == providers.AnswerLimited {
		if l, ok := k.(providers.LimitReader); ok {
			ans.RetryAfter = l.LimitedFor(a.Header, ans.Head)
		}
		if ans.RetryAfter <= 0 {
			ans.RetryAfter = token.ParseRetryAfter(a.Header, time.Now())
		}
	}
	return k.Readings(providers.BudgetRequest{Request: r, Account: Account}, ans, nil)
}

// Readings are what an answer tells: "budget key", and then what is told of "limit",
// "left", "reset" and "refused" with the pause.
func Readings(k Keeper, r *http.Request, a Answer) []string {
	var out []string
	for _, r := range a.readings(k, r) {
		text := strings.TrimSpace(r.Budget.Name + " " + r.Key)
		if r.Limit > 0 {
			text += fmt.Sprintf(" limit=%d", r.Limit)
		}
		if r.Remaining >= 0 {
			text += fmt.Sprintf(" left=%d", r.Remaining)
		}
		if r.ResetIn != 0 {
			text += fmt.Sprintf(" reset=%v", r.ResetIn.Round(time.Second))
		}
		if r.Refused {
			text += fmt.Sprintf(" refused=%v", r.Pause().Round(time.Second))
		}
		out = append(out, text)
	}
	return out
}

// most is how long any answer may hold calls back.
const most = 24 * time.Hour

// Check reports what is wrong with what k makes of an answer, which may be hostile:
// numbers without sense, or calls that are held back for more than a day.
func Check(k Keeper, r *http.Request, a Answer) error {
	readings := a.readings(k, r)
	call := &ratelimit.Call{Provider: "p", TenantID: "t", Charges: k.Charges(providers.BudgetRequest{Request: r, Account: Account}, nil)}
	l := ratelimit.NewLocal(nil)
	if err := l.Wait(context.Background(), call); err != nil {
		return fmt.Errorf("the first call: %w", err)
	}
	l.Done(call, readings)
	for _, r := range readings {
		if r.Pause() < 0 || r.Pause() > most || r.RetryAfter < 0 || r.RetryAfter > most || r.Limit < 0 || r.Remaining < -1 || r.ResetIn > most {
			return fmt.Errorf("a reading that makes no sense: %+v", r)
		}
		if v := l.View("p", r.Budget, r.Key); v.ResetIn < 0 || v.ResetIn > most || v.Remaining < 0 {
			return fmt.Errorf("%s stands at %+v", r.Budget.Name, v)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	var limited *ratelimit.Error
	if err := l.Wait(ctx, call); errors.As(err, &limited) && time.Until(limited.RetryAt) > most {
		return fmt.Errorf("held back for %v", time.Until(limited.RetryAt))
	}
	return nil
}
