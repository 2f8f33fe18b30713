package providers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/saas-integrations/integrations/token"
)

// AccountImporter is an optional ability of a [Provider]: it knows what an
// integration needs whose grant another application obtained. Without it nothing of
// the provider can be imported.
type AccountImporter interface {
	// ImportAccount returns the account of a grant as Exchange would. Of its Grant
	// only ExpiresIn is looked at, where nobody knows when the access token ends. An
	// error wraps [ErrInvalid] when the external id is not one of this provider's or
	// something is missing. It may ask the provider for what it was not given, and
	// must not renew: a refresh token may work once.
	ImportAccount(ctx context.Context, i Import) (Account, error)
}

// Import is what another application kept of a connected account.
type Import struct {
	// ExternalID is the provider's id of the account.
	ExternalID string
	// AccessToken is zero when it has ended.
	AccessToken token.Secret
	// ProviderData is what the host knows, as the adapter would have stored it; nil
	// for nothing. Metadata is the host's JSON, in which an adapter may look for what
	// it needs.
	ProviderData, Metadata json.RawMessage
	// HTTP reaches the provider's hosts without any token of its own.
	HTTP *http.Client
}

// ReadData reads ProviderData into an adapter's struct, as [Snapshot.ReadData] does.
func (i Import) ReadData(into any) error {
	return Snapshot{ProviderData: i.ProviderData}.ReadData(into)
}

// Hint is the first of some members of the metadata that is a text, "" when none is.
func (i Import) Hint(names ...string) string {
	var all map[string]any
	if json.Unmarshal(i.Metadata, &all) != nil {
		return ""
	}
	for _, name := range names {
		if text, ok := all[name].(string); ok && text != "" {
			return text
		}
	}
	return ""
}

// NotAnID is the error of an external id that does not have the provider's form.
func (i Import) NotAnID(what string) error {
	return fmt.Errorf("%w: the external id is not %s", ErrInvalid, what)
}

// ImportAccount implements AccountImporter.
func (p *oauth2Provider) ImportAccount(_ context.Context, i Import) (Account, error) {
	if i.ExternalID == "" {
		return Account{}, i.NotAnID("there")
	}
	data := i.ProviderData
	if data == nil {
		data = json.RawMessage("{}")
	}
	return Account{ExternalID: i.ExternalID, Exclusive: !p.cfg.Shared, ProviderData: data}, nil
}
