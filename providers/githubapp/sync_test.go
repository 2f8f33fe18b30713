package githubapp_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

// start is when things happen in these tests.
var start = time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// wire is the kit's network with a look at each request.
type wire struct {
	base http.RoundTripper

	mu     sync.Mutex
	asked  []string // path and query
	before func(r *http.Request) error
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked = append(w.asked, r.URL.RequestURI())
	before := w.before
	w.mu.Unlock()
	if before != nil {
		if err := before(r); err != nil {
			return nil, err
		}
	}
	return w.base.RoundTrip(r)
}

// take returns what was asked below a path and forgets everything.
func (w *wire) take(part string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := slices.DeleteFunc(w.asked, func(u string) bool { return !strings.Contains(u, part) })
	w.asked = nil
	return got
}

func (w *wire) look(fn func(r *http.Request) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = fn
}

// world is a tenant with an installation that has repositories.
type world struct {
	t    testing.TB
	kit  *integrationstest.Kit
	m    *integrations.Manager
	gh   *integrationstest.GitHub
	id   int64
	wire *wire
	conn *providers.Connection
}

func newWorld(t testing.TB, repos ...string) *world {
	t.Helper()
	kit := integrationstest.New(t)
	w := &world{t: t, kit: kit, gh: kit.GitHub, wire: &wire{base: kit.Network}}
	w.id = kit.GitHub.Install("acme", "user-of-acme", repos...)
	kit.GitHub.SetQuota(1 << 30)
	cfg := kit.Config()
	cfg.Transport = w.wire
	w.m = kit.Use(cfg)
	kit.Connect("acme", githubapp.Key, "acme")
	var err error
	w.conn, err = w.m.Connection(t.Context(), "acme", githubapp.Key)
	require.NoError(t, err)
	return w
}

func (w *world) issue(repo string, number, updated int) {
	w.gh.PutIssue(w.id, repo, integrationstest.GitHubIssue{Number: number, Title: fmt.Sprint("issue ", number), CreatedAt: at(number), UpdatedAt: at(updated)})
}

func (w *world) pull(repo string, number, updated int) {
	w.gh.PutIssue(w.id, repo, integrationstest.GitHubIssue{Number: number, Pull: true, CreatedAt: at(number), UpdatedAt: at(updated)})
}

func (w *world) commit(repo string, n int, parents ...string) string {
	return w.gh.PutCommit(w.id, repo, "main", integrationstest.GitHubCommit{SHA: sha(n), At: at(n), Parents: parents})
}

func sha(n int) string { return fmt.Sprintf("%040x", n) }

// text is what tests compare of an item.
func text(i githubapp.SyncItem) string {
	_, short, _ := strings.Cut(i.FullName, "/")
	switch i.Kind {
	case githubapp.SyncIssue:
		return fmt.Sprintf("%s#%d@%d", short, i.Issue.GetNumber(), i.Issue.GetUpdatedAt().Unix()-start.Unix())
	case githubapp.SyncPullRequest:
		return fmt.Sprintf("%s!%d@%d", short, i.PullRequest.GetNumber(), i.PullRequest.GetUpdatedAt().Unix()-start.Unix())
	case githubapp.SyncCommit:
		return short + ":" + strings.TrimLeft(i.Commit.GetSHA(), "0")
	case githubapp.SyncFailed:
		return "failed " + short + " " + string(i.Stream)
	}
	return string(i.Kind) + " " + short
}

// sync runs a sync until fn, which may be nil, returns false. It returns what was
// consumed, without the repositories that are synced, and the error.
func (w *world) sync(ctx context.Context, opts *githubapp.SyncOptions, fn func(item githubapp.SyncItem) bool) ([]string, error) {
	var got []string
	for item, err := range githubapp.Sync(ctx, w.conn, opts) {
		if err != nil {
			return got, err
		}
		if fn != nil && !fn(item) {
			return got, nil
		}
		if item.Kind != githubapp.SyncRepository {
			got = append(got, text(item))
		}
	}
	return got, nil
}

func (w *world) all(opts *githubapp.SyncOptions) []string {
	w.t.Helper()
	got, err := w.sync(w.t.Context(), opts, nil)
	require.NoError(w.t, err)
	return got
}

func TestSyncFirstAndLaterRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api", "web")
	for n := 1; n <= 7; n++ {
		w.issue("api", n, 1000-n)
	}
	w.pull("api", 8, 2000)
	w.pull("api", 9, 1500)
	for n := 1; n <= 5; n++ {
		w.commit("api", n)
	}
	w.issue("web", 1, 10)
	o := &githubapp.SyncOptions{PageSize: 3}
	require.Equal(t, []string{
		"api#7@993", "api#6@994", "api#5@995", "api#4@996", "api#3@997", "api#2@998", "api#1@999",
		"api!9@1500", "api!8@2000", "api:5", "api:4", "api:3", "api:2", "api:1", "web#1@10",
	}, w.all(o))
	require.Empty(t, w.all(o), "nothing changed")
	w.wire.take("")
	require.Empty(t, w.all(nil))
	require.Len(t, w.wire.take("/repos/"), 6, "a stream without changes costs one request")

	w.issue("api", 2, 3000)
	w.issue("api", 10, 3001)
	w.pull("api", 9, 3002)
	w.pull("web", 2, 3003)
	w.commit("api", 6)
	w.commit("api", 7)
	require.Equal(t, []string{"api#2@3000", "api#10@3001", "api!9@3002", "api:6", "api:7", "web!2@3003"}, w.all(o))
	require.Empty(t, w.all(o))
}

func TestSyncItemsHoldWhatGitHubSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	w.issue("api", 1, 10)
	w.pull("api", 2, 20)
	w.commit("api", 3)
	kinds := map[githubapp.SyncKind]githubapp.SyncItem{}
	_, err := w.sync(t.Context(), nil, func(i githubapp.SyncItem) bool {
		kinds[i.Kind] = i
		return true
	})
	require.NoError(t, err)
	require.Len(t, kinds, 4)
	for _, i := range kinds {
		require.Equal(t, "acme/api", i.FullName)
		require.NotZero(t, i.RepositoryID)
	}
	require.Equal(t, "main", kinds[githubapp.SyncRepository].Repository.GetDefaultBranch())
	require.Equal(t, "issue 1", kinds[githubapp.SyncIssue].Issue.GetTitle())
	require.Equal(t, 2, kinds[githubapp.SyncPullRequest].PullRequest.GetNumber())
	require.Equal(t, sha(3), kinds[githubapp.SyncCommit].Commit.GetSHA())
}

func TestSyncRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	w.issue("api", 1, 100)
	w.pull("api", 2, 50)
	w.commit("api", 3)
	w.wire.take("")
	w.wire.look(func(r *http.Request) error {
		if !strings.HasPrefix(r.URL.Path, "/repos/") {
			return nil
		}
		body, err := io.ReadAll(cmp.Or[io.Reader](r.Body, http.NoBody))
		got := []string{r.Method, r.URL.Scheme, r.URL.Host, r.Header.Get("X-GitHub-Api-Version"), string(body)}
		want := []string{"GET", "https", "api.github.com", "2022-11-28", ""}
		if err != nil || !slices.Equal(want, got) || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") ||
			!strings.HasPrefix(r.Header.Get("Accept"), "application/vnd.github.") {
			t.Errorf("%s: %v %q %q", r.URL.Path, err, got, r.Header)
		}
		return nil
	})
	w.all(nil)
	require.Equal(t, []string{
		"/installation/repositories?per_page=100",
		"/repos/acme/api/issues?direction=asc&per_page=100&sort=updated&state=all",
		"/repos/acme/api/pulls?direction=desc&page=1&per_page=100&sort=updated&state=all",
		"/repos/acme/api/commits?per_page=1",
		"/repos/acme/api/commits?page=1&per_page=100&sha=" + sha(3),
	}, w.wire.take("/"))
	w.commit("api", 4)
	w.all(&githubapp.SyncOptions{Repositories: []string{"acme/api"}, PageSize: 7})
	require.Equal(t, []string{
		"/repos/acme/api",
		"/repos/acme/api/issues?direction=asc&per_page=7&since=2026-11-01T09%3A00%3A39Z&sort=updated&state=all",
		"/repos/acme/api/pulls?direction=desc&page=1&per_page=7&sort=updated&state=all",
		"/repos/acme/api/commits?per_page=1",
		"/repos/acme/api/compare/" + sha(3) + "..." + sha(4) + "?page=1&per_page=7",
	}, w.wire.take("/"))
}

func TestSyncOptionsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	w.wire.take("")
	for _, o := range []githubapp.SyncOptions{
		{PageSize: -1}, {PageSize: 101}, {Streams: []githubapp.Stream{"releases"}}, {Repositories: []string{"api"}},
		{Repositories: []string{"acme/../user"}}, {Repositories: []string{"acme/.."}}, {Repositories: []string{"acme/api?x=1"}}, {Repositories: []string{""}},
	} {
		_, err := w.sync(t.Context(), &o, nil)
		require.ErrorIs(t, err, providers.ErrInvalid, "%+v", o)
	}
	bare := connection(func(*http.Request) (*http.Response, error) { return nil, errors.New("not asked") }, providers.Snapshot{})
	for _, err := range githubapp.Sync(t.Context(), bare, nil) {
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
	require.Empty(t, w.wire.take(""), "nothing was sent")
}

func TestSyncStreamsSinceAndBranch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	for n := 1; n <= 6; n++ {
		w.issue("api", n, n*100)
		w.pull("api", n+10, n*100)
		w.commit("api", n*100)
	}
	w.gh.PutCommit(w.id, "api", "next", integrationstest.GitHubCommit{SHA: sha(0xb), At: at(601), Parents: []string{sha(600)}})
	require.Equal(t, []string{"api#5@500", "api#6@600"}, w.all(&githubapp.SyncOptions{Streams: []githubapp.Stream{githubapp.StreamIssues}, Since: at(500)}))
	require.Equal(t, []string{"api!15@500", "api!16@600"}, w.all(&githubapp.SyncOptions{Streams: []githubapp.Stream{githubapp.StreamPullRequests}, Since: at(500)}))
	commits := &githubapp.SyncOptions{Streams: []githubapp.Stream{githubapp.StreamCommits}, Since: at(500)}
	require.Equal(t, []string{"api:258", "api:1f4"}, w.all(commits))
	commits.Branch = "next"
	require.Equal(t, []string{"api:b", "api:258", "api:1f4"}, w.all(commits), "each branch has a checkpoint of its own")
	require.Empty(t, w.all(commits))
	commits.Branch = "none"
	require.Equal(t, []string{"failed api commits"}, w.all(commits))
}

func TestSyncEqualTimesAcrossPages(t *testing.T) {
	t.Parallel()
	for _, cursors := range []bool{false, true} {
		w := newWorld(t, "api")
		if cursors {
			w.gh.CursorsOnly(w.id, "api")
		}
		var want []string
		for n := 1; n <= 11; n++ {
			w.issue("api", n, 50)
			want = append(want, fmt.Sprintf("api#%d@50", n))
		}
		for n := 12; n <= 14; n++ {
			w.issue("api", n, 51)
			want = append(want, fmt.Sprintf("api#%d@51", n))
		}
		for n := 21; n <= 28; n++ {
			w.pull("api", n, 50)
			want = append(want, fmt.Sprintf("api!%d@50", n))
		}
		o := &githubapp.SyncOptions{PageSize: 3}
		require.Equal(t, want, w.all(o))
		w.issue("api", 30, 51)
		require.Equal(t, []string{"api#30@51"}, w.all(o), "one more in a second that was done")
		w.issue("api", 31, 10)
		require.Equal(t, []string{"api#31@10"}, w.all(o), "one that became visible late")
		require.Empty(t, w.all(o))
	}
}

// TestSyncSinceMayBeExclusive: GitHub does not say whether since takes its own
// second in.
func TestSyncSinceMayBeExclusive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	w.wire.look(func(r *http.Request) error {
		if q := r.URL.Query(); q.Has("since") {
			since, err := time.Parse(time.RFC3339, q.Get("since"))
			require.NoError(t, err)
			q.Set("since", since.Add(time.Second).Format(time.RFC3339))
			r.URL.RawQuery = q.Encode()
		}
		return nil
	})
	var want []string
	for n := 1; n <= 20; n++ {
		w.issue("api", n, 100+n/4)
		want = append(want, fmt.Sprintf("api#%d@%d", n, 100+n/4))
	}
	require.Equal(t, want, w.all(&githubapp.SyncOptions{PageSize: 3}))
}

func TestSyncIssueUpdatedWhilePaging(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	for n := 1; n <= 9; n++ {
		w.issue("api", n, n*100)
	}
	got, err := w.sync(t.Context(), &githubapp.SyncOptions{PageSize: 3}, func(i githubapp.SyncItem) bool {
		switch text(i) {
		case "api#2@200":
			w.issue("api", 1, 2000) // leaves the page that is being consumed
		case "api#3@300":
			w.issue("api", 5, 2001) // leaves a page to come
		}
		return true
	})
	require.NoError(t, err)
	require.Equal(t, []string{
		"api#1@100", "api#2@200", "api#3@300", "api#4@400", "api#6@600", "api#7@700", "api#8@800", "api#9@900", "api#1@2000", "api#5@2001",
	}, got)
}

// TestSyncTiesShiftWhilePaging: within one second there are only page numbers, and
// an update in between moves the rest forward.
func TestSyncTiesShiftWhilePaging(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	want := []string{"api#1@5000"}
	for n := 1; n <= 10; n++ {
		w.issue("api", n, 50)
		want = append(want, fmt.Sprintf("api#%d@50", n))
	}
	got, err := w.sync(t.Context(), &githubapp.SyncOptions{PageSize: 3, Streams: []githubapp.Stream{githubapp.StreamIssues}}, func(i githubapp.SyncItem) bool {
		if text(i) == "api#6@50" {
			w.issue("api", 1, 5000)
		}
		return true
	})
	require.NoError(t, err)
	require.ElementsMatch(t, want, got)
}

func TestSyncPullRequestUpdatedWhilePaging(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	for n := 1; n <= 9; n++ {
		w.pull("api", n, n*100)
	}
	w.wire.look(func(r *http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/pulls") && r.URL.Query().Get("page") == "2" {
			w.wire.look(nil)
			w.pull("api", 1, 2000) // to the front: the rest moves to later pages
		}
		return nil
	})
	o := &githubapp.SyncOptions{PageSize: 3, Streams: []githubapp.Stream{githubapp.StreamPullRequests}}
	require.Equal(t, []string{"api!2@200", "api!3@300", "api!4@400", "api!5@500", "api!6@600", "api!7@700", "api!8@800", "api!9@900"}, w.all(o))
	require.Equal(t, []string{"api!1@2000"}, w.all(o))
}

// TestSyncManyPullRequests: more than are kept in memory are read in the order of
// their creation, then what changed since.
func TestSyncManyPullRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	var want []string
	for n := 1; n <= 25; n++ {
		w.pull("api", n, 9000-100*n)
		want = append(want, fmt.Sprintf("api!%d@%d", n, 9000-100*n))
	}
	o := &githubapp.SyncOptions{PageSize: 2, Streams: []githubapp.Stream{githubapp.StreamPullRequests}}
	n := 0
	got, err := w.sync(t.Context(), o, func(i githubapp.SyncItem) bool {
		if i.Kind == githubapp.SyncPullRequest {
			n++
		}
		switch n {
		case 5:
			w.pull("api", 1, 20000)  // was handed out
			w.pull("api", 20, 20001) // will be
		case 13:
			return false // in the middle of a page
		}
		return true
	})
	require.NoError(t, err)
	require.Equal(t, want[:12], got)
	w.gh.HideIssue(w.id, "api", 3) // moves the rest forward
	got = w.all(o)
	want[19] = "api!20@20001"
	require.Equal(t, append(slices.Clone(want[12:]), "api!1@20000"), got)
	require.Empty(t, w.all(o))

	// The same where an old checkpoint is far behind.
	for n := 1; n <= 25; n++ {
		w.pull("api", n, 30000+n)
	}
	require.Len(t, w.all(o), 25)
	require.Empty(t, w.all(o))
	// And for a first run that begins in the past.
	since := newWorld(t, "api")
	for n := 1; n <= 50; n++ {
		since.pull("api", n, 100+n)
	}
	o.Since = at(126)
	require.Len(t, since.all(o), 25)
}

func TestSyncCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api", "empty")
	o := &githubapp.SyncOptions{Streams: []githubapp.Stream{githubapp.StreamCommits}, PageSize: 2}
	for n := 10; n <= 14; n++ {
		w.commit("api", n)
	}
	require.Equal(t, []string{"api:e", "api:d", "api:c", "api:b", "api:a"}, w.all(o), "an empty repository is no failure")

	// A merge brings commits that are older than what was read.
	w.gh.PutCommit(w.id, "api", "topic", integrationstest.GitHubCommit{SHA: sha(1), At: at(1), Parents: []string{sha(10)}})
	w.gh.PutCommit(w.id, "api", "topic", integrationstest.GitHubCommit{SHA: sha(2), At: at(2)})
	w.commit("api", 20, sha(2))
	require.Equal(t, []string{"api:1", "api:2", "api:14"}, w.all(o))

	// A forced push to an older commit, and on.
	w.gh.SetBranch(w.id, "api", "main", sha(12))
	require.Empty(t, w.all(o))
	w.commit("api", 30)
	require.Equal(t, []string{"api:1e"}, w.all(o))

	// The old head is no more.
	w.gh.SetBranch(w.id, "api", "main", sha(13))
	w.gh.DropCommit(w.id, "api", sha(30))
	require.Equal(t, []string{"api:d", "api:c", "api:b", "api:a"}, w.all(o))

	// Another history altogether.
	w.gh.SetBranch(w.id, "api", "main", "")
	w.commit("api", 0x40)
	require.Equal(t, []string{"api:40"}, w.all(o))

	// A 404 of another kind does not make everything come again.
	w.commit("api", 0x41)
	w.kit.Network.Fail("api.github.com", "/repos/acme/api/compare", integrationstest.Answer(404, `{"message":"Not Found"}`))
	require.Equal(t, []string{"failed api commits"}, w.all(o))
	require.Equal(t, []string{"api:41"}, w.all(o))

	w.commit("empty", 7)
	require.Equal(t, []string{"empty:7"}, w.all(o))
}

// TestSyncCommitsResumeAfterForcedPush: the commit a run was on its way to is no
// more.
func TestSyncCommitsResumeAfterForcedPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "api")
	o := &githubapp.SyncOptions{Streams: []githubapp.Stream{githubapp.StreamCommits}, PageSize: 2}
	for n := 1; n <= 7; n++ {
		w.commit("api", n)
	}
	got, err := w.sync(t.Context(), o, func(i githubapp.SyncItem) bool { return text(i) != "api:4" })
	require.NoError(t, err)
	require.Equal(t, []string{"api:7", "api:6", "api:5"}, got)
	w.gh.SetBranch(w.id, "api", "main", sha(5))
	w.gh.DropCommit(w.id, "api", sha(7))
	require.Equal(t, []string{"api:5", "api:4", "api:3", "api:2", "api:1"}, w.all(o))
}

func TestSyncFailuresOfOneRepository(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		text   string
		want   error
	}{
		{404, "Not Found", providers.ErrNotFound},
		{403, "Resource not accessible by integration", providers.ErrForbidden},
		{451, "Repository access blocked", providers.ErrInvalid},
		{409, "Conflict", providers.ErrConflict},
		{500, "Server Error", providers.ErrTransient},
	} {
		w := newWorld(t, "api", "web")
		w.issue("api", 1, 1)
		w.issue("web", 1, 1)
		w.gh.RefuseRepository(w.id, "api", c.status, c.text)
		var failures []error
		got, err := w.sync(t.Context(), &githubapp.SyncOptions{Streams: []githubapp.Stream{githubapp.StreamIssues}}, func(i githubapp.SyncItem) bool {
			if i.Kind == githubapp.SyncFailed {
				failures = append(failures, i.Err)
			}
			return true
		})
		require.NoError(t, err)
		require.Equal(t, []string{"failed api issues", "web#1@1"}, got)
		require.ErrorIs(t, failures[0], c.want)
		require.NotContains(t, failures[0].Error(), "acme")
		w.gh.RefuseRepository(w.id, "api", 0, "")
		require.Contains(t, w.all(nil), "api#1@1")
	}
	w := newWorld(t, "api")
	w.issue("api", 1, 1)
	w.pull("api", 2, 1)
	w.kit.Network.Fail("api.github.com", "/repos/acme/api/issues", integrationstest.Answer(410, `{"message":"Issues are disabled for this repo"}`))
	require.Equal(t, []string{"api!2@1"}, w.all(nil), "a repository without issues is no failure")
	require.Equal(t, []string{"failed none "}, w.all(&githubapp.SyncOptions{Repositories: []string{"acme/none"}}))
}

func TestSyncEndsAtErrorsOfTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "r1", "r2", "r3", "r4", "r5")
	fail := func(kind githubapp.SyncItem) bool { return kind.Kind != githubapp.SyncFailed }
	w.gh.RefuseRepository(w.id, "r2", 403, "This installation has been suspended")
	_, err := w.sync(t.Context(), nil, fail)
	require.ErrorIs(t, err, providers.ErrSuspended)
	w.gh.RefuseRepository(w.id, "r2", 0, "")

	for _, r := range []string{"r1", "r2", "r3", "r4", "r5"} {
		w.gh.RefuseRepository(w.id, r, 502, "Bad Gateway")
	}
	w.issue("r1", 1, 1)
	got, err := w.sync(t.Context(), &githubapp.SyncOptions{Streams: []githubapp.Stream{githubapp.StreamIssues}}, nil)
	require.ErrorIs(t, err, providers.ErrProviderDown)
	require.Len(t, got, 3, "GitHub is down, not one repository")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.sync(ctx, nil, nil)
	require.ErrorIs(t, err, context.Canceled)

	w = newWorld(t, "api")
	w.gh.RefuseRepository(w.id, "api", 429, "slow down")
	_, err = w.sync(t.Context(), nil, fail)
	require.ErrorIs(t, err, ratelimit.ErrRateLimited)
}

// TestSyncBeginsWhereALimitEndedIt: every repository gets its turn.
func TestSyncBeginsWhereALimitEndedIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "r1", "r2", "r3", "r4")
	var order []string
	visit := func(stopAt string) func(githubapp.SyncItem) bool {
		order = nil
		return func(i githubapp.SyncItem) bool {
			order = append(order, text(i))
			return i.FullName != stopAt
		}
	}
	_, err := w.sync(t.Context(), nil, visit("acme/r2"))
	require.NoError(t, err)
	require.Equal(t, []string{"repository r1", "repository r2"}, order)
	_, err = w.sync(t.Context(), nil, visit(""))
	require.NoError(t, err)
	require.Equal(t, []string{"repository r3", "repository r4", "repository r1", "repository r2"}, order)
	_, err = w.sync(t.Context(), nil, visit("acme/r4"))
	require.NoError(t, err)
	_, err = w.sync(t.Context(), nil, visit(""))
	require.NoError(t, err)
	require.Equal(t, "repository r1", order[0])
}

func pushed(n int) integrationstest.GitHubCommit {
	return integrationstest.GitHubCommit{SHA: sha(n), At: at(n)}
}
