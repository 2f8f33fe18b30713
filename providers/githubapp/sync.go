package githubapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
)

// Stream is a kind of data that [Sync] copies from a repository.
type Stream string

// The streams.
const (
	StreamIssues       Stream = "issues"
	StreamPullRequests Stream = "pulls"
	StreamCommits      Stream = "commits"
)

// SyncKind tells what a [SyncItem] is.
type SyncKind string

const (
	// SyncRepository comes first for each repository that is synced, changed or
	// not, with Repository.
	SyncRepository SyncKind = "repository"
	// SyncIssue, SyncPullRequest and SyncCommit are something new or changed.
	SyncIssue       SyncKind = "issue"
	SyncPullRequest SyncKind = "pull_request"
	SyncCommit      SyncKind = "commit"
	// SyncRemoved is a repository that an earlier run saw and that the connection
	// sees no more: deleted, transferred, or taken from the installation. If it
	// comes back it is synced from the start, so what was copied may be deleted.
	SyncRemoved SyncKind = "removed"
	// SyncSkipped is a repository that another sync is at work on.
	SyncSkipped SyncKind = "skipped"
	// SyncFailed is a stream of a repository that could not be synced now, or a
	// repository that could not be found, with Err. The others go on.
	SyncFailed SyncKind = "failed"
)

// SyncItem is one thing a sync tells. It belongs to the caller.
type SyncItem struct {
	Kind SyncKind
	// RepositoryID is GitHub's id, which stays when a repository is renamed; 0 if a
	// repository that SyncOptions names was not found. FullName is "owner/name"
	// now, of a removed repository the last known one.
	RepositoryID int64
	FullName     string
	// Repository, Issue, PullRequest and Commit hold what Kind says, as GitHub
	// lists it: lists leave some fields of pull requests and commits out.
	Repository  *github.Repository
	Issue       *github.Issue
	PullRequest *github.PullRequest
	Commit      *github.RepositoryCommit
	// Stream and Err are of SyncFailed. Stream is "" when it is about the
	// repository itself.
	Stream Stream
	Err    error
}

// SyncOptions narrow a [Sync].
type SyncOptions struct {
	// Streams are what to copy. Defaults to all three.
	Streams []Stream
	// Repositories are full names, "owner/name". Defaults to all that the
	// connection sees. With names nothing is reported as removed.
	Repositories []string
	// PageSize is how many items are asked for at a time and how many may come
	// twice after a crash, 1 to 100. Defaults to 100.
	PageSize int
	// Since leaves out what was last updated, or committed, before. It is looked at
	// when a stream of a repository has no checkpoint. Zero means everything.
	Since time.Time
	// Branch is the branch commits are read from. Each has a checkpoint of its
	// own. Defaults to the repository's default branch, whichever that is.
	Branch string
}

const (
	// leaseTime is how long a repository stays taken after a sync has crashed.
	leaseTime = 2 * time.Minute
	// overlap is how far updates are looked for again before the last one: they may
	// become visible in another order than that of their times.
	overlap = time.Minute
	// downAfter is how many repositories in a row GitHub has to fail for until the
	// sync gives up.
	downAfter = 3
)

var (
	// errStopped ends a sync whose caller has left the loop.
	errStopped = errors.New("integrations/githubapp: stopped")
	errLost    = fmt.Errorf("integrations/githubapp: another sync took the repository over: %w", providers.ErrConflict)
	errBusy    = fmt.Errorf("integrations/githubapp: another sync is at work on the repository: %w", providers.ErrTransient)
)

// Sync yields what changed in the repositories of a connection since the last
// Sync of it: in the order of the repositories' ids the repository itself, its
// issues, its pull requests and its commits. The store remembers how far each
// stream of each repository was read; the store must keep checkpoints.
//
// An item counts as consumed when the loop asks for the next one. Once a page of
// items is consumed it does not come again; after a break, an error or a crash at
// most the page at hand does. An item that changes comes again, so store items by
// their ids. Issues and pull requests come in the order of their updates, but not
// on a first run over more than ten pages of pull requests. Commits come oldest
// first, on a first run newest first. Nothing tells of deleted issues, nor of
// commits that a forced push took away.
//
// Any number of replicas may sync a connection at once: each repository is
// synced by one of them, the others get [SyncSkipped]. If that one stops for
// longer than two minutes between two items another may take over; it then gets
// [SyncFailed] with an error wrapping providers.ErrConflict.
//
// What fails for one repository is a [SyncFailed] item, and the rest goes on:
// ErrNotFound, ErrForbidden, ErrConflict, ErrInvalid and ErrTransient of package
// providers. Every other error ends the sync, and so does ErrTransient of three
// repositories in a row; a run after that begins with the repository that follows
// the one it happened in. The errors are those of [Classify], of the connection
// and of the store; one wrapping errors.ErrUnsupported means the store keeps no
// checkpoints. Calls are made one after another. Sync works with
// Config.EnterpriseHost too. Nil options are the defaults.
func Sync(ctx context.Context, conn *providers.Connection, opts *SyncOptions) iter.Seq2[SyncItem, error] {
	return func(yield func(SyncItem, error) bool) {
		s, err := newSyncer(ctx, conn, opts, yield)
		if err == nil {
			err = s.run(ctx)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(SyncItem{}, err)
		}
	}
}

// syncer is one run. It is for one goroutine.
type syncer struct {
	conn  *providers.Connection
	gh    *github.Client
	opts  SyncOptions
	yield func(SyncItem, error) bool

	lease   *providers.Lease // of the repository at hand
	renewed time.Time
	down    int // repositories in a row that GitHub failed for
}

// fullName is what GitHub allows in the two parts of a repository's name.
var fullName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$`)

// splitName splits a full name that is safe to be a part of a path.
func splitName(name string) (owner, repo string, ok bool) {
	owner, repo, _ = strings.Cut(name, "/")
	ok = fullName.MatchString(name) && strings.Trim(owner, ".") != "" && strings.Trim(repo, ".") != ""
	return owner, repo, ok
}

func newSyncer(ctx context.Context, conn *providers.Connection, opts *SyncOptions, yield func(SyncItem, error) bool) (*syncer, error) {
	if err := conn.RequireKind(Key); err != nil {
		return nil, err
	}
	s := &syncer{conn: conn, yield: yield}
	if opts != nil {
		s.opts = *opts
	}
	if len(s.opts.Streams) == 0 {
		s.opts.Streams = []Stream{StreamIssues, StreamPullRequests, StreamCommits}
	}
	if s.opts.PageSize == 0 {
		s.opts.PageSize = 100
	}
	if s.opts.PageSize < 1 || s.opts.PageSize > 100 {
		return nil, fmt.Errorf("%w: PageSize must be 1 to 100", providers.ErrInvalid)
	}
	for _, st := range s.opts.Streams {
		if st != StreamIssues && st != StreamPullRequests && st != StreamCommits {
			return nil, fmt.Errorf("%w: unknown stream", providers.ErrInvalid)
		}
	}
	for _, name := range s.opts.Repositories {
		if _, _, ok := splitName(name); !ok {
			return nil, fmt.Errorf("%w: a repository must be named as owner/name", providers.ErrInvalid)
		}
	}
	if _, err := conn.Checkpoint(knownName).Load(ctx); err != nil {
		return nil, err // before anything is asked of GitHub
	}
	snap, err := conn.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	acc, err := ReadAccount(snap)
	if err != nil {
		return nil, err
	}
	s.gh = client(conn, siteOf(acc.Host))
	return s, nil
}

// repo is a repository in a run.
type repo struct {
	*github.Repository
	id          int64
	owner, name string
	epoch       int64 // see known
}

func (r repo) item(k SyncKind) SyncItem {
	return SyncItem{Kind: k, RepositoryID: r.id, FullName: r.GetFullName()}
}

// repositoryName names the lease of a repository, and its checkpoints begin with
// it. Names change, ids do not.
func repositoryName(id int64) string { return "sync/" + strconv.FormatInt(id, 10) }

func (s *syncer) run(ctx context.Context) error {
	repos, err := s.repositories(ctx)
	if err != nil {
		return err
	}
	for _, r := range repos {
		if err := s.repository(ctx, r); err != nil {
			s.interrupted(ctx, r.id)
			return err
		}
	}
	return nil
}

// tell hands an item out.
func (s *syncer) tell(ctx context.Context, item SyncItem) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.yield(item, nil) {
		return errStopped
	}
	return nil
}

// emit is tell for an item of a repository whose lease must be kept.
func (s *syncer) emit(ctx context.Context, item SyncItem) error {
	if err := s.tell(ctx, item); err != nil {
		return err
	}
	return s.keep(ctx)
}

// take takes the lease of a repository; false means another sync has it.
func (s *syncer) take(ctx context.Context, id int64) (bool, error) {
	lease, ok, err := s.conn.TryLease(ctx, repositoryName(id), leaseTime)
	s.lease, s.renewed = lease, time.Now()
	return ok, err
}

// keep renews the lease when a third of its time is over.
func (s *syncer) keep(ctx context.Context) error {
	if time.Since(s.renewed) < leaseTime/3 {
		return nil
	}
	ok, err := s.lease.Renew(ctx)
	if err == nil && !ok {
		err = errLost
	}
	s.renewed = time.Now()
	return err
}

// giveBack releases the lease. If that fails it ends by itself.
func (s *syncer) giveBack(ctx context.Context) { _ = s.lease.Release(ctx) }

// repository syncs one repository.
func (s *syncer) repository(ctx context.Context, r repo) error {
	ok, err := s.take(ctx, r.id)
	if err != nil {
		return err
	}
	if !ok {
		return s.tell(ctx, r.item(SyncSkipped))
	}
	defer s.giveBack(ctx)
	item := r.item(SyncRepository)
	item.Repository = r.Repository
	if err := s.tell(ctx, item); err != nil {
		return err
	}
	down := 0
	for _, stream := range s.opts.Streams {
		if err = s.stream(ctx, r, stream); err == nil {
			continue
		}
		if !ofRepository(err) {
			return err
		}
		item := r.item(SyncFailed)
		item.Stream, item.Err = stream, err
		if err := s.tell(ctx, item); err != nil {
			return err
		}
		if errors.Is(err, errLost) {
			return nil
		}
		if errors.Is(err, providers.ErrTransient) {
			down++
		}
	}
	if down < len(s.opts.Streams) {
		s.down = 0
		return nil
	}
	if s.down++; s.down < downAfter {
		return nil
	}
	return err
}

func (s *syncer) stream(ctx context.Context, r repo, stream Stream) error {
	if err := s.keep(ctx); err != nil {
		return err
	}
	switch stream {
	case StreamIssues:
		return s.issues(ctx, r)
	case StreamPullRequests:
		return s.pullRequests(ctx, r)
	}
	return s.commits(ctx, r)
}

// ofRepository reports whether an error says nothing about other repositories.
func ofRepository(err error) bool {
	return slices.ContainsFunc([]error{
		providers.ErrNotFound, providers.ErrForbidden, providers.ErrConflict, providers.ErrInvalid, providers.ErrTransient,
	}, func(kind error) bool { return errors.Is(err, kind) })
}

// load reads the checkpoint of a stream. What was saved in another epoch of the
// repository, or cannot be read, is left out.
func load[T any](ctx context.Context, s *syncer, r repo, name string) (*providers.Checkpoint, T, error) {
	var saved struct {
		Epoch int64 `json:"epoch"`
		Value T     `json:"value"`
	}
	cp := s.conn.Checkpoint(repositoryName(r.id) + "/" + name)
	raw, err := cp.Load(ctx)
	var zero T
	if err != nil || json.Unmarshal(raw, &saved) != nil || saved.Epoch != r.epoch {
		return cp, zero, err
	}
	return cp, saved.Value, nil
}

// save advances the checkpoint of a stream.
func (s *syncer) save(ctx context.Context, r repo, cp *providers.Checkpoint, value any) error {
	if err := s.keep(ctx); err != nil {
		return err
	}
	raw, err := json.Marshal(map[string]any{"epoch": r.epoch, "value": value})
	if err != nil {
		return err
	}
	if err = cp.Save(ctx, raw); errors.Is(err, providers.ErrConflict) {
		return errLost
	}
	return err
}

// hasNext reports whether a list goes on.
func hasNext(resp *github.Response) bool {
	return strings.Contains(resp.Header.Get("Link"), `rel="next"`)
}

// hasStatus reports whether GitHub refused a call with a status.
func hasStatus(err error, status int) bool {
	var refused *github.ErrorResponse
	return errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode == status
}
