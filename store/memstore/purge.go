package memstore

import (
	"context"

	"github.com/saas-integrations/integrations/store"
)

// PurgeRows implements store.Purger.
func (s *Store) PurgeRows(ctx context.Context, tenant string, t store.Table, limit int) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if tenant == "" {
		return 0, nil
	}
	n := 0
	switch t {
	case store.TableIntegrations:
		n = purge(s.integrations, limit, func(id string, in *store.Integration) bool {
			gone := in.TenantID == tenant && in.Status == store.Disconnected
			if gone {
				delete(s.leases, id)
			}
			return gone
		})
	case store.TableFlows:
		n = purge(s.flows, limit, func(_ string, f *flow) bool { return f.TenantID == tenant })
	case store.TableDeliveries:
		n = purge(s.deliveries, limit, func(_ string, d *delivery) bool { return d.TenantID == tenant })
	case store.TableCheckpoints:
		n = purge(s.checkpoints, limit, func(k checkpointKey, _ *checkpoint) bool { return k.ref.TenantID == tenant })
	case store.TableEndpoints:
		n = purge(s.endpoints, limit, func(_ string, e *store.Endpoint) bool { return e.TenantID == tenant })
	case store.TableSubscriptions:
		n = purge(s.subscriptions, limit, func(k subscriptionKey, _ *subscription) bool { return k.ref.TenantID == tenant })
	}
	return n, nil
}

// purge removes up to limit rows that are to go.
func purge[K comparable, V any](rows map[K]V, limit int, goes func(K, V) bool) int {
	n := 0
	for k, v := range rows {
		if n < limit && goes(k, v) {
			delete(rows, k)
			n++
		}
	}
	return n
}
