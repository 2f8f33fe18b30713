package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/crypto"
)

const (
	defaultMaxBody = 1 << 20
	maxKeepHeaders = 8
	// readTimeout bounds the reading of a body. Providers send at once.
	readTimeout = 10 * time.Second
	// storeTimeout bounds one visit to the store.
	storeTimeout = 10 * time.Second
)

// What a request may be refused for besides the errors of verification.
var (
	errBudget   = errors.New("integrations/webhook: too many bytes of requests in flight")
	errEncoding = errors.New("integrations/webhook: body has a Content-Encoding")
	errMethod   = errors.New("integrations/webhook: method is not POST")
	errSlow     = errors.New("integrations/webhook: body did not arrive in time")
	errBroken   = errors.New("integrations/webhook: body broke off")
)

// Target is an integration that an account's events are for.
type Target struct {
	TenantID, IntegrationID string
}

// ReceiverConfig says how a [Receiver] works. Provider, Source, Inbox, Cipher and
// Route are required.
type ReceiverConfig struct {
	// Provider is the key of the provider.
	Provider string
	// Source verifies and reads the provider's requests.
	Source Source
	// Inbox keeps the events until a [Worker] has handled them. Receivers that are
	// given one [Committer] store their events together. Any other inbox gets a
	// Committer of this receiver's own.
	Inbox Inserter
	// Cipher seals their bodies.
	Cipher crypto.Cipher
	// Route finds the integrations that an account's events are for, none when
	// nobody connected the account. It is called for verified requests only.
	Route func(ctx context.Context, account string) ([]Target, error)
	// Subscribed tells whether an integration keeps a subscription with one of the
	// provider's ids, for notices that name some. Nil means that none does.
	Subscribed func(ctx context.Context, t Target, remoteIDs []string) (bool, error)
	// Endpoint finds an integration's own endpoint by the segment of the path that
	// follows the provider's, nil when there is none. Nil means there are no such
	// endpoints. It is called before a request can be verified.
	Endpoint func(ctx context.Context, segment string) (*Endpoint, error)
	// URL is the public URL of the provider's path, for schemes that sign it. The
	// URL of an endpoint is URL, "/" and its segment.
	URL string
	// Budget bounds the memory of bodies in flight, and of events that wait for the
	// store. Receivers may share one.
	// Defaults to NewBudget(0) for this receiver alone.
	Budget *Budget
	// Observe, when not nil, is told of every request once it is answered. It
	// must not block.
	Observe func(ctx context.Context, o Observation)
	// Logger hears of requests that were verified and could not be stored, and of
	// panics. Nil discards.
	Logger *slog.Logger
	// Wake, when not nil, is called when new events are in the inbox.
	Wake func()
}

// Receiver is the http.Handler of one provider's webhooks. It is safe for
// concurrent use.
//
// It answers 2xx only when every event of the request is in the inbox. Before
// that, in this order:
//
//	405  the method is not POST
//	413  the declared length is over Source.MaxBody; nothing was read
//	503  the Budget is spent
//	415  the body has a Content-Encoding
//	408  the body did not arrive within 10 s; behind a middleware whose
//	     ResponseWriter has no Unwrap method this needs HTTP/2
//	413  the body turned out longer than Source.MaxBody
//	401  not signed, wrongly signed, signed too long ago or in the future, or an
//	     unknown endpoint: the answer is the same for all
//	400  verified, but it cannot be read
//	503  the store did not take it, or too much waits for it
//
// A challenge is answered after it was verified. The bodies of answers are
// constant. An event that comes again is answered 200 and not stored again.
//
// A verified event is stored even when the sender hangs up while it waits: not
// every provider sends again.
type Receiver struct {
	cfg ReceiverConfig
	// decoy stands in for an unknown endpoint, so that a request to one is
	// verified as long as any other.
	decoy  *Endpoint
	keep   []string
	hidden sync.Once // that the writer hides its connection was said
}

// NewReceiver returns a receiver, or an error that joins all faults of cfg.
func NewReceiver(cfg ReceiverConfig) (*Receiver, error) {
	if cfg.Source.MaxBody == 0 {
		cfg.Source.MaxBody = defaultMaxBody
	}
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(0)
	}
	cfg.Logger = guardLogger(cfg.Logger)
	if cfg.Observe != nil {
		cfg.Observe = guardObserve(cfg.Observe, cfg.Logger)
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if _, ok := cfg.Inbox.(*Committer); !ok {
		var err error
		if cfg.Inbox, err = NewCommitter(cfg.Inbox); err != nil {
			return nil, err
		}
	}
	rc := &Receiver{cfg: cfg, decoy: &Endpoint{Secrets: [][]byte{make([]byte, 32)}}}
	rand.Read(rc.decoy.Secrets[0]) // never fails
	for _, h := range cfg.Source.KeepHeaders {
		rc.keep = append(rc.keep, http.CanonicalHeaderKey(h))
	}
	return rc, nil
}

func (cfg *ReceiverConfig) validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("integrations/webhook: receiver of %q: "+format, append([]any{cfg.Provider}, args...)...))
	}
	if cfg.Provider == "" {
		fault("Provider is empty")
	}
	if cfg.Source.Verifier == nil {
		fault("Source.Verifier is nil: an unsigned webhook is never accepted")
	}
	if cfg.Source.Read == nil {
		fault("Source.Read is nil")
	}
	if cfg.Source.MaxBody < 0 || peak(cfg.Source.MaxBody) > cfg.Budget.shared() {
		fault("Source.MaxBody of %d bytes is negative or too large for the Budget of %d", cfg.Source.MaxBody, cfg.Budget.limit)
	}
	if n := len(cfg.Source.KeepHeaders); n > maxKeepHeaders {
		fault("Source.KeepHeaders has %d names, at most %d are kept", n, maxKeepHeaders)
	}
	if cfg.Inbox == nil {
		fault("Inbox is nil")
	}
	if cfg.Cipher == nil {
		fault("Cipher is nil: bodies are never stored in the clear")
	}
	if cfg.Route == nil {
		fault("Route is nil")
	}
	return errors.Join(faults...)
}

// ServeHTTP receives a request to the provider's path, or to the endpoint that
// r.PathValue("endpoint") names.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc.ServeEndpoint(w, r, r.PathValue("endpoint"))
}

// ServeEndpoint receives a request to an integration's own endpoint, named by a
// segment of its path, or to the provider's path when segment is "".
func (rc *Receiver) ServeEndpoint(w http.ResponseWriter, r *http.Request, segment string) {
	began := time.Now()
	a := rc.receive(w, r, segment, began)
	a.write(w)
	if rc.cfg.Observe != nil {
		rc.cfg.Observe(r.Context(), Observation{
			Outcome: a.outcome, Provider: rc.cfg.Provider, Took: time.Since(began), Err: a.err,
			Status: a.status, Stored: a.stored, Duplicates: a.duplicates,
		})
	}
}

// receive does all but the answering. Panics of the adapter end here, as a 500.
// The clock is read once: it costs as much as what is done around the MAC.
func (rc *Receiver) receive(w http.ResponseWriter, r *http.Request, segment string, began time.Time) (a answer) {
	defer func() {
		if v := recover(); v != nil {
			p := newPanicError(v)
			rc.cfg.Logger.ErrorContext(r.Context(), "webhook panic", "provider", rc.cfg.Provider, "error", p, "stack", string(p.Stack))
			a = unavailable(http.StatusInternalServerError, p)
		}
	}()
	var body bodyBuffer
	defer body.release()
	raw, err := rc.read(w, r, &body, began)
	if err != nil {
		return notRead(err)
	}
	req := &Request{Method: r.Method, URL: rc.cfg.URL, Header: r.Header, Body: raw, Now: began}
	if segment != "" {
		if err := rc.findEndpoint(r.Context(), req, segment); err != nil {
			rc.cfg.Logger.ErrorContext(r.Context(), "webhook endpoint not looked up", "provider", rc.cfg.Provider, "error", err)
			return unavailable(http.StatusServiceUnavailable, err)
		}
	}
	if err := rc.verify(req); err != nil {
		return notVerified(err)
	}
	return rc.accept(r.Context(), req, &body)
}

// read reads the body, if the request may send one at all. The bytes belong to
// body.
func (rc *Receiver) read(w http.ResponseWriter, r *http.Request, body *bodyBuffer, began time.Time) ([]byte, error) {
	limit := rc.cfg.Source.MaxBody
	if r.Method != http.MethodPost {
		return nil, errMethod
	}
	if r.ContentLength > limit {
		return nil, ErrTooLarge
	}
	if !body.open(rc.cfg.Budget) {
		return nil, errBudget
	}
	for _, e := range r.Header["Content-Encoding"] {
		if e != "" && e != "identity" {
			return nil, errEncoding
		}
	}

	control := http.NewResponseController(w)
	if control.SetReadDeadline(began.Add(readTimeout)) != nil {
		return rc.readWithTimer(w, r, body)
	}
	raw, err := body.readAll(bodyWithin(w, r, limit), r.ContentLength, limit)
	if err == nil {
		// The connection is the next request's again. Failing to say so ends it.
		_ = control.SetReadDeadline(time.Time{})
	}
	return raw, err
}

// bodyWithin is the body of a request whose declared length is within limit. Where
// none is declared the server must be told to read no further than limit.
func bodyWithin(w http.ResponseWriter, r *http.Request, limit int64) io.Reader {
	if r.ContentLength >= 0 {
		return r.Body
	}
	return http.MaxBytesReader(w, r.Body, limit)
}

// readWithTimer is for a writer that hides its connection. Closing the body ends a
// read of it under HTTP/2. Under HTTP/1 nothing but the server's own ReadTimeout
// does, so that the host is told once.
func (rc *Receiver) readWithTimer(w http.ResponseWriter, r *http.Request, body *bodyBuffer) ([]byte, error) {
	if r.ProtoMajor == 1 {
		rc.hidden.Do(func() {
			rc.cfg.Logger.WarnContext(r.Context(), "webhook handler cannot bound slow requests: the ResponseWriter in front of it has no Unwrap method; set http.Server.ReadTimeout",
				"provider", rc.cfg.Provider)
		})
	}
	timer := time.AfterFunc(readTimeout, func() { r.Body.Close() })
	raw, err := body.readAll(bodyWithin(w, r, rc.cfg.Source.MaxBody), r.ContentLength, rc.cfg.Source.MaxBody)
	if !timer.Stop() && err != nil {
		err = errSlow
	}
	return raw, err
}

// findEndpoint sets req.Endpoint, to the decoy when there is none.
func (rc *Receiver) findEndpoint(ctx context.Context, req *Request, segment string) error {
	req.URL += "/" + segment
	req.Endpoint = rc.decoy
	if rc.cfg.Endpoint == nil {
		return nil
	}
	e, err := rc.cfg.Endpoint(ctx, segment)
	if err == nil && e != nil {
		req.Endpoint = e
	}
	return err
}

func (rc *Receiver) verify(req *Request) error {
	err := rc.cfg.Source.Verifier.Verify(req)
	if err == nil && req.Endpoint == rc.decoy {
		// A verifier that does not look at the endpoint's secrets.
		return ErrBadSignature
	}
	return err
}

// notRead answers a request whose body was not read to the end.
func notRead(err error) answer {
	var tooLarge *http.MaxBytesError
	a := answer{outcome: OutcomeRefused, err: err, hangUp: true}
	switch {
	case errors.Is(err, errMethod):
		a.status = http.StatusMethodNotAllowed
	case errors.Is(err, errBudget):
		a.status, a.outcome = http.StatusServiceUnavailable, OutcomeUnavailable
	case errors.Is(err, errEncoding):
		a.status = http.StatusUnsupportedMediaType
	case errors.Is(err, ErrTooLarge), errors.As(err, &tooLarge):
		a.status, a.err = http.StatusRequestEntityTooLarge, ErrTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errSlow):
		a.status, a.err = http.StatusRequestTimeout, errSlow
	default:
		a.status, a.err = http.StatusBadRequest, errBroken
	}
	return a
}

func notVerified(err error) answer {
	if errors.Is(err, ErrTooLarge) {
		return refused(http.StatusRequestEntityTooLarge, err)
	}
	return refused(http.StatusUnauthorized, err)
}
