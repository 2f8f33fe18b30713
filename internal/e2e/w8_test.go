package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// span is one run of an event, in microseconds; end is 0 when its process died.
type span struct {
	event, hand string
	begin, end  int64
}

// TestW8SerialKeys: events of one key first succeed in the order in which they
// arrived, and no two run at a time, while the processes that handle them are killed.
func TestW8SerialKeys(t *testing.T) {
	// Long enough for a write to SQLite from many processes: a lease that ends in a
	// handler lets another one begin.
	h := webhook.Handling{Concurrency: 8, Lease: 5 * time.Second}
	keys, each, kills := sized(30, 1_000), sized(12, 100), sized(6, 100)
	crews(t, h, func(t *testing.T, c *crew) {
		c.hire(4)
		began := time.Now()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range each {
				var jobs []job
				for k := range keys {
					// A key is of a tenant's integration: the same name at another is another key.
					jobs = append(jobs, job{ID: fmt.Sprintf("%d-%d", k, i), Account: tenantName(k % 10), Key: fmt.Sprint("k", k/10), Do: "span"})
				}
				c.insert(jobs)
			}
		}()
		for range kills {
			time.Sleep(300*time.Millisecond + rand.N(400*time.Millisecond))
			c.kill()
		}
		<-sent
		until(t, 30*time.Minute, "all events are done", func() bool { return c.post.counts(t).Done == int64(keys*each) })
		t.Logf("%d keys, %d events, %d kills in %v", keys, keys*each, c.dead(), time.Since(began).Round(time.Millisecond))
		c.stop() // so that all that died are known

		arrived := c.arrival()
		runs := 0
		for key, spans := range c.spans() {
			runs += len(spans)
			var first []string
			seen := map[string]bool{}
			for i, s := range spans {
				if s.end == 0 {
					s.end = c.ended[s.hand].UnixMicro()
				} else if !seen[s.event] {
					seen[s.event] = true
					first = append(first, s.event)
				}
				if i+1 < len(spans) {
					require.GreaterOrEqual(t, spans[i+1].begin, s.end, "two of %s at a time: %+v and %+v", key, s, spans[i+1])
				}
			}
			require.Equal(t, arrived[key], first, "first successes of %s", key)
		}
		require.GreaterOrEqual(t, runs, keys*each)
	})
}

// arrival is the events of each key in the order in which they arrived.
func (c *crew) arrival() map[string][]string {
	c.t.Helper()
	out := map[string][]string{}
	c.scan("SELECT id, integration_id, order_key FROM {p}webhook_inbox ORDER BY received_at, id", func(scan func(...any) error) error {
		var id, integration, key string
		err := scan(&id, &integration, &key)
		out[integration+" "+key] = append(out[integration+" "+key], id)
		return err
	})
	return out
}

// spans are the runs of each key in the order in which they began.
func (c *crew) spans() map[string][]*span {
	c.t.Helper()
	out := map[string][]*span{}
	open := map[string]*span{} // by event and hand
	c.scan("SELECT r.event_id, r.hand, r.what, r.at, i.integration_id, i.order_key FROM {p}e2e_runs r JOIN {p}webhook_inbox i ON i.id = r.event_id ORDER BY r.at", func(scan func(...any) error) error {
		var s span
		var what, integration, key string
		if err := scan(&s.event, &s.hand, &what, &s.begin, &integration, &key); err != nil {
			return err
		}
		if what == "end" {
			if o := open[s.event+" "+s.hand]; o != nil {
				o.end = s.begin
			}
			return nil
		}
		out[integration+" "+key] = append(out[integration+" "+key], &s)
		open[s.event+" "+s.hand] = &s
		return nil
	})
	return out
}

// scan calls fn for each row of a query.
func (c *crew) scan(query string, fn func(scan func(...any) error) error) {
	c.t.Helper()
	rows, err := c.post.db.QueryContext(context.WithoutCancel(c.t.Context()), c.post.text(query))
	require.NoError(c.t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		require.NoError(c.t, fn(rows.Scan))
	}
	require.NoError(c.t, rows.Err())
}
