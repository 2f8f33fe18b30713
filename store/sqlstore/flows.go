package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// PutFlow implements store.Flows.
func (s *Store) PutFlow(ctx context.Context, f store.Flow) error {
	scopes, err := wordList(f.Scopes)
	if err != nil {
		return err
	}
	return s.write(ctx, "put flow", func(tx *sql.Tx) error {
		if err := s.holdFlow(ctx, tx, f.TenantID, f.Continues); err != nil {
			return err
		}
		put, err := s.inserted(ctx, tx, `INSERT INTO {p}oauth_flows (state_hash, browser_hash, tenant_id, actor_id, session_hash, provider, label,
 redirect_uri, return_to, verifier, scopes, expect_external_id, site, created_at, expires_at)
 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {now}, {now}+?) {ifabsent}`,
			f.StateHash, f.BrowserHash, f.TenantID, f.ActorID, f.SessionHash, f.Provider, f.Label,
			f.RedirectURI, f.ReturnTo, bytesOrNull(f.Verifier), scopes, f.ExpectExternalID, f.Site, millis(f.TTL))
		if err == nil && !put {
			err = store.ErrConflict
		}
		return err
	})
}

// ConsumeFlow implements store.Flows. The update decides who it was; the row is
// read afterwards.
func (s *Store) ConsumeFlow(ctx context.Context, stateHash string) (store.Flow, error) {
	var f store.Flow
	err := s.write(ctx, "consume flow", func(tx *sql.Tx) error {
		f = store.Flow{}
		n, err := s.exec(ctx, tx, "UPDATE {p}oauth_flows SET consumed_at = {now} WHERE state_hash = ? AND consumed_at IS NULL AND expires_at > {now}", stateHash)
		if err != nil {
			return err
		}
		if n == 0 {
			return store.ErrNotFound
		}
		var scopes sql.NullString
		var created sql.NullInt64
		err = tx.QueryRowContext(ctx, s.text(`SELECT state_hash, browser_hash, tenant_id, actor_id, session_hash, provider, label,
 redirect_uri, return_to, verifier, scopes, expect_external_id, site, created_at FROM {p}oauth_flows WHERE state_hash = ?`), stateHash).
			Scan(&f.StateHash, &f.BrowserHash, &f.TenantID, &f.ActorID, &f.SessionHash, &f.Provider, &f.Label,
				&f.RedirectURI, &f.ReturnTo, &f.Verifier, &scopes, &f.ExpectExternalID, &f.Site, &created)
		if err != nil {
			return err
		}
		f.CreatedAt = at(created)
		if f.Scopes, err = words(scopes); err != nil {
			return err
		}
		_, err = s.exec(ctx, tx, "UPDATE {p}oauth_flows SET verifier = NULL WHERE state_hash = ?", stateHash)
		return err
	})
	if err != nil {
		return store.Flow{}, err
	}
	return f, nil
}

// CountFlows implements store.Flows.
func (s *Store) CountFlows(ctx context.Context, tenant string, window time.Duration) (int, error) {
	var n int
	err := s.db.QueryRowContext(ctx, s.text("SELECT COUNT(*) FROM {p}oauth_flows WHERE tenant_id = ? AND created_at > {now}-?"), tenant, millis(window)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("integrations/store/sqlstore: count flows: %w", ended(ctx, err))
	}
	return n, nil
}

// DeleteFlows implements store.Flows.
func (s *Store) DeleteFlows(ctx context.Context, age time.Duration, limit int) (int, error) {
	return s.deleteSome(ctx, "delete flows", "oauth_flows", "state_hash", "expires_at < {now}-?", limit, millis(age))
}
