package token

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// HeldBack is a host of a provider that a vault makes no token calls to but one now
// and then. See [FaultEvent].
type HeldBack struct {
	// Provider is the provider's key, Host what its [HostRenewer] says, "" when it
	// has none.
	Provider string `json:"provider"`
	Host     string `json:"host,omitempty"`
	// Outcome and Code are those of the last failure.
	Outcome Outcome `json:"outcome"`
	Code    string  `json:"code"`
	// Since is when it began, by this machine's clock.
	Since time.Time `json:"since"`
}

// HeldBack lists what this process holds back now, by provider and host.
func (v *Vault) HeldBack() []HeldBack {
	bs, now := &v.breakers, v.clock.now()
	bs.mu.Lock()
	defer bs.mu.Unlock()
	var out []HeldBack
	for k, b := range bs.all {
		if b.cause != nil {
			out = append(out, HeldBack{
				Provider: k.provider, Host: k.host, Outcome: b.cause.Outcome, Code: plain(b.cause.Code), Since: time.Now().Add(b.since - now),
			})
		}
	}
	slices.SortFunc(out, func(a, b HeldBack) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Host, b.Host))
	})
	return out
}

const (
	// Rows are read in pages of heldPage and so many pages at a time: a provider that
	// is out must not make this busy too.
	heldPage  = 200
	heldPages = 10
)

// walk is how far the due rows of providers that are held back have been looked
// at. It begins again at its end.
type walk struct {
	mu    sync.Mutex
	after time.Time
	id    string
}

// ReportHeld records of integrations whose renewal is held back (see [FaultEvent])
// that it fails, once their token has ended: their rows show since when, though
// nothing was tried and no failure is counted, and after VaultConfig.GiveUpAfter
// the host is told as of those that were tried. It looks at 2,000 rows at most that
// are due, of the given providers, and goes on there at the next call; each row is
// written twice at most.
func (v *Vault) ReportHeld(ctx context.Context, providers []string) error {
	w := &v.breakers.walk
	if !w.mu.TryLock() {
		return nil // somebody is at it
	}
	defer w.mu.Unlock()
	codes := map[breakerKey]string{}
	var held []string
	for _, b := range v.HeldBack() {
		if slices.Contains(providers, b.Provider) {
			codes[breakerKey{b.Provider, b.Host}] = b.Code
			held = append(held, b.Provider)
		}
	}
	held = slices.Compact(held)
	for page := 0; page < heldPages && len(held) > 0; page++ {
		rows, err := within(ctx, v, func(ctx context.Context) ([]store.Integration, error) {
			return v.cfg.Store.ListDue(ctx, store.ListDue{After: w.after, AfterID: w.id, Limit: heldPage, Providers: held})
		})
		if err != nil {
			return fmt.Errorf("integrations/token: list due: %w", err)
		}
		reports, err := v.heldReports(rows, codes)
		if err != nil {
			return fmt.Errorf("integrations/token: change of a renewal that is held back: %w", err)
		}
		if len(reports) > 0 {
			if _, err := within(ctx, v, func(ctx context.Context) (int, error) { return v.cfg.Store.ReportHeld(ctx, reports) }); err != nil {
				return fmt.Errorf("integrations/token: report held: %w", err)
			}
		}
		if len(rows) < heldPage {
			break
		}
		w.after, w.id = rows[len(rows)-1].NextRefreshAt, rows[len(rows)-1].ID
		if page == heldPages-1 {
			return nil // on from there the next time
		}
	}
	w.after, w.id = time.Time{}, ""
	return nil
}

// heldReports are what is new about rows that are due, by the codes of what is held
// back.
func (v *Vault) heldReports(rows []store.Integration, codes map[breakerKey]string) ([]store.ReportHeld, error) {
	var out []store.ReportHeld
	for _, in := range rows {
		code, held := codes[v.breakerKey(in.Provider, Renewal{
			TenantID: in.TenantID, IntegrationID: in.ID, ExternalID: in.ExternalID, Scopes: in.Scopes, ProviderData: in.ProviderData,
		})]
		if !held || in.TokenExpiresAt.IsZero() || in.TokenExpiresAt.After(in.ReadAt) {
			continue
		}
		r := store.ReportHeld{TenantID: in.TenantID, ID: in.ID, SeenGen: in.TokenGen, Code: code}
		if !in.RefreshFailingSince.IsZero() {
			if in.RefreshReported >= reportGivenUp || in.ReadAt.Sub(in.RefreshFailingSince) < v.cfg.GiveUpAfter {
				continue
			}
			r.Report = reportGivenUp
			var err error
			if r.Change, err = v.turn(in, Turn{Kind: TurnFailing, Reason: ReasonGivenUp, Since: in.RefreshFailingSince}); err != nil {
				return nil, err
			}
		}
		out = append(out, r)
	}
	return out, nil
}
