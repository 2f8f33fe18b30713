package providers_test

import (
	"context"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

// notes keeps checkpoints in memory, for one goroutine.
type notes map[string][]byte

func (n notes) Load(_ context.Context, name string) ([]byte, int64, error) {
	v, ok := n[name]
	if !ok {
		return nil, 0, nil
	}
	return v, 1, nil
}

func (n notes) Save(_ context.Context, name string, value []byte, _ int64) (int64, error) {
	n[name] = value
	return 1, nil
}

func (notes) TryLease(context.Context, string, string, time.Duration) (bool, error) { return true, nil }
func (notes) Release(context.Context, string, string) error                         { return nil }

// A test of an adapter's RedeliverMissed brings the checkpoint that the Manager
// would.
func ExampleNewCheckpoint() {
	ctx := context.Background()
	log := providers.NewCheckpoint(notes{}, "redeliver/github")
	fmt.Println(log.Save(ctx, []byte(`{"since":"2026-11-01T00:00:00Z"}`)))
	saved, err := log.Load(ctx)
	fmt.Println(string(saved), err)
	// Output:
	// <nil>
	// {"since":"2026-11-01T00:00:00Z"} <nil>
}
