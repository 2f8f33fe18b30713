package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
)

// maxAPIAnswer is the default bound of what an API call reads.
const maxAPIAnswer = 32 << 20

// API makes JSON calls for an adapter of a service that has no good SDK. It is
// immutable and safe for concurrent use.
type API struct {
	// Adapter is the adapter's package, which errors are named after.
	Adapter string
	// Meaning tells what a refusal means: one of this package's errors or a
	// *ratelimit.Error, and the provider's code for it. The code is left out of
	// errors unless it looks like one. Nil, or a nil meaning, is [StatusMeaning].
	Meaning func(a APIAnswer) (code string, meaning error)
}

// APICall is one call.
type APICall struct {
	// Method defaults to GET. URL is absolute.
	Method, URL string
	Header      http.Header
	// In is sent as JSON, or as it is when it is a []byte; nil sends no body.
	In any
	// Out gets the answer's JSON, or the body itself when it is a *[]byte; nil
	// reads nothing into anything.
	Out any
	// MaxBody bounds the answer in bytes. Defaults to 32 MiB.
	MaxBody int64
}

// APIAnswer is an answer.
type APIAnswer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do makes one call and reads the answer. The error is a [*CallError], or the
// connection's own error, or the context's.
func (a API) Do(ctx context.Context, c *http.Client, call APICall) (APIAnswer, error) {
	req, err := a.request(ctx, call)
	if err != nil {
		return APIAnswer{}, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return APIAnswer{}, NoAnswer(a.Adapter, err)
	}
	defer func() { _ = resp.Body.Close() }()
	limit := call.MaxBody
	if limit <= 0 {
		limit = maxAPIAnswer
	}
	ans := APIAnswer{Status: resp.StatusCode, Header: resp.Header}
	ans.Body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return ans, NoAnswer(a.Adapter, err)
	}
	if ans.Status/100 != 2 {
		return ans, a.refusal(ans)
	}
	if int64(len(ans.Body)) > limit {
		return ans, &CallError{Adapter: a.Adapter, Status: ans.Status, Code: "answer_too_large", Kind: ErrTransient}
	}
	switch out := call.Out.(type) {
	case nil:
	case *[]byte:
		*out = ans.Body
	default:
		if json.Unmarshal(ans.Body, out) != nil {
			return ans, &CallError{Adapter: a.Adapter, Status: ans.Status, Code: "bad_answer", Kind: ErrTransient}
		}
	}
	return ans, nil
}

func (a API) request(ctx context.Context, call APICall) (*http.Request, error) {
	invalid := func(code string) error { return &CallError{Adapter: a.Adapter, Code: code, Kind: ErrInvalid} }
	var body io.Reader
	contentType := ""
	switch in := call.In.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(in)
	default:
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, invalid("not_json")
		}
		body, contentType = bytes.NewReader(raw), "application/json"
	}
	method := call.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, call.URL, body)
	if err != nil {
		return nil, invalid("bad_url")
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for k, v := range call.Header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	return req, nil
}

func (a API) refusal(ans APIAnswer) error {
	e := &CallError{Adapter: a.Adapter, Status: ans.Status}
	if a.Meaning != nil {
		e.Code, e.Kind = a.Meaning(ans)
		e.Code = PlainCode(e.Code)
	}
	if e.Kind == nil {
		e.Kind = StatusMeaning(ans.Status, ans.Header)
	}
	return e
}

// Bearer is the header of a token that is not stored yet.
func Bearer(t token.Secret) http.Header {
	return http.Header{"Authorization": {"Bearer " + t.Reveal()}}
}

// CallError is a call that failed: the provider refused it, or gave no answer
// that could be used. Its text holds no URL and nothing of the answer but a
// short code.
type CallError struct {
	// Adapter is the adapter's package.
	Adapter string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Code is the provider's code for what happened, "" when it has none.
	Code string
	// Kind is what it means: one of this package's errors or a *ratelimit.Error.
	Kind error
	// Cause is the SDK's or the network's error, nil when there is none. It is
	// reachable with errors.As and never printed.
	Cause error
}

func (e *CallError) Error() string {
	var b strings.Builder
	b.WriteString("integrations/" + e.Adapter + ":")
	if e.Status != 0 {
		fmt.Fprintf(&b, " status %d", e.Status)
	}
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Status != 0 || e.Code != "" {
		b.WriteByte(':')
	}
	return b.String() + " " + e.Kind.Error()
}

// Unwrap gives errors.Is the meaning and errors.As the cause.
func (e *CallError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// errDown is a 5xx.
var errDown = fmt.Errorf("%w: %w", ErrTransient, ErrProviderDown)

// StatusMeaning is what a refusal's status means when nothing else tells. A 401
// is transient: it reaches a caller while renewing the token fails or was just
// tried; a grant that is over is the connection's own error. A 403 whose challenge
// says insufficient_scope (RFC 6750 section 3.1) is a [*MissingScopeError].
func StatusMeaning(status int, h http.Header) error {
	switch {
	case status == http.StatusTooManyRequests:
		return &ratelimit.Error{RetryAt: retryAt(h), Scope: "provider"}
	case status >= 500:
		return errDown
	}
	switch status {
	case http.StatusForbidden:
		if err := insufficientScope(h); err != nil {
			return err
		}
		return ErrForbidden
	case http.StatusNotFound, http.StatusGone:
		return ErrNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return ErrConflict
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusLocked:
		return ErrTransient
	}
	return ErrInvalid
}

// PlainCode returns code if it has the form of one, letters, digits and "._-" of
// at most 64 bytes, else "": anything else could be an echo of the request.
func PlainCode(code string) string {
	if len(code) > 64 {
		return ""
	}
	for i := range len(code) {
		c := code[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return ""
		}
	}
	return code
}

// NoAnswer is the error of a call without an answer. A connection's own error
// and a context's are returned as they are, without http.Client's wrapping,
// which quotes the URL; all else is a [*CallError] that is [ErrTransient].
func NoAnswer(adapter string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	for _, own := range []error{
		ErrNotConnected, ErrReconnectRequired, ErrSuspended, ErrDisconnected, ErrTransient, ErrProviderDown,
		ErrAppMisconfigured, ErrWrongProvider, ErrHostNotAllowed, ErrInvalid, ratelimit.ErrRateLimited,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, own) {
			return err
		}
	}
	return &CallError{Adapter: adapter, Code: "no_answer", Kind: ErrTransient, Cause: err}
}
