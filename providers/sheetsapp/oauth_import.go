package sheetsapp

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

var _ providers.AccountImporter = (*App)(nil)

// ImportAccount implements providers.AccountImporter. The external id is the account's
// sub; an address is refused, because addresses change.
// Import.ProviderData is an [Account].
func (a *App) ImportAccount(_ context.Context, i providers.Import) (providers.Account, error) {
	if !isSub(i.ExternalID) || strings.Contains(i.ExternalID, "@") {
		return providers.Account{}, i.NotAnID("the sub of a Google account")
	}
	var acc Account
	if err := i.ReadData(&acc); err != nil {
		return providers.Account{}, err
	}
	data, err := json.Marshal(acc)
	if err != nil {
		return providers.Account{}, err
	}
	return providers.Account{ExternalID: i.ExternalID, Exclusive: a.cfg.Exclusive, ProviderData: data}, nil
}
