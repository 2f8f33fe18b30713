package hubspotapp

import (
	"context"
	"encoding/json"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/webhook"
)

var _ providers.AccountImporter = (*App)(nil)

// ImportAccount implements providers.AccountImporter. The external id is the account's
// number, its hub id. Import.ProviderData is a [Portal].
func (a *App) ImportAccount(_ context.Context, i providers.Import) (providers.Account, error) {
	id, ok := webhook.Int([]byte(i.ExternalID))
	if !ok || id == 0 {
		return providers.Account{}, i.NotAnID("a hub id")
	}
	var p Portal
	if err := i.ReadData(&p); err != nil {
		return providers.Account{}, err
	}
	if p.HubID = id; p.AppID == 0 {
		p.AppID = a.cfg.AppID
	}
	data, err := json.Marshal(p)
	if err != nil {
		return providers.Account{}, err
	}
	return providers.Account{ExternalID: i.ExternalID, Exclusive: !a.cfg.Shared, ProviderData: data}, nil
}
