// Command redis shows replicas that share a provider's limits through Redis: two with
// go-redis, two with rueidis. It needs a Redis server.
//
//	go run ./examples/redis -address 127.0.0.1:6379
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/ratelimit/redislimit"
)

func main() {
	address := flag.String("address", "127.0.0.1:6379", "of the Redis server")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *address); err != nil {
		log.Fatal(err)
	}
}

// hourly is what all replicas may spend together.
var hourly = &ratelimit.Budget{Name: "core", Units: 1000, Window: time.Hour, Refill: ratelimit.Whole}

// run lets four replicas make as many calls as they may.
func run(ctx context.Context, out io.Writer, address string) error {
	first := redis.NewClient(&redis.Options{Addr: address})
	defer func() { _ = first.Close() }()
	second, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}})
	if err != nil {
		return err
	}
	defer second.Close()

	prefix := "example-" + rand.Text() + ":" // a real one stays the same
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	calls := map[string]int{}
	for _, replica := range []struct {
		client string
		eval   redislimit.Eval
	}{{"go-redis", withGoRedis(first)}, {"rueidis", withRueidis(second)}, {"go-redis", withGoRedis(first)}, {"rueidis", withRueidis(second)}} {
		limiter, err := redislimit.New(replica.eval, redislimit.Config{
			Prefix: prefix,
			Observe: func(e ratelimit.SourceEvent) {
				log.Printf("limits: Redis: %v, this replica's share is %.2f", e.Err, e.Share)
			},
		})
		if err != nil {
			return err
		}
		// A host sets integrations.Config.Limiter to it. Here the calls are asked for.
		wg.Go(func() {
			n, err := spend(ctx, limiter)
			mu.Lock()
			defer mu.Unlock()
			calls[replica.client] += n
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	_, err = fmt.Fprintf(out, "The budget has %d calls. Replicas with go-redis made %d, those with rueidis %d: %d together.\n",
		hourly.Units, calls["go-redis"], calls["rueidis"], calls["go-redis"]+calls["rueidis"])
	return err
}

// spend makes calls until the budget has none left.
func spend(ctx context.Context, limiter ratelimit.Limiter) (n int, err error) {
	for {
		call := &ratelimit.Call{Provider: "github", TenantID: "tenant", Charges: []ratelimit.Charge{{Budget: hourly, Key: "42"}}}
		err := limiter.Wait(ctx, call)
		if errors.Is(err, ratelimit.ErrRateLimited) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n++
		limiter.Done(call, nil)
	}
}
