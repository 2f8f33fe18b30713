package providers

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
)

// ResponseCache keeps answers of providers so that calls can ask for them only if
// they changed (conditional requests, RFC 9110 section 13). Nothing is ever taken
// from it without asking the provider, with the tenant's present token: an answer
// counts when the provider says 304 to its ETag. [NewMemoryCache] is one in memory.
//
// What is kept are a customer's data in the clear, apart from the host's database. A
// cache outside of the process needs the same care as that.
//
// Implementations must be safe for concurrent use, must not block for long, and deal
// with their own failures: a call goes out all the same.
type ResponseCache interface {
	// Get returns what was put under a key last. It may have forgotten it. The slice
	// is not changed and must not be.
	Get(ctx context.Context, key CacheKey) (response []byte, ok bool)
	// Put keeps a response, or does not. The slice is the cache's from then on. What
	// is in it is of this version of the library; one that another version does not
	// know is no hit there.
	Put(ctx context.Context, key CacheKey, response []byte)
	// Forget removes everything of a connection, which is [CacheKey.Connection].
	Forget(ctx context.Context, connection [32]byte)
}

// CacheKey is where a [ResponseCache] keeps a response. Both parts are SHA-256
// hashes, so that a key tells no URL and no name.
type CacheKey struct {
	// Connection is of the tenant and the integration: no two share anything.
	Connection [32]byte
	// Request is of the provider, the external account, the method, the host, the
	// whole URL and the Accept header.
	Request [32]byte
}

// CacheConnection is [CacheKey.Connection] of an integration.
func CacheConnection(tenant, integrationID string) [32]byte {
	return hashOf("connection", tenant, integrationID)
}

// hashOf hashes texts so that no two lists of them give the same bytes.
func hashOf(texts ...string) [32]byte {
	var buf [512]byte
	b := buf[:0]
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}

func (t *transport) cacheKey(r *http.Request) CacheKey {
	texts := make([]string, 0, 8)
	texts = append(texts, t.cfg.Provider, t.origin.Account(), http.MethodGet, r.Host, r.URL.String())
	return CacheKey{
		Connection: CacheConnection(t.origin.TenantID(), t.origin.IntegrationID()),
		Request:    hashOf(append(texts, r.Header["Accept"]...)...),
	}
}

// ETagPredictor is an ability of a provider whose ETags depend on the token and can
// be computed: with it a [ResponseCache] outlives a change of the token.
// Implementations must be safe for concurrent use.
type ETagPredictor interface {
	// PredictETag returns the ETag, in quotes and without W/, that the service gives
	// to body as the answer to a request with the given header; "" when that cannot
	// be told. It must change and keep neither. It is asked only about bodies for
	// whose own request it was right.
	PredictETag(header http.Header, body []byte) string
}
