package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/store"
)

// Once lets a host's own transaction take effect once for an event, however often the
// event comes: it reports true to the first transaction that commits after it, and
// false to all others. A handler does its work in tx, and commits, only on true:
//
//	err := inTx(ctx, db, func(tx *sql.Tx) error {
//		first, err := st.Once(ctx, tx, ev.ID)
//		if err != nil || !first {
//			return err
//		}
//		_, err = tx.ExecContext(ctx, "UPDATE balances …")
//		return err
//	})
//
// tx is of the database that s is made of, where [Migrate] has made the tables; it
// need not be the one the Manager stores in. A transaction that is rolled back has
// not been; one that is open makes others with the same event wait, or fail where
// the database does not wait. What is done outside of tx, a call to a service for
// example, is not covered.
//
// A replay of an event whose work was committed is not done again. The note of it, of
// about 50 bytes, is removed with the event from the inbox; where they are in two
// databases, delete from webhook_once what has a done_at, in milliseconds since 1970,
// older than events are kept.
func (s *Store) Once(ctx context.Context, tx *sql.Tx, eventID string) (bool, error) {
	if s.fault != nil {
		return false, s.fault
	}
	if eventID == "" {
		return false, fmt.Errorf("integrations/store/sqlstore: once: no event id")
	}
	first, err := s.inserted(ctx, tx, "INSERT INTO {p}webhook_once (event_id, done_at) VALUES (?, {now}) {ifabsent}", eventID)
	if err != nil {
		return false, fmt.Errorf("integrations/store/sqlstore: once: %w", ended(ctx, err))
	}
	return first, nil
}

// DeleteDeliveries implements store.Inbox. What [Store.Once] noted of them goes too.
func (s *Store) DeleteDeliveries(ctx context.Context, state store.DeliveryState, age time.Duration, limit int) (int, error) {
	const old = "status = ? AND updated_at > 0 AND updated_at < {now}-?"
	ids, err := s.ids(ctx, "old deliveries", "SELECT id FROM {p}webhook_inbox WHERE "+old+" LIMIT ?", int(state), millis(age), max(limit, 0))
	if err != nil {
		return 0, err
	}
	total := 0
	for part := range slices.Chunk(ids, chunk) {
		deleted := 0
		if err := s.write(ctx, "delete deliveries", func(tx *sql.Tx) error {
			n, err := s.exec(ctx, tx, "DELETE FROM {p}webhook_inbox WHERE "+old+" AND id IN ("+in(len(part))+")", append([]any{int(state), millis(age)}, part...)...)
			if err != nil {
				return err
			}
			deleted = int(n)
			_, err = s.exec(ctx, tx, "DELETE FROM {p}webhook_once WHERE event_id IN ("+in(len(part))+") AND NOT EXISTS (SELECT 1 FROM {p}webhook_inbox i WHERE i.id = event_id)", part...)
			return err
		}); err != nil {
			return total, err
		}
		total += deleted
	}
	return total, nil
}
