package integrationstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Network answers requests to providers' real host names in this process. It is
// the Transport of a Config: no socket is opened, so it works in a
// testing/synctest bubble too. It is safe for concurrent use.
type Network struct {
	mu       sync.Mutex
	handlers map[string]http.Handler
	faults   []*scripted
}

type scripted struct {
	host, path string
	faults     []Fault
}

func newNetwork() *Network { return &Network{handlers: map[string]http.Handler{}} }

// Handle makes h answer for a host name.
func (n *Network) Handle(host string, h http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[host] = h
}

// Fail scripts faults for the next requests to a host whose path begins with
// path: the first fault for the first request, and so on.
func (n *Network) Fail(host, path string, faults ...Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = append(n.faults, &scripted{host: host, path: path, faults: faults})
}

// Fault is what goes wrong with one request.
type Fault struct {
	latency       time.Duration
	before, after bool // the connection breaks before, or after, the server worked
	half          bool
	status        int
	header        http.Header
	body          string
}

// Latency lets a request take so long, then answers it as usual.
func Latency(d time.Duration) Fault { return Fault{latency: d} }

// DropBeforeWrite breaks the connection before the request was sent.
func DropBeforeWrite() Fault { return Fault{before: true} }

// DropAfterWork breaks the connection after the server did its work: a refresh
// token was rotated and the answer is lost.
func DropAfterWork() Fault { return Fault{after: true} }

// HalfBody breaks the connection in the middle of the answer, after the server
// did its work.
func HalfBody() Fault { return Fault{half: true} }

// Status answers with a status and an HTML body; the server does no work.
func Status(code int) Fault {
	return Fault{status: code, header: http.Header{"Content-Type": {"text/html"}}, body: "<html>" + http.StatusText(code) + "</html>"}
}

// RateLimited answers 429 with Retry-After; the server does no work.
func RateLimited(retryAfter time.Duration) Fault {
	f := Status(http.StatusTooManyRequests)
	f.header.Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	return f
}

// Garbage answers 200 with a body that is not what it says to be.
func Garbage() Fault {
	return Fault{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: `{"access_`}
}

// RedirectTo answers 307 to another URL; the server does no work.
func RedirectTo(url string) Fault {
	return Fault{status: http.StatusTemporaryRedirect, header: http.Header{"Location": {url}}}
}

// Answer answers with the given status and JSON body; the server does no work.
func Answer(status int, body string) Fault {
	return Fault{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: body}
}

var errDropped = errors.New("integrationstest: connection dropped")

// RoundTrip implements http.RoundTripper.
func (n *Network) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	h, fault := n.route(r)
	if h == nil {
		return nil, fmt.Errorf("integrationstest: nobody answers for host %q", r.URL.Host)
	}
	trace := httptrace.ContextClientTrace(r.Context())
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(r.URL.Host)
	}
	if fault.before {
		return nil, errDropped
	}
	if trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if err := rest(r.Context(), fault.latency); err != nil {
		return nil, err
	}
	resp, err := serve(h, r, fault)
	if err != nil {
		return nil, err
	}
	switch {
	case fault.after:
		return nil, errDropped
	case fault.half:
		body, _ := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), broken{}))
	}
	return resp, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// route finds who answers and what goes wrong.
func (n *Network) route(r *http.Request) (http.Handler, Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.faults {
		if s.host == r.URL.Host && strings.HasPrefix(r.URL.Path, s.path) && len(s.faults) > 0 {
			f := s.faults[0]
			s.faults = s.faults[1:]
			return n.handlers[r.URL.Host], f
		}
	}
	return n.handlers[r.URL.Host], Fault{}
}

// serve calls the handler with a server's view of the request.
func serve(h http.Handler, r *http.Request, f Fault) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	if f.status != 0 {
		for k, v := range f.header {
			rec.Header()[k] = v
		}
		rec.WriteHeader(f.status)
		_, _ = rec.WriteString(f.body)
	} else {
		in := r.Clone(r.Context())
		in.RequestURI, in.Host = r.URL.RequestURI(), r.URL.Host
		if in.Body == nil {
			in.Body = http.NoBody
		}
		h.ServeHTTP(rec, in)
	}
	resp := rec.Result()
	if resp.Header.Get("Date") == "" {
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	resp.Request = r
	return resp, nil
}

func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
