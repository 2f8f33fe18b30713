package hubspotapp_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/webhook"
)

// example is the TB of a kit outside of a test.
type example struct{}

func (example) Helper()                           {}
func (example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// connected is a kit with one tenant that has connected a HubSpot with a contact.
func connected() (*integrationstest.Kit, *providers.Connection) {
	kit := integrationstest.New(example{})
	kit.Connect("acme", hubspotapp.Key, account)
	kit.HubSpot.Add(account, "contacts", map[string]string{"email": "ada@example.com", "firstname": "Ada"})
	conn, err := kit.Manager().Connection(context.Background(), "acme", hubspotapp.Key)
	if err != nil {
		panic(err)
	}
	return kit, conn
}

func ExampleNew() {
	app := hubspotapp.New(hubspotapp.Config{
		ClientID: "2fa1…", ClientSecret: "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
		Scopes: []string{"oauth", "crm.objects.contacts.read", "crm.objects.contacts.write"},
	})
	fmt.Println(app.Info().Key, app.Validate())
	// Output: hubspot <nil>
}

func ExampleContactByEmail() {
	_, conn := connected()
	contact, err := hubspotapp.ContactByEmail(context.Background(), conn, "ada@example.com", "firstname")
	fmt.Println(contact.Properties["firstname"], err)
	// Output: Ada <nil>
}

func ExampleUpsertContact() {
	_, conn := connected()
	for _, address := range []string{"ada@example.com", "new@example.com"} {
		contact, created, err := hubspotapp.UpsertContact(context.Background(), conn, address, map[string]string{"lifecyclestage": "customer"})
		fmt.Println(contact.Properties["lifecyclestage"], created, err)
	}
	// Output:
	// customer false <nil>
	// customer true <nil>
}

func ExampleGet() {
	kit, conn := connected()
	id := kit.HubSpot.Add(account, "companies", map[string]string{"name": "Analytical Engines"})
	company, err := hubspotapp.Get(context.Background(), conn, "companies", id, &hubspotapp.ReadOptions{Properties: []string{"name"}})
	fmt.Println(company.Properties["name"], err)
	// Output: Analytical Engines <nil>
}

func ExampleList() {
	_, conn := connected()
	for contact, err := range hubspotapp.List(context.Background(), conn, "contacts", nil) {
		fmt.Println(contact.Properties["email"], err)
	}
	// Output: ada@example.com <nil>
}

func ExampleCreate() {
	_, conn := connected()
	company, err := hubspotapp.Create(context.Background(), conn, "companies", map[string]string{"name": "Analytical Engines"})
	fmt.Println(company.ID != "", err)
	// Output: true <nil>
}

func ExampleUpdate() {
	_, conn := connected()
	contact, err := hubspotapp.Update(context.Background(), conn, "contacts", "ada@example.com", "email", map[string]string{"firstname": "Augusta"})
	fmt.Println(contact.Properties["firstname"], err)
	// Output: Augusta <nil>
}

func ExampleArchive() {
	kit, conn := connected()
	contact, _ := hubspotapp.ContactByEmail(context.Background(), conn, "ada@example.com")
	fmt.Println(hubspotapp.Archive(context.Background(), conn, "contacts", contact.ID), kit.HubSpot.Objects(account, "contacts")[0].Archived)
	// Output: <nil> true
}

func ExampleSearch() {
	_, conn := connected()
	query := hubspotapp.SearchQuery{
		Groups:     [][]hubspotapp.Filter{{{Property: "email", Operator: "CONTAINS_TOKEN", Value: "*@example.com"}}},
		Properties: []string{"email"},
	}
	for contact, err := range hubspotapp.Search(context.Background(), conn, "contacts", query) {
		fmt.Println(contact.Properties["email"], err)
	}
	// Output: ada@example.com <nil>
}

func ExampleBatchRead() {
	_, conn := connected()
	found, err := hubspotapp.BatchRead(context.Background(), conn, "contacts", []string{"ada@example.com", "nobody@example.com"},
		&hubspotapp.ReadOptions{IDProperty: "email", Properties: []string{"firstname"}})
	fmt.Println(found[0].Properties["firstname"], err)
	// Output: Ada integrations/hubspotapp: part of the batch failed: OBJECT_NOT_FOUND
}

func ExampleBatchCreate() {
	_, conn := connected()
	made, err := hubspotapp.BatchCreate(context.Background(), conn, "companies", []map[string]string{{"name": "A"}, {"name": "B"}})
	fmt.Println(len(made), err)
	// Output: 2 <nil>
}

func ExampleBatchUpdate() {
	_, conn := connected()
	changed, err := hubspotapp.BatchUpdate(context.Background(), conn, "contacts", "email", []hubspotapp.Input{
		{ID: "ada@example.com", Properties: map[string]string{"firstname": "Augusta"}},
	})
	fmt.Println(len(changed), err)
	// Output: 1 <nil>
}

func ExampleBatchUpsert() {
	_, conn := connected()
	written, err := hubspotapp.BatchUpsert(context.Background(), conn, "contacts", "email", []hubspotapp.Input{
		{ID: "ada@example.com", Properties: map[string]string{"firstname": "Augusta"}},
		{ID: "charles@example.com", Properties: map[string]string{"firstname": "Charles"}},
	})
	for _, o := range written {
		fmt.Println(o.Properties["firstname"], o.New)
	}
	fmt.Println(err)
	// Output:
	// Augusta false
	// Charles true
	// <nil>
}

func ExampleAccountDetails() {
	_, conn := connected()
	details, err := hubspotapp.AccountDetails(context.Background(), conn)
	fmt.Println(details.PortalID, details.TimeZone, err)
	// Output: 62515 Europe/Dublin <nil>
}

func ExampleDo() {
	_, conn := connected()
	var page struct {
		Results []hubspotapp.Object `json:"results"`
	}
	err := hubspotapp.Do(context.Background(), conn, hubspotapp.Request{
		Path: "/crm/objects/" + hubspotapp.APIVersion + "/contacts", Out: &page,
	})
	fmt.Println(len(page.Results), err)
	// Output: 1 <nil>
}

func ExampleOn() {
	kit, _ := connected()
	m := kit.Manager()
	m.OnWebhook(hubspotapp.On("contact.propertyChange", func(_ context.Context, ev webhook.Event, n *hubspotapp.Notification) error {
		fmt.Println(ev.TenantID, n.ObjectID, n.PropertyName, n.PropertyValue)
		return nil
	}))
	status := kit.HubSpot.Deliver(kit.HubSpot.Event(account, "contact.propertyChange", map[string]any{
		"objectId": 123, "propertyName": "firstname", "propertyValue": "Augusta",
	}))
	fmt.Println(status == http.StatusOK, m.Drain(context.Background()))
	// Output:
	// acme 123 firstname Augusta
	// true <nil>
}
