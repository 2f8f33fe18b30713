package providers

import (
	"context"
	"net/http"
)

// Optional abilities of a [Provider] that keep the provider's side of webhooks.
// The Manager's Run uses them.
type (
	// SubscriptionKeeper keeps what integrations are subscribed to at the provider
	// as the configuration declares it.
	SubscriptionKeeper interface {
		// DeclaredSubscriptions is a text that is another one whenever something
		// else is declared.
		DeclaredSubscriptions() string

		// KeepSubscriptions brings the provider's side in line: what is declared and
		// missing is made, what was declared once and is not any more is removed,
		// what was made and never stored is taken over or removed. It is called for
		// one integration by one replica at a time: after a connect, after the
		// declaration changed, and every few hours. Calling it again when nothing
		// changed must make nothing.
		KeepSubscriptions(ctx context.Context, conn *Connection) error
	}

	// MissedDeliveries reads webhooks that the provider gave up on delivering to an
	// integration.
	MissedDeliveries interface {
		// ReadMissed gives each to accept, those that failed first before others. It
		// keeps in a checkpoint of conn how far it came: nothing is lost when accept
		// fails, and some may be given to it again. It is called after
		// KeepSubscriptions, or for a provider without it just as often.
		ReadMissed(ctx context.Context, conn *Connection, accept func(ctx context.Context, d MissedDelivery) error) error
	}

	// Redeliverer has the provider send webhooks again that never arrived. The
	// provider's log of them is one for the whole app.
	Redeliverer interface {
		// RedeliverMissed asks for each once more and returns how many it asked for.
		// It keeps in r.Log how far it came. It is called every few minutes by one
		// replica at a time, and should return an error of errors.ErrUnsupported when
		// the configuration has no such log.
		RedeliverMissed(ctx context.Context, r Redelivery) (int, error)
	}
)

// MissedDelivery is a webhook as the provider would have sent it. Its sender is
// proved by where it was read: nothing of it is verified.
type MissedDelivery struct {
	Header http.Header
	Body   []byte
}

// Redelivery is what a [Redeliverer] works with.
type Redelivery struct {
	// HTTP reaches the provider's hosts without any token of its own.
	HTTP *http.Client
	// Log is the app's checkpoint.
	Log *Checkpoint
}
