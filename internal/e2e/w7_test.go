package e2e

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// TestW7Leaks: a process that has handled many events, well and badly, has no more
// goroutines and no more memory in use than before.
func TestW7Leaks(t *testing.T) {
	posts(t, func(name string, open func(testing.TB) *post) {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			w, err := webhook.NewWorker(webhook.WorkerConfig{
				Inbox: p.store, Cipher: p.cipher, Handling: webhook.Handling{MaxStarts: 2, Schedule: []time.Duration{time.Millisecond}},
				Handlers: []webhook.Handler{webhook.On(replicaKey, "push", func(ctx context.Context, ev webhook.Event) error {
					switch n := ev.DeliveryID[len(ev.DeliveryID)-2:]; n {
					case "07":
						panic("told to")
					case "08":
						return errors.New("told to")
					}
					context.AfterFunc(ctx, func() {}) // what a handler leaves at its context goes with it
					return nil
				})},
			})
			require.NoError(t, err)
			total, part := sized(2_500, 100_000), 5_000
			round := 0
			handle := func(n int) {
				round++
				p.fill(t, fmt.Sprint("r", round), n, 1+round%50)
				ctx, stop := context.WithCancel(t.Context())
				var over atomic.Bool
				go func() {
					defer over.Store(true)
					_ = w.Run(ctx)
				}()
				until(t, 10*time.Minute, "all events are handled", func() bool { return p.counts(t).Pending == 0 })
				stop()
				until(t, time.Minute, "Run returned", over.Load)
				p.exec(t, "DELETE FROM {p}webhook_inbox")
			}
			handle(500) // statements, pools and caches
			goroutines, before := runtime.NumGoroutine(), heap()
			for n := 0; n < total; n += part {
				handle(min(part, total-n))
			}
			var more int
			until(t, 10*time.Second, "as many goroutines as before", func() bool {
				more = runtime.NumGoroutine() - goroutines
				return more <= 5
			})
			grown := (float64(heap()) - float64(before)) / (1 << 20)
			t.Logf("%d events: %+d goroutines, %+.1f MiB", total, more, grown)
			require.LessOrEqual(t, grown, 10.0, "MiB")
		})
	})
}
