package webhook

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
)

// What is sealed of a body is the body, or, where its first byte is packMark, a
// frame: the mark, a byte for the kind, and what the kind says.
const (
	packMark = 0
	// packedAsIs: the body follows. It began with the mark.
	packedAsIs = 0
	// packedFlate: the length of the body as a uvarint follows, then the body by
	// DEFLATE (RFC 1951).
	packedFlate = 1
)

const (
	// packFrom is the size from which on bodies are made smaller. Below, the time it
	// takes is worth more than the bytes, on every database.
	packFrom = 8 << 10
	// packMost bounds what a frame may unpack to. Larger bodies are left as they
	// are.
	packMost = 64 << 20
	// packRatio is above what DEFLATE can reach, which is 1032 to 1.
	packRatio = 1040
)

var errPacked = errors.New("integrations/webhook: stored body has an unknown form")

// packers make bodies smaller, no more of them at a time than there are
// processors to do it: each takes most of a MiB.
type packers chan *flate.Writer

func newPackers() packers {
	p := make(packers, runtime.GOMAXPROCS(0))
	for range cap(p) {
		p <- nil // made when it is needed
	}
	return p
}

// pack returns what is sealed of a body: a slice of its own, or the body.
func (p packers) pack(body []byte) []byte {
	if len(body) < packFrom || len(body) > packMost {
		return packPlain(body)
	}
	w := <-p
	defer func() { p <- w }()
	out := &bounded{most: len(body) * 7 / 8, b: make([]byte, 0, len(body)/4)}
	out.b = binary.AppendUvarint(append(out.b, packMark, packedFlate), uint64(len(body)))
	if w == nil {
		w, _ = flate.NewWriter(out, flate.BestSpeed) // the level is one there is
	} else {
		w.Reset(out)
	}
	if _, err := w.Write(body); err != nil || w.Close() != nil {
		return packPlain(body) // it does not get smaller
	}
	return out.b
}

// packPlain is what is sealed of a body that is not made smaller.
func packPlain(body []byte) []byte {
	if len(body) > 0 && body[0] == packMark {
		return append([]byte{packMark, packedAsIs}, body...)
	}
	return body
}

// bounded takes so many bytes and no more.
type bounded struct {
	b    []byte
	most int
}

func (w *bounded) Write(p []byte) (int, error) {
	if len(w.b)+len(p) > w.most {
		return 0, io.ErrShortWrite
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// unpack returns the body of what was sealed. It makes no more of it than the
// frame says, and refuses a frame that cannot say so.
func unpack(plain []byte) ([]byte, error) {
	if len(plain) == 0 || plain[0] != packMark {
		return plain, nil
	}
	if len(plain) < 2 {
		return nil, errPacked
	}
	rest := plain[2:]
	switch plain[1] {
	case packedAsIs:
		return rest, nil
	case packedFlate:
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > packMost || size > packRatio*uint64(len(rest)) {
			return nil, errPacked
		}
		body, r := make([]byte, size), bytes.NewReader(rest[n:])
		f := flate.NewReader(r)
		if _, err := io.ReadFull(f, body); err != nil {
			return nil, errPacked
		}
		if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF || r.Len() != 0 {
			return nil, errPacked
		}
		return body, nil
	}
	return nil, errPacked
}
