package providers_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

// shelf is a server of documents with ETags.
type shelf struct {
	mu     sync.Mutex
	body   string
	header http.Header // further ones of a 200
	fresh  http.Header // further ones of a 304
	etag   func(r *http.Request, body string) string
	asked  []string // If-None-Match of each request
	status []int
}

func newShelf(body string) *shelf {
	return &shelf{body: body, header: http.Header{}, fresh: http.Header{}, etag: func(_ *http.Request, body string) string {
		return fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(body)))
	}}
}

func (s *shelf) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Header.Get("If-None-Match"))
	etag := s.etag(r, s.body)
	resp, extra := respond(r, http.StatusOK, s.body), s.header
	if etag != "" && r.Header.Get("If-None-Match") == etag {
		resp, extra = respond(r, http.StatusNotModified, ""), s.fresh
	}
	resp.ContentLength = -1
	resp.Header.Set("Etag", etag)
	for name, values := range extra {
		resp.Header[name] = values
	}
	s.status = append(s.status, resp.StatusCode)
	return resp, nil
}

func withCache(c providers.ResponseCache) func(*providers.ConnectionConfig) {
	return func(cfg *providers.ConnectionConfig) { cfg.Cache = c }
}

const document = "https://api.example.com/documents/1?secret=in-the-url"

// fetch gets the document and reads it to its end.
func fetch(t testing.TB, c *providers.Connection, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, document, http.NoBody)
	require.NoError(t, err)
	for _, fn := range change {
		fn(r)
	}
	resp, err := c.HTTPClient().Do(r)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp, string(body)
}

func TestAnUnchangedAnswerIsTheOneThatWasKept(t *testing.T) {
	s := newShelf("one")
	s.header = http.Header{"Content-Type": {"text/x"}, "Link": {"<next>"}, "X-Ratelimit-Remaining": {"1"}, "Set-Cookie": {"a=b"}, "X-Version": {"1"}}
	s.fresh = http.Header{"X-Version": {"2"}, "Content-Length": {"0"}, "Date": {"today"}}
	c := connect(t, &source{}, s, withCache(providers.NewMemoryCache(nil)))
	first, body := fetch(t, c)
	require.Equal(t, "one", body)
	require.Empty(t, first.Header["X-From-Cache"])
	require.NotEmpty(t, first.Header["Set-Cookie"], "the caller gets what came")
	for range 2 {
		resp, body := fetch(t, c)
		require.Equal(t, []any{200, "200 OK", "one", int64(3)}, []any{resp.StatusCode, resp.Status, body, resp.ContentLength})
		require.Equal(t, "1", resp.Header.Get("X-From-Cache"))
		require.Equal(t, []any{"text/x", "<next>", "2", "today", ""}, []any{
			resp.Header.Get("Content-Type"), resp.Header.Get("Link"), resp.Header.Get("X-Version"), resp.Header.Get("Date"), resp.Header.Get("Content-Length"),
		})
		require.Empty(t, resp.Header["Set-Cookie"])
		require.Empty(t, resp.Header["X-Ratelimit-Remaining"], "a quota of another moment is not told")
	}
	s.body = "two"
	for _, want := range []string{"two", "two"} {
		_, body = fetch(t, c)
		require.Equal(t, want, body)
	}
	require.Equal(t, []int{200, 304, 304, 200, 304}, s.status)
}

func TestWhatIsNotKept(t *testing.T) {
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, row := range map[string]struct {
		server  func(*shelf)
		request func(*http.Request)
	}{
		"no ETag":                    {server: func(s *shelf) { s.etag = func(*http.Request, string) string { return "" } }},
		"no-store of the answer":     {server: func(s *shelf) { s.header.Set("Cache-Control", `private, No-Store="x"`) }},
		"Vary: *":                    {server: func(s *shelf) { s.header.Set("Vary", "Accept, *") }},
		"HEAD":                       {request: func(r *http.Request) { r.Method = http.MethodHead }},
		"POST":                       {request: func(r *http.Request) { r.Method = http.MethodPost }},
		"a body":                     {request: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("x")) }},
		"no-store of the request":    {request: set("Cache-Control", "no-store")},
		"a range":                    {request: set("Range", "bytes=0-1")},
		"a caller's own condition":   {request: set("If-None-Match", `"mine"`)},
		"a caller's own date":        {request: set("If-Modified-Since", "Thu, 01 Jan 2026 00:00:00 GMT")},
		"a caller's own If-Match":    {request: set("If-Match", `"mine"`)},
		"an answer of another kind":  {server: func(s *shelf) { s.header.Set("Content-Type", "application/json"); s.body = "limited" }},
		"a body over what is looked": {server: func(s *shelf) { s.body = strings.Repeat("x", 4<<20+1) }},
	} {
		t.Run(name, func(t *testing.T) {
			s, cache := newShelf("one"), providers.NewMemoryCache(nil)
			if row.server != nil {
				row.server(s)
			}
			c := connect(t, &source{}, s, withCache(cache), func(cfg *providers.ConnectionConfig) { cfg.Classifier = classifier{}; cfg.Retries = -1 })
			request := row.request
			if request == nil {
				request = func(*http.Request) {}
			}
			for range 2 {
				_, body := fetch(t, c, request)
				require.Equal(t, s.body, body)
			}
			require.Zero(t, cache.Stats().Entries)
			require.Equal(t, s.asked[0], s.asked[1], "no condition was added")
		})
	}
}

// TestAnotherMethodDoesNotUseWhatWasKept: what a GET left changes no other request.
func TestAnotherMethodDoesNotUseWhatWasKept(t *testing.T) {
	s := newShelf("one")
	c := connect(t, &source{}, s, withCache(providers.NewMemoryCache(nil)))
	fetch(t, c)
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodDelete} {
		fetch(t, c, func(r *http.Request) { r.Method = method })
	}
	require.Equal(t, []string{"", "", "", ""}, s.asked)
}

// TestNothingIsSharedBetweenGrants: what one may read, another gets only from the
// provider.
func TestNothingIsSharedBetweenGrants(t *testing.T) {
	cache := providers.NewMemoryCache(nil)
	shared := newShelf("one")
	shared.etag = func(*http.Request, string) string { return `"version-1"` } // not of the reader
	gen := &source{}
	first := connect(t, gen, shared, withCache(cache))
	fetch(t, first)
	fetch(t, first)
	require.Equal(t, []string{"", `"version-1"`}, shared.asked)

	for name, change := range map[string]func(*providers.ConnectionConfig){
		"another integration of the tenant": func(c *providers.ConnectionConfig) { c.IntegrationID = "i2" },
		"another tenant":                    func(c *providers.ConnectionConfig) { c.TenantID = "t2" },
		"another account":                   func(c *providers.ConnectionConfig) { c.Account = "B" },
		"another provider":                  func(c *providers.ConnectionConfig) { c.Provider = "q" },
	} {
		shared.asked = nil
		fetch(t, connect(t, &source{}, shared, withCache(cache), change))
		require.Equal(t, []string{""}, shared.asked, name)
	}

	// Another token may be of another grant: a user who reconnected.
	shared.asked = nil
	gen.gen.Store(5)
	fetch(t, first)
	fetch(t, first)
	require.Equal(t, []string{"", `"version-1"`}, shared.asked)
}

func TestAnAnswerIsKeptForWhatItVariesBy(t *testing.T) {
	s := newShelf("one")
	s.header.Set("Vary", "accept-language, Authorization")
	c := connect(t, &source{}, s, withCache(providers.NewMemoryCache(nil)))
	in := func(language, accept string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Accept-Language", language); r.Header.Set("Accept", accept) }
	}
	fetch(t, c, in("en", "a"))
	fetch(t, c, in("de", "a"))
	fetch(t, c, in("de", "a"))
	fetch(t, c, in("de", "b")) // Accept has entries of its own
	fetch(t, c, in("de", "a"))
	require.Equal(t, []int{200, 200, 304, 200, 304}, s.status)
}

// TestKeysTellNothing: neither a URL nor a name is in what a cache sees as a key.
func TestKeysTellNothing(t *testing.T) {
	keys := &noted{ResponseCache: providers.NewMemoryCache(nil)}
	c := connect(t, &source{}, newShelf("one"), withCache(keys))
	fetch(t, c)
	fetch(t, c)
	require.Len(t, keys.keys, 3) // get, put, get
	require.Equal(t, providers.CacheConnection("t1", "i1"), keys.keys[0].Connection)
	require.NotEqual(t, providers.CacheConnection("t", "1i1"), keys.keys[0].Connection)
	for _, k := range keys.keys {
		require.Equal(t, keys.keys[0], k)
	}
	for _, v := range keys.values {
		for _, secret := range []string{"secret", "in-the-url", "documents", "token-0", "t1"} {
			require.NotContains(t, string(v), secret)
		}
	}
}

type noted struct {
	providers.ResponseCache
	keys   []providers.CacheKey
	values [][]byte
}

func (n *noted) Get(ctx context.Context, key providers.CacheKey) ([]byte, bool) {
	n.keys = append(n.keys, key)
	return n.ResponseCache.Get(ctx, key)
}

func (n *noted) Put(ctx context.Context, key providers.CacheKey, value []byte) {
	n.keys, n.values = append(n.keys, key), append(n.values, value)
	n.ResponseCache.Put(ctx, key, value)
}

// TestACacheThatKeepsNonsenseHarmsNoCall: what comes from outside is not believed.
func TestACacheThatKeepsNonsenseHarmsNoCall(t *testing.T) {
	good := &noted{ResponseCache: providers.NewMemoryCache(nil)}
	s := newShelf("one")
	fetch(t, connect(t, &source{}, s, withCache(good)))
	value := good.values[0]
	for n := range len(value) - len("one") {
		s.asked = nil
		_, body := fetch(t, connect(t, &source{}, s, withCache(constant(value[:n]))))
		require.Equal(t, "one", body)
		require.Equal(t, []string{""}, s.asked)
	}
	fetch(t, connect(t, &source{}, s, withCache(constant(value))))
	require.NotEqual(t, []string{"", ""}, s.asked, "whole, it is used")
}

type constant []byte

func (c constant) Get(context.Context, providers.CacheKey) ([]byte, bool) { return c, true }
func (c constant) Put(context.Context, providers.CacheKey, []byte)        {}
func (c constant) Forget(context.Context, [32]byte)                       {}

// TestARefusedTokenOnAConditionalCall: the call that is sent once more has the
// condition that its own token allows.
func TestARefusedTokenOnAConditionalCall(t *testing.T) {
	s := newShelf("one")
	src := &source{}
	refuse := false
	c := connect(t, src, roundTrip(func(r *http.Request) (*http.Response, error) {
		if refuse && r.Header.Get("Authorization") == "Bearer token-0" {
			return respond(r, http.StatusUnauthorized, ""), nil
		}
		return s.RoundTrip(r)
	}), withCache(providers.NewMemoryCache(nil)))
	fetch(t, c)
	refuse = true
	resp, body := fetch(t, c)
	require.Equal(t, []any{200, "one", ""}, []any{resp.StatusCode, body, resp.Header.Get("X-From-Cache")})
	require.Equal(t, []string{"", ""}, s.asked)
}

func TestManyCallersAtOnce(t *testing.T) {
	s := newShelf("one")
	cache := providers.NewMemoryCache(&providers.MemoryCacheConfig{MaxBytes: 4 << 10})
	src := &source{}
	conns := []*providers.Connection{
		connect(t, src, s, withCache(cache)),
		connect(t, src, s, withCache(cache), func(c *providers.ConnectionConfig) { c.IntegrationID = "i2" }),
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 100 {
				if i == 0 {
					s.mu.Lock()
					s.body = fmt.Sprint("body ", n)
					s.mu.Unlock()
					src.gen.Store(int64(n / 10))
					cache.Forget(context.Background(), providers.CacheConnection("t1", "i2"))
				}
				resp, err := conns[n%2].HTTPClient().Get(fmt.Sprintf("https://api.example.com/%d", n%20))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusOK || len(body) == 0 {
					t.Error(resp.StatusCode, string(body), err)
				}
				// The ETag is of the body, so what a 304 gave is what the server has.
				if want := fmt.Sprintf(`"%x"`, sha256.Sum256(body)); resp.Header.Get("Etag") != want {
					t.Error("another answer's body")
				}
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, cache.Stats().Bytes, 4<<10)
}

func ExampleNewMemoryCache() {
	h, err := providers.NewHosts("api.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	// A host gives it to the Manager: integrations.Config{ResponseCache: …}.
	cache := providers.NewMemoryCache(&providers.MemoryCacheConfig{MaxBytes: 16 << 20})
	conn, err := providers.NewConnection(providers.ConnectionConfig{
		TenantID: "tenant-1", IntegrationID: "1", Provider: "acme", Hosts: h, Source: &source{}, Cache: cache,
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("If-None-Match") == `"v1"` {
				return respond(r, http.StatusNotModified, ""), nil
			}
			resp := respond(r, http.StatusOK, "a thing")
			resp.Header.Set("Etag", `"v1"`)
			return resp, nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		resp, err := conn.HTTPClient().Get("https://api.example.com/things/1")
		if err != nil {
			fmt.Println(err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode, string(body), err, "not sent again:", resp.Header.Get("X-From-Cache") == "1")
	}
	// Output:
	// 200 a thing <nil> not sent again: false
	// 200 a thing <nil> not sent again: true
}
