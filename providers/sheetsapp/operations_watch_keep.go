package sheetsapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

const (
	// openingPrefix begins the names of channels that are being opened: who dies in
	// between leaves a row that tells of it.
	openingPrefix = "drive.opening:"
	// openingFor is how long that may take.
	openingFor = 15 * time.Minute
	// channelsLease is how long nobody else opens channels of an integration.
	channelsLease     = time.Minute
	channelsLeaseName = "google_channels"
)

// alone keeps others from opening channels of this integration until release is
// called.
func alone(ctx context.Context, conn *providers.Connection) (release func(), err error) {
	lease, ok, err := conn.TryLease(ctx, channelsLeaseName, channelsLease)
	switch {
	case errors.Is(err, errors.ErrUnsupported): // a store without leases is one replica's
		return func() {}, nil
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%w: channels of this integration are being opened", providers.ErrConflict)
	}
	return func() { _ = lease.Release(ctx) }, nil // it ends by itself
}

// unfinished says that a channel with this id is about to be opened.
func unfinished(ctx context.Context, conn *providers.Connection, id string, d channelData) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return conn.SaveSubscription(ctx, providers.Subscription{
		Name: openingPrefix + id, RemoteID: id, Data: data, RenewAt: time.Now().Add(openingFor),
	})
}

// finished forgets that. What stays is looked into later and found to be in use.
func finished(ctx context.Context, conn *providers.Connection, id string) {
	_ = conn.DeleteSubscription(context.WithoutCancel(ctx), openingPrefix+id)
}

// closeUnfinished puts right what stopped in the middle: a channel that is in use
// stays, any other is stopped, if it is there. Google stops one only for who knows
// the id of what it watches, which the answer would have brought; another channel
// of the same has the same. One that cannot be stopped ends by itself, and its
// notifications are refused. The error wraps providers.ErrNotFound when it is done.
func closeUnfinished(ctx context.Context, conn *providers.Connection, s providers.Subscription) error {
	done := fmt.Errorf("%w: the channel was not opened to its end", providers.ErrNotFound)
	var d channelData
	if json.Unmarshal(s.Data, &d) != nil {
		return done
	}
	subs, err := conn.Subscriptions(ctx)
	if err != nil {
		return err
	}
	resource := ""
	for _, other := range subs {
		c, err := readChannel(other)
		if err != nil || c.FileID != d.FileID {
			continue
		}
		if c.ID == s.RemoteID {
			return done
		}
		resource = c.ResourceID
	}
	if resource != "" {
		err := call(ctx, conn, watching, stopCall(Channel{ID: s.RemoteID, ResourceID: resource}, nil))
		if err != nil && !errors.Is(err, providers.ErrNotFound) && !errors.Is(err, providers.ErrInvalid) {
			return err
		}
	}
	if err := conn.CloseEndpoint(ctx, s.RemoteID); err != nil {
		return err
	}
	return done
}

func isDeclared(s providers.Subscription) bool {
	var d channelData
	return json.Unmarshal(s.Data, &d) == nil && d.Declared
}

// DeclaredSubscriptions implements providers.SubscriptionKeeper.
func (a *App) DeclaredSubscriptions() string {
	if a.cfg.WatchChanges {
		return changesName
	}
	return ""
}

// KeepSubscriptions implements providers.SubscriptionKeeper for
// Config.WatchChanges. Google lists no channels: one that ended early, which
// nothing is known to cause, is replaced when it is renewed. An account that did
// not grant a scope for it gets none, which is no error.
func (a *App) KeepSubscriptions(ctx context.Context, conn *providers.Connection) error {
	if a.cfg.NoNotifications {
		return nil
	}
	subs, err := conn.Subscriptions(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(subs, func(s providers.Subscription) bool { return s.Name == changesName })
	switch {
	case a.cfg.WatchChanges && i < 0:
		_, err = watch(ctx, conn, channelData{Declared: true})
		var missing *providers.MissingScopeError
		if errors.As(err, &missing) {
			return nil
		}
	case !a.cfg.WatchChanges && i >= 0 && isDeclared(subs[i]):
		err = StopChannel(ctx, conn, subs[i].RemoteID)
	}
	return err
}
