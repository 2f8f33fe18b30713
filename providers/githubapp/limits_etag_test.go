package githubapp_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

func TestPredictETag(t *testing.T) {
	header := http.Header{"Accept": {"a", "b"}, "Authorization": {"Bearer x"}, "If-None-Match": {"y"}, "User-Agent": {"z"}}
	off := githubapp.New(githubapp.Config{})
	require.Empty(t, off.PredictETag(header, []byte("body")))
	on := githubapp.New(githubapp.Config{PortableETags: true})
	require.Equal(t, fmt.Sprintf(`"%x"`, sha256.Sum256([]byte("a:b:Bearer x:body"))), on.PredictETag(header, []byte("body")))
	header["Cookie"] = []string{"c=d"}
	require.Equal(t, fmt.Sprintf(`"%x"`, sha256.Sum256([]byte("a:b:Bearer x:c=d:body"))), on.PredictETag(header, []byte("body")))
	require.Equal(t, fmt.Sprintf(`"%x"`, sha256.Sum256(nil)), on.PredictETag(nil, nil))
}

// fixedReset lets the window of the fake end at one time, as GitHub's does.
type fixedReset struct {
	next http.RoundTripper
	at   time.Time
}

func (f fixedReset) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f.next.RoundTrip(r)
	if err == nil && resp.Header.Get("X-RateLimit-Reset") != "" {
		resp.Header.Set("X-RateLimit-Reset", strconv.FormatInt(f.at.Unix(), 10))
	}
	return resp, err
}

// TestUnchangedAnswersDoNotUseUpTheHour: more calls than an hour has go within one.
func TestUnchangedAnswersDoNotUseUpTheHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		cfg.Limiter = ratelimit.NewLocal(nil)
		cfg.ResponseCache = providers.NewMemoryCache(nil)
		start := time.Now()
		cfg.Transport = fixedReset{kit.Network, start.Add(time.Hour)}
		m := kit.Use(cfg)
		id := kit.GitHub.Install("acme", "user-of-acme", "api")
		kit.GitHub.PutIssue(id, "api", integrationstest.GitHubIssue{Number: 1, Title: "one", UpdatedAt: start})
		kit.Connect("acme", githubapp.Key, "acme")
		conn, err := m.Connection(t.Context(), "acme", githubapp.Key)
		require.NoError(t, err)
		gh := githubapp.Client(conn)
		for range 5200 {
			issues, _, err := gh.Issues.ListByRepo(t.Context(), "acme", "api", nil)
			require.NoError(t, err)
			require.Len(t, issues, 1)
		}
		require.Less(t, time.Since(start), 10*time.Minute)
		core := conn.Budget()[0]
		require.Equal(t, "core", core.Name)
		require.Greater(t, core.Remaining, 4900)
	})
}
