package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/store"
)

const integrationColumns = `id, tenant_id, provider, label, status, status_reason, external_id, external_alias, exclusive_key,
 access_token, refresh_token, key_id, token_expires_at, refresh_expires_at, scopes, metadata, provider_data,
 token_gen, version, lease_until, lease_epoch, refresh_fails, refresh_error, refresh_failing_since, refresh_reported, next_refresh_at, last_refresh_at,
 grant_end, verify_at, connected_at, created_at, updated_at, {now}`

func scanIntegration(row scanner) (store.Integration, error) {
	var (
		i                                                             store.Integration
		external, alias, exclusive, key, scopes, metadata, data       sql.NullString
		expires, refreshExpires, leased, next, last, conn, crea, upda sql.NullInt64
		failing, verify, now                                          sql.NullInt64
	)
	err := row.Scan(&i.ID, &i.TenantID, &i.Provider, &i.Label, &i.Status, &i.StatusReason, &external, &alias, &exclusive,
		&i.AccessToken, &i.RefreshToken, &key, &expires, &refreshExpires, &scopes, &metadata, &data,
		&i.TokenGen, &i.Version, &leased, &i.LeaseEpoch, &i.RefreshFails, &i.RefreshError, &failing, &i.RefreshReported, &next, &last,
		&i.GrantEnd, &verify, &conn, &crea, &upda, &now)
	if err != nil {
		return i, err
	}
	i.ExternalID, i.ExternalAlias, i.ExclusiveKey, i.KeyID = external.String, alias.String, exclusive.String, key.String
	i.TokenExpiresAt, i.RefreshExpiresAt, i.LeaseUntil = at(expires), at(refreshExpires), at(leased)
	i.NextRefreshAt, i.LastRefreshAt, i.VerifyAt, i.ConnectedAt = at(next), at(last), at(verify), at(conn)
	i.CreatedAt, i.UpdatedAt, i.ReadAt, i.RefreshFailingSince = at(crea), at(upda), at(now), at(failing)
	i.Metadata, i.ProviderData = rawJSON(metadata), rawJSON(data)
	i.Scopes, err = words(scopes)
	return i, err
}

func (s *Store) get(ctx context.Context, r runner, what, where string, args ...any) (store.Integration, error) {
	i, err := scanIntegration(s.queryRow(ctx, r, "SELECT "+integrationColumns+" FROM {p}integrations WHERE "+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Integration{}, fmt.Errorf("integrations/store/sqlstore: %s: %w", what, ended(ctx, err))
	}
	return i, nil
}

func (s *Store) list(ctx context.Context, what, where string, args ...any) ([]store.Integration, error) {
	var out []store.Integration
	err := s.rows(ctx, s.db, what, "SELECT "+integrationColumns+" FROM {p}integrations WHERE "+where, args, func(row scanner) error {
		i, err := scanIntegration(row)
		out = append(out, i)
		return err
	})
	return out, err
}

// wellAgain forgets failed refreshes.
const wellAgain = "refresh_fails = 0, refresh_error = '', refresh_failing_since = NULL, refresh_reported = 0"

// Connect implements store.Integrations.
func (s *Store) Connect(ctx context.Context, c store.Connect) (store.Integration, error) {
	scopes, err := wordList(c.Scopes)
	if err != nil {
		return store.Integration{}, err
	}
	var out store.Integration
	err = s.write(ctx, "connect", func(tx *sql.Tx) error {
		if err := s.holdFlow(ctx, tx, c.TenantID, c.StateHash); err != nil {
			return err
		}
		put := s.replaceGrant
		if c.SeenGen == 0 {
			put = s.insertIntegration
		}
		stored, err := put(ctx, tx, c, scopes)
		if err != nil {
			return err
		}
		if !stored {
			return s.whyNot(ctx, tx, c)
		}
		if c.ExclusiveKey != "" && c.ExternalAlias != "" {
			if _, err := s.exec(ctx, tx, "UPDATE {p}integrations SET external_alias = NULL WHERE provider = ? AND external_alias = ? AND id <> ?",
				c.Provider, c.ExternalAlias, c.ID); err != nil {
				return err
			}
		}
		if c.Moved {
			if err := s.forgetAccount(ctx, tx, c.TenantID, c.ID); err != nil {
				return err
			}
		}
		if c.Change != nil {
			if err := s.insert(ctx, tx, []store.Delivery{*c.Change}); err != nil {
				return err
			}
		}
		out, err = s.get(ctx, tx, "connect", "id = ? AND tenant_id = ?", c.ID, c.TenantID)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrTaken) && !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil && c.ExclusiveKey != "" {
		// Two connects that replace grants may pass the look at the exclusive key
		// together and meet at its index. What the driver calls that is not looked
		// into: the rows tell.
		if taken, lookErr := s.taken(ctx, s.db, c); lookErr == nil && taken {
			err = fmt.Errorf("integrations/store/sqlstore: connect: %w", store.ErrTaken)
		}
	}
	return out, err
}

func (s *Store) insertIntegration(ctx context.Context, tx *sql.Tx, c store.Connect, scopes any) (bool, error) {
	return s.inserted(ctx, tx, `INSERT INTO {p}integrations (id, tenant_id, provider, label, status, external_id, external_alias, exclusive_key,
 access_token, refresh_token, key_id, token_expires_at, refresh_expires_at, next_refresh_at, grant_end, verify_at, scopes, metadata, provider_data,
 token_gen, version, connected_at, created_at, updated_at)
 VALUES (?, ?, ?, ?, 'active', ?, ?, ?, ?, ?, ?, {now}+?, {now}+?, COALESCE({now}+?, 0), ?, COALESCE({now}+?, 0), ?, ?, ?, 1, 1, {now}, {now}, {now})
 {ifabsent}`,
		c.ID, c.TenantID, c.Provider, c.Label, orNull(c.ExternalID), orNull(c.ExternalAlias), orNull(c.ExclusiveKey),
		bytesOrNull(c.AccessToken), bytesOrNull(c.RefreshToken), orNull(c.KeyID),
		orNever(c.ExpiresIn), orNever(c.RefreshExpiresIn), orNever(c.RefreshIn), int(c.GrantEnd), orNever(c.VerifyIn), scopes, textOrNull(c.Metadata), textOrNull(c.ProviderData))
}

func (s *Store) replaceGrant(ctx context.Context, tx *sql.Tx, c store.Connect, scopes any) (bool, error) {
	n, err := s.exec(ctx, tx, `UPDATE {p}integrations {bykey} SET status = 'active', status_reason = '', external_id = ?, external_alias = ?, exclusive_key = ?,
 access_token = ?, refresh_token = ?, key_id = ?, token_expires_at = {now}+?, refresh_expires_at = {now}+?,
 next_refresh_at = COALESCE({now}+?, 0), grant_end = ?, verify_at = COALESCE({now}+?, 0), last_refresh_at = NULL, scopes = ?, provider_data = ?, token_gen = token_gen+1, version = version+1,
 `+wellAgain+`, lease_owner = NULL, lease_until = 0, connected_at = {now}, updated_at = {now}
 WHERE id = ? AND tenant_id = ? AND token_gen = ?
 AND NOT EXISTS (SELECT 1 FROM (SELECT id FROM {p}integrations WHERE exclusive_key = ?) o WHERE o.id <> ?)`, // MySQL reads what it updates through a derived table only
		orNull(c.ExternalID), orNull(c.ExternalAlias), orNull(c.ExclusiveKey), bytesOrNull(c.AccessToken), bytesOrNull(c.RefreshToken), orNull(c.KeyID),
		orNever(c.ExpiresIn), orNever(c.RefreshExpiresIn), orNever(c.RefreshIn), int(c.GrantEnd), orNever(c.VerifyIn), scopes, textOrNull(c.ProviderData),
		c.ID, c.TenantID, c.SeenGen, orNull(c.ExclusiveKey), c.ID)
	return n > 0, err
}

// whyNot tells what kept a connect from changing a row.
func (s *Store) whyNot(ctx context.Context, tx *sql.Tx, c store.Connect) error {
	query, args := "SELECT COUNT(*) FROM {p}integrations WHERE id = ? OR tenant_id = ? AND provider = ? AND label = ?",
		[]any{c.ID, c.TenantID, c.Provider, c.Label}
	clash := 1
	if c.SeenGen > 0 {
		query, args = "SELECT COUNT(*) FROM {p}integrations WHERE id = ? AND tenant_id = ? AND token_gen = ?", []any{c.ID, c.TenantID, c.SeenGen}
		clash = 0
	}
	var n int
	if err := tx.QueryRowContext(ctx, s.text(query), args...).Scan(&n); err != nil {
		return err
	}
	if n == clash {
		return store.ErrConflict
	}
	taken, err := s.taken(ctx, tx, c)
	if err != nil {
		return err
	}
	if taken {
		return store.ErrTaken
	}
	return store.ErrConflict
}

func (s *Store) taken(ctx context.Context, r runner, c store.Connect) (bool, error) {
	var n int
	err := r.QueryRowContext(ctx, s.text("SELECT COUNT(*) FROM {p}integrations WHERE exclusive_key = ? AND id <> ?"), c.ExclusiveKey, c.ID).Scan(&n)
	return n > 0, err
}

// Get implements store.Integrations.
func (s *Store) Get(ctx context.Context, tenant, id string) (store.Integration, error) {
	return s.get(ctx, s.db, "get", "id = ? AND tenant_id = ?", id, tenant)
}

// GetMany implements store.Integrations.
func (s *Store) GetMany(ctx context.Context, refs []store.Ref) ([]store.Integration, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	wanted := make(map[store.Ref]bool, len(refs))
	for _, r := range refs {
		wanted[r] = true
	}
	var out []store.Integration
	for part := range slices.Chunk(refs, chunk) {
		args := make([]any, 0, 2*len(part))
		for _, r := range part {
			args = append(args, r.TenantID, r.ID)
		}
		pairs := strings.TrimSuffix(strings.Repeat("(tenant_id = ? AND id = ?) OR ", len(part)), " OR ")
		found, err := s.list(ctx, "get many", pairs, args...)
		if err != nil {
			return nil, err
		}
		for _, i := range found {
			if ref := (store.Ref{TenantID: i.TenantID, ID: i.ID}); wanted[ref] {
				delete(wanted, ref) // named twice, returned once
				out = append(out, i)
			}
		}
	}
	return out, nil
}

// Find implements store.Integrations.
func (s *Store) Find(ctx context.Context, tenant, provider, label string) (store.Integration, error) {
	return s.get(ctx, s.db, "find", "tenant_id = ? AND provider = ? AND label = ?", tenant, provider, label)
}

// List implements store.Integrations.
func (s *Store) List(ctx context.Context, tenant string) ([]store.Integration, error) {
	return s.list(ctx, "list", "tenant_id = ? ORDER BY provider, label", tenant)
}

// FindByExternal implements store.Integrations.
func (s *Store) FindByExternal(ctx context.Context, provider, externalID string) ([]store.Integration, error) {
	return s.list(ctx, "find by external id", "provider = ? AND (external_id = ? OR external_alias = ?) ORDER BY created_at, id", provider, externalID, externalID)
}

// leaseIt takes a lease, and marks a row whose last one was not given back. MySQL
// assigns from left to right, so lease_until comes last.
const leaseIt = "lease_owner = ?, refresh_error = CASE WHEN lease_until > 0 THEN '" + store.Ambiguous +
	"' ELSE refresh_error END, lease_epoch = lease_epoch+1, lease_until = {now}+?"

// Lease implements store.Integrations. One statement; nothing is held afterwards.
func (s *Store) Lease(ctx context.Context, l store.Lease) (bool, error) {
	return s.one(ctx, "lease", `UPDATE {p}integrations {bykey} SET `+leaseIt+`
 WHERE id = ? AND tenant_id = ? AND status = 'active' AND token_gen = ? AND lease_until < {now}`,
		l.Owner, millis(l.TTL), l.ID, l.TenantID, l.SeenGen)
}

// CommitTokens implements store.Integrations. The lease is not in the condition:
// a late but successful holder wins if nobody else did.
func (s *Store) CommitTokens(ctx context.Context, c store.CommitTokens) (bool, error) {
	scopes, err := wordList(c.Scopes)
	if err != nil {
		return false, err
	}
	return s.withChanges(ctx, "commit tokens", c.Changes, `UPDATE {p}integrations {bykey} SET access_token = ?, refresh_token = ?, key_id = ?,
 scopes = COALESCE(?, scopes), provider_data = COALESCE(?, provider_data), token_expires_at = {now}+?, next_refresh_at = COALESCE({now}+?, 0),
 refresh_expires_at = CASE WHEN ? THEN refresh_expires_at ELSE {now}+? END, `+grantEnd(c.GrantEnd)+`
 token_gen = token_gen+1, version = version+1, `+wellAgain+`, last_refresh_at = {now}, updated_at = {now},
 lease_owner = NULL, lease_until = 0
 WHERE id = ? AND tenant_id = ? AND status IN ('active', 'suspended') AND token_gen = ?`,
		bytesOrNull(c.AccessToken), bytesOrNull(c.RefreshToken), orNull(c.KeyID), scopes, textOrNull(c.ProviderData), orNever(c.ExpiresIn), orNever(c.RefreshIn),
		c.KeepRefreshExpiry, orNever(c.RefreshExpiresIn), c.ID, c.TenantID, c.SeenGen)
}

// grantEnd is what a commit makes of a row's.
func grantEnd(e store.GrantEnd) string {
	switch e {
	case store.EndMoves:
		return "grant_end = 1,"
	case store.EndStays:
		return "grant_end = CASE WHEN grant_end = 3 THEN 3 ELSE 2 END,"
	}
	return ""
}

// FailRefresh implements store.Integrations.
func (s *Store) FailRefresh(ctx context.Context, f store.FailRefresh) (bool, error) {
	set, args := "", []any{}
	if !f.Uncounted {
		set = `refresh_fails = refresh_fails+1, refresh_error = ?, refresh_failing_since = COALESCE(refresh_failing_since, {now}),
 refresh_reported = CASE WHEN refresh_reported < ? THEN ? ELSE refresh_reported END, `
		args = append(args, f.Code, f.Report, f.Report)
	}
	return s.withChange(ctx, "fail refresh", f.Change, `UPDATE {p}integrations {bykey} SET `+set+`next_refresh_at = {now}+?, lease_owner = NULL, lease_until = COALESCE({now}+?, 0)
 WHERE id = ? AND tenant_id = ? AND lease_owner = ? AND token_gen = ?`,
		append(args, millis(f.RetryIn), orNever(f.HoldLease), f.ID, f.TenantID, f.Owner, f.SeenGen)...)
}

// SetStatus implements store.Integrations.
func (s *Store) SetStatus(ctx context.Context, c store.SetStatus) (bool, error) {
	set := "status = ?, status_reason = ?, version = version+1, updated_at = {now}, lease_owner = NULL, lease_until = 0"
	if c.Wipe {
		set += `, access_token = NULL, refresh_token = NULL, key_id = NULL, exclusive_key = NULL, token_expires_at = NULL,
 refresh_expires_at = NULL, next_refresh_at = 0, grant_end = 0, verify_at = 0, token_gen = token_gen+1`
	}
	args := []any{string(c.To), c.Reason}
	where := "id = ? AND tenant_id = ?"
	args = append(args, c.ID, c.TenantID)
	if len(c.From) == 0 {
		where += " AND status <> ?"
		args = append(args, string(c.To))
	} else {
		where += " AND status IN (" + in(len(c.From)) + ")"
		for _, f := range c.From {
			args = append(args, string(f))
		}
	}
	if c.SeenGen != 0 {
		where += " AND token_gen = ?"
		args = append(args, c.SeenGen)
	}
	if !c.ConnectedBefore.IsZero() {
		where += " AND connected_at < ?"
		args = append(args, ceilMillis(c.ConnectedBefore))
	}
	return s.withChange(ctx, "set status", c.Change, "UPDATE {p}integrations {bykey} SET "+set+" WHERE "+where, args...)
}

// ceilMillis rounds up, so that a whole millisecond is before any later part of
// it.
func ceilMillis(t time.Time) int64 {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	return ms
}

// Update implements store.Integrations.
func (s *Store) Update(ctx context.Context, u store.Update) (int64, error) {
	set, args := "version = version+1, updated_at = {now}", []any{}
	if u.Metadata != nil {
		set += ", metadata = ?"
		args = append(args, textOrNull(*u.Metadata))
	}
	if u.ProviderData != nil {
		set += ", provider_data = ?"
		args = append(args, textOrNull(*u.ProviderData))
	}
	if u.Scopes != nil {
		scopes, err := wordList(*u.Scopes)
		if err != nil {
			return 0, err
		}
		set += ", scopes = ?"
		args = append(args, scopes)
	}
	args = append(args, u.ID, u.TenantID, u.Version)
	changed, err := s.withChange(ctx, "update", u.Change, "UPDATE {p}integrations {bykey} SET "+set+" WHERE id = ? AND tenant_id = ? AND version = ?", args...)
	if err != nil {
		return 0, err
	}
	if !changed {
		if _, err := s.Get(ctx, u.TenantID, u.ID); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("integrations/store/sqlstore: update: %w", store.ErrConflict)
	}
	return u.Version + 1, nil
}

// Delete implements store.Integrations.
func (s *Store) Delete(ctx context.Context, tenant, id string) error {
	_, err := s.one(ctx, "delete", "DELETE FROM {p}integrations WHERE id = ? AND tenant_id = ?", id, tenant)
	return err
}

// ClaimDue implements store.Integrations.
func (s *Store) ClaimDue(ctx context.Context, c store.ClaimDue) ([]store.Integration, error) {
	if len(c.Providers) == 0 || c.Limit <= 0 {
		return nil, ctx.Err()
	}
	args := params(c.Providers)
	match := "status = 'active' AND next_refresh_at > 0 AND next_refresh_at <= {now} AND lease_until < {now} AND provider IN (" + in(len(args)) + ")"
	if len(c.Keys) > 0 {
		match += " AND (key_id IS NULL OR key_id IN (" + in(len(c.Keys)) + "))"
		for _, k := range c.Keys {
			args = append(args, k)
		}
	}
	var out []store.Integration
	err := s.claim(ctx, claim{
		what: "claim due", table: "integrations", key: []string{"id"}, columns: integrationColumns,
		set: leaseIt, setArgs: []any{c.Owner, millis(c.TTL)},
		match: match, matchArgs: args,
		order: "next_refresh_at, id", limit: c.Limit,
		scan: func(row scanner) error {
			i, err := scanIntegration(row)
			out = append(out, i)
			return err
		},
	})
	slices.SortFunc(out, func(a, b store.Integration) int {
		if d := a.NextRefreshAt.Compare(b.NextRefreshAt); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, err
}
