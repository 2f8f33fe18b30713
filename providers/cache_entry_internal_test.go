package providers

import (
	"bytes"
	"net/http"
	"reflect"
	"testing"
)

// FuzzParseEntry: whatever a cache gives back is read without harm, and what was
// written is read as it was.
func FuzzParseEntry(f *testing.F) {
	e := cachedResponse{gen: -7, portable: true, vary: [32]byte{1, 2}, header: http.Header{"Etag": {`"x"`}, "Link": {"a", "", "b"}, "X": {}}}
	f.Add(append(e.appendHead(nil), "body"...))
	f.Add([]byte{entryVersion})
	f.Add(append(make([]byte, entryFixed), 0xff, 0xff, 0xff, 0xff, 0x0f))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := parseEntry(b)
		if !ok {
			return
		}
		again, ok := parseEntry(append(got.appendHead(nil), got.body...))
		if !ok || !reflect.DeepEqual(got.header, again.header) || got.gen != again.gen || got.vary != again.vary ||
			got.portable != again.portable || !bytes.Equal(got.body, again.body) {
			t.Fatalf("%+v is read as %+v", got, again)
		}
	})
}
