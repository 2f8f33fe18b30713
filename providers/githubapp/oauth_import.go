package githubapp

import (
	"context"
	"encoding/json"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/webhook"
)

var _ providers.AccountImporter = (*App)(nil)

// ImportAccount implements providers.AccountImporter. The external id is the number of
// the installation, or of the user in the other modes. Import.ProviderData is an
// [Account]; what it lacks of an installation comes with its next event.
//
// An installation's token is minted at its first use where nobody knows when the
// imported one ends.
func (a *App) ImportAccount(_ context.Context, i providers.Import) (providers.Account, error) {
	if id, ok := webhook.Int([]byte(i.ExternalID)); !ok || id == 0 {
		return providers.Account{}, i.NotAnID("the number of an installation or a user")
	}
	var acc Account
	if err := i.ReadData(&acc); err != nil {
		return providers.Account{}, err
	}
	acc.Host = a.cfg.EnterpriseHost
	out := providers.Account{ExternalID: i.ExternalID}
	if a.cfg.Mode == ModeInstallation {
		acc.AppID, out.Exclusive, out.Grant.ExpiresIn = a.cfg.AppID, !a.cfg.Shared, time.Millisecond
	}
	var err error
	out.ProviderData, err = json.Marshal(acc)
	return out, err
}
