package webhooktest_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

// receiver is what is under test: here a receiver of GitHub's scheme.
func receiver() (http.Handler, error) {
	verifier, err := webhook.NewHMAC(webhook.HMACConfig{
		SignatureHeader: "X-Hub-Signature-256", Prefix: "sha256=", Secrets: []string{"a secret of at least 16 bytes"},
	})
	if err != nil {
		return nil, err
	}
	key, err := crypto.GenerateKey("k1")
	if err != nil {
		return nil, err
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		return nil, err
	}
	return webhook.NewReceiver(webhook.ReceiverConfig{
		Provider: "github", Inbox: memstore.New(), Cipher: ring,
		Route: func(context.Context, string) ([]webhook.Target, error) { return nil, nil },
		Source: webhook.Source{Verifier: verifier, Read: func(r *webhook.Request) (webhook.Receipt, error) {
			return webhook.Receipt{Notices: []webhook.Notice{{DeliveryID: r.Header.Get("X-Github-Delivery"), Type: "push"}}}, nil
		}},
	})
}

const hook = "https://app.example.com/integrations/github/webhook"

func ExampleGitHub() {
	h, err := receiver()
	if err != nil {
		fmt.Println(err)
		return
	}
	body := []byte(`{"ref":"refs/heads/main"}`)
	good := webhooktest.GitHub(hook, "a secret of at least 16 bytes", "push", "72d3162e-cc78-11e3-81ab-4c9367dc0958", body)
	forged := webhooktest.GitHub(hook, "not the secret, but as long", "push", "1", body)
	fmt.Println(webhooktest.Send(h, 1, good, forged))
	// Output: [200 401]
}

func ExampleSend() {
	h, err := receiver()
	if err != nil {
		fmt.Println(err)
		return
	}
	var batch []*http.Request
	for i := range 100 {
		batch = append(batch, webhooktest.GitHub(hook, "a secret of at least 16 bytes", "push", fmt.Sprint(i), []byte(`{}`)))
	}
	accepted := 0
	for _, status := range webhooktest.Send(h, 8, batch...) {
		if status == http.StatusOK {
			accepted++
		}
	}
	fmt.Println(accepted)
	// Output: 100
}

func ExampleSlack() {
	r := webhooktest.Slack("https://app.example.com/integrations/slack/webhook", "slack-signing-secret-0123456789ab",
		[]byte(`{"type":"event_callback","team_id":"T0001","event_id":"Ev0001"}`), time.Unix(1700000000, 0))
	fmt.Println(r.Header.Get("X-Slack-Signature"))
	// Output: v0=30e8eb737a8945a0d7c74e11a19e1c9921d79193e2686ccc2d4636010672a118
}

func ExampleJiraAdmin() {
	r := webhooktest.JiraAdmin("https://app.example.com/integrations/jira/webhook/SEGMENT", "It's a Secret to Everybody", "id-1", []byte("Hello World!"))
	fmt.Println(r.Header.Get("X-Hub-Signature"))
	// Output: sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9
}

func ExampleHubSpot() {
	r := webhooktest.HubSpot("https://www.example.com/webhook_uri", "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
		[]byte(`{"name":"Zoë – 東京"}`), time.UnixMilli(1700000000000))
	fmt.Println(r.Header.Get("X-HubSpot-Signature-v3"))
	// Output: HVWe7sJSFJVXLWm87el/XU/v+3O9XDg/U07yqF7D8IM=
}

func ExampleSalesforceCallout() {
	r := webhooktest.SalesforceCallout("https://app.example.com/integrations/salesforce/webhook/SEGMENT", "0123456789abcdef0123456789abcdef",
		[]byte(`{"type":"contact.changed","id":"1"}`), time.Unix(1764072000, 0))
	fmt.Println(r.Header.Get("X-Signature"))
	// Output: sha256=cd7ba078947a63d64c1da44aff194e47483566ad451e66954a0214f9bb0eb580
}

func ExampleDrive() {
	r := webhooktest.Drive("https://app.example.com/integrations/google_sheets/webhook/SEGMENT", webhooktest.DriveNotification{
		ChannelID: "0123456789abcdef0123456789abcdef", Token: "the channel's token", ResourceID: "r-1", State: "change", Number: 2,
	})
	fmt.Println(r.Header.Get("X-Goog-Channel-Token"), r.Header.Get("X-Goog-Resource-State"))
	// Output: the channel's token change
}
