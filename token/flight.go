package token

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/singleflight"
)

// flight is the key of what is done once at a time for a handle. The handle is in
// the flight, so nothing else is at its address meanwhile.
func (h *Handle) flight(what string) string { return fmt.Sprintf("%p %s", h, what) }

// share does fn once for all who ask for the same key at the same time. Each
// waits as long as its own ctx allows; fn goes on without them, for limit at
// most.
func share[T any](ctx context.Context, v *Vault, key string, limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case r := <-start(ctx, v, key, limit, fn):
		if r.Err != nil {
			return none, r.Err
		}
		val, _ := r.Val.(T) // a nil interface has no type
		return val, nil
	}
}

// start is share without the wait.
func start[T any](ctx context.Context, v *Vault, key string, limit time.Duration, fn func(context.Context) (T, error)) <-chan singleflight.Result {
	return v.flights.DoChan(key, func() (val any, err error) {
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		defer v.recovered(work, &err)
		val, err = fn(work)
		if errors.Is(err, context.DeadlineExceeded) {
			err = errSlowStore
		}
		return val, err
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
