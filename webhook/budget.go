package webhook

import (
	"io"
	"sync"
	"sync/atomic"
)

// Sizes of the buffers bodies are read into. The first is small, because a
// sender may open many connections and then send slowly. What outgrows the
// second is read into a slice of its own that is not kept.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
	// growBy keeps what a large body is copied through below a third of it, and
	// makes a sender send a quarter of what it reserves.
	growBy = 4
)

const defaultBudget = 64 << 20

// Budget bounds the memory that request bodies take, over all the receivers
// that share it. A request that finds it spent is answered 503 and comes again.
// Memory is reserved as a body arrives, not as its length is declared: a sender
// has to send what it wants to occupy. It is safe for concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
	// The pools are here, and not global, to be shared as the budget is.
	small, large sync.Pool // of *[]byte
}

// NewBudget returns a budget of limit bytes; 0 means 64 MiB. It must be more than
// twice the MaxBody of every source that shares it.
func NewBudget(limit int64) *Budget {
	if limit == 0 {
		limit = defaultBudget
	}
	return &Budget{
		limit: limit,
		small: sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }},
		large: sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }},
	}
}

func (b *Budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// bodyBuffer holds the body of one request.
type bodyBuffer struct {
	budget *Budget    // nil until open
	pool   *sync.Pool // where pooled came from
	pooled *[]byte
	buf    []byte
}

// open reserves the first buffer. It reports false when the budget is spent.
func (b *bodyBuffer) open(budget *Budget) bool {
	if !budget.take(smallBuffer) {
		return false
	}
	b.budget = budget
	b.usePool(&budget.small)
	return true
}

func (b *bodyBuffer) usePool(p *sync.Pool) {
	b.pool, b.pooled = p, p.Get().(*[]byte)
	b.buf = *b.pooled
}

// release gives everything back. The body must not be used any more.
func (b *bodyBuffer) release() {
	if b.budget == nil {
		return
	}
	if b.pooled != nil {
		b.pool.Put(b.pooled)
	}
	b.budget.used.Add(-int64(len(b.buf)))
	*b = bodyBuffer{}
}

// grow moves the body into a larger buffer. size is the body's length as
// declared, or the largest allowed one, whichever is smaller.
func (b *bodyBuffer) grow(size int64) error {
	next := bodyBuffer{budget: b.budget}
	if len(b.buf) < largeBuffer {
		if !b.budget.take(largeBuffer) {
			return errBudget
		}
		next.usePool(&b.budget.large)
	} else {
		want := growBy * int64(len(b.buf))
		if want >= size {
			want = size + 1 // to see the end of the body without growing again
		}
		if !b.budget.take(want) {
			return errBudget
		}
		next.buf = make([]byte, want)
	}
	copy(next.buf, b.buf)
	b.release()
	*b = next
	return nil
}

// readAll reads r to its end. It returns ErrTooLarge for more than limit bytes,
// and no slice that is valid after release.
func (b *bodyBuffer) readAll(r io.Reader, declared, limit int64) ([]byte, error) {
	size := limit
	if declared >= 0 {
		size = min(declared, limit)
	}
	n := 0
	for {
		if n == len(b.buf) {
			if err := b.grow(max(size, int64(n))); err != nil {
				return nil, err
			}
		}
		m, err := r.Read(b.buf[n:])
		n += m
		switch {
		case int64(n) > limit:
			return nil, ErrTooLarge
		case err == io.EOF:
			return b.buf[:n], nil
		case err != nil:
			return nil, err
		}
	}
}
