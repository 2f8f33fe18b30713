package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// noted makes deliveries of tenants a and b by turns and notes all of them, half of
// each tenant's done and the others dead. notes are how many there are.
func noted(t *testing.T, p *post, rows int) (notes func() int) {
	t.Helper()
	ctx := t.Context()
	var ds []store.Delivery
	for i := range rows {
		id := fmt.Sprintf("event-%06d", i)
		ds = append(ds, store.Delivery{ID: id, Provider: replicaKey, DeliveryID: id, TenantID: []string{"a", "b"}[i%2], EventType: "x"})
	}
	_, err := p.store.InsertDeliveries(ctx, ds)
	require.NoError(t, err)
	got, err := p.store.ClaimDeliveries(ctx, store.ClaimDeliveries{Owner: "o", Limit: rows, TTL: time.Minute, Match: []store.Match{{Provider: replicaKey}}})
	require.NoError(t, err)
	require.Len(t, got.Deliveries, rows)
	r := store.RecordDeliveries{}
	require.NoError(t, inTx(ctx, p.db, func(tx *sql.Tx) error {
		for i, d := range ds {
			first, err := p.store.Once(ctx, tx, d.ID)
			if err != nil {
				return err
			}
			require.True(t, first)
			r.Ends = append(r.Ends, store.FinishDelivery{ID: d.ID, Owner: "o", State: []store.DeliveryState{store.Done, store.Dead}[i/2%2]})
		}
		return nil
	}))
	_, err = p.store.RecordDeliveries(ctx, r)
	require.NoError(t, err)
	return func() int {
		var n int
		require.NoError(t, p.db.QueryRowContext(ctx, p.text("SELECT COUNT(*) FROM {p}webhook_once")).Scan(&n))
		return n
	}
}

// TestOnceIsTrimmedAndPurgedWithItsEvent: what removes events beside their age removes
// the notes of these events and no other.
func TestOnceIsTrimmedAndPurgedWithItsEvent(t *testing.T) {
	posts(t, func(name string, open func(testing.TB) *post) {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			ctx := t.Context()
			notes := noted(t, p, 800)
			require.Equal(t, 800, notes())
			for _, c := range []struct{ limit, removed, left int }{{250, 250, 550}, {1000, 50, 500}, {1000, 0, 500}} {
				n, err := p.store.TrimDeliveries(ctx, store.Dead, 100, c.limit)
				require.NoError(t, err)
				require.Equal(t, c.removed, n)
				require.Equal(t, c.left, notes())
			}
			for _, c := range []struct{ limit, removed, left int }{{30, 30, 470}, {1000, 220, 250}, {1000, 0, 250}} {
				n, err := p.store.PurgeRows(ctx, "a", store.TableDeliveries, c.limit)
				require.NoError(t, err)
				require.Equal(t, c.removed, n)
				require.Equal(t, c.left, notes())
			}
			var alone int
			require.NoError(t, p.db.QueryRowContext(ctx, p.text("SELECT COUNT(*) FROM {p}webhook_once o WHERE NOT EXISTS (SELECT 1 FROM {p}webhook_inbox i WHERE i.id = o.event_id AND i.tenant_id = 'b')")).Scan(&alone))
			require.Zero(t, alone, "notes without their event")
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
