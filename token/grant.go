package token

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
)

// Names of the sealed columns, as they are bound into the sealed values.
const (
	fieldAccess  = "access_token"
	fieldRefresh = "refresh_token"
)

// Bindings are what the sealed tokens of an integration are bound to.
func Bindings(tenant, provider, id string) (access, refresh crypto.Binding) {
	access = crypto.Binding{Tenant: tenant, Provider: provider, Integration: id, Field: fieldAccess}
	refresh = access
	refresh.Field = fieldRefresh
	return access, refresh
}

// SealGrant seals the tokens of a grant for one integration and reports the id
// of the key. refresh is nil when the grant has no refresh token.
func SealGrant(c crypto.Cipher, tenant, provider, id string, g Grant) (access, refresh []byte, keyID string, err error) {
	toAccess, toRefresh := Bindings(tenant, provider, id)
	if access, err = c.Seal(nil, g.AccessToken.AppendTo(nil), toAccess); err != nil {
		return nil, nil, "", fmt.Errorf("integrations/token: seal: %w", err)
	}
	if !g.RefreshToken.IsZero() {
		if refresh, err = c.Seal(nil, g.RefreshToken.AppendTo(nil), toRefresh); err != nil {
			return nil, nil, "", fmt.Errorf("integrations/token: seal: %w", err)
		}
	}
	if keyID, err = c.KeyID(access); err != nil {
		return nil, nil, "", fmt.Errorf("integrations/token: seal: %w", err)
	}
	return access, refresh, keyID, nil
}

// OpenGrant opens the tokens of a row. A token the row does not have is zero.
// The error wraps crypto.ErrSealed or crypto.ErrUnknownKey.
func OpenGrant(c crypto.Cipher, in store.Integration) (access, refresh Secret, err error) {
	ofAccess, ofRefresh := Bindings(in.TenantID, in.Provider, in.ID)
	if access, err = open(c, ofAccess, in.AccessToken); err != nil {
		return Secret{}, Secret{}, err
	}
	if refresh, err = open(c, ofRefresh, in.RefreshToken); err != nil {
		return Secret{}, Secret{}, err
	}
	return access, refresh, nil
}

func open(c crypto.Cipher, b crypto.Binding, sealed []byte) (Secret, error) {
	if len(sealed) == 0 {
		return Secret{}, nil
	}
	plain, err := c.Open(nil, sealed, b)
	if err != nil {
		return Secret{}, fmt.Errorf("integrations/token: %s of integration %s: %w", b.Field, b.Integration, err)
	}
	return NewSecret(string(plain)), nil
}

// Soft refresh window: a token is renewed so long before its end that a provider
// may be out for a while without anybody noticing.
const (
	earlyAtLeast = 5 * time.Minute
	earlyShare   = 10 // a tenth of the life
)

// RefreshIn is how long after its issue a token of the given life should be
// renewed: the provider's [EarlyRenewer], else 10 % of the life and at least 5
// minutes before the end. It is spread by up to 10 % of that margin by the id, so
// that tokens issued together are not renewed together. 0 means never: the life
// is unknown, or nothing renews it.
func RefreshIn(r Renewer, life time.Duration, id string) time.Duration {
	if r == nil || life <= 0 {
		return 0
	}
	early := max(earlyAtLeast, life/earlyShare)
	if e, ok := r.(EarlyRenewer); ok {
		early = e.RenewEarly(life)
	}
	early = min(max(early, 0), life/2)
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	spread := float64(h.Sum32())/(1<<32)*0.2 - 0.1
	return max(life-early-time.Duration(spread*float64(early)), time.Millisecond)
}

// unusedShare is the part of a grant's life after which it is used only to keep
// it alive.
const unusedShare = 2

// RefreshIn is how long after its issue g should be renewed: [RefreshIn] of its
// access token or, when nobody knows how long that lasts, half of the time after
// which an unused grant ends. 0 means never.
func (g Grant) RefreshIn(r Renewer, id string) time.Duration {
	if r == nil || g.ExpiresIn > 0 || g.RefreshExpiresIn <= 0 {
		return RefreshIn(r, g.ExpiresIn, id)
	}
	return g.RefreshExpiresIn / unusedShare
}

// endJudged is how long after one renewal the next one tells whether renewals put
// the end of a grant off: clocks and calls are not exact to less.
const endJudged = time.Minute

// grantEnd is what a renewal did to the end of a row's grant: life is the grant's
// from when the row was read, 0 when the answer did not say.
func grantEnd(in store.Integration, life time.Duration) store.GrantEnd {
	if in.RefreshExpiresAt.IsZero() {
		return store.EndUnknown
	}
	if life == 0 {
		return store.EndStays // as the row has it
	}
	before := in.ConnectedAt
	if in.LastRefreshAt.After(before) {
		before = in.LastRefreshAt
	}
	passed := in.ReadAt.Sub(before)
	switch moved := in.ReadAt.Add(life).Sub(in.RefreshExpiresAt); {
	case passed < endJudged:
		return store.EndUnknown
	case moved > passed/2:
		return store.EndMoves
	}
	return store.EndStays
}
