package webhook_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// wild is every interface that this package is given, behaving as one is told.
type wild struct {
	store.Inbox
	crypto.Cipher
	slog.Handler
	verify  func() error
	inboxed func() ([]bool, error)
	claimed func() ([]store.Delivery, error)
	yes     func() (bool, error)
	sealed  func() ([]byte, error)
}

func (w wild) Verify(*webhook.Request) error { return w.verify() }
func (w wild) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	if w.inboxed == nil {
		return w.Inbox.InsertDeliveries(ctx, ds)
	}
	return w.inboxed()
}
func (w wild) ClaimDeliveries(ctx context.Context, c store.ClaimDeliveries) (store.Claimed, error) {
	if w.claimed == nil {
		return w.Inbox.ClaimDeliveries(ctx, c)
	}
	ds, err := w.claimed()
	return store.Claimed{Deliveries: ds}, err
}
func (w wild) RecordDeliveries(ctx context.Context, r store.RecordDeliveries) (store.Recorded, error) {
	if w.yes == nil {
		return w.Inbox.RecordDeliveries(ctx, r)
	}
	yes, err := w.yes()
	return store.Recorded{
		Ends: slices.Repeat([]bool{yes}, len(r.Ends)), Starts: slices.Repeat([]bool{yes}, len(r.Starts)),
	}, err
}
func (w wild) RenewDeliveries(ctx context.Context, owner string, ids []string, ttl time.Duration) error {
	if w.yes == nil {
		return w.Inbox.RenewDeliveries(ctx, owner, ids, ttl)
	}
	_, err := w.yes()
	return err
}
func (w wild) Seal([]byte, []byte, crypto.Binding) ([]byte, error) { return w.sealed() }
func (w wild) Open([]byte, []byte, crypto.Binding) ([]byte, error) { return w.sealed() }
func (w wild) KeyID([]byte) (string, error) {
	b, err := w.sealed()
	return string(b), err
}
func (w wild) Enabled(context.Context, slog.Level) bool { panic("a log that panics") }

// wildLog panics where a logger asks it, or when it is told something.
type wildLog struct{ slog.Handler }

func (wildLog) Enabled(context.Context, slog.Level) bool  { return true }
func (wildLog) Handle(context.Context, slog.Record) error { panic("a log that panics") }
func (w wildLog) WithAttrs([]slog.Attr) slog.Handler      { return w }

var errWild = errors.New("something else")

// TestL2Receiver: whatever what a receiver is made of returns or panics with, it
// answers, and never 2xx for what is not stored.
func TestL2Receiver(t *testing.T) {
	long := strings.Repeat("x", 192)
	notice := func(n webhook.Notice) func(cfg *webhook.ReceiverConfig) {
		return func(cfg *webhook.ReceiverConfig) {
			cfg.Source.Read = func(*webhook.Request) (webhook.Receipt, error) {
				return webhook.Receipt{Notices: []webhook.Notice{n}}, nil
			}
		}
	}
	reply := func(r webhook.Reply) func(cfg *webhook.ReceiverConfig) {
		return func(cfg *webhook.ReceiverConfig) {
			cfg.Source.Read = func(*webhook.Request) (webhook.Receipt, error) { return webhook.Receipt{Reply: &r}, nil }
		}
	}
	verifier := func(fn func() error) func(cfg *webhook.ReceiverConfig) {
		return func(cfg *webhook.ReceiverConfig) { cfg.Source.Verifier = wild{verify: fn} }
	}
	inbox := func(fn func() ([]bool, error)) func(cfg *webhook.ReceiverConfig) {
		return func(cfg *webhook.ReceiverConfig) { cfg.Inbox = wild{inboxed: fn} }
	}
	cipher := func(fn func() ([]byte, error)) func(cfg *webhook.ReceiverConfig) {
		return func(cfg *webhook.ReceiverConfig) { cfg.Cipher = wild{sealed: fn} }
	}
	route := func(fn func() ([]webhook.Target, error)) func(cfg *webhook.ReceiverConfig) {
		return func(cfg *webhook.ReceiverConfig) {
			cfg.Route = func(context.Context, string) ([]webhook.Target, error) { return fn() }
		}
	}
	endpoint := func(fn func() (*webhook.Endpoint, error)) func(cfg *webhook.ReceiverConfig) {
		return func(cfg *webhook.ReceiverConfig) {
			cfg.Endpoint = func(context.Context, string) (*webhook.Endpoint, error) { return fn() }
		}
	}
	for name, c := range map[string]struct {
		change func(cfg *webhook.ReceiverConfig)
		want   int
		stored bool
	}{
		"verifier panics":      {verifier(func() error { panic("v") }), 500, false},
		"verifier's own error": {verifier(func() error { return errWild }), 401, false},
		"source panics": {func(cfg *webhook.ReceiverConfig) {
			cfg.Source.Read = func(*webhook.Request) (webhook.Receipt, error) { panic("r") }
		}, 500, false},
		"source panics with nil": {func(cfg *webhook.ReceiverConfig) {
			cfg.Source.Read = func(*webhook.Request) (webhook.Receipt, error) { panic(nil) }
		}, 500, false},
		"source reads nothing": {func(cfg *webhook.ReceiverConfig) {
			cfg.Source.Read = func(*webhook.Request) (webhook.Receipt, error) { return webhook.Receipt{}, nil }
		}, 200, false},
		"source's own error": {func(cfg *webhook.ReceiverConfig) {
			cfg.Source.Read = func(*webhook.Request) (webhook.Receipt, error) { return webhook.Receipt{}, errWild }
		}, 400, false},
		"no id":                 {notice(webhook.Notice{Type: "x"}), 400, false},
		"no type":               {notice(webhook.Notice{DeliveryID: "x"}), 400, false},
		"long id":               {notice(webhook.Notice{DeliveryID: long, Type: "x"}), 400, false},
		"long account":          {notice(webhook.Notice{DeliveryID: "1", Type: "x", Account: long}), 400, false},
		"not UTF-8":             {notice(webhook.Notice{DeliveryID: "1\xff", Type: "x"}), 400, false},
		"control bytes":         {notice(webhook.Notice{DeliveryID: "1", Type: "x\x00"}), 400, false},
		"long order key":        {notice(webhook.Notice{DeliveryID: "1", Type: "x", OrderKey: long}), 400, false},
		"a time of no calendar": {notice(webhook.Notice{DeliveryID: "1", Type: "x", OccurredAt: time.Unix(1<<60, 0)}), 200, true},
		"an empty body":         {notice(webhook.Notice{DeliveryID: "1", Type: "x", Body: []byte{}}), 200, true},
		"a status below 200":    {reply(webhook.Reply{Status: 99}), 500, false},
		"a status above 599":    {reply(webhook.Reply{Status: 1000}), 500, false},
		"a negative status":     {reply(webhook.Reply{Status: -1}), 500, false},
		"inbox panics":          {inbox(func() ([]bool, error) { panic("i") }), 503, false},
		"inbox returns nil":     {inbox(func() ([]bool, error) { return nil, nil }), 503, false},
		"inbox returns more":    {inbox(func() ([]bool, error) { return make([]bool, 7), nil }), 503, false},
		"inbox's error":         {inbox(func() ([]bool, error) { return nil, errWild }), 503, false},
		"cipher panics":         {cipher(func() ([]byte, error) { panic("c") }), 500, false},
		"cipher returns nil":    {cipher(func() ([]byte, error) { return nil, nil }), 503, false},
		"cipher's error":        {cipher(func() ([]byte, error) { return nil, errWild }), 503, false},
		"route panics":          {route(func() ([]webhook.Target, error) { panic("r") }), 500, false},
		"route's error":         {route(func() ([]webhook.Target, error) { return nil, errWild }), 503, false},
		"route returns nobody":  {route(func() ([]webhook.Target, error) { return []webhook.Target{{}}, nil }), 200, true},
		"route returns one twice": {route(func() ([]webhook.Target, error) {
			return []webhook.Target{{TenantID: "t", IntegrationID: "i"}, {TenantID: "t", IntegrationID: "i"}}, nil
		}), 200, true},
		"endpoint panics":          {endpoint(func() (*webhook.Endpoint, error) { panic("e") }), 500, false},
		"endpoint's error":         {endpoint(func() (*webhook.Endpoint, error) { return nil, errWild }), 503, false},
		"endpoint returns nil":     {endpoint(func() (*webhook.Endpoint, error) { return nil, nil }), 401, false},
		"endpoint without secrets": {endpoint(func() (*webhook.Endpoint, error) { return &webhook.Endpoint{}, nil }), 401, false},
		"endpoint with poor secrets": {endpoint(func() (*webhook.Endpoint, error) {
			return &webhook.Endpoint{Secrets: [][]byte{nil, {}, []byte("short")}}, nil
		}), 401, false},
		"subscribed panics": {func(cfg *webhook.ReceiverConfig) {
			notice(webhook.Notice{DeliveryID: "1", Type: "x", Account: "A", Subscriptions: []string{"s"}})(cfg)
			cfg.Subscribed = func(context.Context, webhook.Target, []string) (bool, error) { panic("s") }
		}, 500, false},
		"observer panics": {func(cfg *webhook.ReceiverConfig) {
			cfg.Observe = func(context.Context, webhook.Observation) { panic("o") }
		}, 200, true},
		"wake panics": {func(cfg *webhook.ReceiverConfig) { cfg.Wake = func() { panic("w") } }, 200, true},
		"log panics": {func(cfg *webhook.ReceiverConfig) {
			cfg.Logger = slog.New(wildLog{}).With("a", 1)
			cfg.Source.Read = func(*webhook.Request) (webhook.Receipt, error) { panic("r") }
		}, 500, false},
		"log panics early": {func(cfg *webhook.ReceiverConfig) {
			cfg.Logger = slog.New(wild{})
			inbox(func() ([]bool, error) { panic("i") })(cfg)
		}, 503, false},
	} {
		t.Run(name, func(t *testing.T) {
			st := memstore.New()
			rc := receiver(t, st, ring(t), c.change)
			segment := ""
			if strings.HasPrefix(name, "endpoint") {
				segment = "some-endpoint"
			}
			for range 3 { // nothing that is held stays held
				w := httptest.NewRecorder()
				require.NotPanics(t, func() { rc.ServeEndpoint(w, signed(`{"id":"1","account":"A"}`), segment) })
				require.Equal(t, c.want, w.Code)
				if w.Code >= 400 {
					require.Equal(t, http.StatusText(c.want)+"\n", w.Body.String())
				}
			}
			n := must[store.DeliveryCounts](t)(st.CountDeliveries(t.Context(), nil)).Pending
			require.Equal(t, c.stored, n == 1, "%d stored", n)
		})
	}
}

// TestL2Worker: whatever what a worker is made of returns or panics with, Run and
// Drain return, and the next event is handled.
func TestL2Worker(t *testing.T) {
	panics := func() (bool, error) { panic("y") }
	handler := func(fn func() error) func(b *bench, cfg *webhook.WorkerConfig) {
		return func(_ *bench, cfg *webhook.WorkerConfig) {
			cfg.Handlers = []webhook.Handler{webhook.On("p", "x", func(context.Context, webhook.Event) error { return fn() })}
		}
	}
	inbox := func(change func(w *wild)) func(b *bench, cfg *webhook.WorkerConfig) {
		return func(b *bench, cfg *webhook.WorkerConfig) {
			w := wild{Inbox: b.store}
			change(&w)
			cfg.Inbox = w
		}
	}
	cipher := func(fn func() ([]byte, error)) func(b *bench, cfg *webhook.WorkerConfig) {
		return func(_ *bench, cfg *webhook.WorkerConfig) { cfg.Cipher = wild{sealed: fn} }
	}
	var typed *typedNil
	for name, change := range map[string]func(b *bench, cfg *webhook.WorkerConfig){
		"handler panics":            handler(func() error { panic("h") }),
		"handler panics with nil":   handler(func() error { panic(nil) }),
		"handler panics with error": handler(func() error { panic(errWild) }),
		"handler's error":           handler(func() error { return errWild }),
		"handler's typed nil":       handler(func() error { return typed }),
		"handler's text of nothing": handler(func() error { return errors.New("\x00\xff" + strings.Repeat("\xf0", 5000)) }),
		"before panics": func(_ *bench, cfg *webhook.WorkerConfig) {
			cfg.Before = func(context.Context, webhook.Event) error { panic("b") }
			cfg.BeforeTypes = []store.Match{{Provider: "p"}}
		},
		"claim panics":           inbox(func(w *wild) { w.claimed = func() ([]store.Delivery, error) { panic("c") } }),
		"claim's error":          inbox(func(w *wild) { w.claimed = func() ([]store.Delivery, error) { return nil, errWild } }),
		"start, finish panic":    inbox(func(w *wild) { w.yes = panics }),
		"start, finish say no":   inbox(func(w *wild) { w.yes = func() (bool, error) { return false, nil } }),
		"start, finish's error":  inbox(func(w *wild) { w.yes = func() (bool, error) { return false, errWild } }),
		"cipher panics":          cipher(func() ([]byte, error) { panic("c") }),
		"cipher returns nil":     cipher(func() ([]byte, error) { return nil, nil }),
		"cipher returns garbage": cipher(func() ([]byte, error) { return []byte{0, 1, 0xff}, nil }),
		"observer panics": func(_ *bench, cfg *webhook.WorkerConfig) {
			cfg.Observe = func(context.Context, webhook.Observation) { panic("o") }
		},
		"log panics": func(_ *bench, cfg *webhook.WorkerConfig) {
			cfg.Logger = slog.New(wildLog{})
			handler(func() error { return errWild })(nil, cfg)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.add(t, "p", "x", "t1")
				w := b.worker(t, handling(webhook.On("p", "x", func(context.Context, webhook.Event) error { return nil })), func(cfg *webhook.WorkerConfig) {
					change(b, cfg)
					cfg.Lease = 3 * time.Second // so that it is renewed
				})
				require.NotPanics(t, func() { _, _ = w.Drain(t.Context()) })
				ctx, stop := context.WithCancel(t.Context())
				var run sync.WaitGroup
				run.Go(func() { require.NotPanics(t, func() { require.NoError(t, w.Run(ctx)) }) })
				time.Sleep(time.Minute)
				stop()
				run.Wait()
				// One that is made of better things finds nothing broken.
				b.add(t, "p", "y", "t1")
				ran := false
				n, err := b.worker(t, handling(webhook.On("p", "y", func(context.Context, webhook.Event) error { ran = true; return nil }))).Drain(t.Context())
				require.NoError(t, err)
				require.Equal(t, 1, n)
				require.True(t, ran)
			})
		})
	}
	t.Run("claim returns garbage", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			left := 50
			w := b.worker(t, handling(webhook.On("p", "x", func(context.Context, webhook.Event) error { return nil })), func(cfg *webhook.WorkerConfig) {
				cfg.Inbox = wild{Inbox: b.store, claimed: func() ([]store.Delivery, error) {
					if left--; left < 0 {
						return nil, nil
					}
					return []store.Delivery{{}, {ID: "i", IntegrationID: "x", State: 99, Starts: -5, Claims: -1, Body: []byte{1}, Headers: []byte("{")}, {ID: "i", IntegrationID: "y"}}, nil
				}}
			})
			require.NotPanics(t, func() { _, _ = w.Drain(t.Context()) })
		})
	})
}

// typedNil is an error that is nil and is not.
type typedNil struct{}

func (*typedNil) Error() string { return "nothing" }
