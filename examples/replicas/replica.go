package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite"
)

// replicaEnv is set, to its name, in a process that is a replica.
const replicaEnv = "REPLICAS_EXAMPLE_REPLICA"

// tablePrefix keeps the tables apart from those that a server has already.
const tablePrefix = "replicas_example_"

// orders is what a replica is told in the first line of its input. A real one
// reads the same from its configuration.
type orders struct {
	Database database
	Key      string // TOKEN_ENCRYPTION_KEY of all replicas
	Provider access
}

// database is where all replicas keep their rows.
type database struct {
	Kind string // sqlite, postgres or mysql
	DSN  string
}

// sqliteFile is a file for the processes of one machine. Writers wait for each
// other (busy_timeout), readers for nobody (WAL).
func sqliteFile(path string) database {
	return database{"sqlite", "file:" + path + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate"}
}

// open connects and brings the schema up to date, which all replicas may do at
// once.
func (d database) open(ctx context.Context) (*sql.DB, *sqlstore.Store, error) {
	driver, known := map[string]string{"sqlite": "sqlite", "postgres": "pgx", "mysql": "mysql"}[d.Kind]
	dialect, ok := sqlstore.DialectByName(d.Kind)
	if !known || !ok {
		return nil, nil, fmt.Errorf("no database %q: it is sqlite, postgres or mysql", d.Kind)
	}
	db, err := sql.Open(driver, d.DSN)
	if err != nil {
		return nil, nil, err
	}
	if err := sqlstore.Migrate(ctx, db, dialect, &sqlstore.MigrateOptions{TablePrefix: tablePrefix}); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, sqlstore.New(db, dialect, &sqlstore.Options{TablePrefix: tablePrefix}), nil
}

// config is what every replica makes its Manager of, and the database to close
// afterwards.
func (o orders) config(ctx context.Context, name string) (integrations.Config, *sql.DB, error) {
	var cfg integrations.Config
	key, err := crypto.ParseKey("k1", o.Key)
	if err != nil {
		return cfg, nil, err
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		return cfg, nil, err
	}
	transport, err := o.Provider.transport(name)
	if err != nil {
		return cfg, nil, err
	}
	db, st, err := o.Database.open(ctx)
	return integrations.Config{
		Store: st, Cipher: ring, Transport: transport,
		BaseURL: integrationstest.BaseURL, Identify: integrationstest.Identify, // of the kit's browser
		Providers: []providers.Provider{providers.NewOAuth2(o.Provider.OAuth)},
	}, db, err
}

// answer is what a replica got when it asked.
type answer struct {
	Replica string
	Token   string // fingerprint
	Callers int    // that got it
	Took    time.Duration
}

// replica is the whole of a replica's process: it reads its orders, says that it
// is ready, asks when the next line comes, says what it got, and ends when its
// input does: so it ends with its parent, even when that is killed.
func replica(ctx context.Context, name string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan string)
	go func() {
		defer cancel()
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	next := func() (string, bool) {
		select {
		case l := <-lines:
			return l, true
		case <-ctx.Done():
			return "", false
		}
	}
	first, ok := next()
	if !ok {
		return nil
	}
	var o orders
	if err := json.Unmarshal([]byte(first), &o); err != nil {
		return err
	}
	cfg, db, err := o.config(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	m, err := integrations.New(ctx, cfg)
	if err != nil {
		return err
	}
	// The row is read before the race begins, so that nobody is late to it.
	conn, err := m.Connection(ctx, tenant, providerKey)
	if err != nil {
		return err
	}
	say := json.NewEncoder(out)
	if err := say.Encode(answer{Replica: name}); err != nil {
		return err
	}
	for {
		if _, ok := next(); !ok {
			break
		}
		a, err := askAtOnce(ctx, conn)
		if err != nil {
			return err
		}
		a.Replica = name
		if err := say.Encode(a); err != nil {
			return err
		}
	}
	// A process that ends lets a refresh finish that it has begun: its answer is
	// in no database yet.
	stop, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancelStop()
	return m.Shutdown(stop)
}

// askAtOnce asks for the token from many goroutines, as requests that are served
// at the same moment do.
func askAtOnce(ctx context.Context, conn *providers.Connection) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := time.Now()
	var got [callers]string
	var group errgroup.Group
	for i := range got {
		group.Go(func() error {
			t, err := conn.Token(ctx)
			got[i] = fingerprint(t.Reveal())
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return answer{}, err
	}
	a := answer{Token: got[0], Took: time.Since(began)}
	for _, g := range got {
		if g == a.Token {
			a.Callers++
		}
	}
	return a, nil
}

// fingerprint tells tokens apart without showing them.
func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:4])
}
