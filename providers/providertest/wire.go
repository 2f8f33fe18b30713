package providertest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
)

// purpose is what a request is made for.
type purpose int

const (
	tokenCalls purpose = iota // through the token client
	flowCalls                 // of the connect flow, beside the token call
	apiCalls                  // through a connection
)

// request is a request as it went out.
type request struct {
	purpose       purpose
	host          string
	query         url.Values
	authorization string
	body          string
}

// wire stands between the provider and the fake: it writes down what goes out
// and lets things go wrong.
type wire struct {
	next http.RoundTripper

	mu      sync.Mutex
	sent    []request
	answers map[purpose][]Answer
	lose    map[purpose]int
}

var errLost = errors.New("providertest: connection lost")

func (w *wire) as(p purpose) http.RoundTripper { return lane{w, p} }

// script answers the next requests of a purpose in place of the fake.
func (w *wire) script(p purpose, answers ...Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answers == nil {
		w.answers = map[purpose][]Answer{}
	}
	w.answers[p] = append(w.answers[p], answers...)
}

// loseNext breaks the connection of the next request of a purpose after the fake
// did its work.
func (w *wire) loseNext(p purpose) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = map[purpose]int{p: 1}
}

func (w *wire) requests(purposes ...purpose) []request {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []request
	for _, r := range w.sent {
		if len(purposes) == 0 || r.purpose == purposes[0] {
			out = append(out, r)
		}
	}
	return out
}

func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = nil
}

type lane struct {
	*wire
	purpose purpose
}

func (l lane) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	l.sent = append(l.sent, request{l.purpose, r.URL.Host, r.URL.Query(), r.Header.Get("Authorization"), string(body)})
	var answer *Answer
	if a := l.answers[l.purpose]; len(a) > 0 {
		answer, l.answers[l.purpose] = &a[0], a[1:]
	}
	lost := l.lose[l.purpose] > 0
	if lost {
		l.lose[l.purpose]--
	}
	l.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if answer != nil {
		return answer.response(r), nil
	}
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := l.next.RoundTrip(out)
	if lost {
		if err == nil {
			_ = resp.Body.Close()
		}
		if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.WroteHeaders != nil {
			trace.WroteHeaders()
		}
		return nil, errLost
	}
	return resp, err
}

func (a Answer) response(r *http.Request) *http.Response {
	h := a.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	return &http.Response{
		StatusCode: a.Status, Status: http.StatusText(a.Status), Header: h, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(a.Body)), Body: io.NopCloser(strings.NewReader(a.Body)),
	}
}
