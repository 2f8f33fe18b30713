package jiraapp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

var _ providers.AccountImporter = (*App)(nil)

// ImportAccount implements providers.AccountImporter. The external id is the site's
// cloud id. Import.ProviderData is a [Site]. Its address, by which some webhooks name
// the site, may be in the metadata as "site_url" or "siteUrl"; if nobody knows it, it
// is asked for while the access token lasts.
func (a *App) ImportAccount(ctx context.Context, i providers.Import) (providers.Account, error) {
	if !isCloudID(i.ExternalID) {
		return providers.Account{}, i.NotAnID("a cloud id")
	}
	var site Site
	if err := i.ReadData(&site); err != nil {
		return providers.Account{}, err
	}
	if site.CloudID = i.ExternalID; site.URL == "" {
		site.URL = i.Hint("site_url", "siteUrl")
	}
	if site.URL == "" && !i.AccessToken.IsZero() {
		return a.lookUp(ctx, i, site)
	}
	return a.imported(site)
}

// lookUp asks which site an access token is good for. One that is refused is no
// fault: it has ended, and will be renewed.
func (a *App) lookUp(ctx context.Context, i providers.Import, site Site) (providers.Account, error) {
	choices, err := a.choices(ctx, i.HTTP, i.AccessToken, time.Time{})
	if isStatus(err, http.StatusUnauthorized) {
		return a.imported(site)
	}
	var none *providers.Refusal
	if err != nil && !errors.As(err, &none) {
		return providers.Account{}, err
	}
	for _, c := range choices {
		if c.ExternalID == i.ExternalID {
			return providers.Account{ExternalID: c.ExternalID, Alias: c.Alias, Exclusive: c.Exclusive, ProviderData: c.ProviderData}, nil
		}
	}
	return providers.Account{}, i.NotAnID("of a site that the token is good for")
}

func (a *App) imported(site Site) (providers.Account, error) {
	data, err := json.Marshal(site)
	if err != nil {
		return providers.Account{}, err
	}
	return providers.Account{ExternalID: site.CloudID, Alias: siteHost(site.URL), Exclusive: !a.cfg.Shared, ProviderData: data}, nil
}
