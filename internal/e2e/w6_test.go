package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// insert stores jobs as they would arrive one after the other.
func (c *crew) insert(jobs []job) {
	c.t.Helper()
	for from := 0; from < len(jobs); from += 500 {
		var ds []store.Delivery
		for _, j := range jobs[from:min(len(jobs), from+500)] {
			ds = append(ds, c.post.event(c.t, j.ID, j.Account, "job", j.Key, fmt.Appendf(nil, `{"ID":%q,"Do":%q}`, j.ID, j.Do)))
		}
		_, err := c.post.store.InsertDeliveries(c.t.Context(), ds)
		require.NoError(c.t, err)
	}
}

// TestW6Poison: of the events, one in a hundred fails, one panics, one in a thousand
// ends the process and one hangs. These are dead after exactly eight starts, whatever
// the others do, and all others are done.
func TestW6Poison(t *testing.T) {
	t.Parallel()
	h := webhook.Handling{Concurrency: 8, Lease: 2 * time.Second, HandlerTimeout: 500 * time.Millisecond, Schedule: []time.Duration{50 * time.Millisecond}}
	events := sized(1_000, 100_000)
	crews(t, h, func(t *testing.T, c *crew) {
		var jobs []job
		poison := map[string]int{}
		for i := range events {
			j := job{ID: fmt.Sprint("d", i), Account: tenantName(i % 20)}
			switch {
			case i%1000 == 500:
				j.Do = "exit"
			case i%1000 == 700:
				j.Do = "hang"
			case i%100 == 1:
				j.Do = "error"
			case i%100 == 2:
				j.Do = "panic"
			}
			poison[j.Do]++
			jobs = append(jobs, j)
		}
		c.insert(jobs)
		healthy := poison[""]
		c.hire(2)
		began := time.Now()
		until(t, 30*time.Minute, "the healthy events are done", func() bool { return c.post.counts(t).Done == int64(healthy) })
		took := time.Since(began)
		until(t, time.Hour, "the others are dead", func() bool { return c.post.counts(t).Dead == int64(events-healthy) })
		t.Logf("%d events, of them %v; healthy done after %v, others dead after %v; processes ended %d times", events, poison,
			took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), c.exits.Load())
		require.Equal(t, events-healthy, c.one("SELECT COUNT(*) FROM {p}webhook_inbox WHERE status = 2 AND starts = 8"), "dead after eight starts")
		require.GreaterOrEqual(t, int(c.exits.Load()), poison["exit"])
		// What failed by itself was run as often as it was started; what ran beside an
		// event that ended the process was too.
		require.Zero(t, c.one("SELECT COUNT(*) FROM (SELECT event_id FROM {p}e2e_runs WHERE what = 'begin' GROUP BY event_id HAVING COUNT(*) > 8) many"))
		require.Zero(t, c.one("SELECT COUNT(*) FROM {p}webhook_inbox WHERE status = 1 AND starts >= 8"))
	})
}
