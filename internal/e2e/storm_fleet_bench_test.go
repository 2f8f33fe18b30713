package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const stormProcesses = 8

// BenchmarkStormOfProcesses is BenchmarkStorm with replicas that are processes
// and a provider behind TLS. Each reads the row first: what it knew is too old.
func BenchmarkStormOfProcesses(b *testing.B) {
	for _, d := range fleets {
		b.Run(fmt.Sprintf("db=%s/processes=%d", d.name, stormProcesses), func(b *testing.B) {
			f := d.open(b)
			f.orders.HTTPTimeout, f.orders.CommitBudget = 10*time.Second, 5*time.Second
			f.orders.Callers, f.orders.TokenOnly = stormCallers/stormProcesses, true
			f.onRefresh(func(string) { time.Sleep(stormLatency) })
			f.connect(1)
			var bare time.Duration
			b.Run("impl=limit", func(b *testing.B) {
				client := &http.Client{Transport: toFake(f.orders.Provider)}
				for b.Loop() {
					resp, err := client.PostForm(f.kit.OAuth.Config(replicaKey).Endpoint.TokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"nobody's"}})
					require.NoError(b, err)
					require.NoError(b, resp.Body.Close())
				}
				bare = b.Elapsed() / time.Duration(b.N)
			})
			f.start(names(stormProcesses)...)
			f.rounds(0) // started
			round := 0
			b.Run("impl=ours", func(b *testing.B) {
				var calls, failed int64
				for b.Loop() {
					b.StopTimer()
					f.expire()
					time.Sleep(2 * replicaCache)
					before := f.kit.OAuth.Tokens.Calls()
					round++
					b.StartTimer()
					reports := f.rounds(round)
					b.StopTimer()
					calls += int64(f.kit.OAuth.Tokens.Calls() - before)
					require.Len(b, reports, stormProcesses)
					for _, r := range reports {
						failed += int64(r.Failed + r.Transient)
					}
					b.StartTimer()
				}
				reportStorm(b, bare, calls, failed)
				require.Zero(b, f.kit.OAuth.Tokens.Reuses())
			})
		})
	}
}
