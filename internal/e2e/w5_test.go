package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// TestW5KillDashNine: a provider sends until it is answered, a tenth of its deliveries
// twice, to processes that are killed all the time. What was answered is handled, what
// came twice is one event, a handler sees a repeat only of what ran when its process
// was killed, and what it did in a transaction with Once it did once.
func TestW5KillDashNine(t *testing.T) {
	const places = 8
	h := webhook.Handling{Concurrency: places, Lease: 2 * time.Second}
	events, kills := sized(1_500, 100_000), sized(12, 300)
	crews(t, h, func(t *testing.T, c *crew) {
		c.hire(4)
		began := time.Now()
		var jobs []job
		for i := range events {
			j := job{ID: fmt.Sprint("d", i), Account: tenantName(i % 20), Do: "once"}
			jobs = append(jobs, j)
			if i%10 == 0 {
				jobs = append(jobs, j)
			}
		}
		// A delivery is sent again soon, or much later.
		for i := range jobs {
			if k := min(len(jobs)-1, i+rand.IntN(len(jobs)/4)); i%5 == 0 {
				jobs[i], jobs[k] = jobs[k], jobs[i]
			}
		}
		part := len(jobs)/kills + 1
		for chunk := range slices.Chunk(jobs, part) {
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				c.sendAll(chunk)
			}()
			time.Sleep(rand.N(400 * time.Millisecond))
			c.kill()
			<-sent
		}
		until(t, time.Duration(sized(10, 180))*time.Minute, "all events are done", func() bool {
			time.Sleep(time.Second / 4)
			// By the index on those that wait: to count them all, again and again, takes
			// the time of those who handle them.
			return c.one("SELECT COUNT(*) FROM (SELECT 1 AS n FROM {p}webhook_inbox WHERE status = 0 AND claims >= 0 LIMIT 1) w") == 0
		})

		n := c.post.counts(t)
		ran := c.one("SELECT COUNT(DISTINCT event_id) FROM {p}e2e_runs WHERE what = 'begin'")
		runs := c.one("SELECT COUNT(*) FROM {p}e2e_runs WHERE what = 'begin'")
		killed := c.dead()
		t.Logf("%d events, %d sent, %d kills in %v: %d lost, %d double runs, %d stored twice", events, len(jobs), killed,
			time.Since(began).Round(time.Millisecond), events-ran, runs-ran, int(n.Pending+n.Done+n.Dead)-events)
		require.Equal(t, [3]int64{0, int64(events), 0}, [3]int64{n.Pending, n.Done, n.Dead})
		require.Equal(t, events, ran, "lost")
		require.GreaterOrEqual(t, killed, len(jobs)/part)
		require.LessOrEqual(t, runs-ran, killed*places, "double runs")
		require.Equal(t, events, c.one("SELECT COUNT(*) FROM {p}e2e_effects"), "effects")
		require.Equal(t, events, c.one("SELECT COUNT(DISTINCT event_id) FROM {p}e2e_effects"), "events with an effect")
		require.Zero(t, c.exits.Load(), "hands that ended by themselves")
	})
}
