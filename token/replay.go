package token

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
)

// Replayed counts what [Vault.Replay] made of the records in the journal.
type Replayed struct {
	// Stored are in their rows now. Overtaken are of no use any more: the row has
	// other tokens, or is gone. Kept are still in the journal.
	Stored, Overtaken, Kept int
}

// waiting are the records that a replay read and could not settle, by id. Nothing
// may be renewed before them: the row's refresh token is spent.
type waiting struct {
	mu   sync.Mutex
	byID map[string]record
}

func (w *waiting) set(all map[string]record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byID = all
}

func (w *waiting) drop(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byID, id)
}

// of returns the records of one integration. There are few records, usually none.
func (w *waiting) of(tenant, id string) map[string]record {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found map[string]record
	for key, r := range w.byID {
		if r.TenantID == tenant && r.ID == id {
			if found == nil {
				found = map[string]record{}
			}
			found[key] = r
		}
	}
	return found
}

// Replay stores what a process that died, or lost its store, left in
// VaultConfig.Journal. It overwrites nothing newer: a record is stored only in a
// row that still has the generation it replaces. Call it before the first token is
// asked for, and now and then afterwards; it may run at any time, also in several
// processes at once, and without a journal it does nothing.
//
// Each record that is stored or overtaken is removed; the grant of one whose
// integration was disconnected or removed is given to VaultConfig.Orphan. Those that the store
// failed for or that cannot be opened are kept for the next replay; an integration
// whose record was read is not renewed before the record is settled. The error joins
// what went wrong and wraps crypto.ErrUnknownKey when a key is missing. After Shutdown
// it is an [*Error] with the code "shutting_down".
func (v *Vault) Replay(ctx context.Context) (Replayed, error) {
	var done Replayed
	if v.cfg.Journal == nil {
		return done, nil
	}
	if !v.begin() {
		return done, &Error{Outcome: Transient, Code: codeShuttingDown}
	}
	defer v.work.Done()
	list, err := v.cfg.Journal.List(ctx)
	if err != nil {
		err = fmt.Errorf("integrations/token: journal: list: %w", err)
		if len(list) == 0 {
			return done, err
		}
	}
	faults := []error{err}
	fault := func(id string, err error) {
		faults = append(faults, fmt.Errorf("integrations/token: journal: record %s: %w", id, err))
	}
	// All are opened first, so that none is passed over when time runs out.
	opened := make(map[string]record, len(list))
	known := make(map[string]record, len(list))
	for _, r := range list {
		rec, err := v.openRecord(r.Sealed)
		if err != nil {
			fault(r.ID, err)
			continue
		}
		opened[r.ID], known[r.ID] = rec, rec
	}
	v.waiting.set(known)
	for id, r := range opened {
		if err := ctx.Err(); err != nil {
			faults = append(faults, err)
			break
		}
		stored, settled, err := v.settle(ctx, id, r)
		switch {
		case stored:
			done.Stored++
		case settled:
			done.Overtaken++
		}
		if err != nil {
			fault(id, err)
		}
	}
	done.Kept = len(list) - done.Stored - done.Overtaken
	return done, errors.Join(faults...)
}

func (v *Vault) openRecord(sealed []byte) (record, error) {
	plain, err := v.cfg.Cipher.Open(nil, sealed, crypto.Binding{Field: fieldJournal})
	if err != nil {
		return record{}, err
	}
	r, err := parseRecord(plain)
	if err != nil {
		return record{}, err
	}
	// What goes into a row must open there.
	_, _, err = OpenGrant(v.cfg.Cipher, store.Integration{
		ID: r.ID, TenantID: r.TenantID, Provider: r.Provider, AccessToken: r.AccessToken, RefreshToken: r.RefreshToken,
	})
	return r, err
}

// settle stores a record, or finds that it is of no use any more, and removes it.
// The error may come from the removal of one that is settled.
func (v *Vault) settle(ctx context.Context, id string, r record) (stored, settled bool, err error) {
	stored, settled, err = v.replay(ctx, r)
	if err != nil || !settled {
		return false, false, err
	}
	v.waiting.drop(id)
	return stored, true, v.removeRecord(ctx, id)
}

// replay stores one record. settled says that it has no further use.
func (v *Vault) replay(ctx context.Context, r record) (stored, settled bool, err error) {
	in, err := within(ctx, v, func(ctx context.Context) (store.Integration, error) { return v.cfg.Store.Get(ctx, r.TenantID, r.ID) })
	if errors.Is(err, store.ErrNotFound) {
		in, err = store.Integration{ID: r.ID, TenantID: r.TenantID, Provider: r.Provider, ExternalID: r.ExternalID, Status: deleted}, nil
	}
	if err != nil {
		return false, false, err
	}
	attrs := []any{"provider", r.Provider, "tenant", r.TenantID, "integration", r.ID}
	takes := in.Status == store.Active || in.Status == store.Suspended
	if takes && in.TokenGen == r.SpentGen {
		c := r.commit(time.Now())
		c.GrantEnd = grantEnd(in, c.RefreshExpiresIn)
		if c.Changes, err = v.turned(in, Grant{Scopes: r.Scopes}); err != nil {
			return false, false, err
		}
		stored, err = within(ctx, v, func(ctx context.Context) (bool, error) { return v.cfg.Store.CommitTokens(ctx, c) })
		if stored {
			v.Evict(r.TenantID, r.ID)
			v.log.InfoContext(ctx, "integrations: a renewed token was stored from the journal", attrs...)
		}
		// Where it was not the row is changing: the next replay looks again.
		return stored, stored, err
	}
	if !takes {
		v.log.WarnContext(ctx, "integrations: a renewed token in the journal has no active integration any more and is dropped", append(attrs, "status", in.Status)...)
		if err := v.dropOrphan(ctx, in, r); err != nil {
			return false, false, err
		}
	}
	return false, true, nil
}

// deleted is the status of a row that is not there.
const deleted store.Status = "deleted"

// dropOrphan has the grant of a record revoked if its row was disconnected or
// removed.
func (v *Vault) dropOrphan(ctx context.Context, in store.Integration, r record) error {
	if v.cfg.Orphan == nil || in.Status != store.Disconnected && in.Status != store.Revoked && in.Status != deleted {
		return nil
	}
	sealed := in
	sealed.AccessToken, sealed.RefreshToken = r.AccessToken, r.RefreshToken
	access, refresh, err := OpenGrant(v.cfg.Cipher, sealed)
	if err != nil {
		return err
	}
	v.cfg.Orphan(ctx, in, Grant{AccessToken: access, RefreshToken: refresh, ProviderData: r.ProviderData})
	return nil
}

// saveWaiting settles the records of an integration that a replay could not.
func (h *Handle) saveWaiting(ctx context.Context) error {
	v := h.vault
	for id, r := range v.waiting.of(h.TenantID(), h.ID()) {
		_, settled, err := v.settle(ctx, id, r)
		if err != nil && !settled {
			return fmt.Errorf("integrations/token: journal: %w", err)
		}
	}
	return nil
}
