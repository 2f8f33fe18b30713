package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
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
// about 50 bytes, is removed with the event from the inbox, in the same transaction. It
// stays where they are in two databases, and where the event was removed, by a purge of
// its tenant, while its handler was at work: delete from webhook_once what has a
// done_at, in milliseconds since 1970, older than events are kept.
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
