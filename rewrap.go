package integrations

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
)

// RewrapOptions change [Rewrap]. Nil is fine.
type RewrapOptions struct {
	// BatchSize is how many rows are read and written at a time, all in one
	// transaction. Defaults to 500; more than 1000 is 1000. It is no more than a
	// twentieth of RowsPerSecond where that is a bound.
	BatchSize int
	// RowsPerSecond bounds the speed. Defaults to 2000, which those who ask for
	// tokens meanwhile hardly notice; less than 0 means as fast as the store takes
	// them, at the expense of everybody else who uses it.
	RowsPerSecond int
	// Handled moves the bodies of handled webhooks as well. They are needed for a
	// replay only, count in no [Health] and are removed after 7 days.
	Handled bool
	// Progress, when not nil, is called after each batch, by the goroutine that
	// called Rewrap.
	Progress func(RewrapProgress)
}

// RewrapResult says what became of the rows that were not under the primary key.
type RewrapResult struct {
	// Moved rows are under the primary key now.
	Moved int64
	// Skipped rows were changed or removed by somebody else after they were read:
	// by a refresh, which seals with the primary key itself, or by another Rewrap.
	Skipped int64
	// Unknown rows are under keys that the cipher lacks. They are as they were.
	Unknown int64
	// Unreadable rows are damaged, or were moved from elsewhere: they do not open
	// with the key they name. They are as they were.
	Unreadable int64
}

// RewrapProgress is how far a [Rewrap] is.
type RewrapProgress struct {
	RewrapResult
	// Done is how many rows were looked at, of Total that were not under the
	// primary key at the start.
	Done, Total int64
	// RowsPerSecond is the speed since the start.
	RowsPerSecond float64
	// Left is how long the rest takes at that speed.
	Left time.Duration
}

// Rewrap moves everything that is sealed in the store to the primary key of the
// cipher: the tokens of integrations, the secrets of webhook endpoints, and the
// bodies of webhooks that wait or failed too often. It needs no Manager, is safe
// while any number of replicas work, and may be run by several at once: a row is
// written only if it still is as it was read, so a token that was refreshed
// meanwhile is never overwritten. Each new value is opened before it is written.
// Neither TokenGen nor Version moves.
//
// Rewrap looks only at what is not under the primary key, by key and id. One that
// broke off is continued by the next; one more after it finds nothing to do. All
// replicas must have the primary key, or they cannot read what was moved, and
// should seal with it, or they write more rows that are to be moved: docs/keys.md
// has the steps.
//
// An error does not undo what was moved; the result is right beside it. It wraps
// [ErrUnknownKey] or [ErrSealed] when all rows were seen and some could not be
// opened, the context's error when it ended in between, and
// errors.ErrUnsupported when st is not a store.Admin or c not a crypto.Ring.
func Rewrap(ctx context.Context, st store.Store, c crypto.Cipher, opts *RewrapOptions) (RewrapResult, error) {
	admin, isAdmin := st.(store.Admin)
	ring, isRing := c.(crypto.Ring)
	if !isAdmin || !isRing {
		return RewrapResult{}, fmt.Errorf("integrations: rewrap needs a store.Admin and a cipher that is a crypto.Ring: %w", errors.ErrUnsupported)
	}
	w := &rewrap{admin: admin, cipher: c, primary: ring.PrimaryID(), keys: ring.KeyIDs(), unknown: map[string]bool{}, began: time.Now()}
	if opts != nil {
		w.opts = *opts
	}
	if w.opts.RowsPerSecond == 0 {
		w.opts.RowsPerSecond = rewrapSpeed
	}
	err := w.run(ctx)
	return w.done, err
}

const (
	rewrapBatch     = 500
	rewrapBatchMost = 1000
	// rewrapSpeed is how many rows are moved a second where the host does not say.
	rewrapSpeed = 2000
	// rewrapBursts is how many batches a second a bounded speed is made of, at
	// least: the longer the store works on one, the longer others wait.
	rewrapBursts = 20
)

// rewrap is one run of Rewrap.
type rewrap struct {
	admin   store.Admin
	cipher  crypto.Cipher
	opts    RewrapOptions
	primary string
	keys    []string // of the cipher
	began   time.Time
	next    time.Time // before when nothing is written, to keep to RowsPerSecond

	total      int64
	done       RewrapResult
	unknown    map[string]bool // keys that are missing
	unreadable string          // the first row that does not open
}

// task is all rows of a kind under one key.
type task struct {
	kind store.SealedKind
	key  string
	rows int64
}

func (w *rewrap) run(ctx context.Context) error {
	tasks, err := w.plan(ctx)
	if err != nil {
		return fmt.Errorf("integrations: rewrap: %w", err)
	}
	for _, t := range tasks {
		if !w.has(t.key) {
			w.done.Unknown += t.rows
			w.unknown[t.key] = true
			w.tell()
			continue
		}
		if err := w.move(ctx, t); err != nil {
			return fmt.Errorf("integrations: rewrap: %s under %q: %w", t.kind, t.key, err)
		}
	}
	return w.fault()
}

// plan lists what is not under the primary key.
func (w *rewrap) plan(ctx context.Context) ([]task, error) {
	kinds := []store.SealedKind{store.SealedTokens, store.SealedSecrets, store.SealedBodies}
	if w.opts.Handled {
		kinds = append(kinds, store.SealedDone)
	}
	var tasks []task
	for _, kind := range kinds {
		counts, err := w.admin.CountSealed(ctx, kind)
		if err != nil {
			return nil, err
		}
		delete(counts, w.primary)
		for _, key := range slices.Sorted(maps.Keys(counts)) {
			tasks = append(tasks, task{kind, key, counts[key]})
			w.total += counts[key]
		}
	}
	return tasks, nil
}

func (w *rewrap) has(key string) bool { return slices.Contains(w.keys, key) }

// move moves the rows of a task. The next batch is read and sealed while one is
// written.
func (w *rewrap) move(ctx context.Context, t task) error {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan sealedBatch, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.seal(ctx, t, batches)
	}()
	defer func() { cancel(); <-over }()
	for {
		var b sealedBatch
		select {
		case b = <-batches:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.err != nil || b.last {
			return b.err
		}
		if err := w.write(ctx, t.kind, b); err != nil {
			return err
		}
	}
}

// write stores a batch when it is due.
func (w *rewrap) write(ctx context.Context, kind store.SealedKind, b sealedBatch) error {
	if err := w.pace(ctx, len(b.rows)); err != nil {
		return err
	}
	n, err := w.admin.Reseal(ctx, kind, b.rows)
	if err != nil {
		return err
	}
	w.done.Moved += int64(n)
	w.done.Skipped += int64(len(b.rows) - n)
	w.done.Unknown += int64(len(b.unknown))
	w.done.Unreadable += int64(len(b.unreadable))
	for _, key := range b.unknown {
		w.unknown[key] = true
	}
	if w.unreadable == "" && len(b.unreadable) > 0 {
		w.unreadable = kind.String() + " of " + b.unreadable[0]
	}
	w.tell()
	return ctx.Err()
}

func (w *rewrap) looked() int64 {
	return w.done.Moved + w.done.Skipped + w.done.Unknown + w.done.Unreadable
}

func (w *rewrap) tell() {
	if w.opts.Progress == nil {
		return
	}
	p := RewrapProgress{RewrapResult: w.done, Done: w.looked(), Total: w.total}
	if took := time.Since(w.began); took > 0 {
		p.RowsPerSecond = float64(p.Done) / took.Seconds()
	}
	if most := float64(w.opts.RowsPerSecond); most > 0 {
		p.RowsPerSecond = min(p.RowsPerSecond, most) // what was not waited for yet is no speed
	}
	if p.RowsPerSecond > 0 {
		p.Left = time.Duration(float64(max(p.Total-p.Done, 0)) / p.RowsPerSecond * float64(time.Second))
	}
	w.opts.Progress(p)
}

// batchSize is how many rows are read at a time.
func (w *rewrap) batchSize() int {
	n := w.opts.BatchSize
	if n <= 0 {
		n = rewrapBatch
	}
	if most := w.opts.RowsPerSecond; most > 0 {
		n = min(n, max(most/rewrapBursts, 1))
	}
	return min(n, rewrapBatchMost)
}

// pace waits until rows may be written. What was not used of the speed is lost.
func (w *rewrap) pace(ctx context.Context, rows int) error {
	if w.opts.RowsPerSecond <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Until(w.next))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.next = time.Now().Add(time.Duration(rows) * time.Second / time.Duration(w.opts.RowsPerSecond))
	return nil
}

// fault is the error of a run that saw all rows.
func (w *rewrap) fault() error {
	var faults []error
	if w.done.Unknown > 0 {
		faults = append(faults, fmt.Errorf("integrations: rewrap: %d rows are left under %s: %w",
			w.done.Unknown, strings.Join(slices.Sorted(maps.Keys(w.unknown)), ", "), crypto.ErrUnknownKey))
	}
	if w.done.Unreadable > 0 {
		faults = append(faults, fmt.Errorf("integrations: rewrap: %d rows do not open, the first are the %s: %w",
			w.done.Unreadable, w.unreadable, crypto.ErrSealed))
	}
	return errors.Join(faults...)
}
