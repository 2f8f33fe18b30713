package providers_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

func TestWhatIsNotReadToItsEndIsNotKept(t *testing.T) {
	for name, row := range map[string]struct {
		body, kind string
		read       func(t *testing.T, body io.Reader)
		kept       bool
	}{
		"read": {"some text", "text/plain", func(t *testing.T, b io.Reader) {
			_, err := io.Copy(io.Discard, b)
			require.NoError(t, err)
		}, true},
		"half read": {"some text", "text/plain", func(t *testing.T, b io.Reader) {
			_, err := io.ReadFull(b, make([]byte, 4))
			require.NoError(t, err)
		}, false},
		"all but its end": {"some text", "text/plain", func(t *testing.T, b io.Reader) {
			_, err := io.ReadFull(b, make([]byte, 9))
			require.NoError(t, err)
		}, false},
		"not read": {`{"a":1}`, "application/json", func(*testing.T, io.Reader) {}, false},
		"decoded": {`{"a":1}` + "\n", "application/json; charset=utf-8", func(t *testing.T, b io.Reader) {
			var v map[string]int
			require.NoError(t, json.NewDecoder(&slow{b}).Decode(&v))
		}, true},
		"decoded in part": {`{"a":1}` + strings.Repeat(" ", 1000) + `{"a":2}`, "application/json", func(t *testing.T, b io.Reader) {
			_, err := io.ReadFull(b, make([]byte, 7))
			require.NoError(t, err)
		}, false},
		"half of a JSON": {`[1,2,3]`, "application/json", func(t *testing.T, b io.Reader) {
			_, err := io.ReadFull(b, make([]byte, 3))
			require.NoError(t, err)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, cache := newShelf(row.body), providers.NewMemoryCache(nil)
			s.header.Set("Content-Type", row.kind)
			c := connect(t, &source{}, s, withCache(cache))
			resp, err := c.HTTPClient().Get(document)
			require.NoError(t, err)
			row.read(t, resp.Body)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, row.kept, cache.Stats().Entries == 1)
			_, body := fetch(t, c)
			require.Equal(t, row.body, body)
		})
	}

	t.Run("broken off", func(t *testing.T) {
		cache := providers.NewMemoryCache(nil)
		c := connect(t, &source{}, roundTrip(func(r *http.Request) (*http.Response, error) {
			resp := respond(r, http.StatusOK, "")
			resp.Header.Set("Etag", `"x"`)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), broken{}))
			return resp, nil
		}), withCache(cache))
		resp, err := c.HTTPClient().Get(document)
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NoError(t, resp.Body.Close())
		require.Zero(t, cache.Stats().Entries)
	})
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// slow gives a byte at a time, so that a decoder stops right behind its value.
type slow struct{ r io.Reader }

func (s *slow) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 1)]) }

// BenchmarkConditional: a call whose 20 KiB are read, without a cache, when they are
// kept, and when they are what was kept, with the same token and with another one.
func BenchmarkConditional(b *testing.B) {
	body := strings.Repeat("x", 20<<10)
	for _, impl := range []string{"without", "kept", "unchanged", "another-token"} {
		b.Run("impl="+impl, func(b *testing.B) {
			src, p := &source{}, &bound{}
			base := roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Header["If-None-Match"] != nil && impl != "kept" {
					return respond(r, http.StatusNotModified, ""), nil
				}
				resp := respond(r, http.StatusOK, body)
				resp.Header["Etag"] = []string{`"x"`}
				if impl == "another-token" {
					resp.Header["Etag"] = []string{tagOf(r.Header.Get("Authorization"), body)}
				}
				return resp, nil
			})
			c := connect(b, src, base, func(cfg *providers.ConnectionConfig) {
				if impl != "without" {
					cfg.Cache = providers.NewMemoryCache(nil)
				}
				if impl == "another-token" {
					cfg.ETags = p
				}
			})
			b.ReportAllocs()
			for b.Loop() {
				if impl == "another-token" {
					src.gen.Add(1)
				}
				resp, err := c.HTTPClient().Get(document)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(len(body)) {
					b.Fatal(n, err)
				}
				_ = resp.Body.Close()
			}
		})
	}
}
