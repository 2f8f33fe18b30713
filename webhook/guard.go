package webhook

import (
	"context"
	"log/slog"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// What a host gives may panic. Where a goroutine of this package's or a loop calls
// it, nobody else could recover.

// guardLogger returns a logger whose handler's panics end in it.
func guardLogger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	if _, ok := l.Handler().(guardedHandler); ok {
		return l
	}
	return slog.New(guardedHandler{l.Handler()})
}

type guardedHandler struct{ slog.Handler }

func (h guardedHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }() // there is nobody to tell
	return h.Handler.Enabled(ctx, level)
}

func (h guardedHandler) Handle(ctx context.Context, r slog.Record) (err error) {
	defer recovered(&err)
	return h.Handler.Handle(ctx, r)
}

func (h guardedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return guardedHandler{h.Handler.WithAttrs(attrs)}
}

func (h guardedHandler) WithGroup(name string) slog.Handler {
	return guardedHandler{h.Handler.WithGroup(name)}
}

// guard keeps panics of what the host gave to themselves, but for the handlers' and
// the cipher's, which end the attempt.
func (cfg *WorkerConfig) guard() {
	cfg.Logger = guardLogger(cfg.Logger)
	cfg.Observe = guardObserve(cfg.Observe, cfg.Logger)
	cfg.Inbox = guardedInbox{cfg.Inbox}
}

// guardObserve returns an observer whose panics are logged; never nil.
func guardObserve(observe func(context.Context, Observation), l *slog.Logger) func(context.Context, Observation) {
	if observe == nil {
		return func(context.Context, Observation) {}
	}
	return func(ctx context.Context, o Observation) {
		defer logPanic(ctx, l, o.Provider)
		observe(ctx, o)
	}
}

// logPanic ends a panic in the log. It must be deferred.
func logPanic(ctx context.Context, l *slog.Logger, provider string) {
	if v := recover(); v != nil {
		p := newPanicError(v)
		l.ErrorContext(ctx, "webhook panic", "provider", provider, "error", p, "stack", string(p.Stack))
	}
}

// recovered ends a panic as an error. It must be deferred.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = newPanicError(v)
	}
}

// guardedInbox is what a worker needs of an inbox, with panics as errors.
type guardedInbox struct{ store.Inbox }

func (g guardedInbox) DueTenants(ctx context.Context, q store.DueQuery) (due store.Due, err error) {
	defer recovered(&err)
	return g.Inbox.DueTenants(ctx, q)
}

func (g guardedInbox) ClaimDeliveries(ctx context.Context, c store.ClaimDeliveries) (claimed store.Claimed, err error) {
	defer recovered(&err)
	return g.Inbox.ClaimDeliveries(ctx, c)
}

func (g guardedInbox) RecordDeliveries(ctx context.Context, r store.RecordDeliveries) (recorded store.Recorded, err error) {
	defer recovered(&err)
	return g.Inbox.RecordDeliveries(ctx, r)
}

func (g guardedInbox) RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) (err error) {
	defer recovered(&err)
	return g.Inbox.RenewDeliveries(ctx, owner, ids, ttl)
}
