package githubapp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
)

// history is how far the commits of a branch were handed out.
type history struct {
	// Head is the commit that, with all it is based on, was.
	Head string `json:"head,omitempty"`
	// To, when not "", is the commit that is worked up to: Page pages of Size
	// commits of what it adds to Head were handed out. Since is SyncOptions.Since
	// when Head is "".
	To    string    `json:"to,omitempty"`
	Page  int       `json:"page,omitempty"`
	Size  int       `json:"size,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// commits hands out what the branch's head adds to the head of the last run. A
// time would not do as a checkpoint: a merge brings commits that are older than
// the ones before it. What lies between two commits never changes, so that pages
// by number skip nothing.
func (s *syncer) commits(ctx context.Context, r repo) error {
	name := string(StreamCommits)
	if s.opts.Branch != "" {
		sum := sha256.Sum256([]byte(s.opts.Branch)) // names of checkpoints are bounded
		name += "/" + hex.EncodeToString(sum[:16])
	}
	cp, h, err := load[history](ctx, s, r, name)
	if err != nil {
		return err
	}
	if h.To != "" { // a run was interrupted
		err := s.commitsTo(ctx, r, cp, &h)
		if err != nil && !gone(err) {
			return err
		}
	}
	head, err := s.head(ctx, r)
	if err != nil || head == "" || head == h.Head {
		return err
	}
	h.To, h.Page, h.Size = head, 0, s.opts.PageSize
	if h.Head == "" {
		h.Since = s.opts.Since
	}
	return s.commitsTo(ctx, r, cp, &h)
}

// head returns the last commit of the branch, "" for an empty repository.
func (s *syncer) head(ctx context.Context, r repo) (string, error) {
	list, _, err := s.gh.Repositories.ListCommits(ctx, r.owner, r.name, &github.CommitsListOptions{
		SHA: s.opts.Branch, ListOptions: github.ListOptions{PerPage: 1},
	})
	if err = Classify(err); hasStatus(err, http.StatusConflict) { // "Git Repository is empty."
		return "", nil
	}
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].GetSHA(), nil
}

// gone reports whether GitHub says that it does not know a commit, or that two
// have nothing in common.
func gone(err error) bool {
	return hasStatus(err, http.StatusNotFound) || hasStatus(err, http.StatusUnprocessableEntity)
}

// unrelated reports whether a comparison failed because the old head is no more or
// has nothing in common with the new one. Reading everything again is too much
// for a 404 of another kind.
func (s *syncer) unrelated(ctx context.Context, r repo, old string, err error) bool {
	var refused *github.ErrorResponse
	if old == "" {
		return false
	}
	if errors.As(err, &refused) && strings.Contains(refused.Message, "common ancestor") {
		return true
	}
	_, _, err = s.gh.Repositories.ListCommits(ctx, r.owner, r.name, &github.CommitsListOptions{SHA: old, ListOptions: github.ListOptions{PerPage: 1}})
	return gone(err)
}

// commitsTo hands out what h.To adds to h.Head.
func (s *syncer) commitsTo(ctx context.Context, r repo, cp *providers.Checkpoint, h *history) error {
	for {
		list, more, err := s.commitPage(ctx, r, h)
		if err != nil {
			if !gone(err) || !s.unrelated(ctx, r, h.Head, err) {
				return err
			}
			// After a forced push everything comes again.
			h.Head, h.Page, h.Since = "", 0, s.opts.Since
			continue
		}
		for _, c := range list {
			item := r.item(SyncCommit)
			item.Commit = c
			if err := s.emit(ctx, item); err != nil {
				return err
			}
		}
		h.Page++
		if !more {
			*h = history{Head: h.To}
		}
		if err := s.save(ctx, r, cp, h); err != nil || !more {
			return err
		}
	}
}

// commitPage reads the page after h.Page.
func (s *syncer) commitPage(ctx context.Context, r repo, h *history) ([]*github.RepositoryCommit, bool, error) {
	opts := github.ListOptions{Page: h.Page + 1, PerPage: h.Size}
	if h.Head == "" {
		list, resp, err := s.gh.Repositories.ListCommits(ctx, r.owner, r.name, &github.CommitsListOptions{SHA: h.To, Since: h.Since, ListOptions: opts})
		if err != nil {
			return nil, false, Classify(err)
		}
		return list, hasNext(resp), nil
	}
	cmp, resp, err := s.gh.Repositories.CompareCommits(ctx, r.owner, r.name, h.Head, h.To, &opts)
	if err != nil {
		return nil, false, Classify(err)
	}
	full := len(cmp.Commits) == h.Size && opts.Page*h.Size < cmp.GetTotalCommits()
	return cmp.Commits, hasNext(resp) || full, nil
}
