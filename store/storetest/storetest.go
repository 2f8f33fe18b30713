// Package storetest is the conformance suite of package store: a subtest for
// each sentence that an implementation promises. A store of one's own is one
// when it passes:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return mystore.New(...) })
//	}
//
// It needs package testing and nothing else.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// Run runs the suite. open returns a fresh empty store; it is called once for
// each subtest. Optional abilities a store lacks are logged and left out.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	s := &suite{open: open}
	t.Run("Connect", s.connect)
	t.Run("Lookup", s.lookup)
	t.Run("Refresh", s.refresh)
	t.Run("Status", s.status)
	t.Run("Update", s.update)
	t.Run("Due", s.due)
	t.Run("Reports", s.reports)
	t.Run("Verify", s.verify)
	t.Run("Flows", s.flows)
	t.Run("Promises", s.promises)
	t.Run("Inbox", s.inbox)
	t.Run("Tenants", s.tenants)
	t.Run("Turns", s.turns)
	t.Run("Trim", s.trim)
	t.Run("Checkpoints", s.checkpoints)
	t.Run("Endpoints", s.endpoints)
	t.Run("Rotations", s.rotations)
	t.Run("Subscriptions", s.subscriptions)
	t.Run("EnsureSubscriptions", s.ensured)
	t.Run("Moved", s.moved)
	t.Run("Admin", s.admin)
	t.Run("Purger", s.purger)
}

type suite struct {
	open func(t *testing.T) store.Store
	ids  atomic.Int64
}

// case runs one sentence on a store of its own, in parallel with the others.
func (s *suite) sentence(t *testing.T, promise string, fn func(t *testing.T, st store.Store)) {
	t.Helper()
	t.Run(promise, func(t *testing.T) {
		t.Parallel()
		fn(t, s.open(t))
	})
}

func (s *suite) id(prefix string) string { return fmt.Sprintf("%s-%08d", prefix, s.ids.Add(1)) }

// fresh is a connect of a new integration with every field set.
func (s *suite) fresh(tenant, provider string) store.Connect {
	id := s.id("int")
	return store.Connect{
		ID: id, TenantID: tenant, Provider: provider, ExternalID: "ext-" + id, ExclusiveKey: provider + "|ext-" + id,
		AccessToken: []byte{2, 1, 0, 255}, RefreshToken: []byte{9, 0, 9}, KeyID: "k1",
		ExpiresIn: time.Hour, RefreshExpiresIn: 90 * 24 * time.Hour, RefreshIn: 50 * time.Minute,
		Scopes: []string{"read", "write"}, ProviderData: json.RawMessage(`{"team":"T1"}`), Metadata: json.RawMessage(`{"note":"é"}`),
	}
}

func (s *suite) put(t *testing.T, st store.Store, c store.Connect) store.Integration {
	t.Helper()
	in, err := st.Connect(t.Context(), c)
	ok(t, err)
	return in
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func is(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error is %v, want one wrapping %v", err, target)
	}
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is %v, want %v", what, got, want)
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

// near checks a time of the store's against one of its clock.
func near(t *testing.T, what string, got, want time.Time) {
	t.Helper()
	if d := got.Sub(want); d < -2*time.Second || d > 2*time.Second {
		t.Fatalf("%s is %v, want about %v", what, got, want)
	}
	if got.Location() != time.UTC || got.Nanosecond()%int(time.Millisecond) != 0 {
		t.Fatalf("%s is %v, want UTC in milliseconds", what, got)
	}
}

// race calls fn from n goroutines at once and returns how many said true.
func race(t *testing.T, n int, fn func(i int) (bool, error)) int {
	t.Helper()
	var wg sync.WaitGroup
	var won atomic.Int64
	errs := make(chan error, n)
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			yes, err := fn(i)
			if err != nil {
				errs <- err
			}
			if yes {
				won.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatalf("unexpected error: %v", err)
	}
	return int(won.Load())
}

// racers is how many compete where one may win.
const racers = 16

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(context.Cause(t.Context()))
	}
}
