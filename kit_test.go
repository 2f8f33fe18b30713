package integrations_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/webhook"
)

// newRequest is a request to the app by a signed-in user.
func newRequest(tenant, user string) (*httptest.ResponseRecorder, *http.Request) {
	r := httptest.NewRequest(http.MethodPost, integrationstest.BaseURL+"/x", http.NoBody)
	r.Header.Set("X-Test-Tenant", tenant)
	r.Header.Set("X-Test-User", user)
	return httptest.NewRecorder(), r
}

// collect registers a handler of all events of a provider and returns what it
// saw, as "tenant type".
func collect(kit *integrationstest.Kit, key string) func() []string {
	var mu sync.Mutex
	var got []string
	kit.Manager().OnWebhook(webhook.On(key, webhook.AnyType, func(_ context.Context, ev webhook.Event) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, ev.TenantID+" "+ev.Type)
		return nil
	}))
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), got...)
	}
}
