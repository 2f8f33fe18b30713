package integrationstest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// withRate puts the rate headers on every answer of the API, and an ETag on every one
// to a GET. An answer of 304 is not charged.
func (g *GitHub) withRate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.quota--
		spent := g.quota < 0
		g.mu.Unlock()
		answer := httptest.NewRecorder()
		if spent {
			writeJSON(answer, http.StatusForbidden, map[string]any{"message": "API rate limit exceeded"})
		} else {
			next.ServeHTTP(answer, r)
		}
		g.mu.Lock()
		if r.Method == http.MethodGet && answer.Code == http.StatusOK {
			answer = g.revalidated(r, answer)
		}
		switch {
		case answer.Code == http.StatusNotModified:
			g.quota++
		case !spent:
			g.charged++
		}
		left := g.quota
		g.mu.Unlock()
		h := w.Header()
		maps.Copy(h, answer.Header())
		h.Set("X-RateLimit-Limit", "5000")
		h.Set("X-RateLimit-Remaining", strconv.Itoa(max(left, 0)))
		h.Set("X-RateLimit-Used", strconv.Itoa(5000-left))
		h.Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
		h.Set("X-RateLimit-Resource", "core")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// revalidated gives a 200 its ETag, or makes it a 304 when the client has it. It needs
// the lock.
func (g *GitHub) revalidated(r *http.Request, ok *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	var seen strings.Builder
	for _, name := range []string{"Accept", "Authorization", "Cookie"} {
		for _, v := range r.Header.Values(name) {
			seen.WriteString(v + ":")
		}
	}
	tag := fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(append([]byte(g.etagSalt+seen.String()), ok.Body.Bytes()...))))
	unchanged := false
	for want := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		unchanged = unchanged || strings.TrimPrefix(strings.TrimSpace(want), "W/") == tag
	}
	if unchanged {
		ok = httptest.NewRecorder()
		ok.Code = http.StatusNotModified
	}
	h := ok.Header()
	h.Set("ETag", "W/"+tag) // as GitHub does for what it sends compressed
	h.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	h.Set("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, Accept, X-Requested-With")
	return ok
}

// SetQuota sets how many more API requests are answered.
func (g *GitHub) SetQuota(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quota = n
}

// Charged counts the API requests that were charged to the quota: all but answers of
// 304.
func (g *GitHub) Charged() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.charged
}

// ChangeETags makes ETags in another way from now on, as GitHub, which documents none,
// may at any time.
func (g *GitHub) ChangeETags() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.etagSalt = randomHex()
}
