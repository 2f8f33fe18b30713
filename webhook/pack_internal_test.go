package webhook

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// frame is a frame that says it is of size bytes.
func frame(t testing.TB, size uint64, body []byte) []byte {
	out := bytes.NewBuffer(binary.AppendUvarint([]byte{packMark, packedFlate}, size))
	w, err := flate.NewWriter(out, flate.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestPackedBodies(t *testing.T) {
	p := newPackers()
	noise := make([]byte, 100<<10)
	for i := range noise {
		noise[i] = byte(rand.Int())
	}
	json := bytes.Repeat([]byte(`{"login":"octocat","id":1},`), 4<<10)
	for name, c := range map[string]struct {
		body    []byte
		smaller bool
	}{
		"nothing": {nil, false}, "empty": {[]byte{}, false}, "small": {json[:packFrom-1], false}, "large": {json[:packFrom], true}, "larger": {json, true},
		"noise": {noise, false}, "the mark alone": {[]byte{0}, false}, "like a frame": {frame(t, 5, []byte("12345")), false},
		"zeros": {make([]byte, packFrom), true}, "the most": {make([]byte, packMost), true}, "too large": {make([]byte, packMost+1), false},
	} {
		before, times := bytes.Clone(c.body), 3 // the writers are used again
		if len(c.body) >= packMost {
			times = 1
		}
		for range times {
			plain := p.pack(c.body)
			require.Equal(t, c.smaller, len(plain) < len(c.body)*7/8, name)
			require.LessOrEqual(t, len(plain), len(c.body)+2, name)
			got, err := unpack(plain)
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(before, got), name)
			require.True(t, bytes.Equal(before, c.body), "%s: the body was written to", name)
			got, err = unpack(packPlain(c.body))
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(before, got), name)
		}
	}
}

// TestFramesThatLieAreRefused: nothing unpacks to more than it says, and nothing
// says more than there can be.
func TestFramesThatLieAreRefused(t *testing.T) {
	body := []byte(strings.Repeat("a body ", 1000))
	good := frame(t, uint64(len(body)), body)
	got, err := unpack(good)
	require.NoError(t, err)
	require.Equal(t, body, got)
	bomb := frame(t, packMost+1, make([]byte, packMost+1))
	for name, plain := range map[string][]byte{
		"the mark alone": {packMark}, "an unknown kind": {packMark, 2, 0}, "no size": {packMark, packedFlate}, "half a size": {packMark, packedFlate, 0x80},
		"more than it says":         frame(t, uint64(len(body)-1), body),
		"less than it says":         frame(t, uint64(len(body)+1), body),
		"more than is allowed":      bomb,
		"more than there can be":    frame(t, packMost, []byte("x")),
		"more than there are bytes": binary.AppendUvarint([]byte{packMark, packedFlate}, 1<<63),
		"cut off":                   good[:len(good)-1],
		"something after it":        append(bytes.Clone(good), 0),
		"garbage":                   append([]byte{packMark, packedFlate, 100}, "garbage, no DEFLATE"...),
	} {
		_, err := unpack(plain)
		require.ErrorIs(t, err, errPacked, name)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(`{"a":1}`))
	f.Add([]byte{packMark, packedAsIs, 'x'})
	f.Add(frame(f, 5, []byte("12345")))
	f.Add(frame(f, 1<<20, make([]byte, 1<<20)))
	p := newPackers()
	f.Fuzz(func(t *testing.T, b []byte) {
		if body, err := unpack(b); err == nil && len(body) > max(len(b), packRatio*len(b)) {
			t.Fatalf("%d bytes out of %d", len(body), len(b))
		}
		body, err := unpack(p.pack(b))
		if err != nil || !bytes.Equal(body, b) {
			t.Fatalf("%v, or another body", err)
		}
	})
}
