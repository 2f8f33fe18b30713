package githubapp_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/stretchr/testify/require"
)

// seed fills a repository with a little of everything: dense and equal times,
// merges, and more pull requests than are kept in memory for pages of two.
func (w *world) seed(rnd *rand.Rand, repo string) (want []string) {
	for n := 1; n <= 30; n++ {
		updated := rnd.IntN(12)
		if n%3 == 0 {
			updated = rnd.IntN(5000)
		}
		if n%2 == 0 {
			w.pull(repo, n, updated)
			want = append(want, fmt.Sprintf("%s!%d@%d", repo, n, updated))
		} else {
			w.issue(repo, n, updated)
			want = append(want, fmt.Sprintf("%s#%d@%d", repo, n, updated))
		}
	}
	for n := range 12 {
		w.gh.PutCommit(w.id, repo, "main", integrationstest.GitHubCommit{SHA: sha(n + 1), At: at(rnd.IntN(1000))})
		want = append(want, fmt.Sprintf("%s:%x", repo, n+1))
	}
	return want
}

var errBroken = errors.New("connection broken")

// TestSyncCrashAndResume crashes at random places, in four ways, while things
// change. Nothing may be lost, and each crash may repeat one page at most.
func TestSyncCrashAndResume(t *testing.T) {
	t.Parallel()
	for seed := range uint64(25) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, "api", "web")
		size := 1 + rnd.IntN(5)
		o := &githubapp.SyncOptions{PageSize: size}
		want := append(w.seed(rnd, "api"), w.seed(rnd, "web")...)
		var got []string
		crashes, next := 0, 10000
		for run := 0; ; run++ {
			require.Less(t, run, 500, "seed %d", seed)
			ctx, cancel := context.WithCancel(t.Context())
			left, way := 1+rnd.IntN(15), rnd.IntN(4)
			if run > 40 || rnd.IntN(10) == 0 {
				left = 1 << 30 // to the end
			}
			w.wire.look(func(*http.Request) error {
				if way == 3 {
					if left--; left < 0 {
						return errBroken
					}
				}
				return nil
			})
			_, err := w.survive(ctx, o, func(i githubapp.SyncItem) bool {
				require.NotEqual(t, githubapp.SyncSkipped, i.Kind, "the lease was not given back")
				if i.Kind == githubapp.SyncFailed {
					require.Equal(t, 3, way)
					return false
				}
				if left--; left < 0 {
					switch way {
					case 0:
						return false
					case 1:
						cancel()
					case 2:
						panic(errBroken)
					}
				}
				if i.Kind != githubapp.SyncRepository {
					got = append(got, text(i))
				}
				if run < 30 && rnd.IntN(20) == 0 { // something is updated meanwhile
					next++
					w.issue("api", 1, next)
					want = append(want, fmt.Sprintf("api#1@%d", next))
					next++
					w.pull("web", 2, next)
					want = append(want, fmt.Sprintf("web!2@%d", next))
				}
				return true
			})
			cancel()
			if err == nil && left > 1<<20 {
				break
			}
			crashes++
		}
		w.wire.look(nil)
		got = append(got, w.all(o)...)
		require.Empty(t, w.all(o), "seed %d", seed)
		missing, repeated := compare(want, got)
		// A version that was replaced before it was read is no loss.
		missing = slices.DeleteFunc(missing, func(s string) bool {
			return strings.HasPrefix(s, "api#1@") && s != last(want, "api#1@") || strings.HasPrefix(s, "web!2@") && s != last(want, "web!2@")
		})
		require.Empty(t, missing, "seed %d, page size %d", seed, size)
		require.LessOrEqual(t, repeated, crashes*size, "seed %d, page size %d", seed, size)
	}
}

// survive is sync for a function that may panic.
func (w *world) survive(ctx context.Context, o *githubapp.SyncOptions, fn func(githubapp.SyncItem) bool) (got []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			require.Equal(w.t, errBroken, p)
			err = errBroken
		}
	}()
	return w.sync(ctx, o, fn)
}

func last(list []string, prefix string) string {
	for _, s := range slices.Backward(list) {
		if strings.HasPrefix(s, prefix) {
			return s
		}
	}
	return ""
}

// compare returns what of want is missing, and how many items came again.
func compare(want, got []string) (missing []string, repeated int) {
	count := map[string]int{}
	for _, s := range got {
		if count[s]++; count[s] > 1 {
			repeated++
		}
	}
	for _, s := range want {
		if count[s] == 0 {
			missing = append(missing, s)
		}
	}
	return missing, repeated
}

func TestSyncBreakRepeatsThePageAtHandOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	for n := 1; n <= 8; n++ {
		w.issue("api", n, n*100)
	}
	o := &githubapp.SyncOptions{PageSize: 3}
	got, err := w.sync(t.Context(), o, func(i githubapp.SyncItem) bool { return text(i) != "api#5@500" })
	require.NoError(t, err)
	require.Equal(t, []string{"api#1@100", "api#2@200", "api#3@300", "api#4@400"}, got)
	require.Equal(t, []string{"api#4@400", "api#5@500", "api#6@600", "api#7@700", "api#8@800"}, w.all(o))
}

// TestSyncTwiceAtOnce: however many replicas sync, each item comes once.
func TestSyncTwiceAtOnce(t *testing.T) {
	t.Parallel()
	repos := []string{"r1", "r2", "r3", "r4", "r5", "r6"}
	w := newWorld(t, repos...)
	rnd := rand.New(rand.NewPCG(1, 2))
	var want []string
	for _, r := range repos {
		want = append(want, w.seed(rnd, r)...)
	}
	o := &githubapp.SyncOptions{PageSize: 4}
	var mu sync.Mutex
	var all []string
	var skipped int
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			got, err := w.sync(t.Context(), o, nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			for _, s := range got {
				if strings.HasPrefix(s, "skipped ") {
					skipped++
				} else {
					all = append(all, s)
				}
			}
		})
	}
	group.Wait()
	all = append(all, w.all(o)...)
	require.ElementsMatch(t, want, all)

	// One inside the other, so that what is skipped is certain.
	w.issue("r1", 99, 9000)
	w.issue("r2", 99, 9000)
	var inner []string
	outer, err := w.sync(t.Context(), o, func(i githubapp.SyncItem) bool {
		if text(i) == "r1#99@9000" {
			inner = w.all(o)
		}
		return true
	})
	require.NoError(t, err)
	require.Equal(t, []string{"skipped r1", "r2#99@9000"}, inner)
	require.Equal(t, []string{"r1#99@9000"}, outer)
}

// TestSyncLosesItsLease: who stops for too long finds another at work, and neither
// loses anything.
func TestSyncLosesItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "api", "web")
		for n := 1; n <= 9; n++ {
			w.issue("api", n, n*100)
		}
		w.issue("web", 1, 1)
		o := &githubapp.SyncOptions{PageSize: 3, Streams: []githubapp.Stream{githubapp.StreamIssues}}
		var other []string
		var lost error
		mine, err := w.sync(t.Context(), o, func(i githubapp.SyncItem) bool {
			switch {
			case i.Kind == githubapp.SyncFailed:
				lost = i.Err
			case text(i) == "api#5@500":
				time.Sleep(3 * time.Minute)
				other = w.all(o)
			}
			return true
		})
		require.NoError(t, err)
		require.ErrorIs(t, lost, providers.ErrConflict)
		require.Equal(t, []string{"api#1@100", "api#2@200", "api#3@300", "api#4@400", "api#5@500", "failed api issues"}, mine)
		require.Equal(t, []string{"api#4@400", "api#5@500", "api#6@600", "api#7@700", "api#8@800", "api#9@900", "web#1@1"}, other)
		require.Empty(t, w.all(o))
	})
}

// TestSyncFindsItsLeaseTaken: it stops at once, not at the end of the page.
func TestSyncFindsItsLeaseTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "api")
		for n := 1; n <= 9; n++ {
			w.issue("api", n, n*100)
		}
		got, err := w.sync(t.Context(), nil, func(i githubapp.SyncItem) bool {
			if text(i) == "api#5@500" {
				time.Sleep(3 * time.Minute)
				_, ok, err := w.conn.TryLease(t.Context(), fmt.Sprintf("sync/%d", i.RepositoryID), 2*time.Minute)
				require.NoError(t, err)
				require.True(t, ok)
			}
			return true
		})
		require.NoError(t, err)
		require.Equal(t, []string{"api#1@100", "api#2@200", "api#3@300", "api#4@400", "api#5@500", "failed api issues"}, got)
		time.Sleep(3 * time.Minute)
		require.Len(t, w.all(nil), 9)
	})
}

// TestSyncKeepsItsLease: a slow consumer that goes on keeps it.
func TestSyncKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "api")
		for n := 1; n <= 9; n++ {
			w.issue("api", n, n*100)
		}
		o := &githubapp.SyncOptions{Streams: []githubapp.Stream{githubapp.StreamIssues}}
		got, err := w.sync(t.Context(), o, func(githubapp.SyncItem) bool {
			time.Sleep(100 * time.Second)
			require.Equal(t, []string{"skipped api"}, w.all(o))
			return true
		})
		require.NoError(t, err)
		require.Len(t, got, 9)
		require.Empty(t, w.all(o))
	})
}

// TestSyncAfterACrash: a lease that nobody gave back ends by itself.
func TestSyncAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "api")
		w.issue("api", 1, 1)
		var id int64
		_, err := w.sync(t.Context(), nil, func(i githubapp.SyncItem) bool { id = i.RepositoryID; return false })
		require.NoError(t, err)
		_, ok, err := w.conn.TryLease(t.Context(), fmt.Sprintf("sync/%d", id), 2*time.Minute)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, []string{"skipped api"}, w.all(nil))
		time.Sleep(121 * time.Second)
		require.Equal(t, []string{"api#1@1"}, w.all(nil))
	})
}

func TestSyncRemovedRenamedAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api", "web", "doc")
	for i, r := range []string{"api", "web", "doc"} {
		w.issue(r, 1, 10+i)
		w.pull(r, 2, 20+i)
		w.commit(r, 1)
	}
	require.Len(t, w.all(nil), 9)

	w.gh.RenameRepository(w.id, "api", "core")
	w.issue("core", 1, 500)
	require.Equal(t, []string{"core#1@500"}, w.all(nil), "a new name, the old checkpoints")
	w.issue("core", 1, 501)
	require.Equal(t, []string{"core#1@501"}, w.all(&githubapp.SyncOptions{Repositories: []string{"acme/api"}}), "the old name redirects")

	w.gh.RemoveRepository(w.id, "web")
	w.gh.RemoveRepository(w.id, "doc")
	require.Empty(t, w.all(&githubapp.SyncOptions{Repositories: []string{"acme/core"}}), "one repository tells nothing of others")
	got, err := w.sync(t.Context(), nil, func(i githubapp.SyncItem) bool { return text(i) != "removed doc" })
	require.NoError(t, err)
	require.Equal(t, []string{"removed web"}, got)
	require.Equal(t, []string{"removed doc"}, w.all(nil), "was not consumed")
	require.Empty(t, w.all(nil))

	w.gh.AddRepository(w.id, "web")
	require.Equal(t, []string{"web#1@11", "web!2@21", "web:1"}, w.all(nil), "from the start")
	require.Empty(t, w.all(nil))

	// It comes back while it is not certain that the host knows it was gone.
	w.gh.RemoveRepository(w.id, "web")
	_, err = w.sync(t.Context(), nil, func(githubapp.SyncItem) bool { return false })
	require.NoError(t, err)
	w.gh.AddRepository(w.id, "web")
	require.Equal(t, []string{"web#1@11", "web!2@21", "web:1"}, w.all(nil))
}

// TestSyncListShiftsWhilePaging: a repository that a shifting list leaves out is
// not removed.
func TestSyncListShiftsWhilePaging(t *testing.T) {
	t.Parallel()
	var repos []string
	for n := range 120 {
		repos = append(repos, fmt.Sprintf("r%03d", n))
	}
	w := newWorld(t, repos...)
	o := &githubapp.SyncOptions{Streams: []githubapp.Stream{githubapp.StreamIssues}}
	require.Empty(t, w.all(o))
	w.wire.look(func(r *http.Request) error {
		if r.URL.Path == "/installation/repositories" && r.URL.Query().Get("page") == "2" {
			w.wire.look(nil)
			w.gh.RemoveRepository(w.id, "r005")
		}
		return nil
	})
	// Seen on the first page, and gone when the list is read again.
	require.Empty(t, slices.DeleteFunc(w.all(o), func(s string) bool { return s == "failed r005 issues" }))
	require.Equal(t, []string{"removed r005"}, w.all(o))
}

func TestSyncRemovedIsToldByOneOfTwo(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{false, true} {
		w := newWorld(t, "api", "web", "doc")
		require.Empty(t, w.all(nil))
		w.gh.RemoveRepository(w.id, "web")
		w.gh.RemoveRepository(w.id, "doc")
		var inner []string
		got, err := w.sync(t.Context(), nil, func(i githubapp.SyncItem) bool {
			if i.Kind == githubapp.SyncRemoved {
				inner = append(inner, w.all(nil)...)
				if back {
					w.gh.AddRepository(w.id, "doc")
					inner = append(inner, w.all(nil)...)
				}
			}
			return true
		})
		require.NoError(t, err)
		require.Equal(t, []string{"removed web"}, got)
		require.Equal(t, []string{"removed doc"}, inner)
		require.Empty(t, w.all(nil))
	}
}

func TestSyncOfAUser(t *testing.T) {
	t.Parallel()
	kit := integrationstest.New(t)
	id := kit.GitHub.Install("acme", "user-of-acme", "api")
	cfg := kit.Config()
	gh := kit.GitHub.App()
	gh.Mode = githubapp.ModeUser
	cfg.Providers = []providers.Provider{githubapp.New(gh)}
	m := kit.Use(cfg)
	kit.Connect("acme", githubapp.Key)
	conn, err := m.Connection(t.Context(), "acme", githubapp.Key)
	require.NoError(t, err)
	kit.GitHub.PutIssue(id, "api", integrationstest.GitHubIssue{Number: 1, UpdatedAt: at(1)})
	var got []string
	for item, err := range githubapp.Sync(t.Context(), conn, nil) {
		require.NoError(t, err)
		got = append(got, text(item))
	}
	require.Equal(t, []string{"repository api", "api#1@1"}, got)
}

// saved keeps checkpoints for connections made by hand.
type saved struct{ values map[string][]byte }

func (s saved) Load(_ context.Context, name string) ([]byte, int64, error) {
	if len(name) > 191 {
		return nil, 0, errors.New("name is too long")
	}
	return s.values[name], int64(len(s.values[name])), nil
}

func (s saved) Save(_ context.Context, name string, value []byte, version int64) (int64, error) {
	if version != int64(len(s.values[name])) {
		return 0, providers.ErrConflict
	}
	s.values[name] = value
	return int64(len(value)), nil
}

func (saved) TryLease(context.Context, string, string, time.Duration) (bool, error) { return true, nil }
func (saved) Release(context.Context, string, string) error                         { return nil }

func TestSyncOfAnEnterprise(t *testing.T) {
	t.Parallel()
	hosts, err := providers.NewHosts("ghe.example.com")
	require.NoError(t, err)
	var asked []string
	conn, err := providers.NewConnection(providers.ConnectionConfig{
		TenantID: "tenant-1", Provider: githubapp.Key, Hosts: hosts, Syncs: saved{map[string][]byte{}},
		Source: fixed{providers.Snapshot{ProviderData: []byte(`{"app_id":1,"host":"ghe.example.com"}`)}},
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.Host+r.URL.Path)
			if r.URL.Path == "/api/v3/installation/repositories" {
				return respond(r, 200, nil, `{"repositories":[{"id":7,"full_name":"acme/api"}]}`), nil
			}
			return respond(r, 200, nil, `[]`), nil
		}),
	})
	require.NoError(t, err)
	for _, err := range githubapp.Sync(t.Context(), conn, &githubapp.SyncOptions{Branch: strings.Repeat("b", 300)}) {
		require.NoError(t, err)
	}
	require.Equal(t, []string{
		"ghe.example.com/api/v3/installation/repositories", "ghe.example.com/api/v3/repos/acme/api/issues",
		"ghe.example.com/api/v3/repos/acme/api/pulls", "ghe.example.com/api/v3/repos/acme/api/commits",
	}, asked)
}
