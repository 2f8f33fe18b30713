package mounting_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/saas-integrations/integrations/examples/mounting"
	"github.com/saas-integrations/integrations/integrationstest"
)

func TestEveryRouterReachesEveryHandler(t *testing.T) {
	for name, mount := range map[string]func(http.Handler) http.Handler{
		"net/http": mounting.OnServeMux, "chi": mounting.OnChi, "gin": mounting.OnGin, "echo": mounting.OnEcho,
		"StripPrefix": func(h http.Handler) http.Handler { return http.StripPrefix("/integrations", h) },
	} {
		h := mount(integrationstest.New(t).Manager().Handler())
		for _, c := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/integrations/slack/connect", http.StatusUnauthorized},
			{"GET", "/integrations/github/callback", http.StatusBadRequest},
			{"POST", "/integrations/slack/webhook", http.StatusUnauthorized},
			{"GET", "/integrations/slack/webhook", http.StatusMethodNotAllowed},
			{"GET", "/integrations/other/connect", http.StatusNotFound},
		} {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(c.method, c.path, http.NoBody))
			if rec.Code != c.status {
				t.Errorf("%s: %s %s is %d, want %d", name, c.method, c.path, rec.Code, c.status)
			}
		}
	}
}
