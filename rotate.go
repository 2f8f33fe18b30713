package integrations

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
)

// Rotate gives an endpoint another path and another secret.
func (e endpoints) Rotate(ctx context.Context, id string, overlap time.Duration) (providers.Endpoint, error) {
	fail := func(err error) (providers.Endpoint, error) {
		return providers.Endpoint{}, fmt.Errorf("integrations: rotate endpoint: %w", err)
	}
	rows, err := e.rows(ctx)
	if err != nil {
		return providers.Endpoint{}, err
	}
	i := slices.IndexFunc(rows, func(r store.Endpoint) bool { return r.ID == id })
	if i < 0 {
		return fail(fmt.Errorf("%w: no such endpoint", providers.ErrNotFound))
	}
	row := rows[i]
	segment, secret := newSecret(), newSigningSecret()
	r := store.RotateEndpoint{TenantID: row.TenantID, ID: row.ID, SeenPathHash: row.PathHash, PathHash: hash(segment), Overlap: overlap}
	if r.Secret, r.KeyID, err = e.seal(row, secret); err != nil {
		return fail(err)
	}
	// The row names one key: the secret that becomes the previous one is sealed
	// anew, lest its own key go while it is still needed.
	before, err := e.m.cfg.Cipher.Open(nil, row.Secret, webhook.SecretBinding(row))
	if err != nil {
		return fail(err)
	}
	if r.PreviousSecret, _, err = e.seal(row, string(before)); err != nil {
		return fail(err)
	}
	rotated, err := e.store.RotateEndpoint(ctx, r)
	if err != nil {
		return fail(err)
	}
	if !rotated {
		return fail(fmt.Errorf("%w: endpoint was rotated or closed by somebody else", ErrConflict))
	}
	return e.shown(row.ID, segment, secret), nil
}
