package integrations_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/stretchr/testify/require"
)

// FuzzF10Callback: without a live flow nothing in a callback's query makes it
// succeed or panics.
func FuzzF10Callback(f *testing.F) {
	for _, q := range []string{
		"", "state=" + strings.Repeat("A", 43), "state=" + strings.Repeat("A", 43) + "&code=x", "error=access_denied&state=x", "state=a&state=b", "%zz", "a;b",
		"setup_action=install&installation_id=1&code=x", "setup_action=update", "code=x&iss=https://evil", "state=" + strings.Repeat("A", 43) + "&installation_id=1&code=y&setup_action=install",
	} {
		f.Add(q)
	}
	kit := integrationstest.New(f)
	m := kit.Use(kit.Config())
	h := m.CallbackHandler(githubapp.Key)
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, integrationstest.BaseURL+"/github/callback", http.NoBody)
		r.URL.RawQuery = query
		r.Header.Set("X-Test-Tenant", "t1")
		r.Header.Set("X-Test-User", "u1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code < 400 { // a page or a redirect for those who started at GitHub
			require.NotContains(t, w.Header().Get("Location"), "connected")
		}
		list, err := m.Integrations(t.Context(), "t1")
		require.NoError(t, err)
		require.Empty(t, list)
		require.Zero(t, kit.GitHub.Mints())
	})
}
