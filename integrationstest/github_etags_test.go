package integrationstest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/stretchr/testify/require"
)

// poll is a host that reads the issues of many repositories again and again.
type poll struct {
	kit   *integrationstest.Kit
	id    int64
	conn  *providers.Connection
	repos []string
}

func newPoll(t *testing.T, repos int, cache providers.ResponseCache, portable bool) *poll {
	p := &poll{kit: integrationstest.New(t)}
	for n := range repos {
		p.repos = append(p.repos, fmt.Sprintf("repo-%d", n))
	}
	p.id = p.kit.GitHub.Install("acme", "user-of-acme", p.repos...)
	p.kit.GitHub.SetQuota(1 << 30)
	app := p.kit.GitHub.App()
	app.PortableETags = portable
	cfg := p.kit.Config()
	cfg.ResponseCache = cache
	cfg.Providers = []providers.Provider{githubapp.New(app)}
	m := p.kit.Use(cfg)
	p.kit.Connect("acme", githubapp.Key, "acme")
	var err error
	p.conn, err = m.Connection(t.Context(), "acme", githubapp.Key)
	require.NoError(t, err)
	return p
}

// issue changes a repository.
func (p *poll) issue(repo string, number int) {
	p.kit.GitHub.PutIssue(p.id, repo, integrationstest.GitHubIssue{Number: number, Title: "of " + repo, UpdatedAt: time.Now()})
}

// read returns the issues of a repository as a json.Decoder gives them to go-github.
func (p *poll) read(t *testing.T, repo string) (issues int, cached bool) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.github.com/repos/acme/"+repo+"/issues?per_page=100", http.NoBody)
	require.NoError(t, err)
	r.Header.Set("Accept", "application/vnd.github+json")
	resp, err := p.conn.HTTPClient().Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	var list []struct{ Title string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&list))
	for _, i := range list {
		require.Equal(t, "of "+repo, i.Title)
	}
	return len(list), resp.Header.Get("X-From-Cache") == "1"
}

// TestGitHubRequestsChargedPerSyncLoop counts what polling costs. What it logs
// is the table of docs/limits.md.
func TestGitHubRequestsChargedPerSyncLoop(t *testing.T) {
	t.Parallel()
	const repos, changed, loops = 200, 4, 24 // 2 % change between two loops
	variants := []string{"without", "ResponseCache", "PortableETags"}
	for _, row := range []struct {
		every time.Duration
		want  []int // charged, by variant
	}{
		{time.Hour, []int{24 * 200, 24 * 200, 200 + 23*4}},
		// A token lives an hour and is renewed 10 minutes early: every fourth loop has
		// another one.
		{15 * time.Minute, []int{24 * 200, 6 * (200 + 3*4), 200 + 23*4}},
	} {
		for v, name := range variants {
			t.Run(fmt.Sprintf("every %v, %s", row.every, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var cache providers.ResponseCache
					if v > 0 {
						cache = providers.NewMemoryCache(nil)
					}
					p := newPoll(t, repos, cache, v == 2)
					// Minting a token is a request too.
					calls := func() int { return p.kit.GitHub.Charged() - p.kit.GitHub.Mints() }
					before := calls()
					for loop := range loops {
						for n := range changed {
							p.issue(p.repos[(loop*changed+n)%repos], loop+1)
						}
						found := 0
						for _, repo := range p.repos {
							issues, _ := p.read(t, repo)
							found += issues
						}
						require.Equal(t, (loop+1)*changed, found, "every change is seen in its loop")
						time.Sleep(row.every)
					}
					charged := calls() - before
					t.Logf("every %v, %d loops, %d calls, %s: %d charged, %.1f a loop", row.every, loops, loops*repos, name, charged, float64(charged)/float64(loops))
					require.Equal(t, row.want[v], charged)
				})
			})
		}
	}
}

// TestGitHubChangesItsETags: a formula that is not right any more costs the answers
// in full, and nothing else.
func TestGitHubChangesItsETags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoll(t, 1, providers.NewMemoryCache(nil), true)
		read := func() bool {
			issues, cached := p.read(t, p.repos[0])
			require.Equal(t, 1, issues)
			return cached
		}
		p.issue(p.repos[0], 1)
		require.False(t, read())
		require.True(t, read())
		time.Sleep(time.Hour)
		require.True(t, read(), "with another token")
		p.kit.GitHub.ChangeETags()
		require.False(t, read())
		require.True(t, read(), "the same token's ETags need no formula")
		time.Sleep(time.Hour)
		require.False(t, read(), "another token's do")
		require.True(t, read())
	})
}

// TestAGrantThatEndsLeavesNothing: after a disconnect, after an uninstallation and
// after a reconnect what was kept is gone.
func TestAGrantThatEndsLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, p *poll){
		"disconnect": func(t *testing.T, p *poll) {
			require.NoError(t, p.kit.Manager().Disconnect(t.Context(), "acme", p.conn.IntegrationID()))
		},
		"uninstall": func(t *testing.T, p *poll) {
			require.Equal(t, http.StatusOK, p.kit.GitHub.Uninstall(p.id))
			require.NoError(t, p.kit.Manager().Drain(t.Context()))
		},
		"reconnect": func(_ *testing.T, p *poll) { p.kit.Connect("acme", githubapp.Key, "acme") },
		"purge": func(t *testing.T, p *poll) {
			_, err := p.kit.Manager().Purge(t.Context(), "acme")
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache := providers.NewMemoryCache(nil)
				p := newPoll(t, 3, cache, true)
				for _, repo := range p.repos {
					p.read(t, repo)
				}
				require.Equal(t, 3, cache.Stats().Entries)
				end(t, p)
				require.Zero(t, cache.Stats().Entries)
			})
		})
	}
}

// TestGitHubAnswersLikeGitHub: the fake's 304 has no body, and its ETag belongs to
// the token.
func TestGitHubAnswersLikeGitHub(t *testing.T) {
	p := newPoll(t, 1, nil, false)
	get := func(etag string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.github.com/repos/acme/repo-0/issues", http.NoBody)
		require.NoError(t, err)
		if etag != "" {
			r.Header.Set("If-None-Match", etag)
		}
		resp, err := p.conn.HTTPClient().Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp
	}
	first := get("")
	etag := first.Header.Get("ETag")
	require.True(t, strings.HasPrefix(etag, `W/"`))
	charged := p.kit.GitHub.Charged()
	unchanged := get(`"other", ` + etag)
	require.Equal(t, []any{http.StatusNotModified, "", first.Header.Get("X-RateLimit-Remaining")}, []any{unchanged.StatusCode, unchanged.Header.Get("Content-Type"), unchanged.Header.Get("X-RateLimit-Remaining")})
	require.Equal(t, charged, p.kit.GitHub.Charged())
}
