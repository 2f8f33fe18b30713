package salesforceapp_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/webhook"
)

// failure ends a program where the kit would end a test.
type failure struct{}

func (failure) Helper() {}

func (failure) Fatalf(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}

// connected is a connection of the tenant "acme" to a fake Salesforce whose org
// has two contacts.
func connected() (*providers.Connection, *integrationstest.Kit) {
	kit := integrationstest.New(failure{})
	kit.Salesforce.Put("T-acme", "Contact", map[string]any{"LastName": "Lovelace", "Email": "ada@example.com", "Ext_Id__c": "1"})
	kit.Salesforce.Put("T-acme", "Contact", map[string]any{"LastName": "Hopper", "Email": "grace@example.com", "Ext_Id__c": "2"})
	kit.Connect("acme", salesforceapp.Key)
	conn, err := kit.Manager().Connection(context.Background(), "acme", salesforceapp.Key)
	if err != nil {
		panic(err)
	}
	return conn, kit
}

func ExampleNew() {
	app := salesforceapp.New(salesforceapp.Config{ClientID: "3MVG9…", ClientSecret: "secret"})
	fmt.Println(app.Info().Key, app.Info().Scopes, app.Validate())
	// Output: salesforce [api refresh_token] <nil>
}

func ExampleQuery() {
	conn, _ := connected()
	type contact struct{ LastName string }
	for c, err := range salesforceapp.Query[contact](context.Background(), conn,
		"SELECT LastName FROM Contact WHERE Email IN ? AND LastName LIKE ? ORDER BY LastName",
		[]string{"ada@example.com", "grace@example.com"}, salesforceapp.StartsWith("Lov")) {
		fmt.Println(c.LastName, err)
	}
	// Output: Lovelace <nil>
}

func ExampleQueryAll() {
	conn, _ := connected()
	n := 0
	for _, err := range salesforceapp.QueryAll[map[string]any](context.Background(), conn, "SELECT Id FROM Contact") {
		if err != nil {
			fmt.Println(err)
		}
		n++
	}
	fmt.Println(n)
	// Output: 2
}

func ExampleGet() {
	conn, kit := connected()
	id := kit.Salesforce.Put("T-acme", "Account", map[string]any{"Name": "Initech"})
	account, err := salesforceapp.Get[struct{ Name string }](context.Background(), conn, "Account", id, "Name")
	fmt.Println(account.Name, err)
	// Output: Initech <nil>
}

func ExampleCreate() {
	conn, kit := connected()
	id, err := salesforceapp.Create(context.Background(), conn, "Account", map[string]any{"Name": "Initech"})
	fmt.Println(len(id), err, kit.Salesforce.Records("T-acme", "Account")[0]["Name"])
	// Output: 18 <nil> Initech
}

func ExampleUpdate() {
	conn, kit := connected()
	id := kit.Salesforce.Put("T-acme", "Account", map[string]any{"Name": "Initech", "Phone": "1"})
	err := salesforceapp.Update(context.Background(), conn, "Account", id, map[string]any{"Phone": nil})
	fmt.Println(kit.Salesforce.Records("T-acme", "Account")[0]["Phone"], err)
	// Output: <nil> <nil>
}

func ExampleUpsert() {
	conn, _ := connected()
	for range 2 {
		done, err := salesforceapp.Upsert(context.Background(), conn, "Account", "Ext_Id__c", "42", map[string]any{"Name": "Initech"})
		fmt.Println(done.Created, err)
	}
	// Output:
	// true <nil>
	// false <nil>
}

func ExampleDelete() {
	conn, kit := connected()
	id := kit.Salesforce.Put("T-acme", "Account", map[string]any{"Name": "Initech"})
	fmt.Println(salesforceapp.Delete(context.Background(), conn, "Account", id))
	fmt.Println(salesforceapp.Delete(context.Background(), conn, "Account", id))
	// Output:
	// <nil>
	// integrations/salesforceapp: status 404 NOT_FOUND: integrations: not found at the provider
}

func ExampleDescribe() {
	conn, _ := connected()
	d, err := salesforceapp.Describe(context.Background(), conn, "Contact")
	fmt.Println(d.KeyPrefix, len(d.Fields) > 5, err)
	// Output: 003 true <nil>
}

func ExampleLimits() {
	conn, _ := connected()
	limits, err := salesforceapp.Limits(context.Background(), conn)
	fmt.Println(limits["DailyApiRequests"].Max, err)
	// Output: 15000 <nil>
}

func ExampleDo() {
	conn, _ := connected()
	var out struct{ Label string }
	ans, err := salesforceapp.Do(context.Background(), conn, salesforceapp.Request{Path: "sobjects/Contact/describe", Out: &out})
	fmt.Println(out.Label, salesforceapp.ReadUsage(ans.Header)[0], err)
	// Output: Contact {api-usage 1 15000} <nil>
}

func ExampleReadUsage() {
	h := http.Header{"Sforce-Limit-Info": {"api-usage=10018/100000; api-bursts=1/750"}}
	fmt.Println(salesforceapp.ReadUsage(h))
	// Output: [{api-usage 10018 100000} {api-bursts 1 750}]
}

func ExampleCreateContact() {
	conn, _ := connected()
	id, err := salesforceapp.CreateContact(context.Background(), conn, salesforceapp.Contact{FirstName: "Alan", LastName: "Turing"})
	fmt.Println(id[:3], err)
	// Output: 003 <nil>
}

func ExampleUpdateContact() {
	conn, kit := connected()
	id := kit.Salesforce.Records("T-acme", "Contact")[0]["Id"].(string)
	err := salesforceapp.UpdateContact(context.Background(), conn, id, salesforceapp.Contact{Phone: "+44 1"})
	fmt.Println(kit.Salesforce.Records("T-acme", "Contact")[0]["Phone"], err)
	// Output: +44 1 <nil>
}

func ExampleUpsertContact() {
	conn, _ := connected()
	done, err := salesforceapp.UpsertContact(context.Background(), conn, "Ext_Id__c", "2", salesforceapp.Contact{LastName: "Murray"})
	fmt.Println(done.Created, err)
	// Output: false <nil>
}

func ExampleFindContactByEmail() {
	conn, _ := connected()
	c, err := salesforceapp.FindContactByEmail(context.Background(), conn, "Ada@example.com")
	fmt.Println(c.LastName, err)
	// Output: Lovelace <nil>
}

func ExampleContactsChangedSince() {
	conn, _ := connected()
	for c, err := range salesforceapp.ContactsChangedSince(context.Background(), conn, time.Now().Add(-time.Hour)) {
		fmt.Println(c.LastName, err)
	}
	// Output:
	// Lovelace <nil>
	// Hopper <nil>
}

func ExampleLongID() {
	fmt.Println(salesforceapp.LongID("00D5e000000KQ2e"))
	// Output: 00D5e000000KQ2eEAG <nil>
}

func ExampleOpenWebhook() {
	conn, kit := connected()
	kit.Manager().OnWebhook(salesforceapp.OnOutboundMessage("Contact", func(_ context.Context, ev webhook.Event, m *salesforceapp.OutboundMessage[salesforceapp.Contact]) error {
		fmt.Println(ev.TenantID, m.Record.Email)
		return nil
	}))
	endpoint, err := salesforceapp.OpenWebhook(context.Background(), conn)
	if err != nil {
		panic(err)
	}
	fmt.Println(kit.Salesforce.OutboundMessage(endpoint.URL, "T-acme", "Contact", map[string]string{"Email": "ada@example.com"}))
	fmt.Println(kit.Manager().Drain(context.Background()))
	// Output:
	// 200 true
	// acme ada@example.com
	// <nil>
}

// An endpoint's URL and secret are replaced while those before still work.
func ExampleOpenWebhook_rotate() {
	conn, kit := connected()
	ctx := context.Background()
	before, err := salesforceapp.OpenWebhook(ctx, conn)
	if err != nil {
		panic(err)
	}
	after, err := conn.RotateEndpoint(ctx, before.ID, 7*24*time.Hour)
	if err != nil {
		panic(err)
	}
	for _, url := range []string{before.URL, after.URL} {
		fmt.Println(kit.Salesforce.OutboundMessage(url, "T-acme", "Contact", map[string]string{"Email": "ada@example.com"}))
	}
	// Output:
	// 200 true
	// 200 true
}
