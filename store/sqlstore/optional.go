package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// forgetAccount removes what is kept for an integration beside its row.
func (s *Store) forgetAccount(ctx context.Context, tx *sql.Tx, tenant, id string) error {
	for _, table := range []string{"checkpoints", "webhook_endpoints", "subscriptions"} {
		if _, err := s.exec(ctx, tx, "DELETE FROM {p}"+table+" WHERE tenant_id = ? AND integration_id = ?", tenant, id); err != nil {
			return err
		}
	}
	return nil
}

// Checkpoint implements store.Checkpoints.
func (s *Store) Checkpoint(ctx context.Context, ref store.Ref, name string) ([]byte, int64, error) {
	var value []byte
	var version int64
	err := s.db.QueryRowContext(ctx, s.text("SELECT value, version FROM {p}checkpoints WHERE tenant_id = ? AND integration_id = ? AND name = ?"),
		ref.TenantID, ref.ID, name).Scan(&value, &version)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, 0, fmt.Errorf("integrations/store/sqlstore: checkpoint: %w", ended(ctx, err))
	}
	return value, version, nil
}

// addCheckpoint makes the row of a name unless it is there.
const addCheckpoint = "INSERT INTO {p}checkpoints (tenant_id, integration_id, name) VALUES (?, ?, ?) {ifabsent}"

// SaveCheckpoint implements store.Checkpoints.
func (s *Store) SaveCheckpoint(ctx context.Context, ref store.Ref, name string, value []byte, version int64) (int64, error) {
	err := s.write(ctx, "save checkpoint", func(tx *sql.Tx) error {
		if _, err := s.exec(ctx, tx, addCheckpoint, ref.TenantID, ref.ID, name); err != nil {
			return err
		}
		n, err := s.exec(ctx, tx, `UPDATE {p}checkpoints SET value = ?, version = version+1
 WHERE tenant_id = ? AND integration_id = ? AND name = ? AND version = ?`, bytesOrNull(value), ref.TenantID, ref.ID, name, version)
		if err == nil && n == 0 {
			err = store.ErrConflict
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return version + 1, nil
}

// TryLease implements store.Checkpoints.
func (s *Store) TryLease(ctx context.Context, ref store.Ref, name, owner string, ttl time.Duration) (bool, error) {
	won := false
	err := s.write(ctx, "try lease", func(tx *sql.Tx) error {
		if _, err := s.exec(ctx, tx, addCheckpoint, ref.TenantID, ref.ID, name); err != nil {
			return err
		}
		n, err := s.exec(ctx, tx, `UPDATE {p}checkpoints SET lease_owner = ?, lease_until = {now}+?, lease_epoch = lease_epoch+1
 WHERE tenant_id = ? AND integration_id = ? AND name = ? AND (lease_owner = ? OR lease_until < {now})`,
			owner, millis(ttl), ref.TenantID, ref.ID, name, owner)
		won = n > 0
		return err
	})
	return won && err == nil, err
}

// ReleaseLease implements store.Checkpoints.
func (s *Store) ReleaseLease(ctx context.Context, ref store.Ref, name, owner string) error {
	_, err := s.one(ctx, "release lease", `UPDATE {p}checkpoints SET lease_owner = NULL, lease_until = 0
 WHERE tenant_id = ? AND integration_id = ? AND name = ? AND lease_owner = ?`, ref.TenantID, ref.ID, name, owner)
	return err
}

// DeleteCheckpoints implements store.Checkpoints.
func (s *Store) DeleteCheckpoints(ctx context.Context, ref store.Ref) error {
	_, err := s.one(ctx, "delete checkpoints", "DELETE FROM {p}checkpoints WHERE tenant_id = ? AND integration_id = ?", ref.TenantID, ref.ID)
	return err
}

const endpointColumns = "id, tenant_id, integration_id, provider, path_hash, previous_path_hash, secret, previous_secret, key_id, previous_until, created_at"

func scanEndpoint(row scanner) (store.Endpoint, error) {
	var e store.Endpoint
	var key, previous sql.NullString
	var until, created sql.NullInt64
	err := row.Scan(&e.ID, &e.TenantID, &e.IntegrationID, &e.Provider, &e.PathHash, &previous, &e.Secret, &e.PreviousSecret, &key, &until, &created)
	e.KeyID, e.PreviousPathHash, e.PreviousUntil, e.CreatedAt = key.String, previous.String, at(until), at(created)
	return e, err
}

// PutEndpoint implements store.Endpoints.
func (s *Store) PutEndpoint(ctx context.Context, e store.Endpoint) error {
	err := s.write(ctx, "put endpoint", func(tx *sql.Tx) error {
		put, err := s.put(ctx, tx,
			`UPDATE {p}webhook_endpoints SET integration_id = ?, provider = ?, path_hash = ?, previous_path_hash = ?, secret = ?, previous_secret = ?, key_id = ?,
 previous_until = ?, version = version+1 WHERE tenant_id = ? AND id = ?`,
			`INSERT INTO {p}webhook_endpoints (integration_id, provider, path_hash, previous_path_hash, secret, previous_secret, key_id, previous_until,
 tenant_id, id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {now}) {ifabsent}`,
			e.IntegrationID, e.Provider, e.PathHash, orNull(e.PreviousPathHash), bytesOrNull(e.Secret), bytesOrNull(e.PreviousSecret), orNull(e.KeyID), moment(e.PreviousUntil), e.TenantID, e.ID)
		if err == nil && !put {
			err = store.ErrConflict // the id or the path is somebody else's
		}
		return err
	})
	return err
}

// put updates a row, or inserts it where there is none, both with the same
// arguments. False means that another row is in the way.
func (s *Store) put(ctx context.Context, tx *sql.Tx, update, insert string, args ...any) (bool, error) {
	for range 2 { // somebody may insert it in between
		if n, err := s.exec(ctx, tx, update, args...); err != nil || n > 0 {
			return n > 0, err
		}
		if put, err := s.inserted(ctx, tx, insert, args...); err != nil || put {
			return put, err
		}
	}
	return false, nil
}

// RotateEndpoint implements store.Endpoints.
func (s *Store) RotateEndpoint(ctx context.Context, r store.RotateEndpoint) (bool, error) {
	return s.one(ctx, "rotate endpoint", `UPDATE {p}webhook_endpoints SET path_hash = ?, previous_path_hash = ?, secret = ?, previous_secret = ?,
 key_id = ?, previous_until = {now}+?, version = version+1 WHERE tenant_id = ? AND id = ? AND path_hash = ?`,
		r.PathHash, r.SeenPathHash, bytesOrNull(r.Secret), bytesOrNull(r.PreviousSecret), orNull(r.KeyID), millis(r.Overlap), r.TenantID, r.ID, r.SeenPathHash)
}

// FindEndpoint implements store.Endpoints.
func (s *Store) FindEndpoint(ctx context.Context, provider, pathHash string) (store.Endpoint, error) {
	e, err := scanEndpoint(s.db.QueryRowContext(ctx, s.text("SELECT "+endpointColumns+" FROM {p}webhook_endpoints WHERE provider = ? AND path_hash = ?"+
		" UNION ALL SELECT "+endpointColumns+" FROM {p}webhook_endpoints WHERE provider = ? AND previous_path_hash = ? AND previous_until > {now}"),
		provider, pathHash, provider, pathHash))
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Endpoint{}, fmt.Errorf("integrations/store/sqlstore: find endpoint: %w", ended(ctx, err))
	}
	return e, nil
}

// ListEndpoints implements store.Endpoints.
func (s *Store) ListEndpoints(ctx context.Context, ref store.Ref) ([]store.Endpoint, error) {
	var out []store.Endpoint
	err := s.rows(ctx, s.db, "list endpoints", "SELECT "+endpointColumns+" FROM {p}webhook_endpoints WHERE tenant_id = ? AND integration_id = ? ORDER BY id",
		[]any{ref.TenantID, ref.ID}, func(row scanner) error {
			e, err := scanEndpoint(row)
			out = append(out, e)
			return err
		})
	return out, err
}

// DeleteEndpoint implements store.Endpoints.
func (s *Store) DeleteEndpoint(ctx context.Context, tenant, id string) error {
	_, err := s.one(ctx, "delete endpoint", "DELETE FROM {p}webhook_endpoints WHERE tenant_id = ? AND id = ?", tenant, id)
	return err
}

const subscriptionColumns = "tenant_id, integration_id, provider, name, remote_id, data, expires_at, renew_at, created_at, updated_at"

func scanSubscription(row scanner) (store.Subscription, error) {
	var sub store.Subscription
	var expires, renew, created, updated sql.NullInt64
	err := row.Scan(&sub.TenantID, &sub.IntegrationID, &sub.Provider, &sub.Name, &sub.RemoteID, &sub.Data, &expires, &renew, &created, &updated)
	sub.ExpiresAt, sub.RenewAt, sub.CreatedAt, sub.UpdatedAt = at(expires), at(renew), at(created), at(updated)
	return sub, err
}

// PutSubscription implements store.Endpoints.
func (s *Store) PutSubscription(ctx context.Context, sub store.Subscription) error {
	return s.write(ctx, "put subscription", func(tx *sql.Tx) error {
		put, err := s.put(ctx, tx,
			`UPDATE {p}subscriptions SET provider = ?, remote_id = ?, data = ?, expires_at = ?, renew_at = ?, updated_at = {now},
 version = version+1, lease_owner = NULL, lease_until = 0 WHERE tenant_id = ? AND integration_id = ? AND name = ?`,
			`INSERT INTO {p}subscriptions (provider, remote_id, data, expires_at, renew_at, tenant_id, integration_id, name,
 created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, {now}, {now}) {ifabsent}`,
			sub.Provider, sub.RemoteID, bytesOrNull(sub.Data), moment(sub.ExpiresAt), moment(sub.RenewAt), sub.TenantID, sub.IntegrationID, sub.Name)
		if err == nil && !put {
			err = store.ErrConflict // deleted and inserted by others in between, twice
		}
		return err
	})
}

// ListSubscriptions implements store.Endpoints.
func (s *Store) ListSubscriptions(ctx context.Context, ref store.Ref) ([]store.Subscription, error) {
	return s.subscriptions(ctx, "list subscriptions", "SELECT "+subscriptionColumns+" FROM {p}subscriptions WHERE tenant_id = ? AND integration_id = ? ORDER BY name", ref.TenantID, ref.ID)
}

// ClaimSubscriptions implements store.Endpoints.
func (s *Store) ClaimSubscriptions(ctx context.Context, c store.ClaimSubscriptions) ([]store.Subscription, error) {
	if len(c.Providers) == 0 || c.Limit <= 0 {
		return nil, ctx.Err()
	}
	args := params(c.Providers)
	var out []store.Subscription
	err := s.claim(ctx, claim{
		what: "claim subscriptions", table: "subscriptions", key: []string{"tenant_id", "integration_id", "name"}, columns: subscriptionColumns,
		set: "lease_owner = ?, lease_until = {now}+?, version = version+1", setArgs: []any{c.Owner, millis(c.TTL)},
		match:     "renew_at IS NOT NULL AND renew_at <= {now} AND lease_until < {now} AND provider IN (" + in(len(args)) + ")",
		matchArgs: args, order: "renew_at, name", limit: c.Limit,
		scan: func(row scanner) error {
			sub, err := scanSubscription(row)
			out = append(out, sub)
			return err
		},
	})
	slices.SortFunc(out, func(a, b store.Subscription) int {
		return cmp.Or(a.RenewAt.Compare(b.RenewAt), cmp.Compare(a.Name, b.Name))
	})
	return out, err
}

// FinishSubscription implements store.Endpoints.
func (s *Store) FinishSubscription(ctx context.Context, f store.FinishSubscription) (bool, error) {
	sub := f.Subscription
	const which = " WHERE tenant_id = ? AND integration_id = ? AND name = ? AND lease_owner = ?"
	if f.Delete {
		return s.one(ctx, "finish subscription", "DELETE FROM {p}subscriptions"+which, sub.TenantID, sub.IntegrationID, sub.Name, f.Owner)
	}
	return s.one(ctx, "finish subscription", `UPDATE {p}subscriptions SET provider = ?, remote_id = ?, data = ?, expires_at = ?, renew_at = COALESCE({now}+?, ?),
 updated_at = {now}, version = version+1, lease_owner = NULL, lease_until = 0`+which,
		sub.Provider, sub.RemoteID, bytesOrNull(sub.Data), moment(sub.ExpiresAt), orNever(f.RenewIn), moment(sub.RenewAt), sub.TenantID, sub.IntegrationID, sub.Name, f.Owner)
}

func (s *Store) subscriptions(ctx context.Context, what, query string, args ...any) ([]store.Subscription, error) {
	var out []store.Subscription
	err := s.rows(ctx, s.db, what, query, args, func(row scanner) error {
		sub, err := scanSubscription(row)
		out = append(out, sub)
		return err
	})
	return out, err
}

// DeleteSubscription implements store.Endpoints.
func (s *Store) DeleteSubscription(ctx context.Context, ref store.Ref, name string) error {
	_, err := s.one(ctx, "delete subscription", "DELETE FROM {p}subscriptions WHERE tenant_id = ? AND integration_id = ? AND name = ?", ref.TenantID, ref.ID, name)
	return err
}

// EnsureSubscriptions implements store.Endpoints. Whom it is for is looked up
// first: an insert from a select has different words in each database.
func (s *Store) EnsureSubscriptions(ctx context.Context, e store.EnsureSubscriptions) (int, error) {
	var refs []store.Ref
	err := s.rows(ctx, s.db, "ensure subscriptions", `SELECT i.tenant_id, i.id FROM {p}integrations i
 LEFT JOIN {p}subscriptions s ON s.tenant_id = i.tenant_id AND s.integration_id = i.id AND s.name = ?
 WHERE i.provider = ? AND i.status = 'active' AND (s.name IS NULL OR s.remote_id <> ?) LIMIT ?`,
		[]any{e.Name, e.Provider, e.RemoteID, max(e.Limit, 0)}, func(row scanner) error {
			var ref store.Ref
			err := row.Scan(&ref.TenantID, &ref.ID)
			refs = append(refs, ref)
			return err
		})
	if err != nil || len(refs) == 0 {
		return 0, err
	}
	// Two that do this at the same time must not wait for each other.
	slices.SortFunc(refs, func(a, b store.Ref) int { return cmp.Or(cmp.Compare(a.TenantID, b.TenantID), cmp.Compare(a.ID, b.ID)) })
	err = s.write(ctx, "ensure subscriptions", func(tx *sql.Tx) error {
		for _, ref := range refs {
			put, err := s.put(ctx, tx,
				`UPDATE {p}subscriptions SET provider = ?, remote_id = ?, data = NULL, expires_at = NULL, renew_at = {now}, updated_at = {now},
 version = version+1, lease_owner = NULL, lease_until = 0 WHERE tenant_id = ? AND integration_id = ? AND name = ?`,
				`INSERT INTO {p}subscriptions (provider, remote_id, tenant_id, integration_id, name, renew_at, created_at, updated_at)
 VALUES (?, ?, ?, ?, ?, {now}, {now}, {now}) {ifabsent}`, e.Provider, e.RemoteID, ref.TenantID, ref.ID, e.Name)
			if err != nil {
				return err
			}
			if !put {
				return store.ErrConflict
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(refs), nil
}
