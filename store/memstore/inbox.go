package memstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// delivery is a row of the inbox with its lease.
type delivery struct {
	store.Delivery
	owner string
	// visible is when it may be claimed: when it is due, at the end of its lease, or
	// when it is its turn.
	visible  time.Time
	waits    bool // for one before it of its order key
	sequence int64
}

// InsertDeliveries implements store.Inbox.
func (s *Store) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t := now()
	out := make([]bool, len(ds))
	for i := range ds {
		out[i] = s.insert(&ds[i], t)
	}
	return out, nil
}

func (s *Store) insertChange(d *store.Delivery, t time.Time) {
	if d != nil {
		s.insert(d, t)
	}
}

func (s *Store) insert(d *store.Delivery, t time.Time) bool {
	found := false
	for _, other := range s.deliveries {
		if other.Provider != d.Provider || other.IntegrationID != d.IntegrationID ||
			other.DeliveryID != d.DeliveryID && (d.BodyHash == "" || other.BodyHash != d.BodyHash) {
			continue
		}
		if other.State == store.Dead {
			other.revive(t)
		}
		found = true
	}
	if found {
		return false
	}
	s.sequence++
	row := &delivery{Delivery: *d, sequence: s.sequence}
	row.Body, row.Headers = cloneBytes(d.Body), cloneBytes(d.Headers)
	row.OccurredAt, row.ReceivedAt = millis(d.OccurredAt), t
	row.revive(t)
	s.deliveries[d.ID] = row
	return true
}

func (d *delivery) revive(t time.Time) {
	d.State, d.Claims, d.Starts, d.Lost, d.LastError = store.Pending, 0, 0, 0, ""
	d.RunAt, d.UpdatedAt, d.visible, d.owner, d.waits = t, t, t, "", false
}

// GetDelivery implements store.Inbox.
func (s *Store) GetDelivery(ctx context.Context, tenant, id string) (store.Delivery, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Delivery{}, err
	}
	defer unlock()
	d := s.deliveries[id]
	if d == nil || d.TenantID != tenant {
		return store.Delivery{}, fmt.Errorf("integrations/store/memstore: delivery: %w", store.ErrNotFound)
	}
	return d.copyOut(), nil
}

// ListDeliveries implements store.Inbox.
func (s *Store) ListDeliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	found := s.query(q, func(*delivery) bool { return true })
	out := make([]store.Delivery, len(found))
	for i, d := range found {
		out[i] = d.copyOut()
		out[i].Body = nil
	}
	return out, nil
}

// ReplayDeliveries implements store.Inbox.
func (s *Store) ReplayDeliveries(ctx context.Context, q store.DeliveryQuery) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	t, n := now(), 0
	for _, d := range s.query(q, func(d *delivery) bool { return d.State != store.Pending }) {
		d.revive(t)
		n++
	}
	return n, nil
}

// query returns the rows that match and are wanted, newest first.
func (s *Store) query(q store.DeliveryQuery, wanted func(d *delivery) bool) []*delivery {
	if q.TenantID == "" && !q.AllTenants {
		return nil
	}
	var found []*delivery
	for _, d := range s.deliveries {
		if wanted(d) && (q.AllTenants || d.TenantID == q.TenantID) &&
			(q.IDs == nil || slices.Contains(q.IDs, d.ID)) &&
			(q.IntegrationID == "" || d.IntegrationID == q.IntegrationID) &&
			(q.Provider == "" || d.Provider == q.Provider) &&
			(q.EventType == "" || d.EventType == q.EventType) &&
			(len(q.States) == 0 || slices.Contains(q.States, d.State)) &&
			(q.ReceivedAfter.IsZero() || d.ReceivedAt.After(q.ReceivedAfter)) &&
			(q.ReceivedBefore.IsZero() || d.ReceivedAt.Before(q.ReceivedBefore)) &&
			(q.OlderThan == nil || age(&d.Delivery, q.OlderThan) > 0) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *delivery) int { return age(&a.Delivery, &b.Delivery) })
	return found[:min(len(found), limitOf(q.Limit))]
}

func limitOf(n int) int {
	if n <= 0 {
		return 100
	}
	return min(n, 1000)
}

// DeleteDeliveries implements store.Inbox.
func (s *Store) DeleteDeliveries(ctx context.Context, state store.DeliveryState, age time.Duration, limit int) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	before, n := now().Add(-age), 0
	for id, d := range s.deliveries {
		if n < limit && d.State == state && d.UpdatedAt.Before(before) {
			delete(s.deliveries, id)
			n++
		}
	}
	return n, nil
}

// TrimDeliveries implements store.Inbox.
func (s *Store) TrimDeliveries(ctx context.Context, state store.DeliveryState, keep, limit int) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	var all []*delivery
	for _, d := range s.deliveries {
		if d.State == state {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b *delivery) int { return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), cmp.Compare(a.ID, b.ID)) })
	n := min(max(len(all)-max(keep, 0), 0), max(limit, 0))
	for _, d := range all[:n] {
		delete(s.deliveries, d.ID)
	}
	return n, nil
}

// CountDeliveries implements store.Inbox.
func (s *Store) CountDeliveries(ctx context.Context, match []store.Match) (store.DeliveryCounts, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.DeliveryCounts{}, err
	}
	defer unlock()
	var n store.DeliveryCounts
	t := now()
	for _, d := range s.deliveries {
		if match != nil && !matches(match, d) {
			continue
		}
		switch d.State {
		case store.Done:
			n.Done++
		case store.Dead:
			n.Dead++
		case store.Pending:
			n.Pending++
			n.OldestDue = max(n.OldestDue, t.Sub(d.RunAt))
		}
	}
	return n, nil
}

func (d *delivery) copyOut() store.Delivery {
	out := d.Delivery
	out.Body, out.Headers = cloneBytes(d.Body), cloneBytes(d.Headers)
	return out
}
