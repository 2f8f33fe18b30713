package integrations

import (
	"context"
	"log/slog"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// LogObserver returns an [Observer] that writes one record for each event: at debug
// level what went well, above it what an operator wants to see. Faults of an app and
// removed events are left out, because the Manager logs them itself. Nil discards.
// It is what a Manager uses that has a Logger and no Observer.
func LogObserver(l *slog.Logger) Observer { return logObserver{guardedLog(l)} }

type logObserver struct{ log *slog.Logger }

func (o logObserver) Observe(ctx context.Context, event any) {
	switch e := event.(type) {
	case providers.Call:
		o.call(ctx, e)
	case token.Event:
		level := slog.LevelDebug
		if e.Err != nil {
			level = slog.LevelWarn
		}
		o.write(ctx, level, "integrations: refresh", e.Err, slog.String("provider", e.Provider), slog.String("tenant", e.TenantID),
			slog.String("integration", e.IntegrationID), slog.Duration("call", e.Call), slog.Duration("commit", e.Commit))
	case webhook.Observation:
		o.delivery(ctx, e)
	case FlowEvent:
		// The cause of a flow that failed on our side is logged where it failed.
		o.write(ctx, slog.LevelInfo, "integrations: connect flow", nil, slog.String("provider", e.Provider), slog.String("tenant", e.TenantID),
			slog.String("user", e.UserID), slog.String("result", e.Result))
	case RecoveryEvent:
		o.write(ctx, slog.LevelInfo, "integrations: missed webhooks", e.Err, slog.String("provider", e.Provider), slog.String("tenant", e.TenantID),
			slog.String("integration", e.IntegrationID), slog.Int("requested", e.Requested), slog.Int("stored", e.Stored))
	case ratelimit.SourceEvent:
		level, msg := slog.LevelInfo, "integrations: rate limits are shared again"
		if e.Err != nil {
			level, msg = slog.LevelWarn, "integrations: rate limits are kept by each process alone"
		}
		o.write(ctx, level, msg, e.Err, slog.Float64("share", e.Share))
	}
}

func (o logObserver) call(ctx context.Context, c providers.Call) {
	level := slog.LevelDebug
	if c.Limited || c.Err != nil || c.Status >= 500 {
		level = slog.LevelWarn
	}
	if !o.log.Enabled(ctx, level) {
		return
	}
	o.write(ctx, level, "integrations: call", c.Err, slog.String("provider", c.Provider), slog.String("tenant", c.TenantID),
		slog.String("integration", c.IntegrationID), slog.String("method", c.Method), slog.String("host", c.Host), slog.Int("status", c.Status),
		slog.Int("attempt", c.Attempt), slog.Bool("limited", c.Limited), slog.Duration("wait", c.Wait), slog.Duration("took", c.Duration))
}

func (o logObserver) delivery(ctx context.Context, e webhook.Observation) {
	level := slog.LevelDebug
	switch e.Outcome {
	case webhook.OutcomeRefused, webhook.OutcomeFailed, webhook.OutcomeOvertaken:
		level = slog.LevelWarn
	case webhook.OutcomeUnavailable, webhook.OutcomeDead, webhook.OutcomeUnreadable:
		level = slog.LevelError
	}
	if !o.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("outcome", string(e.Outcome)), slog.String("provider", e.Provider), slog.Duration("took", e.Took)}
	if e.EventID == "" {
		attrs = append(attrs, slog.Int("status", e.Status), slog.Int("stored", e.Stored), slog.Int("duplicates", e.Duplicates))
	} else {
		attrs = append(attrs, slog.String("event", e.EventID), slog.String("type", e.EventType), slog.String("tenant", e.TenantID),
			slog.String("integration", e.IntegrationID), slog.Int("attempt", e.Attempt))
	}
	o.write(ctx, level, "integrations: webhook", e.Err, attrs...)
}

func (o logObserver) write(ctx context.Context, level slog.Level, msg string, err error, attrs ...slog.Attr) {
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	o.log.LogAttrs(ctx, level, msg, attrs...)
}
