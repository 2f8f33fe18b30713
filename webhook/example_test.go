package webhook_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

// acme is a provider that signs the time and the body.
var acme = webhook.HMACConfig{
	SignatureHeader: "Acme-Signature", Prefix: "v1=", Signed: "{timestamp}.{body}", TimestampHeader: "Acme-Timestamp",
	Secrets: []string{"a signing secret of acme"},
}

// ringOf makes a cipher for the examples.
func ringOf() *crypto.Keyring {
	key, err := crypto.GenerateKey("k1")
	if err != nil {
		panic(err)
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		panic(err)
	}
	return ring
}

func ExampleNewHMAC() {
	v, err := webhook.NewHMAC(acme)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Now()
	signed := webhooktest.HMAC("https://app.example.com/acme/webhook", acme, []byte(`{"id":1}`), now)
	fmt.Println(v.Verify(&webhook.Request{Header: signed.Header, Body: []byte(`{"id":1}`), Now: now}))
	fmt.Println(v.Verify(&webhook.Request{Header: signed.Header, Body: []byte(`{"id":2}`), Now: now}))
	// Output:
	// <nil>
	// integrations/webhook: bad signature
}

func ExampleNewStandardWebhooks() {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwvPS7pQ8ZHvUe"
	v, err := webhook.NewStandardWebhooks(secret)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Now()
	signed := webhooktest.StandardWebhooks("https://app.example.com/acme/webhook", secret, "msg_1", []byte(`{}`), now)
	fmt.Println(v.Verify(&webhook.Request{Header: signed.Header, Body: []byte(`{}`), Now: now}))
	// Output: <nil>
}

// A receiver stores what arrives; a worker hands it to the host. The Manager
// makes both for its providers.
func ExampleNewReceiver() {
	ctx, inbox, cipher := context.Background(), memstore.New(), ringOf()
	verifier, err := webhook.NewHMAC(acme)
	if err != nil {
		fmt.Println(err)
		return
	}
	receiver, err := webhook.NewReceiver(webhook.ReceiverConfig{
		Provider: "acme",
		Source: webhook.Source{
			Verifier: verifier,
			Read: func(r *webhook.Request) (webhook.Receipt, error) {
				v, err := webhook.Pick(r.Body, "id", "type", "account")
				if err != nil {
					return webhook.Receipt{}, err
				}
				var n webhook.Notice
				n.DeliveryID, _ = webhook.String(v[0])
				n.Type, _ = webhook.String(v[1])
				n.Account, _ = webhook.String(v[2])
				return webhook.Receipt{Notices: []webhook.Notice{n}}, nil
			},
		},
		Inbox: inbox, Cipher: cipher,
		Route: func(_ context.Context, account string) ([]webhook.Target, error) {
			return []webhook.Target{{TenantID: "tenant-of-" + account, IntegrationID: "i1"}}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	worker, err := webhook.NewWorker(webhook.WorkerConfig{
		Inbox: inbox, Cipher: cipher,
		Handlers: []webhook.Handler{webhook.On("acme", "paid", func(_ context.Context, ev webhook.Event) error {
			fmt.Println(ev.Type, ev.TenantID)
			return nil
		})},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	body := []byte(`{"id":"d1","type":"paid","account":"a7"}`)
	for range 2 { // the second is the same delivery again
		answer := httptest.NewRecorder()
		receiver.ServeHTTP(answer, webhooktest.HMAC("https://app.example.com/acme/webhook", acme, body, time.Now()))
		fmt.Println(answer.Code)
	}
	handled, err := worker.Drain(ctx)
	fmt.Println(handled, err)
	// Output:
	// 200
	// 200
	// paid tenant-of-a7
	// 1 <nil>
}

func ExampleNewWorker() {
	worker, err := webhook.NewWorker(webhook.WorkerConfig{
		Inbox: memstore.New(), Cipher: ringOf(),
		Handlers: []webhook.Handler{webhook.On("acme", webhook.AnyType, func(context.Context, webhook.Event) error { return nil })},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	fmt.Println(worker.Run(ctx)) // a goroutine of the host's
	// Output: <nil>
}

func ExampleNewBudget() {
	// Receivers that share a budget hold 128 MiB of bodies between them.
	budget := webhook.NewBudget(128 << 20)
	verifier, err := webhook.NewHMAC(acme)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, key := range []string{"acme_eu", "acme_us"} {
		_, err := webhook.NewReceiver(webhook.ReceiverConfig{
			Provider: key, Budget: budget, Inbox: memstore.New(), Cipher: ringOf(),
			Source: webhook.Source{Verifier: verifier, Read: func(*webhook.Request) (webhook.Receipt, error) { return webhook.Receipt{}, nil }},
			Route:  func(context.Context, string) ([]webhook.Target, error) { return nil, nil },
		})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
}

// Receivers that share a committer store what arrives at a time together, whichever
// of them it comes to.
func ExampleNewCommitter() {
	committer, err := webhook.NewCommitter(memstore.New())
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := webhook.NewHMAC(acme)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, key := range []string{"acme_eu", "acme_us"} {
		_, err := webhook.NewReceiver(webhook.ReceiverConfig{
			Provider: key, Inbox: committer, Cipher: ringOf(),
			Source: webhook.Source{Verifier: verifier, Read: func(*webhook.Request) (webhook.Receipt, error) { return webhook.Receipt{}, nil }},
			Route:  func(context.Context, string) ([]webhook.Target, error) { return nil, nil },
		})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
}

func ExampleNewID() {
	first, second := webhook.NewID(), webhook.NewID()
	fmt.Println(len(first), first < second)
	// Output: 26 true
}
