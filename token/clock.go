package token

import (
	"context"
	"sync/atomic"
	"time"
)

// tick is the resolution of the coarse clock.
const tick = 10 * time.Millisecond

// clock is monotonic time since it was made, so the machine's own time may be
// wrong or jump. Reading it costs more than the look-up of a token; hand-outs
// therefore use coarse, all else uses now.
type clock struct {
	start  time.Time
	ticked atomic.Int64 // 0 while nobody ticks
}

// now is exact.
func (c *clock) now() time.Duration { return time.Since(c.start) }

// coarse is now, or up to a tick later: one atomic load while run ticks. It is
// never behind, so nothing is handed out after its end because of it.
func (c *clock) coarse() time.Duration {
	if t := c.ticked.Load(); t != 0 {
		return time.Duration(t)
	}
	return time.Since(c.start)
}

// run ticks until ctx ends.
func (c *clock) run(ctx context.Context) {
	defer c.ticked.Store(0)
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		c.ticked.Store(int64(c.now() + tick))
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
