package providers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
)

// Source gives a connection its tokens. The Manager supplies one over its store;
// tests may bring their own. Implementations must be safe for concurrent use.
type Source interface {
	// Token returns the token to use now. It returns an error wrapping
	// [ErrNotConnected], [ErrReconnectRequired], [ErrSuspended],
	// [ErrDisconnected], [ErrTransient], [ErrProviderDown] or
	// [ErrAppMisconfigured].
	Token(ctx context.Context) (*token.Token, error)

	// Rejected reports that the provider refused the token of generation gen,
	// for good when dead is true. With true the returned token is another one and
	// the call may be sent once more.
	Rejected(ctx context.Context, gen int64, dead bool) (*token.Token, bool, error)

	// Snapshot returns what is known of the integration.
	Snapshot(ctx context.Context) (Snapshot, error)
}

// ConnectionConfig makes a [Connection].
type ConnectionConfig struct {
	// TenantID, IntegrationID and Label name the integration.
	TenantID, IntegrationID, Label string
	// Provider is the key, Kind the adapter's name. Kind defaults to Provider.
	Provider, Kind string
	// Account is the external account, which rate limits are kept for.
	Account string
	// Source gives the tokens. Required.
	Source Source
	// Hosts are where the token may go. Required.
	Hosts Hosts
	// Transport sends. Defaults to NewTransport(TransportConfig{}).
	Transport http.RoundTripper
	// Limiter is asked before each attempt. Nil means no limits are kept.
	Limiter ratelimit.Limiter
	// Classifier reads refusals the status does not show. Nil means 401 is a
	// refused token and 429 a limit.
	Classifier AnswerClassifier
	// Budgets knows the provider's limits. Nil means that the account's calls are
	// held back after a refusal and nothing more.
	Budgets BudgetKeeper
	// Cache keeps answers, so that a GET is sent as "if it changed" and a 304 gives
	// the caller the answer that was kept. Nil means no requests are conditional but
	// those that callers make so.
	Cache ResponseCache
	// ETags lets what is kept outlive a change of the token. Nil means that answers to
	// another token are never used.
	ETags ETagPredictor
	// Syncs keeps checkpoints and leases. Nil means Checkpoint and TryLease
	// return an error wrapping errors.ErrUnsupported.
	Syncs Syncs
	// Endpoints keeps webhook endpoints and subscriptions. Nil means the methods
	// for them return an error wrapping errors.ErrUnsupported.
	Endpoints Endpoints
	// WebhookURL is the public URL of the provider's webhooks, "" when it has
	// none.
	WebhookURL string
	// Observe is told of each attempt, also of one that a rate limit or many failures
	// before it held back. It must not block. Nil means nobody is.
	Observe func(ctx context.Context, c Call)
	// Retries is how often a call is sent again after a refusal for a rate limit and,
	// when it may be done twice (see [Idempotent]), after a failure of the provider.
	// Defaults to [DefaultRetries]; negative means never.
	Retries int
}

// Call is one attempt of a call to a provider, as an observer sees it. It holds
// no URL: paths of some providers carry secrets.
type Call struct {
	TenantID, IntegrationID, Provider string
	Method, Host                      string
	// Status is the HTTP status, 0 when there was no answer. 304 is that of a call whose
	// caller got what a [ResponseCache] kept.
	Status int
	// Attempt counts from 1: another one follows a refused token, a refusal for a
	// limit, or a failure of the provider.
	Attempt int
	// Wait is the time spent on the rate limit, Duration that of the attempt.
	Wait, Duration time.Duration
	// Limited says that the provider refused because of a rate limit.
	Limited bool
	// Err is why there was no answer. One that is [ratelimit.ErrRateLimited] or
	// [ErrProviderDown] was not sent.
	Err error
}

// Origin is one integration as a [Connection] of [Connections] sees it.
// Implementations must be safe for concurrent use.
type Origin interface {
	Source
	// TenantID, IntegrationID and Label name the integration.
	TenantID() string
	IntegrationID() string
	Label() string
	// Account is the external account, which rate limits are kept for.
	Account() string
	// Syncs keeps checkpoints and leases, nil as in [ConnectionConfig].
	Syncs() Syncs
	// Endpoints keeps webhook endpoints and subscriptions, nil as in
	// [ConnectionConfig].
	Endpoints() Endpoints
}

// Connection is a tenant's usable integration. It is a live handle: it holds no
// token, checks the status on every call, and is safe to keep and to share
// between goroutines.
type Connection struct {
	// What is the same for all integrations of a provider is there once.
	cfg    *ConnectionConfig
	origin Origin
	client http.Client
	// retries is nil while nothing failed.
	retries atomic.Pointer[retries]
	handles ratelimit.Handles
}

// NewConnection makes a connection. The Manager does it for hosts; tests of code
// that takes a Connection make their own. All faults are reported together.
func NewConnection(cfg ConnectionConfig) (*Connection, error) {
	var faults []error
	if cfg.Source == nil {
		faults = append(faults, errors.New("integrations/providers: ConnectionConfig.Source is nil"))
	}
	shared, err := NewConnections(cfg)
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	return shared.Of(configured{cfg.Source, &shared.cfg}), nil
}

// configured is the origin of a connection that was made from a configuration.
type configured struct {
	Source
	cfg *ConnectionConfig
}

func (c configured) TenantID() string      { return c.cfg.TenantID }
func (c configured) IntegrationID() string { return c.cfg.IntegrationID }
func (c configured) Label() string         { return c.cfg.Label }
func (c configured) Account() string       { return c.cfg.Account }
func (c configured) Syncs() Syncs          { return c.cfg.Syncs }
func (c configured) Endpoints() Endpoints  { return c.cfg.Endpoints }

// Connections makes the connections of one provider. They have in common what is
// the provider's, so that each takes little memory. It is safe for concurrent
// use.
type Connections struct{ cfg ConnectionConfig }

// NewConnections takes from cfg what the connections have in common: Provider,
// Kind, Hosts, Transport, Limiter, Classifier, Budgets, Cache, ETags, Retries,
// WebhookURL and Observe, required and by default as for [NewConnection]. The other fields are not used: what they
// say comes from each [Origin]. All faults are reported together.
func NewConnections(cfg ConnectionConfig) (*Connections, error) {
	var faults []error
	if cfg.Hosts.exact == nil {
		faults = append(faults, errors.New("integrations/providers: ConnectionConfig.Hosts is empty"))
	}
	if cfg.Provider == "" {
		faults = append(faults, errors.New("integrations/providers: ConnectionConfig.Provider is empty"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if cfg.Kind == "" {
		cfg.Kind = cfg.Provider
	}
	if cfg.Retries == 0 {
		cfg.Retries = DefaultRetries
	}
	if cfg.Transport == nil {
		cfg.Transport = NewTransport(TransportConfig{})
	}
	return &Connections{cfg}, nil
}

// Of makes the connection of one integration. o must not be nil.
func (s *Connections) Of(o Origin) *Connection {
	c := &Connection{cfg: &s.cfg, origin: o}
	c.client = http.Client{Transport: (*transport)(c), CheckRedirect: sameOrigin}
	return c
}

// TenantID is the host's tenant.
func (c *Connection) TenantID() string { return c.origin.TenantID() }

// IntegrationID is the library's id of the integration.
func (c *Connection) IntegrationID() string { return c.origin.IntegrationID() }

// Provider is the key the provider is registered under.
func (c *Connection) Provider() string { return c.cfg.Provider }

// Kind is the adapter's own name, whatever key it is registered under.
func (c *Connection) Kind() string { return c.cfg.Kind }

// Label tells several accounts of one provider apart; "" is the default one.
func (c *Connection) Label() string { return c.origin.Label() }

// HTTPClient returns a client that sends the tenant's token, for any SDK or a
// plain call. It refuses every URL that is not https at one of the provider's
// hosts with an error wrapping [ErrHostNotAllowed], on redirects too. It has no
// timeout of its own: use the context of the request. The client is shared and
// must not be changed; copy it to set a timeout.
func (c *Connection) HTTPClient() *http.Client { return &c.client }

// Snapshot returns what is known of the integration: external id, scopes,
// metadata and the adapter's data. It may be as old as the Manager's CacheFor.
func (c *Connection) Snapshot(ctx context.Context) (Snapshot, error) {
	return c.origin.Snapshot(ctx)
}

// Check returns nil if the integration is usable now, else the error a call
// would return. It may refresh the token.
func (c *Connection) Check(ctx context.Context) error {
	_, err := c.origin.Token(ctx)
	return err
}

// Token returns the access token itself, for protocols that are not HTTP or
// SDKs that take no client. Prefer HTTPClient: it refreshes, replays and keeps
// the token from other hosts.
func (c *Connection) Token(ctx context.Context) (token.Secret, error) {
	t, err := c.origin.Token(ctx)
	if err != nil {
		return token.Secret{}, err
	}
	return t.Access, nil
}

// RequireKind returns an error wrapping [ErrWrongProvider] unless the connection
// is of the given adapter. Adapters call it first.
func (c *Connection) RequireKind(kind string) error {
	if c.cfg.Kind != kind {
		return fmt.Errorf("%w: want %s, have %s", ErrWrongProvider, kind, c.cfg.Kind)
	}
	return nil
}

// ClientFor is HTTPClient for an adapter of the given kind: on a connection of
// another provider every call fails with an error wrapping [ErrWrongProvider].
func (c *Connection) ClientFor(kind string) *http.Client {
	if err := c.RequireKind(kind); err != nil {
		return &http.Client{Transport: refusing{err}}
	}
	return c.HTTPClient()
}

// refusing answers every call with an error.
type refusing struct{ err error }

func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	closeBody(req)
	return nil, r.err
}

// maxRedirects is how many redirects a client follows.
const maxRedirects = 3

// sameOrigin lets a client follow redirects to the same scheme and host only.
func sameOrigin(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("integrations/providers: too many redirects")
	}
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		return fmt.Errorf("%w: redirect to another host", ErrHostNotAllowed)
	}
	return nil
}

// NewClient returns a client that reaches hosts and nothing else, without any
// token: the Manager gives it to adapters for calls in the connect flow.
// Timeout bounds each call.
func NewClient(hosts Hosts, base http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{Transport: guarded{hosts, base}, CheckRedirect: sameOrigin, Timeout: timeout}
}

type guarded struct {
	hosts Hosts
	base  http.RoundTripper
}

func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.hosts.Check(r.URL); err != nil {
		closeBody(r)
		return nil, err
	}
	return g.base.RoundTrip(r)
}
