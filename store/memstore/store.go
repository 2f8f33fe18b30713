// Package memstore keeps everything in memory, for unit tests of hosts and of
// this library. It has every ability of a store and its concurrency promises,
// for one process. What it holds is gone when the process ends.
package memstore

import (
	"context"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// Store is a store.Store in memory, safe for concurrent use. Its clock is
// time.Now.
type Store struct {
	mu            sync.Mutex
	integrations  map[string]*store.Integration // by id
	leases        map[string]string             // owner of the refresh lease, by integration id
	flows         map[string]*flow              // by state hash
	deliveries    map[string]*delivery          // by id
	checkpoints   map[checkpointKey]*checkpoint
	endpoints     map[string]*store.Endpoint // by id
	subscriptions map[subscriptionKey]*subscription
	sequence      int64 // orders rows of one millisecond
}

var (
	_ store.Store       = (*Store)(nil)
	_ store.Inbox       = (*Store)(nil)
	_ store.Checkpoints = (*Store)(nil)
	_ store.Endpoints   = (*Store)(nil)
	_ store.Admin       = (*Store)(nil)
	_ store.Purger      = (*Store)(nil)
)

// New returns an empty store.
func New() *Store {
	return &Store{
		integrations:  map[string]*store.Integration{},
		leases:        map[string]string{},
		flows:         map[string]*flow{},
		deliveries:    map[string]*delivery{},
		checkpoints:   map[checkpointKey]*checkpoint{},
		endpoints:     map[string]*store.Endpoint{},
		subscriptions: map[subscriptionKey]*subscription{},
	}
}

// Check implements store.Store. The schema is always up to date.
func (s *Store) Check(ctx context.Context) error { return ctx.Err() }

// lock takes the one lock there is, unless ctx has ended.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	return s.mu.Unlock, nil
}

// now is the store's clock: UTC in milliseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// after is d from t, zero for a d of 0: unknown or never.
func after(t time.Time, d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return t.Add(d).Truncate(time.Millisecond)
}

func clone[T any](s []T) []T {
	if s == nil {
		return nil
	}
	return append(make([]T, 0, len(s)), s...)
}

// cloneBytes is clone for bytes, of which none are nil.
func cloneBytes(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return clone(b)
}
