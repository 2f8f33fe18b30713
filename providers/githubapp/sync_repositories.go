package githubapp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
)

const (
	// knownName names the checkpoint of the known repositories.
	knownName = "sync/repositories"
	// knownTries is how often a change of them is tried again when somebody else
	// saved at the same time.
	knownTries = 10
	// closing bounds what is saved after a run was interrupted.
	closing = 5 * time.Second
)

// known are the repositories of an integration that were seen and not yet
// reported as removed.
type known struct {
	// Epoch is that of the repository added last. A repository that comes back gets
	// a new one, which its old checkpoints do not have.
	Epoch int64                     `json:"epoch"`
	Repos map[int64]knownRepository `json:"repos,omitempty"`
	// After is the repository that the last run was interrupted in.
	After int64 `json:"after,omitempty"`
}

type knownRepository struct {
	Name  string `json:"name"`
	Epoch int64  `json:"epoch"`
	// Gone is set before the repository is reported as removed, so that it starts
	// anew even if it comes back while it is not certain that somebody was told.
	Gone bool `json:"gone,omitempty"`
}

// change loads what is known and saves it if fn changed it. It tries again when
// somebody else saved meanwhile.
func (s *syncer) change(ctx context.Context, fn func(k *known) bool) (known, error) {
	for range knownTries {
		cp := s.conn.Checkpoint(knownName)
		raw, err := cp.Load(ctx)
		if err != nil {
			return known{}, err
		}
		var k known
		if raw != nil {
			if err := json.Unmarshal(raw, &k); err != nil {
				return known{}, fmt.Errorf("integrations/githubapp: checkpoint %q is not of this package", knownName)
			}
		}
		if k.Repos == nil {
			k.Repos = map[int64]knownRepository{}
		}
		if !fn(&k) {
			return k, nil
		}
		if raw, err = json.Marshal(k); err != nil {
			return known{}, err
		}
		if err = cp.Save(ctx, raw); !errors.Is(err, providers.ErrConflict) {
			return k, err
		}
	}
	return known{}, fmt.Errorf("integrations/githubapp: other syncs keep changing the known repositories: %w", providers.ErrTransient)
}

// repositories returns what to sync, in order, after it has reported what was
// removed.
func (s *syncer) repositories(ctx context.Context) ([]repo, error) {
	if len(s.opts.Repositories) > 0 {
		return s.named(ctx)
	}
	found, err := s.list(ctx, nil)
	if err != nil {
		return nil, err
	}
	k, err := s.register(ctx, found)
	if err != nil {
		return nil, err
	}
	if len(missing(k, found)) > 0 {
		// A list that changes while it is paged may leave one out.
		if found, err = s.list(ctx, found); err != nil {
			return nil, err
		}
		if k, err = s.register(ctx, found); err != nil {
			return nil, err
		}
		for _, id := range missing(k, found) {
			if err := s.removed(ctx, id, k.Repos[id].Epoch); err != nil {
				return nil, err
			}
		}
	}
	repos, err := ready(k, found)
	if err != nil {
		return nil, err
	}
	// Begin after the repository that the last run was interrupted in: else the
	// ones at the end would never get their turn where a limit ends each run.
	first := slices.IndexFunc(repos, func(r repo) bool { return r.id > k.After })
	return append(repos[max(first, 0):], repos[:max(first, 0)]...), nil
}

// named finds the repositories that the options name.
func (s *syncer) named(ctx context.Context) ([]repo, error) {
	found := map[int64]*github.Repository{}
	for _, name := range s.opts.Repositories {
		owner, short, _ := splitName(name)
		r, _, err := s.gh.Repositories.Get(ctx, owner, short) // follows a rename
		if err = Classify(err); err == nil {
			found[r.GetID()] = r
			continue
		}
		if !ofRepository(err) {
			return nil, err
		}
		if err := s.tell(ctx, SyncItem{Kind: SyncFailed, FullName: name, Err: err}); err != nil {
			return nil, err
		}
	}
	k, err := s.register(ctx, found)
	if err != nil {
		return nil, err
	}
	return ready(k, found)
}

// list adds what the connection sees to found.
func (s *syncer) list(ctx context.Context, found map[int64]*github.Repository) (map[int64]*github.Repository, error) {
	if found == nil {
		found = map[int64]*github.Repository{}
	}
	for r, err := range Repositories(ctx, s.conn) {
		if err != nil {
			return nil, err
		}
		found[r.GetID()] = r
	}
	return found, nil
}

// register makes repositories known.
func (s *syncer) register(ctx context.Context, found map[int64]*github.Repository) (known, error) {
	return s.change(ctx, func(k *known) bool {
		changed := false
		for id, r := range found {
			have, ok := k.Repos[id]
			want := knownRepository{Name: r.GetFullName(), Epoch: have.Epoch}
			if !ok || have.Gone {
				k.Epoch++
				want.Epoch = k.Epoch
			}
			if have != want {
				k.Repos[id], changed = want, true
			}
		}
		return changed
	})
}

// missing returns the ids of known repositories that were not found, in order.
func missing(k known, found map[int64]*github.Repository) []int64 {
	var ids []int64
	for id := range k.Repos {
		if found[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// ready returns repositories in the order of their ids.
func ready(k known, found map[int64]*github.Repository) ([]repo, error) {
	var repos []repo
	for id, r := range found {
		owner, name, ok := splitName(r.GetFullName())
		if !ok || id == 0 {
			return nil, errAnswer
		}
		repos = append(repos, repo{Repository: r, id: id, owner: owner, name: name, epoch: k.Repos[id].Epoch})
	}
	slices.SortFunc(repos, func(a, b repo) int { return cmp.Compare(a.id, b.id) })
	return repos, nil
}

// removed reports a repository as removed, unless another sync is at work on it,
// has reported it, or has seen it come back.
func (s *syncer) removed(ctx context.Context, id, epoch int64) error {
	ok, err := s.take(ctx, id)
	if err != nil || !ok {
		return err // the next run reports it
	}
	defer s.giveBack(ctx)
	var was knownRepository
	_, err = s.change(ctx, func(k *known) bool {
		was = k.Repos[id]
		if was.Epoch != epoch || was.Gone {
			return false
		}
		was.Gone = true
		k.Repos[id] = was
		return true
	})
	if err != nil || was.Epoch != epoch {
		return err
	}
	if err := s.tell(ctx, SyncItem{Kind: SyncRemoved, RepositoryID: id, FullName: was.Name}); err != nil {
		return err
	}
	_, err = s.change(ctx, func(k *known) bool {
		if !k.Repos[id].Gone {
			return false // it is back, or removed already
		}
		delete(k.Repos, id)
		return true
	})
	return err
}

// interrupted remembers where a run ended early. If that fails the next run begins
// where this one did.
func (s *syncer) interrupted(ctx context.Context, id int64) {
	if len(s.opts.Repositories) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	_, _ = s.change(ctx, func(k *known) bool {
		changed := k.After != id
		k.After = id
		return changed
	})
}
