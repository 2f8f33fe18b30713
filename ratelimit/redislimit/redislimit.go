// Package redislimit shares rate limits between replicas through Redis, with any
// client: it needs one method that runs a Lua script. Units are taken ahead in
// batches and spent in the process, so that most calls ask nobody; the server's
// clock decides, and it never gives out more than a budget allows.
package redislimit

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/saas-integrations/integrations/ratelimit"
)

//go:embed take.lua
var takeScript string

//go:embed report.lua
var reportScript string

// Eval runs a Lua script in Redis and returns its answer: integers as int64 and
// arrays as []any. There are two scripts, so a client that knows them by their hash
// sends each text once. It must be safe for concurrent use and honour ctx.
type Eval func(ctx context.Context, script string, keys []string, args ...any) (any, error)

// Config says how a limiter works. The zero value is good.
type Config struct {
	// Prefix begins every key. Defaults to "integrations:". What belongs to one
	// provider is in one hash slot of a cluster.
	Prefix string
	// Strict asks Redis for every call instead of taking units ahead.
	Strict bool
	// Local says how those who wait are dealt with.
	Local ratelimit.LocalConfig
	// Timeout bounds a visit to Redis. Defaults to 250 ms.
	Timeout time.Duration
	// Observe, when not nil, is told when Redis is away, in which time each process
	// keeps to its share of every budget, and when it is back. It must not block.
	Observe func(e ratelimit.SourceEvent)
}

// New returns a limiter for Config.Limiter of package integrations. It fails only
// without eval.
func New(eval Eval, cfg Config) (*ratelimit.Shared, error) {
	if eval == nil {
		return nil, errors.New("integrations/ratelimit/redislimit: eval is nil")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "integrations:"
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return ratelimit.NewShared(ratelimit.SharedConfig{
		LocalConfig: cfg.Local, Source: &source{eval: eval, prefix: cfg.Prefix, owner: hex.EncodeToString(id[:])},
		Strict: cfg.Strict, Timeout: cfg.Timeout, Observe: cfg.Observe,
	})
}

// source is a ratelimit.Source in Redis.
type source struct {
	eval          Eval
	prefix, owner string
}

func (s *source) key(provider, budget, key string) string {
	return s.prefix + "{" + provider + "}:" + budget + ":" + key
}

// windowMargin is how much earlier than its window a unit ends here: it must not be
// spent after the window's end by the clock of the provider.
const windowMargin = 20 * time.Millisecond

// Take implements ratelimit.Source.
func (s *source) Take(ctx context.Context, asks []ratelimit.Ask) ([]ratelimit.Grant, error) {
	if len(asks) == 0 {
		return nil, nil
	}
	keys := make([]string, 0, len(asks)+1)
	args := make([]any, 0, 1+7*len(asks))
	args = append(args, s.owner)
	for _, a := range asks {
		b := a.Budget
		keys = append(keys, s.key(a.Provider, b.Name, a.Key))
		args = append(args, int(b.Refill), b.Units, b.Window.Microseconds(), max(b.Burst, 1), b.Reserve, a.Want, a.Least)
	}
	keys = append(keys, s.prefix+"{"+asks[0].Provider+"}")
	answer, err := s.eval(ctx, takeScript, keys, args...)
	if err != nil {
		return nil, fmt.Errorf("integrations/ratelimit/redislimit: take: %w", err)
	}
	numbers, err := integers(answer, 1+3*len(asks))
	if err != nil {
		return nil, err
	}
	grants := make([]ratelimit.Grant, len(asks))
	for i, a := range asks {
		n := numbers[1+3*i:]
		lasts := time.Duration(n[1]) * time.Microsecond
		if a.Budget.Refill != ratelimit.Continuous {
			lasts -= min(windowMargin, lasts/10)
		}
		grants[i] = ratelimit.Grant{Units: int(n[0]), Lasts: lasts, RetryIn: time.Duration(n[2]) * time.Microsecond, Replicas: int(numbers[0])}
	}
	return grants, nil
}

// Report implements ratelimit.Source.
func (s *source) Report(ctx context.Context, provider string, readings []ratelimit.Reading) error {
	keys := make([]string, 0, len(readings))
	args := make([]any, 0, 8*len(readings))
	for _, r := range readings {
		b := r.Budget
		keys = append(keys, s.key(provider, b.Name, r.Key))
		args = append(args, int(b.Refill), b.Units, b.Window.Microseconds(), max(b.Burst, 1),
			r.Limit, r.Remaining, r.ResetIn.Microseconds(), r.Pause().Microseconds())
	}
	if _, err := s.eval(ctx, reportScript, keys, args...); err != nil {
		return fmt.Errorf("integrations/ratelimit/redislimit: report: %w", err)
	}
	return nil
}

// integers reads an answer that must be so many integers.
func integers(answer any, n int) ([]int64, error) {
	list, ok := answer.([]any)
	if !ok || len(list) != n {
		return nil, errors.New("integrations/ratelimit/redislimit: the script's answer is not understood")
	}
	out := make([]int64, n)
	for i, v := range list {
		number, ok := v.(int64)
		if !ok || number < 0 || number > math.MaxInt64/1000 {
			return nil, errors.New("integrations/ratelimit/redislimit: the script's answer is not understood")
		}
		out[i] = number
	}
	return out, nil
}
