package githubapp

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
)

// updates is how far a stream of things that are updated was handed out.
type updates struct {
	// At is the last update up to which everything was.
	At time.Time `json:"at,omitzero"`
	// Since is SyncOptions.Since of the first run.
	Since time.Time `json:"since,omitzero"`
	// Seen has the numbers of what was handed out and updated in the overlap before
	// At or after it, with the second of the update.
	Seen map[int]int64 `json:"seen,omitempty"`
	// Backfill is set while pull requests are read in the order of creation.
	Backfill *backfill `json:"backfill,omitempty"`
}

// from is where to begin: since when there is no checkpoint.
func (u *updates) from(since time.Time) time.Time {
	if u.At.IsZero() {
		u.Since = since.Truncate(time.Second)
		return u.Since
	}
	if from := u.At.Add(-overlap); from.After(u.Since) {
		return from
	}
	return u.Since
}

// has reports whether this update, or a later one, was handed out.
func (u *updates) has(number int, at time.Time) bool {
	seen, ok := u.Seen[number]
	return ok && seen >= at.Unix()
}

// add notes an update as handed out.
func (u *updates) add(number int, at time.Time) {
	if u.Seen == nil {
		u.Seen = map[int]int64{}
	}
	u.Seen[number] = at.Unix()
}

// advance moves At forward, if at is later, and forgets what cannot come again.
func (u *updates) advance(at time.Time) bool {
	if !at.After(u.At) {
		return false
	}
	u.At = at
	limit := at.Add(-overlap).Unix()
	maps.DeleteFunc(u.Seen, func(_ int, at int64) bool { return at < limit })
	return true
}

// issues reads the issues in the order of their updates, each page from where the
// one before ended: an issue that is updated meanwhile moves to the end of the
// list, and page numbers would then skip one. Pages by number are needed only
// where a page ends at the second it began at.
func (s *syncer) issues(ctx context.Context, r repo) error {
	cp, u, err := load[updates](ctx, s, r, string(StreamIssues))
	if err != nil {
		return err
	}
	pass := issuePass{repo: r, cp: cp, u: &u, floor: u.from(s.opts.Since)}
	for at := pass.floor; ; {
		end, more, again, err := s.issuesFrom(ctx, pass, at)
		if hasStatus(err, http.StatusGone) { // the repository has no issues
			return nil
		}
		if err != nil {
			return err
		}
		if again {
			continue
		}
		if !more {
			return nil
		}
		at = end
	}
}

// issuePass is what one reading of a list works on.
type issuePass struct {
	repo  repo
	cp    *providers.Checkpoint
	u     *updates
	floor time.Time
}

// issuesFrom reads one page from a time on, and further pages until one ends at a
// later time. Again means that there were several and something new was among
// them: between two of them the list may have shifted, and only when nothing was
// new does the checkpoint go past them.
func (s *syncer) issuesFrom(ctx context.Context, p issuePass, at time.Time) (end time.Time, more, again bool, err error) {
	q := url.Values{"state": {"all"}, "sort": {"updated"}, "direction": {"asc"}, "per_page": {strconv.Itoa(s.opts.PageSize)}}
	if !at.IsZero() {
		// Whether "since" takes its own second in is not documented.
		q.Set("since", at.Add(-time.Second).UTC().Format(time.RFC3339))
	}
	end = at
	for page := 1; ; page++ {
		list, resp, err := s.issuePage(ctx, p.repo, q)
		if err != nil {
			return end, false, false, err
		}
		fresh, err := s.giveIssues(ctx, p, list)
		if err != nil {
			return end, false, false, err
		}
		again = again || fresh
		if n := len(list); n > 0 {
			end = list[n-1].GetUpdatedAt().Time
		}
		more = hasNext(resp)
		last := !more || end.After(at)
		again = again && (page > 1 || !last)
		moved := (page == 1 || (last && !again)) && p.u.advance(end)
		if fresh || moved {
			if err := s.save(ctx, p.repo, p.cp, p.u); err != nil {
				return end, false, false, err
			}
		}
		if last {
			return end, more, again, nil
		}
		q.Set("page", strconv.Itoa(page+1))
		if resp.After != "" { // large repositories take no page numbers
			q.Del("page")
			q.Set("after", resp.After)
		}
	}
}

// issuePage is Issues.ListByRepo, which in v62 knows no "after"
// (google/go-github#3565).
func (s *syncer) issuePage(ctx context.Context, r repo, q url.Values) ([]*github.Issue, *github.Response, error) {
	req, err := s.gh.NewRequest(http.MethodGet, "repos/"+r.owner+"/"+r.name+"/issues?"+q.Encode(), nil)
	if err != nil {
		return nil, nil, err
	}
	var list []*github.Issue
	resp, err := s.gh.Do(ctx, req, &list)
	return list, resp, Classify(err)
}

// giveIssues hands out what is new of a page.
func (s *syncer) giveIssues(ctx context.Context, p issuePass, list []*github.Issue) (fresh bool, err error) {
	for _, issue := range list {
		number, at := issue.GetNumber(), issue.GetUpdatedAt().Time
		if issue.IsPullRequest() || at.Before(p.floor) || p.u.has(number, at) {
			continue
		}
		item := p.repo.item(SyncIssue)
		item.Issue = issue
		if err := s.emit(ctx, item); err != nil {
			return false, err
		}
		p.u.add(number, at)
		fresh = true
	}
	return fresh, nil
}

// maxWalk is how many pages of pull requests are kept in memory at a time.
const maxWalk = 10

// backfill is how far pull requests were handed out in the order of their creation,
// in which a list only grows.
type backfill struct {
	// Floor leaves out what was updated before.
	Floor time.Time `json:"floor,omitzero"`
	// Start is the last update there was when it began.
	Start time.Time `json:"start"`
	// Page counts the pages of Size items that were handed out.
	Page int `json:"page"`
	Size int `json:"size"`
	// Tail has the numbers of the last of them.
	Tail []int `json:"tail,omitempty"`
}

// pullRequests reads the pull requests from the last updated one down to the
// checkpoint and hands them out the other way round: GitHub's list knows no
// "since". What is updated meanwhile moves to the front, which shifts the rest to
// later pages, so that nothing is skipped. Where that is more than maxWalk pages
// it reads all of them in the order of their creation instead, page by page, and
// then what was updated since it began.
func (s *syncer) pullRequests(ctx context.Context, r repo) error {
	cp, u, err := load[updates](ctx, s, r, string(StreamPullRequests))
	if err != nil {
		return err
	}
	for {
		if u.Backfill != nil {
			if err := s.backfill(ctx, r, cp, &u); err != nil {
				return err
			}
		}
		floor := u.from(s.opts.Since)
		list, newest, err := s.walk(ctx, r, &u, floor)
		if err != nil {
			return err
		}
		if len(list) <= maxWalk*s.opts.PageSize {
			return s.givePullRequests(ctx, r, cp, &u, list)
		}
		u.Backfill = &backfill{Floor: floor, Start: newest, Size: s.opts.PageSize}
	}
}

// walk returns what was updated at floor or later and not handed out, the last one
// first, and the time of the last update. It ends when that is more than maxWalk
// pages.
func (s *syncer) walk(ctx context.Context, r repo, u *updates, floor time.Time) (list []*github.PullRequest, newest time.Time, err error) {
	have := map[int]bool{}
	for page := 1; len(list) <= maxWalk*s.opts.PageSize; page++ {
		prs, more, err := s.pullPage(ctx, r, "updated", "desc", s.opts.PageSize, page)
		if err != nil {
			return nil, newest, err
		}
		for _, pr := range prs {
			number, at := pr.GetNumber(), pr.GetUpdatedAt().Time
			if at.Before(floor) {
				return list, newest, nil
			}
			if at.After(newest) {
				newest = at
			}
			if !have[number] && !u.has(number, at) {
				have[number] = true
				list = append(list, pr)
			}
		}
		if !more {
			break
		}
	}
	return list, newest, nil
}

func (s *syncer) pullPage(ctx context.Context, r repo, sort, direction string, size, page int) ([]*github.PullRequest, bool, error) {
	if err := s.keep(ctx); err != nil {
		return nil, false, err
	}
	list, resp, err := s.gh.PullRequests.List(ctx, r.owner, r.name, &github.PullRequestListOptions{
		State: "all", Sort: sort, Direction: direction, ListOptions: github.ListOptions{Page: page, PerPage: size},
	})
	if err != nil {
		return nil, false, Classify(err)
	}
	return list, hasNext(resp), nil
}

// givePullRequests hands out what a walk returned, in pages.
func (s *syncer) givePullRequests(ctx context.Context, r repo, cp *providers.Checkpoint, u *updates, list []*github.PullRequest) error {
	slices.SortFunc(list, func(a, b *github.PullRequest) int {
		return cmp.Or(a.GetUpdatedAt().Compare(b.GetUpdatedAt().Time), cmp.Compare(a.GetNumber(), b.GetNumber()))
	})
	for page := range slices.Chunk(list, s.opts.PageSize) {
		for _, pr := range page {
			if err := s.emitPullRequest(ctx, r, pr); err != nil {
				return err
			}
			u.add(pr.GetNumber(), pr.GetUpdatedAt().Time)
		}
		u.advance(page[len(page)-1].GetUpdatedAt().Time)
		if err := s.save(ctx, r, cp, u); err != nil {
			return err
		}
	}
	return nil
}

func (s *syncer) emitPullRequest(ctx context.Context, r repo, pr *github.PullRequest) error {
	item := r.item(SyncPullRequest)
	item.PullRequest = pr
	return s.emit(ctx, item)
}

// backfill hands out pull requests in the order of their creation.
func (s *syncer) backfill(ctx context.Context, r repo, cp *providers.Checkpoint, u *updates) error {
	b := u.Backfill
	// Read the last page again: if something before it was hidden since, the rest
	// has moved up.
	tail := b.Tail
	for page := max(b.Page, 1); ; page++ {
		list, more, err := s.pullPage(ctx, r, "created", "asc", b.Size, page)
		if err != nil {
			return err
		}
		b.Page, b.Tail = page, nil
		for _, pr := range list {
			number, at := pr.GetNumber(), pr.GetUpdatedAt().Time
			b.Tail = append(b.Tail, number)
			if at.Before(b.Floor) || slices.Contains(tail, number) || u.has(number, at) {
				continue
			}
			if err := s.emitPullRequest(ctx, r, pr); err != nil {
				return err
			}
			if !at.Before(b.Start.Add(-overlap)) {
				u.add(number, at)
			}
		}
		if !more {
			u.Backfill = nil
			u.advance(b.Start)
			return s.save(ctx, r, cp, u)
		}
		if err := s.save(ctx, r, cp, u); err != nil {
			return err
		}
		tail = b.Tail
	}
}
