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

// Budget bounds the memory that request bodies take, and the events made of them
// until they are stored, over all the receivers that share it. A request that finds
// it spent is answered 503 and comes again. Memory is reserved as a body arrives,
// not as its length is declared: a sender has to send what it wants to occupy. A
// quarter is kept for bodies of up to 4 KiB, so that large ones, which may come from
// anybody, do not keep out the small ones that most webhooks are. It is safe for
// concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
	// The pools are here, and not global, to be shared as the budget is.
	small, large sync.Pool // of *[]byte
	packers      packers
}

// NewBudget returns a budget of limit bytes; 0 means 64 MiB. [NewReceiver] refuses
// one that a body of the source's MaxBody does not fit into while it grows: three
// times MaxBody, and 128 KiB, is enough for any.
func NewBudget(limit int64) *Budget {
	if limit == 0 {
		limit = defaultBudget
	}
	return &Budget{
		limit: limit,
		small: sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }},
		large: sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }},

		packers: newPackers(),
	}
}

// shared is the part that is not kept for small bodies.
func (b *Budget) shared() int64 { return b.limit - b.limit/4 }

// take reserves n bytes of the first most ones.
func (b *Budget) take(n, most int64) bool {
	if b.used.Add(n) > most {
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
	taken  int64 // of the budget
}

// open reserves the first buffer. It reports false when the budget is spent.
func (b *bodyBuffer) open(budget *Budget) bool {
	if !budget.take(smallBuffer, budget.limit) {
		return false
	}
	b.budget, b.taken = budget, smallBuffer
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
	b.budget.used.Add(-b.taken)
	*b = bodyBuffer{}
}

// exchange gives the body up and reserves n bytes in its place, which release gives
// back. It reports false when the budget does not have them. No request needs more
// than half of the budget: otherwise a body for many integrations might never fit.
func (b *bodyBuffer) exchange(n int64) bool {
	budget := b.budget
	n = min(n, budget.limit/2)
	if more := n - b.taken; more > 0 && !budget.take(more, budget.shared()) {
		return false
	}
	budget.used.Add(min(n-b.taken, 0))
	b.taken = 0
	b.release()
	b.budget, b.taken = budget, n
	return true
}

// grow moves the body into a larger buffer. size is the body's length as
// declared, or the largest allowed one, whichever is smaller.
func (b *bodyBuffer) grow(size int64) error {
	next := bodyBuffer{budget: b.budget, taken: grown(int64(len(b.buf)), size)}
	if !b.budget.take(next.taken, b.budget.shared()) {
		return errBudget
	}
	if len(b.buf) < largeBuffer {
		next.usePool(&b.budget.large)
	} else {
		next.buf = make([]byte, next.taken)
	}
	copy(next.buf, b.buf)
	b.release()
	*b = next
	return nil
}

// grown is the size of the buffer after one of size n.
func grown(n, size int64) int64 {
	switch {
	case n < largeBuffer:
		return largeBuffer
	case n*growBy < size:
		return n * growBy
	}
	return size + 1 // to see the end of the body without growing again
}

// peak is what a body of the largest size takes while it grows for the last time.
func peak(maxBody int64) int64 {
	last, n := int64(0), int64(smallBuffer)
	for n <= maxBody {
		last, n = n, grown(n, maxBody)
	}
	return last + n
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
