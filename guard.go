package integrations

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

// What the host gives may panic: its store, its providers, its log. Such a panic
// is an error of the call, an answer, or a line of the log.

// recovered ends a panic as an error. It must be deferred. The value may hold
// anything, so only its type is told.
func (m *Manager) recovered(ctx context.Context, what string, err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("integrations: %s: panic with a value of type %T", what, v)
		m.logPanic(ctx, what, v)
	}
}

func (m *Manager) logPanic(ctx context.Context, what string, v any) {
	m.log.ErrorContext(ctx, "integrations: panic", "in", what, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
}

// calm is fn with panics as errors.
func (m *Manager) calm(ctx context.Context, fn func(context.Context) error) (err error) {
	defer m.recovered(ctx, "work of the host's", &err)
	return fn(ctx)
}

// guarded is a handler whose panics are answered 500.
func (m *Manager) guarded(what string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v == http.ErrAbortHandler {
				panic(v) // the server's own
			} else if v != nil {
				m.logPanic(r.Context(), what, v)
				writeError(w, http.StatusInternalServerError, codeInternal)
			}
		}()
		h(w, r)
	})
}

// guardedEndpoints and guardedSyncs are what a connection asks the store for.
type guardedEndpoints struct {
	providers.Endpoints
	m *Manager
}

func (g guardedEndpoints) Open(ctx context.Context) (e providers.Endpoint, err error) {
	defer g.m.recovered(ctx, "open endpoint", &err)
	return g.Endpoints.Open(ctx)
}

func (g guardedEndpoints) Close(ctx context.Context, id string) (err error) {
	defer g.m.recovered(ctx, "close endpoint", &err)
	return g.Endpoints.Close(ctx, id)
}

func (g guardedEndpoints) List(ctx context.Context) (es []providers.EndpointInfo, err error) {
	defer g.m.recovered(ctx, "list endpoints", &err)
	return g.Endpoints.List(ctx)
}

func (g guardedEndpoints) Rotate(ctx context.Context, id string, overlap time.Duration) (e providers.Endpoint, err error) {
	defer g.m.recovered(ctx, "rotate endpoint", &err)
	return g.Endpoints.Rotate(ctx, id, overlap)
}

func (g guardedEndpoints) Others(ctx context.Context) (remoteIDs []string, integrations int, err error) {
	defer g.m.recovered(ctx, "list subscriptions of others", &err)
	return g.Endpoints.Others(ctx)
}

func (g guardedEndpoints) Save(ctx context.Context, s providers.Subscription) (err error) {
	defer g.m.recovered(ctx, "save subscription", &err)
	return g.Endpoints.Save(ctx, s)
}

func (g guardedEndpoints) Subscriptions(ctx context.Context) (subs []providers.Subscription, err error) {
	defer g.m.recovered(ctx, "list subscriptions", &err)
	return g.Endpoints.Subscriptions(ctx)
}

func (g guardedEndpoints) Delete(ctx context.Context, name string) (err error) {
	defer g.m.recovered(ctx, "delete subscription", &err)
	return g.Endpoints.Delete(ctx, name)
}

type guardedSyncs struct {
	providers.Syncs
	m *Manager
}

func (g guardedSyncs) Load(ctx context.Context, name string) (value []byte, version int64, err error) {
	defer g.m.recovered(ctx, "load checkpoint", &err)
	return g.Syncs.Load(ctx, name)
}

func (g guardedSyncs) Save(ctx context.Context, name string, value []byte, version int64) (newVersion int64, err error) {
	defer g.m.recovered(ctx, "save checkpoint", &err)
	return g.Syncs.Save(ctx, name, value, version)
}

func (g guardedSyncs) TryLease(ctx context.Context, name, owner string, ttl time.Duration) (mine bool, err error) {
	defer g.m.recovered(ctx, "lease", &err)
	return g.Syncs.TryLease(ctx, name, owner, ttl)
}

func (g guardedSyncs) Release(ctx context.Context, name, owner string) (err error) {
	defer g.m.recovered(ctx, "release lease", &err)
	return g.Syncs.Release(ctx, name, owner)
}

// guardedLog is a logger whose handler's panics end in it.
func guardedLog(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(guardedHandler{l.Handler()})
}

type guardedHandler struct{ slog.Handler }

func (h guardedHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }() // there is nobody to tell
	return h.Handler.Enabled(ctx, level)
}

func (h guardedHandler) Handle(ctx context.Context, r slog.Record) error {
	defer func() { _ = recover() }()
	return h.Handler.Handle(ctx, r)
}

func (h guardedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return guardedHandler{h.Handler.WithAttrs(attrs)}
}

func (h guardedHandler) WithGroup(name string) slog.Handler {
	return guardedHandler{h.Handler.WithGroup(name)}
}
