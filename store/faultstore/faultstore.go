// Package faultstore wraps a store and lets chosen calls of it fail, to test what
// a host, or this library, makes of that.
//
//	st := faultstore.New(memstore.New())
//	st.FailNth(3, faultstore.Before, errors.New("the disk is full"))
package faultstore

import (
	"sync"

	"github.com/saas-integrations/integrations/store"
)

// Full is a store with every optional ability.
type Full interface {
	store.Store
	store.Inbox
	store.Checkpoints
	store.Endpoints
	store.Admin
	store.Purger
}

// When says which half of a call fails.
type When int

const (
	// Before fails a call before the store has done anything.
	Before When = iota
	// After lets the store do its work and loses the answer.
	After
)

// Store is a store some of whose calls fail. It has every ability, and is safe
// for concurrent use.
type Store struct {
	inner Full

	mu    sync.Mutex
	calls []string
	fail  func(n int, method string) (When, error)
}

var _ Full = (*Store)(nil)

var _ store.ParallelInbox = (*Store)(nil)

// ParallelInserts implements store.ParallelInbox: what the inner store says. It
// never fails and is no call.
func (st *Store) ParallelInserts() int {
	if p, ok := st.inner.(store.ParallelInbox); ok {
		return p.ParallelInserts()
	}
	return 1
}

// New returns a store over another one, none of whose calls fail yet.
func New(inner Full) *Store { return &Store{inner: inner} }

// Fail decides about each call from now on: n counts them from 1 and method is
// the name of the interface's. A nil error lets the call be. Nil heals the store.
func (st *Store) Fail(decide func(n int, method string) (When, error)) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.fail = decide
}

// FailNth lets the n-th call fail, counted from the making of the store or the
// last Reset.
func (st *Store) FailNth(n int, when When, err error) {
	st.Fail(func(i int, _ string) (When, error) {
		if i == n {
			return when, err
		}
		return when, nil
	})
}

// Calls are the names of the methods called so far, in order.
func (st *Store) Calls() []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return append([]string(nil), st.calls...)
}

// Reset forgets the calls so far and heals the store.
func (st *Store) Reset() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.calls, st.fail = nil, nil
}

// call does one call, or half of it.
func (st *Store) call(method string, do func() error) error {
	when, fault := st.next(method)
	if fault != nil && when == Before {
		return fault
	}
	if err := do(); err != nil {
		return err
	}
	return fault
}

// next notes a call and asks what is to become of it.
func (st *Store) next(method string) (When, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.calls = append(st.calls, method)
	if st.fail == nil {
		return Before, nil
	}
	return st.fail(len(st.calls), method)
}
