package token

import (
	"context"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// Turn is a step in an integration's life that a renewal brought about.
type Turn struct {
	Kind TurnKind
	// Reason is a short code, "" when there is none.
	Reason string
	// Since is when renewing began to fail, for [TurnFailing] and [TurnRecovered].
	Since time.Time
	// Scopes are those granted now, for [TurnScopes].
	Scopes []string
}

// TurnKind says what happened.
type TurnKind string

const (
	// TurnDead: the grant is dead, the integration needs to be reconnected.
	TurnDead TurnKind = "needs_reconnect"
	// TurnFailing: renewing fails again and again; or, with the reason
	// [ReasonGivenUp], has failed, or was held back (see [FaultEvent]), for longer
	// than VaultConfig.GiveUpAfter while the token has ended. The integration stays
	// active and renewing is tried on.
	TurnFailing TurnKind = "refresh_failing"
	// TurnRecovered: renewing works again after a TurnFailing.
	TurnRecovered TurnKind = "recovered"
	// TurnScopes: the provider granted other scopes than before.
	TurnScopes TurnKind = "scopes_changed"
)

// ReasonGivenUp is the reason of a [TurnFailing] that is told for the second time.
const ReasonGivenUp = "given_up"

// What the host was told of a failing renewal, as store.FailRefresh.Report.
const (
	reportFailing = 1
	reportGivenUp = 2
	// failingAfter is how many failures in a row are worth a word.
	failingAfter = 5
)

// failing is what one more failure of a row has to be reported as, 0 for nothing
// new.
func (v *Vault) failing(in store.Integration) int {
	ended := !in.TokenExpiresAt.IsZero() && !in.TokenExpiresAt.After(in.ReadAt)
	long := !in.RefreshFailingSince.IsZero() && in.ReadAt.Sub(in.RefreshFailingSince) >= v.cfg.GiveUpAfter
	switch {
	case ended && long && in.RefreshReported < reportGivenUp:
		return reportGivenUp
	case in.RefreshFails+1 >= failingAfter && in.RefreshReported < reportFailing:
		return reportFailing
	}
	return 0
}

// report is what a failure with a code adds to what the host was told: the new
// level, and the row that tells it.
func (h *Handle) report(ctx context.Context, in store.Integration, code string) (int, *store.Delivery) {
	v := h.vault
	level := v.failing(in)
	if level == 0 {
		return 0, nil
	}
	t := Turn{Kind: TurnFailing, Reason: code, Since: in.RefreshFailingSince}
	if level == reportGivenUp {
		t.Reason = ReasonGivenUp
	}
	change, err := v.turn(in, t)
	if err != nil {
		v.log.ErrorContext(ctx, "integrations: a change could not be made", "provider", h.Provider(), "tenant", h.TenantID(), "integration", h.ID(), "error", err)
		return 0, nil // another time
	}
	return level, change
}

// turn makes the row that tells the host of t, nil when nobody listens.
func (v *Vault) turn(in store.Integration, t Turn) (*store.Delivery, error) {
	if v.cfg.Change == nil {
		return nil, nil
	}
	return v.cfg.Change(in, t)
}

// turned are the rows that a stored grant makes.
func (v *Vault) turned(in store.Integration, g Grant) ([]store.Delivery, error) {
	var turns []Turn
	if in.RefreshReported > 0 {
		turns = append(turns, Turn{Kind: TurnRecovered, Since: in.RefreshFailingSince})
	}
	if g.Scopes != nil && !SameScopes(g.Scopes, in.Scopes) {
		turns = append(turns, Turn{Kind: TurnScopes, Scopes: g.Scopes})
	}
	var out []store.Delivery
	for _, t := range turns {
		d, err := v.turn(in, t)
		if err != nil {
			return nil, err
		}
		if d != nil {
			out = append(out, *d)
		}
	}
	return out, nil
}

// GivenUp reports whether renewing a row's token has failed for longer than
// VaultConfig.GiveUpAfter, as the host was told.
func GivenUp(in store.Integration) bool { return in.RefreshReported >= reportGivenUp }

// SameScopes compares lists of scopes without regard to order.
func SameScopes(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
