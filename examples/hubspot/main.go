// HubSpot keeps a contact of the HubSpot account a tenant connects, searches for
// it, and hears of changes.
//
// It needs no account: a fake HubSpot runs in this process. With
// TOKEN_ENCRYPTION_KEY, APP_URL, HUBSPOT_CLIENT_ID and HUBSPOT_CLIENT_SECRET set
// it serves on PORT against the real one.
package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/examples/internal/demo"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/webhook"
)

const address = "ada@example.com"

var program = demo.Program{
	Key:  hubspotapp.Key,
	Fake: func(kit *integrationstest.Kit) providers.Provider { return hubspotapp.New(kit.HubSpot.App()) },
	Real: func(getenv func(string) string) providers.Provider {
		if getenv("HUBSPOT_CLIENT_ID") == "" {
			return nil
		}
		return hubspotapp.New(hubspotapp.Config{
			ClientID: getenv("HUBSPOT_CLIENT_ID"), ClientSecret: getenv("HUBSPOT_CLIENT_SECRET"),
			Scopes: []string{"oauth", "crm.objects.contacts.read", "crm.objects.contacts.write"},
		})
	},
	Use: func(ctx context.Context, conn *providers.Connection) error {
		details, err := hubspotapp.AccountDetails(ctx, conn)
		if err != nil {
			return err
		}
		demo.Say("account %d in %s", details.PortalID, details.DataHostingLocation)
		for range 2 {
			contact, created, err := hubspotapp.UpsertContact(ctx, conn, address, map[string]string{"firstname": "Ada", "company": "Analytical Engines"})
			if err != nil {
				return err
			}
			demo.Say("contact %s: created %t", contact.ID, created)
		}
		query := hubspotapp.SearchQuery{
			Groups:     [][]hubspotapp.Filter{{{Property: "email", Operator: "EQ", Value: address}}},
			Properties: []string{"firstname", "company"},
		}
		for contact, err := range hubspotapp.Search(ctx, conn, "contacts", query) {
			if err != nil {
				return err
			}
			demo.Say("found %s of %s", contact.Properties["firstname"], contact.Properties["company"])
		}
		return nil
	},
	Handlers: func(m *integrations.Manager) {
		m.OnWebhook(hubspotapp.On("contact.propertyChange", func(_ context.Context, ev webhook.Event, n *hubspotapp.Notification) error {
			demo.Say("%s: contact %d has %s %q now", ev.TenantID, n.ObjectID, n.PropertyName, n.PropertyValue)
			return nil
		}))
	},
	Deliver: func(_ context.Context, kit *integrationstest.Kit, _ *providers.Connection) error {
		status := kit.HubSpot.Deliver(kit.HubSpot.Event("T-"+demo.Tenant, "contact.propertyChange", map[string]any{
			"objectId": 512, "propertyName": "lifecyclestage", "propertyValue": "customer",
		}))
		if status != http.StatusOK {
			return fmt.Errorf("the event was answered with %d", status)
		}
		return nil
	},
}

func main() { program.Main() }
