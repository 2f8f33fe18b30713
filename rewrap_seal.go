package integrations

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// sealedBatch is what one list of rows became.
type sealedBatch struct {
	rows       []store.Reseal
	unknown    []string // the key of each row that has one the cipher lacks
	unreadable []string // the id of each row that does not open
	last       bool     // there are no more rows
	err        error
}

// seal reads the rows of a task and sends them sealed anew, until there are no
// more, something fails or ctx ends.
func (w *rewrap) seal(ctx context.Context, t task, to chan<- sealedBatch) {
	size := w.batchSize()
	for after := ""; ; {
		b, next := w.sealBatch(ctx, t, after, size)
		select {
		case to <- b:
		case <-ctx.Done():
			return
		}
		if b.last || b.err != nil {
			return
		}
		after = next
	}
}

// sealBatch reads a batch and seals it anew. A panic of the store's or the
// cipher's is an error: on a goroutine of ours it would end the process.
func (w *rewrap) sealBatch(ctx context.Context, t task, after string, size int) (b sealedBatch, next string) {
	defer func() {
		if v := recover(); v != nil {
			b = sealedBatch{err: fmt.Errorf("panic of type %T", v)}
		}
	}()
	rows, err := w.admin.ListSealed(ctx, t.kind, t.key, after, size)
	if err != nil || len(rows) == 0 {
		return sealedBatch{last: true, err: err}, after
	}
	b.rows = make([]store.Reseal, 0, len(rows))
	for _, row := range rows {
		r, closed, err := w.sealRow(t.kind, row)
		switch {
		case err != nil:
			return sealedBatch{err: err}, after
		case errors.Is(closed, crypto.ErrUnknownKey):
			b.unknown = append(b.unknown, w.missingKey(row))
		case closed != nil:
			b.unreadable = append(b.unreadable, row.ID)
		default:
			b.rows = append(b.rows, r)
		}
	}
	return b, rows[len(rows)-1].ID
}

// sealRow seals a row anew: both its values, whatever key each is under. closed
// says why one does not open, err what else went wrong.
func (w *rewrap) sealRow(kind store.SealedKind, row store.Sealed) (r store.Reseal, closed, err error) {
	r = store.Reseal{Old: row, KeyID: w.primary}
	bound := crypto.Bind(w.cipher, row.TenantID, row.Provider)
	for i, b := range bindingsOf(kind, row) {
		if row.Values[i] == nil {
			continue
		}
		plain, err := bound.Open(nil, row.Values[i], b.Integration, b.Field)
		switch {
		case errors.Is(err, crypto.ErrUnknownKey), errors.Is(err, crypto.ErrSealed):
			return r, err, nil
		case err != nil:
			return r, nil, err
		}
		r.Values[i], err = w.sealValue(bound, b, plain)
		clear(plain)
		if err != nil {
			return r, nil, err
		}
	}
	return r, nil, nil
}

// errSealing is a fault of the cipher's, or of the machine's memory. Nothing is
// written then.
var errSealing = errors.New("what the cipher sealed does not open under its primary key")

func (w *rewrap) sealValue(bound crypto.Bound, b crypto.Binding, plain []byte) ([]byte, error) {
	sealed, err := bound.Seal(nil, plain, b.Integration, b.Field)
	if err != nil {
		return nil, err
	}
	again, err := bound.Open(nil, sealed, b.Integration, b.Field)
	if key, keyErr := w.cipher.KeyID(sealed); err != nil || keyErr != nil || key != w.primary || !bytes.Equal(again, plain) {
		return nil, errSealing
	}
	clear(again)
	return sealed, nil
}

// missingKey is the key that one of a row's values names and the cipher lacks: not
// always the row's own.
func (w *rewrap) missingKey(row store.Sealed) string {
	for _, v := range row.Values {
		if v == nil {
			continue
		}
		if key, err := w.cipher.KeyID(v); err == nil && !w.has(key) {
			return key
		}
	}
	return row.KeyID
}

// bindingsOf are what the values of a row are bound to.
func bindingsOf(kind store.SealedKind, row store.Sealed) [2]crypto.Binding {
	switch kind {
	case store.SealedTokens:
		access, refresh := token.Bindings(row.TenantID, row.Provider, row.ID)
		return [2]crypto.Binding{access, refresh}
	case store.SealedSecrets:
		b := webhook.SecretBinding(store.Endpoint{ID: row.ID, TenantID: row.TenantID, Provider: row.Provider})
		return [2]crypto.Binding{b, b}
	default:
		return [2]crypto.Binding{webhook.BodyBinding(store.Delivery{ID: row.ID, TenantID: row.TenantID, Provider: row.Provider})}
	}
}
