package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// putOffFor is how long a delivery that has to wait for its turn is put off at
// least; it is told when it is next.
const putOffFor = 5 * time.Second

// DueTenants implements store.Inbox.
func (s *Store) DueTenants(ctx context.Context, q store.DueQuery) (store.Due, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Due{}, err
	}
	defer unlock()
	due := store.Due{At: now()}
	first := map[string]time.Time{}
	for _, d := range s.deliveries {
		if !d.due(due.At) || d.visible.Before(q.Since) || !matches(q.Match, d) {
			continue
		}
		if at, found := first[d.TenantID]; !found || d.visible.Before(at) {
			first[d.TenantID] = d.visible
		}
	}
	for tenant, at := range first {
		due.Tenants = append(due.Tenants, store.DueTenant{TenantID: tenant, Since: at})
	}
	return due, nil
}

func (d *delivery) due(t time.Time) bool { return d.State == store.Pending && !d.visible.After(t) }

// ClaimDeliveries implements store.Inbox.
func (s *Store) ClaimDeliveries(ctx context.Context, c store.ClaimDeliveries) (store.Claimed, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Claimed{}, err
	}
	defer unlock()
	t := now()
	var out store.Claimed
	claim := func(due []*delivery) (full bool) {
		slices.SortFunc(due, func(a, b *delivery) int {
			return cmp.Or(a.visible.Compare(b.visible), cmp.Compare(a.sequence, b.sequence))
		})
		full = len(due) >= c.Limit
		for _, d := range due[:min(len(due), max(c.Limit, 0))] {
			if d.owner != "" {
				d.Lost++
			}
			if d.waits = d.OrderKey != "" && !s.isNext(d, c, t); d.waits {
				d.owner, d.visible = "", t.Add(max(putOffFor, t.Sub(d.ReceivedAt)))
				continue
			}
			d.owner, d.visible = c.Owner, t.Add(c.TTL)
			d.Claims++
			out.Deliveries = append(out.Deliveries, d.copyOut())
		}
		return full
	}
	due := map[string][]*delivery{}
	var all []*delivery
	for _, d := range s.deliveries {
		if d.due(t) && matches(c.Match, d) {
			due[d.TenantID] = append(due[d.TenantID], d)
			all = append(all, d)
		}
	}
	if len(c.Tenants) == 0 {
		claim(all)
	}
	for _, tenant := range c.Tenants {
		of := slices.DeleteFunc(due[tenant.TenantID], func(d *delivery) bool { return d.visible.Before(tenant.Since) })
		if claim(of) && c.Limit > 0 {
			out.More = append(out.More, tenant.TenantID)
		}
	}
	slices.SortStableFunc(out.Deliveries, func(a, b store.Delivery) int { return a.RunAt.Compare(b.RunAt) })
	return out, nil
}

// isNext reports whether d is the first of its order key and no other one is
// leased.
func (s *Store) isNext(d *delivery, c store.ClaimDeliveries, t time.Time) bool {
	for _, o := range s.deliveries {
		if o == d || o.IntegrationID != d.IntegrationID || o.OrderKey != d.OrderKey {
			continue
		}
		older := o.sooner(d) && matches(c.Match, o)
		if older && (o.State == store.Pending || o.State == store.Dead && c.DeadBlocks) ||
			o.State == store.Pending && o.owner != "" && o.visible.After(t) {
			return false
		}
	}
	return true
}

// sooner reports whether d arrived before other.
func (d *delivery) sooner(other *delivery) bool {
	return cmp.Or(d.ReceivedAt.Compare(other.ReceivedAt), cmp.Compare(d.sequence, other.sequence)) < 0
}

// age compares in the order of lists.
func age(a, b *store.Delivery) int {
	return cmp.Or(b.ReceivedAt.Compare(a.ReceivedAt), cmp.Compare(b.ID, a.ID))
}

func matches(ms []store.Match, d *delivery) bool {
	return slices.ContainsFunc(ms, func(m store.Match) bool {
		return m.Provider == d.Provider && (m.EventType == "" || m.EventType == d.EventType)
	})
}

// held returns the row if owner holds its lease.
func (s *Store) held(id, owner string) *delivery {
	d := s.deliveries[id]
	if d == nil || owner == "" || d.owner != owner || d.State != store.Pending {
		return nil
	}
	return d
}

// RenewDeliveries implements store.Inbox.
func (s *Store) RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	t := now()
	for _, id := range ids {
		if d := s.held(id, owner); d != nil && (d.OrderKey == "" || d.visible.After(t)) {
			d.visible = t.Add(ttl)
		}
	}
	return nil
}

// RecordDeliveries implements store.Inbox.
func (s *Store) RecordDeliveries(ctx context.Context, r store.RecordDeliveries) (store.Recorded, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return store.Recorded{}, err
	}
	defer unlock()
	t := now()
	out := store.Recorded{Ends: make([]bool, len(r.Ends)), Starts: make([]bool, len(r.Starts))}
	for i, f := range r.Ends {
		out.Ends[i] = s.finish(f, t)
	}
	for i, l := range r.Starts {
		if d := s.held(l.ID, l.Owner); d != nil && d.visible.After(t) {
			d.Starts++
			out.Starts[i] = true
		}
	}
	return out, nil
}

func (s *Store) finish(f store.FinishDelivery, t time.Time) bool {
	d := s.held(f.ID, f.Owner)
	if d == nil {
		return false
	}
	d.State, d.LastError = f.State, f.Error
	d.owner, d.UpdatedAt = "", t
	if f.Unclaim {
		d.Claims--
	}
	if f.State == store.Pending {
		d.RunAt = millis(t.Add(f.RetryIn))
		d.visible = d.RunAt
		return true
	}
	if d.OrderKey == "" {
		return true
	}
	var next *delivery
	for _, o := range s.deliveries {
		if o.waits && o.State == store.Pending && o.IntegrationID == d.IntegrationID && o.OrderKey == d.OrderKey && (next == nil || o.sooner(next)) {
			next = o
		}
	}
	if next != nil {
		next.waits, next.visible = false, t
	}
	return true
}
