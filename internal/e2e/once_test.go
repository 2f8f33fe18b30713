package e2e

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

// inTx runs fn in a transaction of the host's.
func inTx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// TestOnce: of all transactions that ask for an event, the first that commits does the
// work, whether they come one after the other or at the same time.
func TestOnce(t *testing.T) {
	posts(t, func(name string, open func(testing.TB) *post) {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			ctx := t.Context()
			once := func(id string, work error) (first bool, err error) {
				err = inTx(ctx, p.db, func(tx *sql.Tx) error {
					first, err = p.store.Once(ctx, tx, id)
					return errors.Join(err, work)
				})
				return first, err
			}
			broken := errors.New("the work failed")
			first, err := once("e1", broken)
			require.ErrorIs(t, err, broken)
			require.True(t, first)
			first, err = once("e1", nil)
			require.NoError(t, err)
			require.True(t, first, "what was rolled back has not been")
			for range 2 {
				first, err = once("e1", nil)
				require.NoError(t, err)
				require.False(t, first)
			}
			first, err = once("e2", nil)
			require.NoError(t, err)
			require.True(t, first, "another event")

			var wg sync.WaitGroup
			var won atomic.Int64
			for range 8 {
				wg.Go(func() {
					yes, err := once("e3", nil)
					if err != nil {
						t.Error(err)
					}
					if yes {
						won.Add(1)
					}
				})
			}
			wg.Wait()
			require.Equal(t, int64(1), won.Load())
			err = inTx(ctx, p.db, func(tx *sql.Tx) error {
				_, err := p.store.Once(ctx, tx, "")
				return err
			})
			require.Error(t, err)
		})
	})
}

// TestOnceGoesWithItsEvent: the note of an event is removed when the event is, and
// not before.
func TestOnceGoesWithItsEvent(t *testing.T) {
	posts(t, func(name string, open func(testing.TB) *post) {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			ctx := t.Context()
			p.fill(t, "x", 300, 1)
			got, err := p.store.ClaimDeliveries(ctx, store.ClaimDeliveries{Owner: "o", Limit: 300, TTL: time.Minute, Match: []store.Match{{Provider: replicaKey}}})
			require.NoError(t, err)
			require.Len(t, got.Deliveries, 300)
			var r store.RecordDeliveries
			for i, d := range got.Deliveries {
				require.NoError(t, inTx(ctx, p.db, func(tx *sql.Tx) error {
					first, err := p.store.Once(ctx, tx, d.ID)
					require.True(t, first)
					return err
				}))
				if i < 250 {
					r.Ends = append(r.Ends, store.FinishDelivery{ID: d.ID, Owner: "o", State: store.Done})
				}
			}
			_, err = p.store.RecordDeliveries(ctx, r)
			require.NoError(t, err)
			notes := func() int {
				var n int
				require.NoError(t, p.db.QueryRowContext(ctx, p.text("SELECT COUNT(*) FROM {p}webhook_once")).Scan(&n))
				return n
			}
			time.Sleep(20 * time.Millisecond)
			n, err := p.store.DeleteDeliveries(ctx, store.Done, time.Hour, 1000)
			require.NoError(t, err)
			require.Zero(t, n)
			require.Equal(t, 300, notes())
			n, err = p.store.DeleteDeliveries(ctx, store.Done, time.Millisecond, 1000)
			require.NoError(t, err)
			require.Equal(t, 250, n)
			require.Equal(t, 50, notes(), "those of pending events stay")
		})
	})
}
