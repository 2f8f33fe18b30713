package token

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// dueAtOnce is how many tokens are renewed ahead at the same time.
const dueAtOnce = 32

// RefreshDue renews tokens that are about to end, of the given providers, and
// reports how many rows it took. Replicas share the rows between them. What fails
// is tried again when its backoff is over; it is logged, not returned. When ctx
// ends no more rows are taken and those that were are finished.
func (v *Vault) RefreshDue(ctx context.Context, providers []string) (int, error) {
	// A row is taken only when it can be worked on at once: its lease runs. Half
	// of the places are waited for, so that rows are not taken one by one.
	places := make(chan struct{}, dueAtOnce)
	var work sync.WaitGroup
	defer work.Wait()
	for total := 0; ; {
		free := 0
		for range dueAtOnce / 2 {
			places <- struct{}{}
			free++
		}
		for more := true; more; {
			select {
			case places <- struct{}{}:
				free++
			default:
				more = false
			}
		}
		if ctx.Err() != nil || !v.begin() {
			return total, nil
		}
		owner, leased := newOwner(), v.clock.now()
		rows, err := v.cfg.Store.ClaimDue(ctx, store.ClaimDue{Owner: owner, Limit: free, TTL: v.leaseTTL(), Providers: providers})
		for _, in := range rows {
			v.work.Add(1)
			work.Go(func() {
				defer func() { v.work.Done(); <-places }()
				v.renewAhead(context.WithoutCancel(ctx), in, owner, leased)
			})
		}
		v.work.Done()
		total += len(rows)
		if err != nil {
			return total, fmt.Errorf("integrations/token: claim due: %w", err)
		}
		if len(rows) < free {
			return total, nil
		}
	}
}

// renewAhead renews a claimed row. The result is in the row, and in the handle if
// there is one; none is kept for rows that nobody uses here.
func (v *Vault) renewAhead(ctx context.Context, in store.Integration, owner string, leased time.Duration) {
	h := v.cached(store.Ref{TenantID: in.TenantID, ID: in.ID})
	if h == nil {
		h = v.newHandle(in)
	}
	ctx, cancel := context.WithTimeout(ctx, v.renewalLimit())
	defer cancel()
	var err error
	func() {
		defer v.recovered(ctx, &err)
		err = h.renew(ctx, in, owner, leased, false)
	}()
	if err != nil {
		v.log.WarnContext(ctx, "integrations: renewal ahead failed",
			"provider", h.provider, "tenant", h.tenant, "integration", h.id, "error", err)
	}
}
