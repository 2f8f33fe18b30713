package faultstore

import (
	"context"

	"github.com/saas-integrations/integrations/store"
)

// PurgeRows implements store.Purger.
func (st *Store) PurgeRows(ctx context.Context, tenant string, t store.Table, limit int) (n int, err error) {
	err = st.call("PurgeRows", func() (err error) {
		n, err = st.inner.PurgeRows(ctx, tenant, t, limit)
		return err
	})
	return n, err
}
