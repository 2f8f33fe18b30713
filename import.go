package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

// ImportGrant is a grant that another application obtained and this one takes over.
type ImportGrant struct {
	// TenantID is the customer, at most 191 bytes. Required.
	TenantID string
	// Provider is the key of one of Config.Providers. Required.
	Provider string
	// Label tells several accounts of one provider apart, at most 64 bytes. "" is the
	// default one. Config.AllowLabel is not asked.
	Label string
	// ExternalID is the provider's id of the account. Required; what it is says each
	// adapter's ImportAccount.
	ExternalID string
	// Status is that of the integration, "" for active. Others are not imported: the
	// tenant has to connect anyhow.
	Status Status
	// AccessToken and RefreshToken are in the clear here; they are stored sealed.
	// AccessToken is required, also one that has ended.
	AccessToken, RefreshToken token.Secret
	// ExpiresAt is when the access token ends, RefreshExpiresAt when the grant does
	// unless it is renewed; zero means unknown or never.
	ExpiresAt, RefreshExpiresAt time.Time
	// Scopes are those granted, nil when that is not known.
	Scopes []string
	// Metadata is the host's own JSON, at most 64 KiB, nil for none. It is used for a
	// new integration only.
	Metadata json.RawMessage
	// ProviderData is what is known of the account in the adapter's own form, such as
	// a slackapp.Workspace as JSON, at most 64 KiB; nil for nothing.
	ProviderData json.RawMessage
}

// ImportOutcome is what became of one grant of an import.
type ImportOutcome string

// The outcomes of an import.
const (
	// ImportCreated: the integration is new.
	ImportCreated ImportOutcome = "created"
	// ImportUpdated: the integration was there and has newer tokens now.
	ImportUpdated ImportOutcome = "updated"
	// ImportUnchanged: the integration was there with these very tokens.
	ImportUnchanged ImportOutcome = "unchanged"
	// ImportKept: the integration was there with tokens that are not known to be
	// older, or was disconnected here. It was left as it is.
	ImportKept ImportOutcome = "kept"
	// ImportSkipped: the grant is over, by its Status.
	ImportSkipped ImportOutcome = "skipped"
	// ImportRefused: the grant cannot be imported; Err says why.
	ImportRefused ImportOutcome = "refused"
)

// ImportResult is what became of one grant. It holds no secret.
type ImportResult struct {
	TenantID   string        `json:"tenantId"`
	Provider   string        `json:"provider"`
	Label      string        `json:"label,omitempty"`
	ExternalID string        `json:"externalId,omitempty"`
	Outcome    ImportOutcome `json:"outcome"`
	// IntegrationID is that of the integration, "" when there is none.
	IntegrationID string `json:"integrationId,omitempty"`
	// Reason says why a grant was kept, skipped or refused.
	Reason string `json:"reason,omitempty"`
	// Err is the cause of a refusal, for errors.Is: [ErrInvalid], [ErrAccountTaken],
	// [ErrAccountMismatch], [ErrSealed] of a token that could not be read, and others.
	Err error `json:"-"`
}

// ImportReport is the result of [Manager.Import], a row for each grant in their
// order.
type ImportReport struct {
	Rows []ImportResult `json:"rows"`
}

// Count is how many grants had one of the outcomes.
func (r ImportReport) Count(outcomes ...ImportOutcome) int {
	n := 0
	for _, row := range r.Rows {
		for _, o := range outcomes {
			if row.Outcome == o {
				n++
			}
		}
	}
	return n
}

// Grants is an import of the given grants.
func Grants(grants ...ImportGrant) iter.Seq2[ImportGrant, error] {
	return func(yield func(ImportGrant, error) bool) {
		for _, g := range grants {
			if !yield(g, nil) {
				return
			}
		}
	}
}

// Import stores grants that another application obtained: [Grants] of a list,
// [TableGrants] of a table, or an iterator of the host's own. One that cannot be
// imported is refused and the others go on; an error that comes with a grant refuses
// that grant, one that comes without ends the import. Nobody is asked and nothing is
// renewed; the account is taken to be what the host says it is. Tokens that have ended
// are renewed by [Manager.Run] or at their first use. No [Change] tells of it: the
// report is the answer.
//
// Importing again changes nothing. An integration that is there
//
//   - with the very tokens of the grant is left as it is;
//   - with other tokens gets those of the grant if its own are known to be older:
//     they were not renewed here since they were imported or connected, both ends
//     are known, and the grant's access token ends at least a minute later;
//   - otherwise keeps its own. So once a token was renewed here no import replaces
//     it, and what was disconnected here is not connected by an import.
//
// A grant of another account than the integration's is refused with
// [ErrAccountMismatch], one of an account that is exclusive and connected already
// with [ErrAccountTaken], one of a provider without a [providers.AccountImporter]
// with errors.ErrUnsupported.
//
// Stop the other application from renewing these grants first: two who renew a
// single-use token end the grant. The error is ctx's, the store's, or one of the
// iterator; the report then says how far it came.
func (m *Manager) Import(ctx context.Context, grants iter.Seq2[ImportGrant, error]) (ImportReport, error) {
	report := ImportReport{Rows: []ImportResult{}}
	for g, err := range grants {
		if err != nil && g.TenantID == "" && g.Provider == "" && g.ExternalID == "" {
			return report, fmt.Errorf("integrations: import: %w", err)
		}
		r := ImportResult{TenantID: g.TenantID, Provider: g.Provider, Label: g.Label, ExternalID: g.ExternalID}
		if err == nil {
			err = m.importGrant(ctx, g, &r)
		}
		if err != nil {
			if broken := m.broken(ctx); broken != nil {
				return report, fmt.Errorf("integrations: import: %w", broken)
			}
			r.Outcome, r.Err, r.Reason = ImportRefused, err, err.Error()
		}
		report.Rows = append(report.Rows, r)
	}
	return report, nil
}

// broken is why an import cannot go on after a grant that failed, nil when it can:
// the fault is that grant's then.
func (m *Manager) broken(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return m.cfg.Store.Check(ctx)
}

// importGrant imports one grant and fills in what became of it.
func (m *Manager) importGrant(ctx context.Context, g ImportGrant, r *ImportResult) error {
	if g.Status != "" && g.Status != StatusActive {
		r.Outcome, r.Reason = ImportSkipped, "it is "+string(g.Status)
		return nil
	}
	p := m.providers[g.Provider]
	if p == nil {
		return fmt.Errorf("%w: no provider with this key", ErrInvalid)
	}
	if err := g.check(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := m.importOnce(ctx, p, g, r)
		if !errors.Is(err, store.ErrConflict) || try == connectTries {
			return err
		}
	}
}

func (m *Manager) importOnce(ctx context.Context, p *provider, g ImportGrant, r *ImportResult) error {
	old, err := m.cfg.Store.Find(ctx, g.TenantID, g.Provider, g.Label)
	there := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if there {
		r.IntegrationID = old.ID
		if r.Outcome, r.Reason, err = m.compare(old, g); err != nil || r.Outcome != ImportUpdated {
			return err
		}
	} else {
		old = store.Integration{ID: newID()}
		r.Outcome = ImportCreated
	}
	account, err := importAccount(ctx, p, g)
	if err != nil {
		return err
	}
	if there && old.ExternalID != account.ExternalID {
		return ErrAccountMismatch
	}
	c, err := m.imported(p, old, g, account)
	if err != nil {
		return err
	}
	switch _, err := m.cfg.Store.Connect(ctx, c); {
	case errors.Is(err, store.ErrTaken):
		return ErrAccountTaken
	case err != nil:
		return err
	}
	r.IntegrationID, r.ExternalID = c.ID, c.ExternalID
	m.vault.Forget(c.TenantID, c.ID)
	return nil
}

// newerBy is how much later an imported access token has to end than the one that is
// there: the store's clock and this one may differ.
const newerBy = time.Minute

// compare says what an import does to an integration that is there.
func (m *Manager) compare(old store.Integration, g ImportGrant) (ImportOutcome, string, error) {
	if over(old) {
		return ImportKept, "it is " + string(old.Status) + " here", nil
	}
	access, refresh, err := token.OpenGrant(m.cfg.Cipher, old)
	switch {
	case err != nil:
		return "", "", err
	case access.Reveal() == g.AccessToken.Reveal() && refresh.Reveal() == g.RefreshToken.Reveal():
		return ImportUnchanged, "", nil
	case !old.LastRefreshAt.IsZero():
		return ImportKept, "its tokens were renewed here", nil
	case g.ExpiresAt.IsZero() || old.TokenExpiresAt.IsZero() || g.ExpiresAt.Before(old.TokenExpiresAt.Add(newerBy)):
		return ImportKept, "it has other tokens, which are not known to be older", nil
	}
	return ImportUpdated, "", nil
}

// importAccount asks the adapter for what the grant does not say.
func importAccount(ctx context.Context, p *provider, g ImportGrant) (providers.Account, error) {
	im, ok := p.Provider.(providers.AccountImporter)
	if !ok {
		return providers.Account{}, fmt.Errorf("integrations: import: provider %s is no providers.AccountImporter: %w", p.info.Key, errors.ErrUnsupported)
	}
	i := providers.Import{ExternalID: g.ExternalID, ProviderData: g.ProviderData, Metadata: g.Metadata, HTTP: p.http}
	if g.ExpiresAt.IsZero() || time.Now().Before(g.ExpiresAt) {
		i.AccessToken = g.AccessToken
	}
	a, err := im.ImportAccount(ctx, i)
	if err == nil && (a.ExternalID == "" || len(a.ExternalID) > maxName || len(a.Alias) > maxName) {
		err = fmt.Errorf("%w: the account has no id or one over %d bytes", ErrInvalid, maxName)
	}
	return a, err
}

// imported makes the row of a grant.
func (m *Manager) imported(p *provider, old store.Integration, g ImportGrant, a providers.Account) (store.Connect, error) {
	now := time.Now()
	grant := token.Grant{
		AccessToken: g.AccessToken, RefreshToken: g.RefreshToken, ExpiresIn: remains(g.ExpiresAt, now), RefreshExpiresIn: remains(g.RefreshExpiresAt, now),
	}
	if grant.ExpiresIn == 0 {
		grant.ExpiresIn = a.Grant.ExpiresIn
	}
	c := store.Connect{
		ID: old.ID, TenantID: g.TenantID, Provider: g.Provider, Label: g.Label, SeenGen: old.TokenGen,
		ExternalID: a.ExternalID, ExternalAlias: a.Alias, ExpiresIn: grant.ExpiresIn, RefreshExpiresIn: grant.RefreshExpiresIn,
		RefreshIn: grant.RefreshIn(p.renewer, old.ID), Scopes: g.Scopes, ProviderData: a.ProviderData, Metadata: g.Metadata,
	}
	m.watch(p, &c, grant)
	if a.Exclusive {
		c.ExclusiveKey = p.info.Key + "|" + a.ExternalID
	}
	var err error
	c.AccessToken, c.RefreshToken, c.KeyID, err = token.SealGrant(m.cfg.Cipher, c.TenantID, c.Provider, c.ID, grant)
	return c, err
}

// remains is what is left until a moment: 0 when nobody knows it, and a moment when
// it is over.
func remains(end, now time.Time) time.Duration {
	if end.IsZero() {
		return 0
	}
	return max(end.Sub(now), time.Millisecond)
}

// check refuses what no store could keep or no call could send.
func (g ImportGrant) check() error {
	for _, c := range []struct {
		bad  bool
		what string
	}{
		{g.TenantID == "" || !fits(g.TenantID, maxName), "tenant"},
		{!fits(g.Label, 64), "label"},
		{g.ExternalID == "" || !fits(g.ExternalID, maxName), "external id"},
		{g.AccessToken.IsZero() || !sendable(g.AccessToken), "access token"},
		{!sendable(g.RefreshToken), "refresh token"},
		{g.Metadata != nil && !storable(g.Metadata), "metadata"},
		{g.ProviderData != nil && !storable(g.ProviderData), "provider data"},
	} {
		if c.bad {
			return fmt.Errorf("%w: the %s is missing or not one", ErrInvalid, c.what)
		}
	}
	for _, s := range g.Scopes {
		if s == "" || !fits(s, 1<<10) {
			return fmt.Errorf("%w: a scope is empty or not one", ErrInvalid)
		}
	}
	return nil
}

// fits reports whether a text fits into a column, of every database.
func fits(s string, n int) bool {
	return len(s) <= n && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

func storable(raw json.RawMessage) bool {
	return len(raw) <= 64<<10 && utf8.Valid(raw) && json.Valid(raw)
}

// sendable reports whether a token can stand in a header (RFC 6750 section 2.1 allows
// less).
func sendable(s token.Secret) bool {
	return !strings.ContainsFunc(s.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' })
}
