package providers_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

func ExampleNewFaults() {
	f := providers.NewFaults("acmeapp", "acme")
	f.App("", token.NewSecret("secret"), "")
	f.Scopes([]string{"read write"})
	fmt.Println(f.Err())
	// Output:
	// integrations/acmeapp: acme: ClientID is empty
	// integrations/acmeapp: acme: scope "read write": give each scope an element of its own
}

func TestFaults(t *testing.T) {
	f := providers.NewFaults("acmeapp", "acme")
	f.App("id", token.NewSecret("secret"), "https://app.example.com/cb")
	f.Scopes([]string{"read", "write"})
	require.NoError(t, f.Err())

	f = providers.NewFaults("acmeapp", "Bad %s key")
	f.App("id", token.Secret{}, "not a url")
	cause := errors.New("cause")
	f.Add("Thing: %w", cause)
	for _, part := range []string{"Bad %s key: Key must match", "ClientSecret is empty", "RedirectURL is not an absolute URL", "Thing: cause"} {
		require.ErrorContains(t, f.Err(), part)
	}
	require.ErrorIs(t, f.Err(), cause)
}

func TestAuthorizeQueryAndForms(t *testing.T) {
	a := providers.Authorize{State: "s", RedirectURL: "https://app/cb", Challenge: "c"}
	require.Equal(t, "client_id=id&code_challenge=c&code_challenge_method=S256&redirect_uri=https%3A%2F%2Fapp%2Fcb&state=s", a.Query("id").Encode())
	a.Challenge = ""
	require.Equal(t, "client_id=id&redirect_uri=https%3A%2F%2Fapp%2Fcb&state=s", a.Query("id").Encode())

	form, err := providers.Exchange{Code: "x", RedirectURL: "https://app/cb", Verifier: "v"}.Form()
	require.NoError(t, err)
	require.Equal(t, "code=x&code_verifier=v&grant_type=authorization_code&redirect_uri=https%3A%2F%2Fapp%2Fcb", form.Encode())
	_, err = providers.Exchange{}.Form()
	var refusal *providers.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, providers.RefusedOwnership, refusal.Code)

	form, err = providers.RefreshForm(token.Renewal{RefreshToken: token.NewSecret("r")}, "auth.example.com")
	require.NoError(t, err)
	require.Equal(t, "grant_type=refresh_token&refresh_token=r", form.Encode())
	_, err = providers.RefreshForm(token.Renewal{}, "auth.example.com")
	require.True(t, providers.IsRefusal(err, "other", "no_refresh_token"))
	require.False(t, providers.IsRefusal(err, "other"))
	require.False(t, providers.IsRefusal(errors.New("x"), "x"))
}

func TestReadData(t *testing.T) {
	var into struct{ Host string }
	require.NoError(t, providers.Snapshot{}.ReadData(&into))
	require.NoError(t, providers.Snapshot{ProviderData: []byte(`{"host":"a"}`)}.ReadData(&into))
	require.Equal(t, "a", into.Host)
	require.ErrorIs(t, providers.Snapshot{ProviderData: []byte(`[1]`)}.ReadData(&into), providers.ErrInvalid)
}
