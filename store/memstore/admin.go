package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/saas-integrations/integrations/store"
)

// CountByKey implements store.Admin.
func (s *Store) CountByKey(ctx context.Context) (map[string]int64, error) {
	return s.countKeys(ctx, store.SealedTokens, store.SealedSecrets, store.SealedBodies)
}

// CountSealed implements store.Admin.
func (s *Store) CountSealed(ctx context.Context, kind store.SealedKind) (map[string]int64, error) {
	return s.countKeys(ctx, kind)
}

func (s *Store) countKeys(ctx context.Context, kinds ...store.SealedKind) (map[string]int64, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	n := map[string]int64{}
	for _, kind := range kinds {
		rows, err := s.sealed(kind)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.KeyID != "" {
				n[r.KeyID]++
			}
		}
	}
	return n, nil
}

// CountByStatus implements store.Admin.
func (s *Store) CountByStatus(ctx context.Context) (map[store.Status]int64, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	n := map[store.Status]int64{}
	for _, row := range s.integrations {
		n[row.Status]++
	}
	return n, nil
}

// ListAll implements store.Admin.
func (s *Store) ListAll(ctx context.Context, afterID string, limit int) ([]store.Integration, error) {
	rows, err := s.list(ctx, func(in *store.Integration) bool { return in.ID > afterID }, byID)
	return rows[:min(len(rows), max(limit, 0))], err
}

// sealed are all rows of a kind, with the bytes that are stored.
func (s *Store) sealed(kind store.SealedKind) ([]store.Sealed, error) {
	var out []store.Sealed
	switch kind {
	case store.SealedTokens:
		for _, in := range s.integrations {
			out = append(out, store.Sealed{
				TenantID: in.TenantID, Provider: in.Provider, ID: in.ID, KeyID: in.KeyID, Gen: in.TokenGen, Values: [2][]byte{in.AccessToken, in.RefreshToken},
			})
		}
	case store.SealedSecrets:
		for _, e := range s.endpoints {
			out = append(out, store.Sealed{TenantID: e.TenantID, Provider: e.Provider, ID: e.ID, KeyID: e.KeyID, Values: [2][]byte{e.Secret, e.PreviousSecret}})
		}
	case store.SealedBodies, store.SealedDone:
		for _, d := range s.deliveries {
			if (d.State == store.Done) == (kind == store.SealedDone) {
				out = append(out, store.Sealed{TenantID: d.TenantID, Provider: d.Provider, ID: d.ID, KeyID: d.KeyID, Values: [2][]byte{d.Body}})
			}
		}
	default:
		return nil, noKind(kind)
	}
	return out, nil
}

func noKind(kind store.SealedKind) error {
	return fmt.Errorf("integrations/store/memstore: no kind %d of sealed rows", kind)
}

// ListSealed implements store.Admin.
func (s *Store) ListSealed(ctx context.Context, kind store.SealedKind, keyID, afterID string, limit int) ([]store.Sealed, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	rows, err := s.sealed(kind)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Sealed) bool { return r.KeyID == "" || r.KeyID != keyID || r.ID <= afterID })
	slices.SortFunc(rows, func(a, b store.Sealed) int { return cmp.Compare(a.ID, b.ID) })
	rows = rows[:min(len(rows), max(limit, 0))]
	for i := range rows {
		rows[i].Values = cloneValues(rows[i].Values)
	}
	return rows, nil
}

// Reseal implements store.Admin.
func (s *Store) Reseal(ctx context.Context, kind store.SealedKind, rs []store.Reseal) (int, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if kind < store.SealedTokens || kind > store.SealedDone {
		return 0, noKind(kind)
	}
	n := 0
	for _, r := range rs {
		if s.reseal(kind, r) {
			n++
		}
	}
	return n, nil
}

// reseal changes one row if it is as it was listed.
func (s *Store) reseal(kind store.SealedKind, r store.Reseal) bool {
	old, values := r.Old, cloneValues(r.Values)
	switch kind {
	case store.SealedTokens:
		row := s.get(old.TenantID, old.ID)
		if row == nil || row.TokenGen != old.Gen || !bytes.Equal(row.AccessToken, old.Values[0]) || !bytes.Equal(row.RefreshToken, old.Values[1]) {
			return false
		}
		row.AccessToken, row.RefreshToken, row.KeyID, row.UpdatedAt = values[0], values[1], r.KeyID, now()
	case store.SealedSecrets:
		row := s.endpoints[old.ID]
		if row == nil || row.TenantID != old.TenantID || !bytes.Equal(row.Secret, old.Values[0]) || !bytes.Equal(row.PreviousSecret, old.Values[1]) {
			return false
		}
		row.Secret, row.PreviousSecret, row.KeyID = values[0], values[1], r.KeyID
	default:
		row := s.deliveries[old.ID]
		if row == nil || row.TenantID != old.TenantID || row.KeyID != old.KeyID {
			return false
		}
		row.Body, row.KeyID = values[0], r.KeyID
	}
	return true
}

func cloneValues(v [2][]byte) [2][]byte { return [2][]byte{cloneBytes(v[0]), cloneBytes(v[1])} }
