package salesforceapp

import (
	"context"
	"fmt"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

// sandboxDomain is where sandboxes have their API.
const sandboxDomain = ".sandbox.my." + domain

var _ providers.AccountImporter = (*App)(nil)

// ImportAccount implements providers.AccountImporter. The external id is the org's, of
// 15 or 18 characters. Import.ProviderData is an [Org]. Where it has no instance URL
// or no host that issued the grant, they are looked for in the metadata, as
// "instance_url" or "instanceUrl" and "auth_host" or "authHost". The instance URL is
// required. A grant whose host nobody knows is taken for one of Config.Site, of a
// sandbox's org for one of the sandboxes' site.
func (a *App) ImportAccount(_ context.Context, i providers.Import) (providers.Account, error) {
	id, ok := longID(i.ExternalID)
	if !ok || !strings.HasPrefix(id, orgPrefix) {
		return providers.Account{}, i.NotAnID("of an org")
	}
	var o Org
	if err := i.ReadData(&o); err != nil {
		return providers.Account{}, err
	}
	if o.InstanceURL == "" {
		o.InstanceURL = i.Hint("instance_url", "instanceUrl")
	}
	if o.AuthHost == "" {
		o.AuthHost = strings.TrimPrefix(i.Hint("auth_host", "authHost"), "https://")
	}
	instance, ok := instanceHost(strings.TrimRight(o.InstanceURL, "/"))
	switch {
	case o.InstanceURL == "":
		return providers.Account{}, fmt.Errorf("%w: the org's instance_url is missing", providers.ErrInvalid)
	case !ok:
		return providers.Account{}, fmt.Errorf("%w: instance_url is not of Salesforce", providers.ErrInvalid)
	case o.AuthHost == "" && strings.HasSuffix(instance, sandboxDomain):
		o.AuthHost = sandboxHost
	case o.AuthHost == "":
		host, err := authHost(a.cfg.Site)
		if err != nil {
			return providers.Account{}, err
		}
		o.AuthHost = host
	}
	o.ID, o.InstanceURL, o.APIVersion = id, "https://"+instance, a.cfg.APIVersion
	if err := o.check(); err != nil {
		return providers.Account{}, err
	}
	return providers.Account{ExternalID: id, Exclusive: !a.cfg.Shared, ProviderData: o.json()}, nil
}
