package providers

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const (
	// maxCachedBody is the longest body that a ResponseCache gets to see. A longer
	// one goes to the caller as ever.
	maxCachedBody = 4 << 20
	// fromCache marks an answer whose body the provider did not send again, as Go's
	// HTTP caches have always done.
	fromCache = "X-From-Cache"
)

// conditional is one attempt of a GET for which the cache is asked.
type conditional struct {
	key CacheKey
	gen int64 // of the token it is sent with
	// request is what is sent. Its headers are read when the answer is there.
	request *http.Request
	// stored is what a 304 stands for, nil when nothing was kept.
	stored *cachedResponse
}

// leftAlone reports whether a request is none of the cache's business.
func leftAlone(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != "" || r.Body != nil && r.Body != http.NoBody {
		return true
	}
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range"} {
		if r.Header[name] != nil {
			return true
		}
	}
	return hasDirective(r.Header["Cache-Control"], "no-store")
}

// condition makes out, which is ready to be sent with a token of generation gen, a
// conditional request if something was kept that its answer may be. Nil means that
// the cache has no part in it.
func (t *transport) condition(out *http.Request, gen int64) *conditional {
	if leftAlone(out) {
		return nil
	}
	c := &conditional{key: t.cacheKey(out), gen: gen, request: out}
	value, ok := t.cfg.Cache.Get(out.Context(), c.key)
	if !ok {
		return c
	}
	e, ok := parseEntry(value)
	if !ok || e.vary != varied(e.header, out.Header) {
		return c
	}
	etag := e.header.Get("Etag")
	if e.gen != gen {
		// An answer to another token may be one to another grant. Only an ETag of the
		// whole body with this token tells that it is the same.
		if !e.portable || t.cfg.ETags == nil {
			return c
		}
		predicted := t.cfg.ETags.PredictETag(out.Header, e.body)
		if predicted == "" {
			return c
		}
		if strings.HasPrefix(etag, "W/") {
			predicted = "W/" + predicted
		}
		etag = predicted
		e.header["Etag"] = []string{etag}
	}
	c.stored = e
	out.Header["If-None-Match"] = []string{etag}
	return c
}

// settle turns a 304 into the answer that was kept and has a new one kept while the
// caller reads it.
func (t *transport) settle(c *conditional, resp *http.Response, verdict Answer) *http.Response {
	switch {
	case verdict != AnswerOK:
	case resp.StatusCode == http.StatusNotModified && c.stored != nil:
		t.revive(c, resp)
	case resp.StatusCode == http.StatusOK && cacheable(resp):
		t.record(c, resp)
	}
	return resp
}

// revive makes a 304 the 200 that was kept, with the fresh headers (RFC 9111 section
// 4.3.4).
func (t *transport) revive(c *conditional, resp *http.Response) {
	drain(resp)
	e := c.stored
	for name, values := range resp.Header {
		if updatesStored(name) {
			e.header[name] = values
		}
	}
	if e.gen != c.gen {
		// The next call need not compute the ETag again.
		again := cachedResponse{gen: c.gen, portable: true, vary: varied(e.header, c.request.Header), header: kept(e.header)}
		t.cfg.Cache.Put(c.request.Context(), c.key, slices.Concat(again.appendHead(nil), e.body))
	}
	e.header[fromCache] = []string{"1"}
	resp.Status, resp.StatusCode = "200 OK", http.StatusOK
	resp.Header, resp.Trailer, resp.TransferEncoding, resp.Uncompressed = e.header, nil, nil, false
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(e.body)), int64(len(e.body))
}

// cacheable reports whether a 200 may be kept: it has an ETag and does not say no.
func cacheable(resp *http.Response) bool {
	return resp.Header.Get("Etag") != "" && resp.Body != nil && resp.ContentLength <= maxCachedBody &&
		!hasDirective(resp.Header["Cache-Control"], "no-store") && !hasDirective(resp.Header["Vary"], "*")
}

// record has an answer kept once the caller has read it to its end.
func (t *transport) record(c *conditional, resp *http.Response) {
	e := cachedResponse{gen: c.gen, vary: varied(resp.Header, c.request.Header), header: kept(resp.Header)}
	head := e.appendHead(nil)
	value := head
	if resp.ContentLength > 0 {
		value = slices.Grow(head, int(resp.ContentLength))
	}
	ctx, etag := c.request.Context(), resp.Header.Get("Etag")
	resp.Body = &recorder{
		body: resp.Body, value: value, start: len(head), recording: true,
		json: strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json"),
		done: func(value []byte) {
			if p := t.cfg.ETags; p != nil {
				if predicted := p.PredictETag(c.request.Header, value[len(head):]); predicted != "" && predicted == strings.TrimPrefix(etag, "W/") {
					value[entryFlags] |= entryPortable
				}
			}
			t.cfg.Cache.Put(ctx, c.key, value)
		},
	}
}

func kept(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if storable(name) && name != fromCache {
			out[name] = values
		}
	}
	return out
}

// varied is a hash of what a request says in the headers that its answer depends on.
// The token is not among them: its generation is kept.
func varied(answer, request http.Header) [32]byte {
	var texts []string
	for _, line := range answer["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if name != "Authorization" {
				texts = append(append(texts, name), request[name]...)
			}
		}
	}
	return hashOf(texts...)
}

// hasDirective reports whether a list of comma-separated words holds one, alone or
// with a value.
func hasDirective(lines []string, want string) bool {
	for _, line := range lines {
		for word := range strings.SplitSeq(line, ",") {
			word, _, _ = strings.Cut(word, "=")
			if strings.EqualFold(strings.TrimSpace(word), want) {
				return true
			}
		}
	}
	return false
}

// recorder is a body that is kept while it is read. What does not come to its end, or
// grows too long, is not.
type recorder struct {
	body  io.ReadCloser
	start int // of the body in value
	json  bool
	done  func(value []byte)

	mu        sync.Mutex // a body may be closed while it is read
	value     []byte
	recording bool
	reading   bool
}

func (r *recorder) Read(p []byte) (int, error) {
	r.mu.Lock()
	r.reading = true
	r.mu.Unlock()
	n, err := r.body.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = false
	r.note(p[:n], err)
	return n, err
}

// note needs the lock.
func (r *recorder) note(p []byte, err error) {
	if !r.recording {
		return
	}
	if len(r.value)-r.start+len(p) > maxCachedBody || err != nil && err != io.EOF {
		r.stop()
		return
	}
	r.value = append(r.value, p...)
	if err == io.EOF {
		value := r.value
		r.stop()
		r.done(value)
	}
}

func (r *recorder) stop() { r.value, r.recording = nil, false }

// Close looks for the end when it must be near: a json.Decoder stops at the end of its
// value and leaves the body's end unread.
func (r *recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recording && !r.reading && r.json && json.Valid(r.value[r.start:]) {
		var rest [64]byte
		for range 2 {
			n, err := r.body.Read(rest[:])
			r.note(rest[:n], err)
			if err != nil {
				break
			}
		}
	}
	r.stop()
	return r.body.Close()
}
