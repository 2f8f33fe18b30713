// Command limits shows two tenants that share one quota: one of them floods it, the
// other one gets its turn all the same. It needs no account and no network.
//
//	go run ./examples/limits
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
)

// quota is what all tenants of the host share, as Google's of a project: 60 in a
// second here, so that the example does not take minutes.
var quota = &ratelimit.Budget{Name: "project_reads", Units: 50, Window: time.Second, Burst: 10, Shared: true}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run lets "big" ask for 120 calls at once and "small" for 5 a little later. It says
// when each tenant's calls went.
func run(ctx context.Context, out io.Writer) error {
	limiter := ratelimit.NewLocal(nil)
	start := time.Now()
	var mu sync.Mutex
	went := map[string][]time.Duration{}
	var calls sync.WaitGroup
	var failed error
	ask := func(tenant string, n int) {
		for range n {
			calls.Go(func() {
				call := &ratelimit.Call{Provider: "google_sheets", TenantID: tenant, Charges: []ratelimit.Charge{{Budget: quota}}}
				err := limiter.Wait(ctx, call)
				if err == nil {
					limiter.Done(call, nil)
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
					return
				}
				went[tenant] = append(went[tenant], time.Since(start))
			})
		}
	}
	ask("big", 120)
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
	asked := time.Since(start)
	ask("small", 5)
	calls.Wait()
	if failed != nil {
		return failed
	}
	big, small := went["big"], went["small"]
	_, err := fmt.Fprintf(out, `big asked for %d calls at once, and they took %v.
small asked for %d while %d of big's were waiting, and had them within %v.
`, len(big), big[len(big)-1].Round(10*time.Millisecond), len(small), waitingAt(big, asked), (small[len(small)-1] - asked).Round(10*time.Millisecond))
	return err
}

// waitingAt is how many calls had not gone at a moment.
func waitingAt(went []time.Duration, at time.Duration) (n int) {
	for _, t := range went {
		if t > at {
			n++
		}
	}
	return n
}
