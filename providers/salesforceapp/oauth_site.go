package salesforceapp

import (
	"fmt"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

// Places to sign in, as Config.Site and integrations.ConnectOptions.Site take
// them. The host of an org's My Domain is another.
const (
	SiteProduction = "production"
	SiteSandbox    = "sandbox"
)

const (
	domain         = "salesforce.com"
	productionHost = "login." + domain
	sandboxHost    = "test." + domain
)

var (
	// authHosts are where the client secret may go.
	authHosts = hosts(productionHost, sandboxHost, "*.my."+domain)
	// instanceHosts are where an org's API may be. Orgs of before My Domain have
	// names such as eu5.salesforce.com.
	instanceHosts = hosts("*." + domain)
)

func hosts(patterns ...string) providers.Hosts {
	h, _ := providers.NewHosts(patterns...) // constants: never fails
	return h
}

// authHost returns the host of a site, in lower case. Anything but the two names,
// their hosts and a host below my.salesforce.com is an error wrapping
// providers.ErrInvalid, which does not quote it.
func authHost(site string) (string, error) {
	switch site {
	case "", SiteProduction:
		return productionHost, nil
	case SiteSandbox:
		return sandboxHost, nil
	}
	if authHosts.Contains(site) {
		return strings.ToLower(site), nil // plain ASCII
	}
	if strings.HasSuffix(strings.ToLower(strings.TrimRight(site, "/")), ".lightning.force.com") {
		return "", fmt.Errorf("%w: site is a Lightning page: give the org's My Domain host, NAME.my.salesforce.com", providers.ErrInvalid)
	}
	return "", fmt.Errorf("%w: site is none of production, sandbox and a host NAME.my.salesforce.com", providers.ErrInvalid)
}

// instanceHost returns the host of an instance_url, in lower case: "https://" and
// a plain name below salesforce.com, and nothing else.
func instanceHost(instanceURL string) (string, bool) {
	host, ok := strings.CutPrefix(instanceURL, "https://")
	if !ok || !instanceHosts.Contains(host) {
		return "", false
	}
	return strings.ToLower(host), true // plain ASCII
}
