package integrationstest_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/stretchr/testify/require"
)

// seen remembers the last token that was sent.
type seen struct {
	base   http.RoundTripper
	bearer string
}

func (s *seen) RoundTrip(r *http.Request) (*http.Response, error) {
	s.bearer = r.Header.Get("Authorization")
	return s.base.RoundTrip(r)
}

// TestGitHubChangesWhileItIsAsked is for the race detector: a test may suspend an
// installation while the code under test calls.
func TestGitHubChangesWhileItIsAsked(t *testing.T) {
	kit := integrationstest.New(t)
	id := kit.GitHub.Install("acme", "user-of-acme")
	kit.GitHub.SetQuota(1 << 30)
	last := &seen{base: kit.Network}
	cfg := kit.Config()
	cfg.Transport = last
	m := kit.Use(cfg)
	kit.Connect("acme", githubapp.Key, "acme")
	conn, err := m.Connection(t.Context(), "acme", githubapp.Key)
	require.NoError(t, err)
	for _, err := range githubapp.Repositories(t.Context(), conn) {
		require.NoError(t, err)
	}
	bearer := last.bearer
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.github.com/installation/repositories", http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Authorization", bearer)
				resp, err := kit.Network.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	for range 20 {
		kit.GitHub.Suspend(id)
		kit.GitHub.Unsuspend(id)
	}
	wg.Wait()
}
