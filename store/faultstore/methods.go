package faultstore

import (
	"context"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// Check implements store.Store.
func (st *Store) Check(ctx context.Context) error {
	return st.call("Check", func() error { return st.inner.Check(ctx) })
}

// Connect implements store.Integrations.
func (st *Store) Connect(ctx context.Context, c store.Connect) (v store.Integration, err error) {
	err = st.call("Connect", func() (err error) {
		v, err = st.inner.Connect(ctx, c)
		return err
	})
	return v, err
}

// Get implements store.Integrations.
func (st *Store) Get(ctx context.Context, tenant, id string) (v store.Integration, err error) {
	err = st.call("Get", func() (err error) {
		v, err = st.inner.Get(ctx, tenant, id)
		return err
	})
	return v, err
}

// GetMany implements store.Integrations.
func (st *Store) GetMany(ctx context.Context, refs []store.Ref) (v []store.Integration, err error) {
	err = st.call("GetMany", func() (err error) {
		v, err = st.inner.GetMany(ctx, refs)
		return err
	})
	return v, err
}

// Find implements store.Integrations.
func (st *Store) Find(ctx context.Context, tenant, provider, label string) (v store.Integration, err error) {
	err = st.call("Find", func() (err error) {
		v, err = st.inner.Find(ctx, tenant, provider, label)
		return err
	})
	return v, err
}

// List implements store.Integrations.
func (st *Store) List(ctx context.Context, tenant string) (v []store.Integration, err error) {
	err = st.call("List", func() (err error) {
		v, err = st.inner.List(ctx, tenant)
		return err
	})
	return v, err
}

// FindByExternal implements store.Integrations.
func (st *Store) FindByExternal(ctx context.Context, provider, externalID string) (v []store.Integration, err error) {
	err = st.call("FindByExternal", func() (err error) {
		v, err = st.inner.FindByExternal(ctx, provider, externalID)
		return err
	})
	return v, err
}

// Lease implements store.Integrations.
func (st *Store) Lease(ctx context.Context, l store.Lease) (v bool, err error) {
	err = st.call("Lease", func() (err error) {
		v, err = st.inner.Lease(ctx, l)
		return err
	})
	return v, err
}

// CommitTokens implements store.Integrations.
func (st *Store) CommitTokens(ctx context.Context, c store.CommitTokens) (v bool, err error) {
	err = st.call("CommitTokens", func() (err error) {
		v, err = st.inner.CommitTokens(ctx, c)
		return err
	})
	return v, err
}

// FailRefresh implements store.Integrations.
func (st *Store) FailRefresh(ctx context.Context, f store.FailRefresh) (v bool, err error) {
	err = st.call("FailRefresh", func() (err error) {
		v, err = st.inner.FailRefresh(ctx, f)
		return err
	})
	return v, err
}

// SetStatus implements store.Integrations.
func (st *Store) SetStatus(ctx context.Context, s store.SetStatus) (v bool, err error) {
	err = st.call("SetStatus", func() (err error) {
		v, err = st.inner.SetStatus(ctx, s)
		return err
	})
	return v, err
}

// Update implements store.Integrations.
func (st *Store) Update(ctx context.Context, u store.Update) (v int64, err error) {
	err = st.call("Update", func() (err error) {
		v, err = st.inner.Update(ctx, u)
		return err
	})
	return v, err
}

// Delete implements store.Integrations.
func (st *Store) Delete(ctx context.Context, tenant, id string) error {
	return st.call("Delete", func() error { return st.inner.Delete(ctx, tenant, id) })
}

// ClaimDue implements store.Integrations.
func (st *Store) ClaimDue(ctx context.Context, c store.ClaimDue) (v []store.Integration, err error) {
	err = st.call("ClaimDue", func() (err error) {
		v, err = st.inner.ClaimDue(ctx, c)
		return err
	})
	return v, err
}

// ListEnding implements store.Integrations.
func (st *Store) ListEnding(ctx context.Context, l store.ListEnding) (v []store.Integration, err error) {
	err = st.call("ListEnding", func() (err error) {
		v, err = st.inner.ListEnding(ctx, l)
		return err
	})
	return v, err
}

// ReportEnds implements store.Integrations.
func (st *Store) ReportEnds(ctx context.Context, rs []store.ReportEnd) (v int, err error) {
	err = st.call("ReportEnds", func() (err error) {
		v, err = st.inner.ReportEnds(ctx, rs)
		return err
	})
	return v, err
}

// ListDue implements store.Integrations.
func (st *Store) ListDue(ctx context.Context, l store.ListDue) (v []store.Integration, err error) {
	err = st.call("ListDue", func() (err error) {
		v, err = st.inner.ListDue(ctx, l)
		return err
	})
	return v, err
}

// ReportHeld implements store.Integrations.
func (st *Store) ReportHeld(ctx context.Context, rs []store.ReportHeld) (v int, err error) {
	err = st.call("ReportHeld", func() (err error) {
		v, err = st.inner.ReportHeld(ctx, rs)
		return err
	})
	return v, err
}

// ClaimVerify implements store.Integrations.
func (st *Store) ClaimVerify(ctx context.Context, c store.ClaimVerify) (v []store.Integration, err error) {
	err = st.call("ClaimVerify", func() (err error) {
		v, err = st.inner.ClaimVerify(ctx, c)
		return err
	})
	return v, err
}

// PutFlow implements store.Flows.
func (st *Store) PutFlow(ctx context.Context, f store.Flow) error {
	return st.call("PutFlow", func() error { return st.inner.PutFlow(ctx, f) })
}

// ConsumeFlow implements store.Flows.
func (st *Store) ConsumeFlow(ctx context.Context, stateHash string) (v store.Flow, err error) {
	err = st.call("ConsumeFlow", func() (err error) {
		v, err = st.inner.ConsumeFlow(ctx, stateHash)
		return err
	})
	return v, err
}

// CountFlows implements store.Flows.
func (st *Store) CountFlows(ctx context.Context, tenant string, window time.Duration) (v int, err error) {
	err = st.call("CountFlows", func() (err error) {
		v, err = st.inner.CountFlows(ctx, tenant, window)
		return err
	})
	return v, err
}

// DeleteFlows implements store.Flows.
func (st *Store) DeleteFlows(ctx context.Context, age time.Duration, limit int) (v int, err error) {
	err = st.call("DeleteFlows", func() (err error) {
		v, err = st.inner.DeleteFlows(ctx, age, limit)
		return err
	})
	return v, err
}

// InsertDeliveries implements store.Inbox.
func (st *Store) InsertDeliveries(ctx context.Context, ds []store.Delivery) (v []bool, err error) {
	err = st.call("InsertDeliveries", func() (err error) {
		v, err = st.inner.InsertDeliveries(ctx, ds)
		return err
	})
	return v, err
}

// DueTenants implements store.Inbox.
func (st *Store) DueTenants(ctx context.Context, q store.DueQuery) (v store.Due, err error) {
	err = st.call("DueTenants", func() (err error) {
		v, err = st.inner.DueTenants(ctx, q)
		return err
	})
	return v, err
}

// ClaimDeliveries implements store.Inbox.
func (st *Store) ClaimDeliveries(ctx context.Context, c store.ClaimDeliveries) (v store.Claimed, err error) {
	err = st.call("ClaimDeliveries", func() (err error) {
		v, err = st.inner.ClaimDeliveries(ctx, c)
		return err
	})
	return v, err
}

// RenewDeliveries implements store.Inbox.
func (st *Store) RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) error {
	return st.call("RenewDeliveries", func() error { return st.inner.RenewDeliveries(ctx, owner, ids, ttl) })
}

// RecordDeliveries implements store.Inbox.
func (st *Store) RecordDeliveries(ctx context.Context, r store.RecordDeliveries) (v store.Recorded, err error) {
	err = st.call("RecordDeliveries", func() (err error) {
		v, err = st.inner.RecordDeliveries(ctx, r)
		return err
	})
	return v, err
}

// GetDelivery implements store.Inbox.
func (st *Store) GetDelivery(ctx context.Context, tenant, id string) (v store.Delivery, err error) {
	err = st.call("GetDelivery", func() (err error) {
		v, err = st.inner.GetDelivery(ctx, tenant, id)
		return err
	})
	return v, err
}

// ListDeliveries implements store.Inbox.
func (st *Store) ListDeliveries(ctx context.Context, q store.DeliveryQuery) (v []store.Delivery, err error) {
	err = st.call("ListDeliveries", func() (err error) {
		v, err = st.inner.ListDeliveries(ctx, q)
		return err
	})
	return v, err
}

// ReplayDeliveries implements store.Inbox.
func (st *Store) ReplayDeliveries(ctx context.Context, q store.DeliveryQuery) (v int, err error) {
	err = st.call("ReplayDeliveries", func() (err error) {
		v, err = st.inner.ReplayDeliveries(ctx, q)
		return err
	})
	return v, err
}

// DeleteDeliveries implements store.Inbox.
func (st *Store) DeleteDeliveries(ctx context.Context, state store.DeliveryState, age time.Duration, limit int) (v int, err error) {
	err = st.call("DeleteDeliveries", func() (err error) {
		v, err = st.inner.DeleteDeliveries(ctx, state, age, limit)
		return err
	})
	return v, err
}

// TrimDeliveries implements store.Inbox.
func (st *Store) TrimDeliveries(ctx context.Context, state store.DeliveryState, keep, limit int) (v int, err error) {
	err = st.call("TrimDeliveries", func() (err error) {
		v, err = st.inner.TrimDeliveries(ctx, state, keep, limit)
		return err
	})
	return v, err
}

// CountDeliveries implements store.Inbox.
func (st *Store) CountDeliveries(ctx context.Context, match []store.Match) (v store.DeliveryCounts, err error) {
	err = st.call("CountDeliveries", func() (err error) {
		v, err = st.inner.CountDeliveries(ctx, match)
		return err
	})
	return v, err
}

// Checkpoint implements store.Checkpoints.
func (st *Store) Checkpoint(ctx context.Context, ref store.Ref, name string) (v0 []byte, v1 int64, err error) {
	err = st.call("Checkpoint", func() (err error) {
		v0, v1, err = st.inner.Checkpoint(ctx, ref, name)
		return err
	})
	return v0, v1, err
}

// SaveCheckpoint implements store.Checkpoints.
func (st *Store) SaveCheckpoint(ctx context.Context, ref store.Ref, name string, value []byte, version int64) (v int64, err error) {
	err = st.call("SaveCheckpoint", func() (err error) {
		v, err = st.inner.SaveCheckpoint(ctx, ref, name, value, version)
		return err
	})
	return v, err
}

// TryLease implements store.Checkpoints.
func (st *Store) TryLease(ctx context.Context, ref store.Ref, name, owner string, ttl time.Duration) (v bool, err error) {
	err = st.call("TryLease", func() (err error) {
		v, err = st.inner.TryLease(ctx, ref, name, owner, ttl)
		return err
	})
	return v, err
}

// ReleaseLease implements store.Checkpoints.
func (st *Store) ReleaseLease(ctx context.Context, ref store.Ref, name, owner string) error {
	return st.call("ReleaseLease", func() error { return st.inner.ReleaseLease(ctx, ref, name, owner) })
}

// DeleteCheckpoints implements store.Checkpoints.
func (st *Store) DeleteCheckpoints(ctx context.Context, ref store.Ref) error {
	return st.call("DeleteCheckpoints", func() error { return st.inner.DeleteCheckpoints(ctx, ref) })
}

// PutEndpoint implements store.Endpoints.
func (st *Store) PutEndpoint(ctx context.Context, e store.Endpoint) error {
	return st.call("PutEndpoint", func() error { return st.inner.PutEndpoint(ctx, e) })
}

// FindEndpoint implements store.Endpoints.
func (st *Store) FindEndpoint(ctx context.Context, provider, pathHash string) (v store.Endpoint, err error) {
	err = st.call("FindEndpoint", func() (err error) {
		v, err = st.inner.FindEndpoint(ctx, provider, pathHash)
		return err
	})
	return v, err
}

// ListEndpoints implements store.Endpoints.
func (st *Store) ListEndpoints(ctx context.Context, ref store.Ref) (v []store.Endpoint, err error) {
	err = st.call("ListEndpoints", func() (err error) {
		v, err = st.inner.ListEndpoints(ctx, ref)
		return err
	})
	return v, err
}

// RotateEndpoint implements store.Endpoints.
func (st *Store) RotateEndpoint(ctx context.Context, r store.RotateEndpoint) (v bool, err error) {
	err = st.call("RotateEndpoint", func() (err error) {
		v, err = st.inner.RotateEndpoint(ctx, r)
		return err
	})
	return v, err
}

// DeleteEndpoint implements store.Endpoints.
func (st *Store) DeleteEndpoint(ctx context.Context, tenant, id string) error {
	return st.call("DeleteEndpoint", func() error { return st.inner.DeleteEndpoint(ctx, tenant, id) })
}

// PutSubscription implements store.Endpoints.
func (st *Store) PutSubscription(ctx context.Context, s store.Subscription) error {
	return st.call("PutSubscription", func() error { return st.inner.PutSubscription(ctx, s) })
}

// ListSubscriptions implements store.Endpoints.
func (st *Store) ListSubscriptions(ctx context.Context, ref store.Ref) (v []store.Subscription, err error) {
	err = st.call("ListSubscriptions", func() (err error) {
		v, err = st.inner.ListSubscriptions(ctx, ref)
		return err
	})
	return v, err
}

// ClaimSubscriptions implements store.Endpoints.
func (st *Store) ClaimSubscriptions(ctx context.Context, c store.ClaimSubscriptions) (v []store.Subscription, err error) {
	err = st.call("ClaimSubscriptions", func() (err error) {
		v, err = st.inner.ClaimSubscriptions(ctx, c)
		return err
	})
	return v, err
}

// FinishSubscription implements store.Endpoints.
func (st *Store) FinishSubscription(ctx context.Context, f store.FinishSubscription) (v bool, err error) {
	err = st.call("FinishSubscription", func() (err error) {
		v, err = st.inner.FinishSubscription(ctx, f)
		return err
	})
	return v, err
}

// DeleteSubscription implements store.Endpoints.
func (st *Store) DeleteSubscription(ctx context.Context, ref store.Ref, name string) error {
	return st.call("DeleteSubscription", func() error { return st.inner.DeleteSubscription(ctx, ref, name) })
}

// EnsureSubscriptions implements store.Endpoints.
func (st *Store) EnsureSubscriptions(ctx context.Context, e store.EnsureSubscriptions) (v int, err error) {
	err = st.call("EnsureSubscriptions", func() (err error) {
		v, err = st.inner.EnsureSubscriptions(ctx, e)
		return err
	})
	return v, err
}

// CountByKey implements store.Admin.
func (st *Store) CountByKey(ctx context.Context) (v map[string]int64, err error) {
	err = st.call("CountByKey", func() (err error) {
		v, err = st.inner.CountByKey(ctx)
		return err
	})
	return v, err
}

// CountByStatus implements store.Admin.
func (st *Store) CountByStatus(ctx context.Context) (v map[store.Status]int64, err error) {
	err = st.call("CountByStatus", func() (err error) {
		v, err = st.inner.CountByStatus(ctx)
		return err
	})
	return v, err
}

// ListAll implements store.Admin.
func (st *Store) ListAll(ctx context.Context, afterID string, limit int) (v []store.Integration, err error) {
	err = st.call("ListAll", func() (err error) {
		v, err = st.inner.ListAll(ctx, afterID, limit)
		return err
	})
	return v, err
}

// CountSealed implements store.Admin.
func (st *Store) CountSealed(ctx context.Context, kind store.SealedKind) (v map[string]int64, err error) {
	err = st.call("CountSealed", func() (err error) {
		v, err = st.inner.CountSealed(ctx, kind)
		return err
	})
	return v, err
}

// ListSealed implements store.Admin.
func (st *Store) ListSealed(ctx context.Context, kind store.SealedKind, keyID, afterID string, limit int) (v []store.Sealed, err error) {
	err = st.call("ListSealed", func() (err error) {
		v, err = st.inner.ListSealed(ctx, kind, keyID, afterID, limit)
		return err
	})
	return v, err
}

// Reseal implements store.Admin.
func (st *Store) Reseal(ctx context.Context, kind store.SealedKind, rs []store.Reseal) (v int, err error) {
	err = st.call("Reseal", func() (err error) {
		v, err = st.inner.Reseal(ctx, kind, rs)
		return err
	})
	return v, err
}
