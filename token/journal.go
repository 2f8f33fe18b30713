package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
)

// Journal keeps renewed tokens while they are on their way to the store. A
// provider with single-use refresh tokens has forgotten the old one when it
// answers: a process that dies before the answer is stored loses the grant, unless
// it wrote the answer down first and stores it when it is back ([Vault.Replay]).
// With other replicas running it has to be back before its lease is over, because
// one of them sends the old token then. Renewals that bring no new refresh token
// can be repeated and are not written down.
//
// Records are sealed as a whole; nothing in them is readable without the keys.
// Implementations must be safe for concurrent use and should return when ctx ends.
// [DirJournal] is one in a directory.
type Journal interface {
	// Append keeps a record and returns its id. After a nil error the record
	// outlives the process and the machine's loss of power; after an error it may
	// be kept or not. The caller may reuse record.
	Append(ctx context.Context, record []byte) (id string, err error)
	// Remove forgets a record. Removing one that is not there is not an error. It
	// need not be durable: a record that comes back does no harm.
	Remove(ctx context.Context, id string) error
	// List returns the records that were appended, by any process, and not
	// removed, in any order. What cannot be read is left as it is and reported in
	// the error, beside the records that can.
	List(ctx context.Context) ([]JournalRecord, error)
}

// JournalRecord is a record in a [Journal].
type JournalRecord struct {
	ID string
	// Sealed is the record as it was appended.
	Sealed []byte
}

// fieldJournal is what a sealed record is bound to. It is bound to no tenant, so
// that not even the tenant's name has to be readable; the tokens in it are.
const fieldJournal = "token_journal"

// recordVersion is the form of the record below.
const recordVersion = 1

// record is a renewal's answer as it is to be stored. Tokens are sealed for the
// columns of their row. Their ends are Answered, by the clock of the machine that
// got the answer, and their lives.
type record struct {
	Version                                int
	TenantID, ID, Provider, ExternalID     string
	SpentGen                               int64
	AccessToken, RefreshToken              []byte
	KeyID                                  string
	Scopes                                 []string
	ProviderData                           []byte
	Answered                               int64 // Unix milliseconds
	ExpiresIn, RefreshIn, RefreshExpiresIn time.Duration
}

var errRecord = errors.New("not a record of this version")

// parseRecord reads an opened record.
func parseRecord(plain []byte) (record, error) {
	var r record
	if err := json.Unmarshal(plain, &r); err != nil {
		return record{}, errRecord // not its text, which quotes the input
	}
	if r.Version != recordVersion || r.TenantID == "" || r.ID == "" || r.Provider == "" || r.SpentGen <= 0 ||
		len(r.AccessToken) == 0 || r.ExpiresIn < 0 || r.RefreshIn < 0 || r.RefreshExpiresIn < 0 {
		return record{}, errRecord
	}
	return r, nil
}

// commit is what to store at the moment now. A clock that was put back lengthens
// no life, and what is over has a moment left.
func (r record) commit(now time.Time) store.CommitTokens {
	spent := max(now.Sub(time.UnixMilli(r.Answered)), 0)
	return store.CommitTokens{
		TenantID: r.TenantID, ID: r.ID, SeenGen: r.SpentGen,
		AccessToken: r.AccessToken, RefreshToken: r.RefreshToken, KeyID: r.KeyID, Scopes: r.Scopes, ProviderData: r.ProviderData,
		ExpiresIn: left(r.ExpiresIn, spent), RefreshIn: left(r.RefreshIn, spent),
		KeepRefreshExpiry: r.RefreshExpiresIn == 0, RefreshExpiresIn: left(r.RefreshExpiresIn, spent),
	}
}

// writeDown appends a grant to the journal, if there is one. What fails is
// logged: the store may still take the grant.
func (h *Handle) writeDown(ctx context.Context, u *unsaved) {
	v := h.vault
	if v.cfg.Journal == nil {
		return
	}
	var err error
	func() {
		defer v.recovered(ctx, &err)
		u.record, err = h.appendRecord(ctx, u)
	}()
	if err != nil {
		v.log.WarnContext(ctx, "integrations: a renewed token could not be written to the journal",
			"provider", h.Provider(), "tenant", h.TenantID(), "integration", h.ID(), "error", err)
	}
}

func (h *Handle) appendRecord(ctx context.Context, u *unsaved) (string, error) {
	v := h.vault
	if err := h.seal(u); err != nil {
		return "", err
	}
	g := u.grant
	plain, err := json.Marshal(record{
		Version: recordVersion, TenantID: h.TenantID(), ID: h.ID(), Provider: h.Provider(), ExternalID: u.in.ExternalID, SpentGen: u.in.TokenGen,
		AccessToken: u.access, RefreshToken: u.refresh, KeyID: u.keyID, Scopes: g.Scopes, ProviderData: g.ProviderData,
		Answered:  time.Now().Add(u.answered - v.clock.now()).UnixMilli(),
		ExpiresIn: g.ExpiresIn, RefreshIn: h.refreshIn(g), RefreshExpiresIn: g.RefreshExpiresIn,
	})
	if err != nil {
		return "", fmt.Errorf("integrations/token: journal: %w", err)
	}
	sealed, err := v.cfg.Cipher.Seal(nil, plain, crypto.Binding{Field: fieldJournal})
	if err != nil {
		return "", fmt.Errorf("integrations/token: journal: seal: %w", err)
	}
	// Half of the budget: the lease runs, and the store is still to be asked.
	ctx, cancel := context.WithTimeout(ctx, v.cfg.CommitBudget/2)
	defer cancel()
	id, err := v.cfg.Journal.Append(ctx, sealed)
	if err != nil {
		return "", fmt.Errorf("integrations/token: journal: append: %w", err)
	}
	return id, nil
}

// crossOut removes the record of a grant that is settled. One that stays is found
// overtaken by the next replay.
func (h *Handle) crossOut(ctx context.Context, u *unsaved) {
	v := h.vault
	if u.record == "" {
		return
	}
	v.waiting.drop(u.record)
	var err error
	defer func() {
		if err != nil {
			v.log.WarnContext(ctx, "integrations: a record could not be removed from the journal",
				"provider", h.Provider(), "tenant", h.TenantID(), "integration", h.ID(), "error", err)
		}
	}()
	defer v.recovered(ctx, &err)
	err = v.removeRecord(ctx, u.record)
}

func (v *Vault) removeRecord(ctx context.Context, id string) error {
	_, err := within(ctx, v, func(ctx context.Context) (struct{}, error) { return struct{}{}, v.cfg.Journal.Remove(ctx, id) })
	return err
}
