package token

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// ClientConfig makes a [Client].
type ClientConfig struct {
	// Transport sends the calls. Nil means an own one that opens a connection for
	// each call, so that a single-use token is never sent on a stale one.
	Transport http.RoundTripper
	// Timeout bounds a whole call. Defaults to 10 s.
	Timeout time.Duration
	// MaxBody bounds an answer in bytes. Defaults to 1 MiB.
	MaxBody int64
}

// Client makes token calls: exactly one request each, with one way of client
// authentication, no redirect followed, answers bounded. It is safe for
// concurrent use.
type Client struct {
	transport http.RoundTripper
	timeout   time.Duration
	maxBody   int64
}

// NewClient returns a client.
func NewClient(cfg ClientConfig) *Client {
	c := &Client{transport: cfg.Transport, timeout: cfg.Timeout, maxBody: cfg.MaxBody}
	if c.transport == nil {
		c.transport = &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSHandshakeTimeout: 3 * time.Second,
			DisableKeepAlives:   true,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		}
	}
	if c.timeout <= 0 {
		c.timeout = 10 * time.Second
	}
	if c.maxBody <= 0 {
		c.maxBody = 1 << 20
	}
	return c
}

// Request is one token call.
type Request struct {
	// URL must be https and come from configuration.
	URL string
	// Method defaults to POST.
	Method string
	// Form is sent as application/x-www-form-urlencoded, or JSON as such; at most
	// one of them.
	Form url.Values
	JSON []byte
	// ClientID, when not "", authenticates the client by AuthStyle: in the form
	// (AuthStyleInParams, also the meaning of AuthStyleAutoDetect: nothing is
	// guessed) or by HTTP Basic (AuthStyleInHeader), as RFC 6749 section 2.3.1.
	ClientID     string
	ClientSecret Secret
	AuthStyle    oauth2.AuthStyle
	// Header holds further headers.
	Header http.Header
	// Decode reads a 2xx answer. Defaults to [DecodeOAuth]. An [*Error] it
	// returns is passed on with status and host filled in; any other error makes
	// the outcome [Ambiguous].
	Decode func(a Answer) (Grant, error)
	// Classify, when not nil, judges a refusal before the general rules do. It is
	// not asked about statuses that say "later": those are [Transient] whatever
	// the body says.
	Classify func(a Answer, code string) (Outcome, bool)
}

// Answer is what a token endpoint answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do makes the call. The error is an [*Error].
func (c *Client) Do(ctx context.Context, r Request) (Grant, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return Grant{}, &Error{Outcome: AppFault, Code: "bad_url"}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	a, sent, err := c.send(ctx, r, u)
	if err != nil {
		return Grant{}, failed(u.Host, sent, err)
	}
	if a.Status >= 300 && a.Status < 400 {
		// The form holds secrets: it is not sent anywhere else.
		return Grant{}, &Error{Outcome: Transient, Code: "redirected", Status: a.Status, Host: u.Host}
	}
	if a.Status/100 == 2 {
		g, err := decode(r, a)
		if err == nil {
			return g, nil
		}
		var refused *Error
		if !errors.As(err, &refused) {
			return Grant{}, &Error{Outcome: Ambiguous, Code: "bad_answer", Status: a.Status, Host: u.Host}
		}
		return Grant{}, c.refusal(r, a, u.Host, refused)
	}
	return Grant{}, c.refusal(r, a, u.Host, nil)
}

func decode(r Request, a Answer) (Grant, error) {
	if r.Decode != nil {
		return r.Decode(a)
	}
	return DecodeOAuth(a)
}

// send makes the one request. sent says whether the request may have reached the
// server.
func (c *Client) send(ctx context.Context, r Request, u *url.URL) (a Answer, sent bool, err error) {
	var traced, wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { traced.Store(true) },
		WroteHeaders: func() { wrote.Store(true) },
	})
	req, err := r.build(ctx, u)
	if err != nil {
		return Answer{}, false, err
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		// A transport that reports nothing may have sent it.
		return Answer{}, wrote.Load() || !traced.Load(), err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBody+1))
	if err != nil {
		return Answer{}, true, err
	}
	if int64(len(body)) > c.maxBody {
		return Answer{}, true, errTooLarge
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, true, nil
}

var errTooLarge = errors.New("answer too large")

func (r Request) build(ctx context.Context, u *url.URL) (*http.Request, error) {
	method := r.Method
	if method == "" {
		method = http.MethodPost
	}
	body, contentType := r.JSON, "application/json"
	if r.JSON == nil {
		form := url.Values{}
		for k, v := range r.Form {
			form[k] = v
		}
		if r.ClientID != "" && r.AuthStyle != oauth2.AuthStyleInHeader {
			form.Set("client_id", r.ClientID)
			if !r.ClientSecret.IsZero() {
				form.Set("client_secret", r.ClientSecret.Reveal())
			}
		}
		body, contentType = []byte(form.Encode()), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// Without it a transport would send the request again on a connection that
	// turned out to be closed.
	req.GetBody = nil
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "integrations")
	for k, v := range r.Header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	if r.ClientID != "" && r.AuthStyle == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(r.ClientID), url.QueryEscape(r.ClientSecret.Reveal()))
	}
	return req, nil
}

// failed classifies a call without an answer.
func failed(host string, sent bool, err error) *Error {
	e := &Error{Outcome: Transient, Code: "connection_failed", Host: host}
	if sent {
		e.Outcome, e.Code = Ambiguous, "no_answer"
	}
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		e.Code = "canceled"
	case errors.Is(err, errTooLarge):
		e.Code = "answer_too_large"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Code = "timeout"
	}
	return e
}

// refusal classifies an answer that is not a success. known is what the decoder
// made of it, if it looked.
func (c *Client) refusal(r Request, a Answer, host string, known *Error) *Error {
	e := &Error{Status: a.Status, Host: host, RetryAfter: ParseRetryAfter(a.Header, time.Now())}
	if known != nil {
		e.Code = known.Code
	} else {
		e.Code = ErrorCode(a.Body)
	}
	if r.Classify != nil && !later(a.Status) {
		if o, ok := r.Classify(a, e.Code); ok {
			e.Outcome = o
			e.Code = orStatus(e.Code, a.Status)
			return e
		}
	}
	e.Outcome = classify(a.Status, e.Code)
	e.Code = orStatus(e.Code, a.Status)
	return e
}

func orStatus(code string, status int) string {
	switch {
	case code != "":
		return code
	case status == http.StatusTooManyRequests:
		return "too_many_requests"
	case status >= 500:
		return "server_error"
	default:
		return "refused"
	}
}

// classify applies the general rules: a status that says "later" beats any code
// in the body; then the code; a bare 401 is about the client, which is all a
// token endpoint authenticates.
func classify(status int, code string) Outcome {
	if later(status) {
		return Transient
	}
	switch code {
	case "invalid_grant", "bad_refresh_token", "invalid_refresh_token":
		return DeadGrant
	case "invalid_client", "unauthorized_client", "unsupported_grant_type", "incorrect_client_credentials":
		return AppFault
	case "temporarily_unavailable", "server_error", "slow_down":
		return Transient
	case "":
		if status == http.StatusUnauthorized {
			return AppFault
		}
		if status/100 == 2 {
			return Ambiguous
		}
	}
	return Refused
}

// later reports whether a status says that nothing was judged.
func later(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusTooEarly:
		return true
	}
	return status >= 500
}

// maxRetryAfter caps what a header can ask for.
const maxRetryAfter = 24 * time.Hour

// ParseRetryAfter reads Retry-After (RFC 9110 section 10.2.3), in seconds or as
// a date, capped at 24 hours. It is 0 for a header that is missing or senseless.
func ParseRetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if seconds, ok := parseSeconds(v); ok {
		return min(seconds, maxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
