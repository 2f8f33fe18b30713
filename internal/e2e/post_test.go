package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// post is a database with an inbox, and what opens its events.
type post struct {
	db      *sql.DB
	store   *sqlstore.Store
	cipher  crypto.Cipher
	dialect sqlstore.Dialect
	prefix  string
	// key, driver and dsn are for processes that open the same.
	key, driver, dsn string
}

// posts runs fn on each database.
func posts[T testing.TB](t T, run func(name string, open func(t testing.TB) *post)) {
	t.Helper()
	run("sqlite", func(t testing.TB) *post {
		path := filepath.Join(t.TempDir(), "post.db")
		db := openSQLite(t, path, recommended)
		return newPost(t, &post{db: db, store: migrated(t, db, ""), dialect: sqlstore.SQLite, driver: "sqlite", dsn: "file:" + path + recommended})
	})
	for _, s := range servers {
		run(s.name, func(t testing.TB) *post {
			db := s.open(t, "")
			prefix := s.prefixed(t, db)
			require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
			st := sqlstore.New(db, s.dialect, &sqlstore.Options{TablePrefix: prefix})
			return newPost(t, &post{db: db, store: st, dialect: s.dialect, prefix: prefix, driver: s.driver, dsn: s.address()})
		})
	}
}

func newPost(t testing.TB, p *post) *post {
	t.Helper()
	key, err := crypto.GenerateKey("k1")
	require.NoError(t, err)
	p.key = key.Reveal()
	p.cipher, err = crypto.NewKeyring(key)
	require.NoError(t, err)
	return p
}

// event makes a sealed event that was not stored yet.
func (p *post) event(t testing.TB, id, tenant, typ, orderKey string, body []byte) store.Delivery {
	t.Helper()
	d := store.Delivery{
		ID: webhook.NewID(), Provider: replicaKey, DeliveryID: id, TenantID: tenant, IntegrationID: "i-" + tenant,
		ExternalID: "account-" + tenant, EventType: typ, OrderKey: orderKey,
	}
	var err error
	d.Body, err = webhook.SealBody(p.cipher, d, body)
	require.NoError(t, err)
	d.KeyID, err = p.cipher.KeyID(d.Body)
	require.NoError(t, err)
	return d
}

// fill stores n events of some tenants, of about a KiB.
func (p *post) fill(t testing.TB, name string, n, tenants int) {
	t.Helper()
	body := bytes.Repeat([]byte(`{"text":"hello"},`), 60)
	for from := 0; from < n; from += 500 {
		var ds []store.Delivery
		for i := from; i < min(n, from+500); i++ {
			ds = append(ds, p.event(t, fmt.Sprint(name, "-", i), tenantName(i%tenants), "push", "", body))
		}
		_, err := p.store.InsertDeliveries(t.Context(), ds)
		require.NoError(t, err)
	}
}

// text is a query with the prefix in place and parameters as the database has them.
func (p *post) text(q string) string {
	return (&crowd{dialect: p.dialect, prefix: p.prefix}).query(q)
}

func (p *post) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	_, err := p.db.ExecContext(context.WithoutCancel(t.Context()), p.text(query), args...)
	require.NoError(t, err)
}

// counts are how many events are in each state.
func (p *post) counts(t testing.TB) store.DeliveryCounts {
	t.Helper()
	c, err := p.store.CountDeliveries(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	return c
}

// until waits for a condition that the store tells.
func until(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(within)
	for !cond() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
