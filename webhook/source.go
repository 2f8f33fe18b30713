package webhook

import (
	"errors"
	"net/http"
	"time"
)

// Errors of verification. The HTTP answer is the same for all but ErrTooLarge;
// the observer sees which it was.
var (
	// ErrNotSigned means a required signature header is missing, repeated or not
	// of the expected form.
	ErrNotSigned = errors.New("integrations/webhook: not signed")
	// ErrBadSignature means no active secret made this signature.
	ErrBadSignature = errors.New("integrations/webhook: bad signature")
	// ErrTooOld and ErrTooNew mean the signed time is outside the tolerance.
	ErrTooOld = errors.New("integrations/webhook: signed too long ago")
	ErrTooNew = errors.New("integrations/webhook: signed in the future")
	// ErrTooLarge means the body is over the limit.
	ErrTooLarge = errors.New("integrations/webhook: body too large")
)

// Request is one webhook request after its body was read.
type Request struct {
	Method string
	// URL is the public URL the provider was given, from the host's
	// configuration and never from the Host header: some schemes sign it.
	URL    string
	Header http.Header
	// Body is the raw body. Verifiers and readers must not change or keep it.
	Body []byte
	Now  time.Time
	// Endpoint is set for requests to an integration's own endpoint path, else
	// nil.
	Endpoint *Endpoint
}

// Endpoint is an integration's own webhook endpoint.
type Endpoint struct {
	ID, TenantID, IntegrationID string
	// ExternalID is the integration's account, for schemes whose body names it.
	ExternalID string
	// Secrets are those accepted now, the newest first.
	Secrets [][]byte
}

// Verifier decides whether a request comes from the provider. It must compare
// in constant time, must refuse when it has no secret, and must be safe for
// concurrent use. When r.Endpoint is not nil, only its secrets count: the event
// goes to the endpoint's integration, so a secret that others know must not
// open it. It returns nil or an error wrapping one of this package's.
type Verifier interface {
	Verify(r *Request) error
}

// Source is how one provider's webhooks are verified and read.
type Source struct {
	// Verifier is required: an unverified source does not exist.
	Verifier Verifier
	// Read takes the ids out of a verified request. It is called only after
	// Verify returned nil, must not use the network or a store, and must refuse
	// bodies whose routing fields are ambiguous. Required.
	Read func(r *Request) (Receipt, error)
	// MaxBody is the largest body in bytes. Defaults to 1 MiB.
	MaxBody int64
	// KeepHeaders are the request headers handlers get to see, at most 8. Values
	// over 1 KiB are left out. Most schemes do not sign headers.
	KeepHeaders []string
}

// Receipt is what a verified request means: notices to store, an answer to give,
// both, or nothing.
type Receipt struct {
	// Reply, when not nil, is the answer instead of an empty 200: a challenge, a
	// probe, or the acknowledgement a provider wants once Notices are stored.
	Reply *Reply
	// Notices are stored in one transaction before the request is answered.
	Notices []Notice
}

// Reply is a direct answer.
type Reply struct {
	// Status defaults to 200.
	Status      int
	ContentType string
	Body        []byte
}

// Notice is one event of a request.
type Notice struct {
	// DeliveryID is the provider's id, the same when it sends again. Required. It,
	// Type, Account and OrderKey are at most 191 bytes of UTF-8 without control
	// characters.
	DeliveryID string
	// Type is the provider's name of the event. Required.
	Type string
	// Account is the external id of the account to route by, from signed bytes;
	// "" leaves the event unrouted. An integration's ExternalID and its Alias both
	// match.
	Account string
	// Subscriptions, when not empty, narrows the routing to integrations that
	// keep a subscription with one of these ids of the provider.
	Subscriptions []string
	// DedupBody says that nothing signed tells two requests apart but the body:
	// an equal body is then the same delivery whatever its id. Notices of one
	// request that set it need bodies of their own.
	DedupBody bool
	// OrderKey, when not "", asks for one event at a time in order of arrival.
	OrderKey string
	// OccurredAt is the provider's time of the event; zero when it gives none.
	OccurredAt time.Time
	// Body is what handlers get; nil means the request's body.
	Body []byte
}
