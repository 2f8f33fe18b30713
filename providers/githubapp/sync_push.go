package githubapp

import (
	"context"
	"errors"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/webhook"
)

// SyncOnPush returns a handler of pushes that runs [Sync] for the pushed
// repository alone and gives each item to consume:
//
//	m.OnWebhook(githubapp.SyncOnPush(m.ConnectionByID, nil, consume))
//
// Connect finds the connection of an event; a Manager's ConnectionByID does. A
// tenant that has disconnected is not synced. opts are those of [Sync], without
// Repositories. An error of consume ends the sync and makes the event come again,
// and so does an error of Sync, a [SyncSkipped] repository, because what was pushed
// may be too late for the sync at work, and a [SyncFailed] item with ErrConflict or
// ErrTransient. A sync that takes longer than the worker gives a handler goes on
// where it was at the next attempt. Consume may run for several events at a time.
// For an App under another key use Handler.For.
func SyncOnPush(
	connect func(ctx context.Context, tenant, integrationID string) (*providers.Connection, error), opts *SyncOptions,
	consume func(ctx context.Context, conn *providers.Connection, item SyncItem) error,
) webhook.Handler {
	var base SyncOptions
	if opts != nil {
		base = *opts
	}
	return Push(func(ctx context.Context, ev webhook.Event, p *github.PushEvent) error {
		if ev.IntegrationID == "" {
			return nil // nobody's
		}
		conn, err := connect(ctx, ev.TenantID, ev.IntegrationID)
		if errors.Is(err, providers.ErrNotConnected) || errors.Is(err, providers.ErrDisconnected) {
			return nil
		}
		if err != nil {
			return err
		}
		o := base
		o.Repositories = []string{p.GetRepo().GetFullName()}
		return syncOne(ctx, conn, &o, consume)
	})
}

func syncOne(ctx context.Context, conn *providers.Connection, o *SyncOptions, consume func(context.Context, *providers.Connection, SyncItem) error) error {
	var again error
	for item, err := range Sync(ctx, conn, o) {
		if err != nil {
			return err
		}
		if err := consume(ctx, conn, item); err != nil {
			return err
		}
		switch {
		case item.Kind == SyncSkipped:
			again = errBusy
		case errors.Is(item.Err, providers.ErrConflict), errors.Is(item.Err, providers.ErrTransient):
			again = item.Err
		}
	}
	return again
}
