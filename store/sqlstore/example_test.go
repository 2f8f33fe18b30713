package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/saas-integrations/integrations/store/sqlstore"
)

// Bring the schema up to date when the program starts, then make the store. The
// driver is the host's: a blank import of modernc.org/sqlite, for one.
func ExampleNew() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:app.sqlite?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sqlstore.Migrate(ctx, db, sqlstore.SQLite, nil); err != nil {
		fmt.Println(err)
		return
	}
	st := sqlstore.New(db, sqlstore.SQLite, nil)
	fmt.Println(st.Check(ctx))
}

// Migrate may be called by every replica at once; a table prefix keeps the
// library's tables apart from the host's.
func ExampleMigrate() {
	db, err := sql.Open("sqlite", "file:app.sqlite?_txlock=immediate")
	if err != nil {
		fmt.Println(err)
		return
	}
	opts := sqlstore.MigrateOptions{TablePrefix: "integrations_"}
	fmt.Println(sqlstore.Migrate(context.Background(), db, sqlstore.SQLite, &opts))
}

// A handler of webhooks that books a payment once, however often its event comes:
// handlers see an event at least once, and again after a crash.
func ExampleStore_Once() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:app.sqlite?_txlock=immediate")
	if err != nil {
		fmt.Println(err)
		return
	}
	st := sqlstore.New(db, sqlstore.SQLite, nil)
	book := func(ctx context.Context, eventID string, cents int) error { // eventID is the Event.ID of package webhook
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		first, err := st.Once(ctx, tx, eventID)
		if err != nil || !first {
			return err // nil for a repeat: the event is done
		}
		if _, err := tx.ExecContext(ctx, "UPDATE balance SET cents = cents + ?", cents); err != nil {
			return err
		}
		return tx.Commit()
	}
	fmt.Println(book(ctx, "01JD5Z6T9M0000000000000000", 1250))
}
