package providers

import (
	"encoding/binary"
	"net/http"
	"strings"
)

// cachedResponse is a 200 answer as a ResponseCache keeps it.
type cachedResponse struct {
	// gen is the generation of the token that it is an answer to.
	gen int64
	// portable says that the predictor computed its ETag rightly.
	portable bool
	// vary is a hash of the request's headers that the answer depends on.
	vary   [32]byte
	header http.Header
	body   []byte
}

// The kept form is: version, flags, generation, vary, headers, body. Lengths are
// uvarints. What is in front of the body is written before the body is there, so the
// flags are set in place.
const (
	entryVersion  = 1
	entryFlags    = 1 // where they are
	entryPortable = 1
	entryFixed    = 1 + 1 + 8 + 32
)

// appendHead appends all but the body.
func (e *cachedResponse) appendHead(b []byte) []byte {
	flags := byte(0)
	if e.portable {
		flags = entryPortable
	}
	b = append(b, entryVersion, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(e.gen))
	b = append(b, e.vary[:]...)
	b = binary.AppendUvarint(b, uint64(len(e.header)))
	for name, values := range e.header {
		b = appendText(b, name)
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, v := range values {
			b = appendText(b, v)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parseEntry reads a kept response; false for anything else. The body is not copied.
func parseEntry(b []byte) (*cachedResponse, bool) {
	if len(b) < entryFixed || b[0] != entryVersion || b[entryFlags]&^entryPortable != 0 {
		return nil, false
	}
	e := &cachedResponse{portable: b[entryFlags] == entryPortable, gen: int64(binary.BigEndian.Uint64(b[2:]))}
	copy(e.vary[:], b[10:])
	r := entryReader{b[entryFixed:], true}
	names := r.count()
	e.header = make(http.Header, names)
	for range names {
		name := r.text()
		values := make([]string, r.count())
		for i := range values {
			values[i] = r.text()
		}
		e.header[name] = values
	}
	e.body = r.rest
	return e, r.ok
}

// entryReader reads lengths and texts until one does not fit.
type entryReader struct {
	rest []byte
	ok   bool
}

// count reads a number of things that take a byte each at least.
func (r *entryReader) count() int {
	n, used := binary.Uvarint(r.rest)
	if used <= 0 || n > uint64(len(r.rest)-used) {
		r.rest, r.ok = nil, false
		return 0
	}
	r.rest = r.rest[used:]
	return int(n)
}

func (r *entryReader) text() string {
	n := r.count()
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// storable reports whether a header field is kept: not one that belongs to a transfer
// (RFC 9111 section 3.1), nor one that was true for its moment only, which a stale
// copy would make a client believe.
func storable(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Set-Cookie", "Retry-After":
		return false
	}
	name = strings.ToLower(name)
	return !strings.Contains(name, "ratelimit") && !strings.Contains(name, "-limit-")
}

// updatesStored reports whether a field of a 304 takes the place of the one that was
// kept (RFC 9111 section 3.2): not what describes the body.
func updatesStored(name string) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Range", "Content-Type", "Transfer-Encoding", "Connection", "Trailer":
		return false
	}
	return true
}
