package slackapp

import (
	"context"
	"encoding/json"
	"regexp"

	"github.com/saas-integrations/integrations/providers"
)

// accountID is the form of a workspace's and of an organisation's id.
var accountID = regexp.MustCompile(`^[TE][A-Z0-9]{2,}$`)

var _ providers.AccountImporter = (*App)(nil)

// ImportAccount implements providers.AccountImporter. The external id is that of the
// workspace, or of the organisation for an install on a whole one. Import.ProviderData
// is a [Workspace]; without it nothing but the id is known.
func (a *App) ImportAccount(_ context.Context, i providers.Import) (providers.Account, error) {
	if !accountID.MatchString(i.ExternalID) {
		return providers.Account{}, i.NotAnID("of a workspace or an organisation")
	}
	var w Workspace
	if err := i.ReadData(&w); err != nil {
		return providers.Account{}, err
	}
	if i.ExternalID[0] == 'E' {
		w.EnterpriseID, w.OrgInstall = i.ExternalID, true
	} else {
		w.TeamID, w.OrgInstall = i.ExternalID, false
	}
	w.TokenType = "bot"
	if a.userOnly() {
		w.TokenType = "user"
	}
	data, err := json.Marshal(w)
	if err != nil {
		return providers.Account{}, err
	}
	return providers.Account{ExternalID: i.ExternalID, Exclusive: !a.cfg.Shared, ProviderData: data}, nil
}
