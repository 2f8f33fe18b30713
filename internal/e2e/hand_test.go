package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/webhook"
)

// handEnv holds the orders of a hand: this test binary, run again as a process that
// receives webhooks and handles what is stored.
const handEnv = "INTEGRATIONS_E2E_HAND"

// handOrders are what a hand is told.
type handOrders struct {
	Name                 string
	Driver, DSN, Dialect string
	Prefix, Key, Secret  string
	Handling             webhook.Handling
}

// job is the body of an event: what its handler does.
type job struct {
	ID, Account, Key string
	// Do is "" for nothing, "once" for an effect in a transaction of its own, "span"
	// for noting when it begins and ends, or how it fails: "error", "panic", "exit",
	// "hang".
	Do string
}

// signedBy is how the provider of the jobs signs.
func signedBy(secret string) webhook.HMACConfig {
	return webhook.HMACConfig{SignatureHeader: "Acme-Signature", Prefix: "v1=", Signed: "{timestamp}.{body}", TimestampHeader: "Acme-Timestamp", Secrets: []string{secret}}
}

// readJob reads a job as a webhook.
func readJob(r *webhook.Request) (webhook.Receipt, error) {
	var j job
	if err := json.Unmarshal(r.Body, &j); err != nil {
		return webhook.Receipt{}, errors.New("no job")
	}
	return webhook.Receipt{Notices: []webhook.Notice{{DeliveryID: j.ID, Type: "job", Account: j.Account, OrderKey: j.Key}}}, nil
}

// hand is the process. It prints the address it receives at.
func hand(raw string) error {
	var o handOrders
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	dialect, ok := sqlstore.DialectByName(o.Dialect)
	if !ok {
		return fmt.Errorf("no dialect %q", o.Dialect)
	}
	db, err := sql.Open(o.Driver, o.DSN)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8) // else most statements make a connection of their own
	key, err := crypto.ParseKey("k1", o.Key)
	if err != nil {
		return err
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		return err
	}
	w := &working{
		name: o.Name, post: &post{db: db, dialect: dialect, prefix: o.Prefix},
		store: sqlstore.New(db, dialect, &sqlstore.Options{TablePrefix: o.Prefix}),
	}
	worker, err := webhook.NewWorker(webhook.WorkerConfig{
		Inbox: w.store, Cipher: ring, Handling: o.Handling, Handlers: []webhook.Handler{webhook.OnJSON(replicaKey, "job", w.handle)},
	})
	if err != nil {
		return err
	}
	verifier, err := webhook.NewHMAC(signedBy(o.Secret))
	if err != nil {
		return err
	}
	receiver, err := webhook.NewReceiver(webhook.ReceiverConfig{
		Provider: replicaKey, Source: webhook.Source{Verifier: verifier, Read: readJob}, Inbox: w.store, Cipher: ring, Wake: worker.Wake,
		Route: func(_ context.Context, account string) ([]webhook.Target, error) {
			return []webhook.Target{{TenantID: account, IntegrationID: "i-" + account}}, nil
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: receiver, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	if _, err := fmt.Println("http://" + listener.Addr().String()); err != nil {
		return err
	}
	err = worker.Run(ctx)
	_ = server.Close()
	return err
}

// working is what a hand's handler has at hand.
type working struct {
	name  string
	post  *post
	store *sqlstore.Store
}

// handle writes down that it runs, and does as it is told.
func (w *working) handle(ctx context.Context, ev webhook.Event, j *job) error {
	if err := w.note(ctx, ev, "begin"); err != nil {
		return err
	}
	switch j.Do {
	case "error":
		return errors.New("told to fail")
	case "panic":
		panic("told to panic")
	case "exit":
		os.Exit(3)
	case "hang":
		select {}
	case "once":
		return inTx(ctx, w.post.db, func(tx *sql.Tx) error {
			first, err := w.store.Once(ctx, tx, ev.ID)
			if err != nil || !first {
				return err
			}
			_, err = tx.ExecContext(ctx, w.post.text("INSERT INTO {p}e2e_effects (event_id) VALUES (?)"), ev.ID)
			return err
		})
	case "span":
		return w.note(ctx, ev, "end")
	}
	return nil
}

// note writes a line into the log of runs. The clock is the machine's, which all hands
// share.
func (w *working) note(ctx context.Context, ev webhook.Event, what string) error {
	_, err := w.post.db.ExecContext(ctx, w.post.text("INSERT INTO {p}e2e_runs (event_id, delivery, order_key, hand, what, at) VALUES (?, ?, ?, ?, ?, ?)"),
		ev.ID, ev.DeliveryID, ev.OrderKey, w.name, what, time.Now().UnixMicro())
	return err
}
