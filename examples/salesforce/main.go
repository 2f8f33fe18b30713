// Salesforce finds or makes a contact in the org a tenant connects, and hears
// of changed contacts by outbound messages.
//
// It needs no account: a fake Salesforce runs in this process. With
// TOKEN_ENCRYPTION_KEY, APP_URL, SALESFORCE_CLIENT_ID and
// SALESFORCE_CLIENT_SECRET set it serves on PORT against the real one, at
// SALESFORCE_SITE if that is set: production, sandbox or a My Domain host.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/examples/internal/demo"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/webhook"
)

var program = demo.Program{
	Key:  salesforceapp.Key,
	Fake: func(kit *integrationstest.Kit) providers.Provider { return salesforceapp.New(kit.Salesforce.App()) },
	Real: func(getenv func(string) string) providers.Provider {
		if getenv("SALESFORCE_CLIENT_ID") == "" {
			return nil
		}
		return salesforceapp.New(salesforceapp.Config{
			ClientID: getenv("SALESFORCE_CLIENT_ID"), ClientSecret: getenv("SALESFORCE_CLIENT_SECRET"), Site: getenv("SALESFORCE_SITE"),
		})
	},
	Use: func(ctx context.Context, conn *providers.Connection) error {
		c, err := salesforceapp.FindContactByEmail(ctx, conn, "ada@example.com")
		if errors.Is(err, providers.ErrNotFound) {
			c.LastName, c.Email = "Lovelace", "ada@example.com"
			c.ID, err = salesforceapp.CreateContact(ctx, conn, c)
		}
		if err != nil {
			return err
		}
		demo.Say("contact %s is %s", c.Email, c.ID)
		return nil
	},
	Handlers: func(m *integrations.Manager) {
		m.OnWebhook(salesforceapp.OnOutboundMessage("Contact", func(_ context.Context, ev webhook.Event, om *salesforceapp.OutboundMessage[salesforceapp.Contact]) error {
			demo.Say("contact %s of %s changed", om.Record.Email, ev.TenantID)
			return nil
		}))
	},
	Deliver: func(ctx context.Context, kit *integrationstest.Kit, conn *providers.Connection) error {
		endpoint, err := salesforceapp.OpenWebhook(ctx, conn) // its URL goes into an outbound message of the org
		if err != nil {
			return err
		}
		status, acknowledged := kit.Salesforce.OutboundMessage(endpoint.URL, "T-"+demo.Tenant, "Contact", map[string]string{"Email": "ada@example.com"})
		if status != http.StatusOK || !acknowledged {
			return fmt.Errorf("the message was answered with %d", status)
		}
		return nil
	},
}

func main() { program.Main() }
