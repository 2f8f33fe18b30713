package token

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/singleflight"
)

// flight is what is done once at a time, for a handle or for a name.
type flight struct {
	of  *Handle // nil for a name
	key string
}

// flight is something that is done once at a time for a handle. Its key is the
// handle's address, which takes no memory. What flown holds is not collected while
// the key is taken, so that no other handle can have the address.
func (h *Handle) flight(what string) flight { return flight{h, fmt.Sprintf("%p %s", h, what)} }

// flown is the result of a flight.
type flown struct {
	of  *Handle
	val any
}

// share does fn once for all who ask for the same flight at the same time. Each
// waits as long as its own ctx allows; fn goes on without them, for limit at
// most.
func share[T any](ctx context.Context, v *Vault, f flight, limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case r := <-start(ctx, v, f, limit, fn):
		if r.Err != nil {
			return none, r.Err
		}
		val, _ := r.Val.(*flown).val.(T) // nil is of no type
		return val, nil
	}
}

// start is share without the wait.
func start[T any](ctx context.Context, v *Vault, f flight, limit time.Duration, fn func(context.Context) (T, error)) <-chan singleflight.Result {
	return v.flights.DoChan(f.key, func() (res any, err error) {
		out := &flown{of: f.of}
		res = out // after a panic too
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		defer v.recovered(work, &err)
		out.val, err = fn(work)
		if errors.Is(err, context.DeadlineExceeded) {
			err = errSlowStore
		}
		return res, err
	})
}

// errSlowStore stands for the end of a limit of ours. Callers must not take it
// for the end of their own context.
var errSlowStore = errors.New("integrations/token: the store did not answer in time")

// within gives one call to the store its budget.
func within[T any](ctx context.Context, v *Vault, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.CommitBudget)
	defer cancel()
	return call(ctx)
}

// recovered turns a panic of a store or a Renewer into an error: on a goroutine
// of ours it would end the process, past every recover of the host. The value
// may hold anything, so only its type is told.
func (v *Vault) recovered(ctx context.Context, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("integrations/token: panic of type %T", p)
		v.log.ErrorContext(ctx, "integrations: panic in a store or a renewer", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	}
}
