package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/saas-integrations/integrations/ratelimit/redislimit"
)

// withGoRedis runs scripts with go-redis, by their hash once the server knows them.
func withGoRedis(client redis.Scripter) redislimit.Eval {
	var scripts sync.Map // there are two
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		s, ok := scripts.Load(script)
		if !ok {
			s, _ = scripts.LoadOrStore(script, redis.NewScript(script))
		}
		return s.(*redis.Script).Run(ctx, client, keys, args...).Result()
	}
}

// withRueidis does the same with rueidis, which takes arguments as text.
func withRueidis(client rueidis.Client) redislimit.Eval {
	var scripts sync.Map
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		s, ok := scripts.Load(script)
		if !ok {
			s, _ = scripts.LoadOrStore(script, rueidis.NewLuaScript(script))
		}
		texts := make([]string, len(args))
		for i, a := range args {
			texts[i] = fmt.Sprint(a)
		}
		return s.(*rueidis.Lua).Exec(ctx, client, keys, texts).ToAny()
	}
}
