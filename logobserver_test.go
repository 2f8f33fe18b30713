package integrations_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// records are what a logger wrote, a map a line.
func records(t *testing.T, out *bytes.Buffer) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range bytes.Lines(out.Bytes()) {
		var r map[string]any
		require.NoError(t, json.Unmarshal(line, &r))
		all = append(all, r)
	}
	return all
}

func TestLogObserverLevels(t *testing.T) {
	oops := errors.New("oops")
	for _, c := range []struct {
		event any
		level string // "" for none
		has   map[string]any
	}{
		{providers.Call{Provider: "slack", TenantID: "t1", Method: "GET", Host: "slack.com", Status: 200, Attempt: 1}, "DEBUG", map[string]any{"provider": "slack", "tenant": "t1", "status": 200.0, "host": "slack.com"}},
		{providers.Call{Status: 429, Limited: true, Attempt: 2, Wait: time.Second}, "WARN", map[string]any{"limited": true, "attempt": 2.0, "wait": 1e9}},
		{providers.Call{Status: 503}, "WARN", map[string]any{"status": 503.0}},
		{providers.Call{Status: 404}, "DEBUG", map[string]any{"status": 404.0}},
		{providers.Call{Err: oops}, "WARN", map[string]any{"error": "oops"}},
		{token.Event{Provider: "jira", Call: time.Second}, "DEBUG", map[string]any{"provider": "jira", "call": 1e9}},
		{token.Event{Err: oops}, "WARN", map[string]any{"error": "oops"}},
		{token.FaultEvent{Open: true}, "", nil},
		{webhook.Observation{Outcome: webhook.OutcomeStored, Stored: 2}, "DEBUG", map[string]any{"outcome": "stored", "stored": 2.0}},
		{webhook.Observation{Outcome: webhook.OutcomeRefused, Status: 401}, "WARN", map[string]any{"status": 401.0}},
		{webhook.Observation{Outcome: webhook.OutcomeUnavailable, Status: 503}, "ERROR", nil},
		{webhook.Observation{Outcome: webhook.OutcomeFailed, EventID: "e1", EventType: "push", Attempt: 3, Err: oops}, "WARN", map[string]any{"event": "e1", "type": "push", "attempt": 3.0, "error": "oops"}},
		{webhook.Observation{Outcome: webhook.OutcomeDead, EventID: "e1"}, "ERROR", nil},
		{integrations.FlowEvent{TenantID: "t1", UserID: "u1", Result: "connected"}, "INFO", map[string]any{"user": "u1", "result": "connected"}},
		{integrations.RecoveryEvent{Provider: "github", Requested: 4}, "INFO", map[string]any{"requested": 4.0}},
		{integrations.RetentionEvent{Removed: 1}, "", nil},
		{ratelimit.SourceEvent{Err: oops, Share: 0.25}, "WARN", map[string]any{"share": 0.25, "error": "oops"}},
		{ratelimit.SourceEvent{Share: 0.25}, "INFO", nil},
	} {
		var out bytes.Buffer
		o := integrations.LogObserver(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		o.Observe(t.Context(), c.event)
		got := records(t, &out)
		if c.level == "" {
			require.Empty(t, got, "%T", c.event)
			continue
		}
		require.Len(t, got, 1, "%+v", c.event)
		require.Equal(t, c.level, got[0]["level"], "%+v", c.event)
		for k, v := range c.has {
			require.Equal(t, v, got[0][k], "%+v: %s", c.event, k)
		}
	}
	integrations.LogObserver(nil).Observe(t.Context(), providers.Call{})
}

// TestALoggerIsAnObserver: a Manager with a Logger and no Observer logs its events.
func TestALoggerIsAnObserver(t *testing.T) {
	kit := integrationstest.New(t)
	var out bytes.Buffer
	cfg := kit.Config()
	cfg.Logger, cfg.Observer = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), nil
	m := kit.Use(cfg)
	kit.Connect("t1", slackapp.Key)
	conn, err := m.Connection(t.Context(), "t1", slackapp.Key)
	require.NoError(t, err)
	_, err = slackapp.Notify(context.WithoutCancel(t.Context()), conn, slackapp.Message{Text: "x", Channel: "#general"})
	require.NoError(t, err)
	var calls int
	for _, r := range records(t, &out) {
		if r["msg"] == "integrations: call" {
			calls++
			require.Equal(t, "t1", r["tenant"])
			require.Equal(t, "slack.com", r["host"])
		}
	}
	require.Positive(t, calls)
}
