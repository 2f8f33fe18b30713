package providers_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

// bound is a predictor for ETags that belong to a token.
type bound struct{ asked int }

func (b *bound) PredictETag(header http.Header, body []byte) string {
	b.asked++
	return tagOf(header.Get("Authorization"), string(body))
}

func tagOf(token, body string) string {
	return fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(token+":"+body)))
}

// boundShelf is a server with such ETags, weak or not.
func boundShelf(weak string) *shelf {
	s := newShelf("one")
	s.etag = func(r *http.Request, body string) string { return weak + tagOf(r.Header.Get("Authorization"), body) }
	return s
}

func withPredictor(p providers.ETagPredictor, c providers.ResponseCache) func(*providers.ConnectionConfig) {
	return func(cfg *providers.ConnectionConfig) { cfg.Cache, cfg.ETags = c, p }
}

func TestAPredictedETagOutlivesTheToken(t *testing.T) {
	for _, weak := range []string{"", "W/"} {
		s, p, src := boundShelf(weak), &bound{}, &source{}
		s.header.Set("Vary", "Accept, User-Agent")
		s.fresh.Set("Vary", "Accept, Authorization, Accept-Language")
		c := connect(t, src, s, withPredictor(p, providers.NewMemoryCache(nil)))
		fetch(t, c)
		require.Equal(t, 1, p.asked, "checked when it is kept")
		fetch(t, c)
		require.Equal(t, 1, p.asked, "nothing to predict for the same token")
		src.gen.Store(1)
		resp, body := fetch(t, c)
		require.Equal(t, []any{"one", "1", weak + tagOf("Bearer token-1", "one")}, []any{body, resp.Header.Get("X-From-Cache"), resp.Header.Get("Etag")})
		asked := p.asked
		fetch(t, c)
		require.Equal(t, asked, p.asked, "once for each token")
		src.gen.Store(2)
		s.body = "two"
		_, body = fetch(t, c)
		require.Equal(t, "two", body)
		src.gen.Store(3)
		fetch(t, c)
		require.Equal(t, []int{200, 304, 304, 304, 200, 304}, s.status)
	}
}

// TestAFormulaThatIsWrongCostsNothing: neither from the start nor from some day on.
func TestAFormulaThatIsWrongCostsNothing(t *testing.T) {
	s, p, src := boundShelf(""), &bound{}, &source{}
	right := s.etag
	s.etag = func(r *http.Request, body string) string { return strings.Replace(right(r, body), `"`, `"v2-`, 1) }
	c := connect(t, src, s, withPredictor(p, providers.NewMemoryCache(nil)))
	fetch(t, c)
	fetch(t, c)
	src.gen.Store(1)
	_, body := fetch(t, c)
	require.Equal(t, "one", body)
	require.Equal(t, []int{200, 304, 200}, s.status, "plain ETags still work")
	require.Empty(t, s.asked[2], "an ETag of the token before is not sent")

	// GitHub comes round to it, and changes it again.
	s.etag = right
	src.gen.Store(2)
	fetch(t, c)
	src.gen.Store(3)
	fetch(t, c)
	s.etag = func(*http.Request, string) string { return `"another"` }
	for gen := int64(4); gen < 6; gen++ {
		src.gen.Store(gen)
		_, body = fetch(t, c)
		require.Equal(t, "one", body)
	}
	fetch(t, c)
	require.Equal(t, []int{200, 304, 200, 200, 304, 200, 200, 304}, s.status)
	require.Empty(t, s.asked[6], "it is not relied on any more")
}

// TestAPredictorThatCannotTell is one whose option is off.
func TestAPredictorThatCannotTell(t *testing.T) {
	s, src := boundShelf(""), &source{}
	c := connect(t, src, s, withPredictor(silent{}, providers.NewMemoryCache(nil)))
	fetch(t, c)
	fetch(t, c)
	src.gen.Store(1)
	fetch(t, c)
	require.Equal(t, []int{200, 304, 200}, s.status)
}

type silent struct{}

func (silent) PredictETag(http.Header, []byte) string { return "" }
