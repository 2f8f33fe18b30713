package providers

import "errors"

// Why there is no usable integration. The root package aliases them.
var (
	// ErrNotConnected means the tenant never connected this provider. A notifier
	// may ignore it.
	ErrNotConnected = errors.New("integrations: not connected")
	// ErrReconnectRequired means the grant is dead: the tenant has to connect
	// again. No call is made until then.
	ErrReconnectRequired = errors.New("integrations: reconnect required")
	// ErrSuspended means the provider paused the installation.
	ErrSuspended = errors.New("integrations: suspended at the provider")
	// ErrDisconnected means the tenant disconnected, here or at the provider.
	ErrDisconnected = errors.New("integrations: disconnected")
)

// What a call or a refresh met. The root package aliases them.
var (
	// ErrTransient means it may work later: a timeout, a broken connection, an
	// answer nobody could read.
	ErrTransient = errors.New("integrations: transient failure")
	// ErrProviderDown means the provider answers with 5xx. It is transient.
	ErrProviderDown = errors.New("integrations: provider is down")
	// ErrAppMisconfigured means the provider refuses the app itself: a wrong
	// client secret, a blocked app. No tenant can mend it.
	ErrAppMisconfigured = errors.New("integrations: app is misconfigured at the provider")

	// ErrNotFound, ErrForbidden, ErrConflict and ErrInvalid classify a
	// provider's answer to a call.
	ErrNotFound  = errors.New("integrations: not found at the provider")
	ErrForbidden = errors.New("integrations: forbidden")
	ErrConflict  = errors.New("integrations: conflict at the provider")
	ErrInvalid   = errors.New("integrations: invalid request")

	// ErrWrongProvider means a connection of one provider was given to the
	// adapter of another.
	ErrWrongProvider = errors.New("integrations: connection of another provider")
	// ErrHostNotAllowed means a request was not sent because its URL is not
	// https at one of the provider's hosts.
	ErrHostNotAllowed = errors.New("integrations: host is not the provider's")
)
