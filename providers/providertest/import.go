package providertest

import (
	"encoding/json"
	"errors"
	"reflect"

	"github.com/saas-integrations/integrations/providers"
)

// importAccount: an account that was connected is imported as it was, and no token
// call is made for it.
func (s *suite) importAccount() {
	im, ok := s.Provider.(providers.AccountImporter)
	if !ok {
		s.Skip("the provider is no AccountImporter: nothing of it can be imported")
	}
	a := s.connect()
	calls := len(s.wire.requests())
	i := providers.Import{
		ExternalID: a.ExternalID, AccessToken: a.Grant.AccessToken, ProviderData: a.ProviderData, HTTP: s.httpClient(),
	}
	got, err := im.ImportAccount(s.Context(), i)
	s.ok(err)
	s.check(got.ExternalID == a.ExternalID && got.Exclusive == a.Exclusive && got.Alias == a.Alias,
		"imported %q, %q, exclusive %v; connected %q, %q, %v", got.ExternalID, got.Alias, got.Exclusive, a.ExternalID, a.Alias, a.Exclusive)
	var imported, connected any
	s.ok(json.Unmarshal(got.ProviderData, &imported))
	s.ok(json.Unmarshal(a.ProviderData, &connected))
	s.check(reflect.DeepEqual(imported, connected), "imported with %s, connected with %s", got.ProviderData, a.ProviderData)
	s.check(len(s.wire.requests()) == calls, "an import with all there is to know asked the service")

	i.ExternalID = ""
	_, err = im.ImportAccount(s.Context(), i)
	s.check(errors.Is(err, providers.ErrInvalid), "without an external id the error is %v", err)
}
