package providers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/token"
)

// Endpoints keeps one integration's own webhook endpoints and its subscriptions
// at the provider. The Manager supplies one over its store.
type Endpoints interface {
	// Open makes an endpoint with a path and a secret of its own.
	Open(ctx context.Context) (Endpoint, error)
	// Rotate gives an endpoint another path and another secret; those before are
	// accepted for overlap more. One that does not exist is an error wrapping
	// [ErrNotFound], one that somebody else rotated meanwhile one wrapping
	// [ErrConflict].
	Rotate(ctx context.Context, id string, overlap time.Duration) (Endpoint, error)
	// Close removes an endpoint. One that does not exist is no error.
	Close(ctx context.Context, id string) error
	// List returns the endpoints ordered by id.
	List(ctx context.Context) ([]EndpointInfo, error)

	// Save inserts or replaces a subscription by its name.
	Save(ctx context.Context, s Subscription) error
	// Subscriptions returns the subscriptions ordered by name.
	Subscriptions(ctx context.Context) ([]Subscription, error)
	// Delete removes a subscription. One that does not exist is no error.
	Delete(ctx context.Context, name string) error
	// Others returns the RemoteIDs that other integrations of the same account
	// keep, and how many such integrations there are.
	Others(ctx context.Context) (remoteIDs []string, integrations int, err error)
}

// Endpoint is a webhook URL of one integration's own, for providers that sign
// with a secret of each hook or not at all. What arrives there is for that
// integration.
type Endpoint struct {
	// ID names the endpoint, 32 characters of hex. It is no secret.
	ID string
	// URL is a secret: its last segment is 32 random bytes. It is known now and
	// never again.
	URL string
	// Secret is 32 random bytes in base64, for what signs: as text by most schemes,
	// as the bytes themselves by Standard Webhooks. It is known now and never
	// again.
	Secret token.Secret
}

// EndpointInfo is what may be shown of an endpoint: neither URL nor secret.
type EndpointInfo struct {
	ID string
	// CreatedAt is when it was opened.
	CreatedAt time.Time
	// PreviousUntil is until when the URL and the secret before the last rotation
	// are accepted, zero when it was never rotated.
	PreviousUntil time.Time
}

// Subscription is an event subscription at the provider.
type Subscription struct {
	// Name is the adapter's name of what is subscribed to, at most 191 bytes.
	Name string
	// RemoteID is the provider's id of it, at most 191 bytes.
	RemoteID string
	// Data is JSON of the adapter, nil for none.
	Data json.RawMessage
	// ExpiresAt is when the provider ends it, RenewAt when it has to be renewed;
	// zero means never.
	ExpiresAt, RenewAt time.Time
}

var errNoEndpoints = fmt.Errorf("integrations/providers: the store keeps no webhook endpoints: %w", errors.ErrUnsupported)

// WebhookURL is the public URL that this provider's webhooks are sent to, ""
// when none are configured. For an integration's own URL see
// [Connection.OpenEndpoint].
func (c *Connection) WebhookURL() string { return c.cfg.WebhookURL }

// OpenEndpoint makes a webhook endpoint of this integration's own. Without a
// store that keeps them, or webhooks configured, the error wraps
// errors.ErrUnsupported; for an integration that is over, [ErrDisconnected] or
// [ErrNotConnected].
func (c *Connection) OpenEndpoint(ctx context.Context) (Endpoint, error) {
	e := c.origin.Endpoints()
	if e == nil {
		return Endpoint{}, errNoEndpoints
	}
	return e.Open(ctx)
}

// RotateEndpoint gives an endpoint of this integration another URL and another
// secret. The ones before are accepted beside them for overlap more, 0 for not at
// all, so that whoever configured them has time; with either URL either secret is
// accepted. Those before the ones before end now. An endpoint that does not exist
// is an error wrapping [ErrNotFound], a negative overlap one wrapping
// [ErrInvalid], and one wrapping [ErrConflict] says that somebody else rotated it
// at the same time: that rotation holds.
func (c *Connection) RotateEndpoint(ctx context.Context, id string, overlap time.Duration) (Endpoint, error) {
	e := c.origin.Endpoints()
	switch {
	case e == nil:
		return Endpoint{}, errNoEndpoints
	case overlap < 0:
		return Endpoint{}, fmt.Errorf("%w: overlap is negative", ErrInvalid)
	}
	return e.Rotate(ctx, id, overlap)
}

// CloseEndpoint removes an endpoint: what arrives there is refused from now on.
// One that does not exist is no error.
func (c *Connection) CloseEndpoint(ctx context.Context, id string) error {
	e := c.origin.Endpoints()
	if e == nil {
		return errNoEndpoints
	}
	return e.Close(ctx, id)
}

// Endpoints lists the endpoints of this integration ordered by id.
func (c *Connection) Endpoints(ctx context.Context) ([]EndpointInfo, error) {
	e := c.origin.Endpoints()
	if e == nil {
		return nil, errNoEndpoints
	}
	return e.List(ctx)
}

// SaveSubscription inserts or replaces a subscription by its name. The error wraps
// [ErrDisconnected] or [ErrNotConnected] for an integration that is over.
func (c *Connection) SaveSubscription(ctx context.Context, s Subscription) error {
	e := c.origin.Endpoints()
	if e == nil {
		return errNoEndpoints
	}
	return e.Save(ctx, s)
}

// Subscriptions lists the subscriptions of this integration by name.
func (c *Connection) Subscriptions(ctx context.Context) ([]Subscription, error) {
	e := c.origin.Endpoints()
	if e == nil {
		return nil, errNoEndpoints
	}
	return e.Subscriptions(ctx)
}

// DeleteSubscription removes a subscription. One that does not exist is no
// error.
func (c *Connection) DeleteSubscription(ctx context.Context, name string) error {
	e := c.origin.Endpoints()
	if e == nil {
		return errNoEndpoints
	}
	return e.Delete(ctx, name)
}

// SubscriptionsOfOthers returns the RemoteIDs that other integrations of the same
// account keep, of any tenant, and how many such integrations there are. It is for
// adapters, which may find them at the provider beside this one's.
func (c *Connection) SubscriptionsOfOthers(ctx context.Context) (remoteIDs []string, integrations int, err error) {
	e := c.origin.Endpoints()
	if e == nil {
		return nil, 0, errNoEndpoints
	}
	return e.Others(ctx)
}
