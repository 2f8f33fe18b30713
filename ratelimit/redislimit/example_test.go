package redislimit_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/saas-integrations/integrations/ratelimit/redislimit"
)

// eval stands in for a Redis client. With go-redis it is
//
//	func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}
func eval(context.Context, string, []string, ...any) (any, error) {
	return nil, errors.New("no server here")
}

func ExampleNew() {
	limiter, err := redislimit.New(eval, redislimit.Config{Prefix: "myapp:"})
	fmt.Println(limiter != nil, err) // for integrations.Config.Limiter
	// Output: true <nil>
}
