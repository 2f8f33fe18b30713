package integrationstest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/stretchr/testify/require"
)

// TestHubSpotIsStrict is what the fake refuses as HubSpot does, which an adapter
// that works never asks for.
func TestHubSpotIsStrict(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", hubspotapp.Key, "62515")
	conn, err := kit.Manager().Connection(t.Context(), "acme", hubspotapp.Key)
	require.NoError(t, err)
	app := kit.HubSpot.App()
	send := func(c *http.Client, method, url, contentType, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", contentType)
		resp, err := c.Do(r)
		require.NoError(t, err)
		defer func() { require.NoError(t, resp.Body.Close()) }()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	const api, form = "https://api.hubapi.com", "application/x-www-form-urlencoded"
	plain := &http.Client{Transport: kit.Network}
	good := "client_id=" + app.ClientID + "&client_secret=" + app.ClientSecret
	for _, c := range []struct{ url, contentType, body, want string }{
		{api + "/oauth/2026-09/token?" + good, form, good, "BAD_REQUEST"},
		{api + "/oauth/2026-09/token", "application/json", good, "BAD_REQUEST"},
		{api + "/oauth/2026-09/token", form, "client_id=x", "BAD_CLIENT_ID"},
		{api + "/oauth/2026-09/token", form, "client_id=" + app.ClientID + "&client_secret=x", "BAD_CLIENT_SECRET"},
		{api + "/oauth/2026-09/token", form, good, "BAD_GRANT_TYPE"},
		{api + "/oauth/2026-09/token", form, good + "&grant_type=authorization_code&code=x", "BAD_AUTH_CODE"},
		{api + "/oauth/2026-09/token", form, good + "&grant_type=refresh_token&refresh_token=x", "BAD_REFRESH_TOKEN"},
		{api + "/oauth/2026-09/token/introspect", form, "", "BAD_CLIENT_ID"},
		{api + "/oauth/2026-09/token/revoke", form, "", "BAD_CLIENT_ID"},
	} {
		status, body := send(plain, http.MethodPost, c.url, c.contentType, c.body)
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, body, c.want)
	}
	status, body := send(plain, http.MethodPost, api+"/oauth/2026-09/token/introspect", form, good+"&token=x")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"active":false}`, body)
	status, _ = send(plain, http.MethodGet, "https://app.hubspot.com/oauth/authorize?client_id="+app.ClientID+"&scope=oauth+tickets", form, "")
	require.Equal(t, http.StatusBadRequest, status, "a space is %20")
	status, body = send(plain, http.MethodGet, api+"/account-info/2026-03/details", "", "")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Contains(t, body, "INVALID_AUTHENTICATION")

	inputs := strings.TrimSuffix(strings.Repeat(`{"id":"1"},`, 101), ",")
	const contacts = api + "/crm/objects/2026-09/contacts"
	for _, c := range []struct {
		method, url, body string
		want              int
	}{
		{http.MethodPost, contacts + "/batch/read", `{"inputs":[]}`, http.StatusBadRequest},
		{http.MethodPost, contacts + "/batch/read", `{"inputs":[` + inputs + `]}`, http.StatusBadRequest},
		{http.MethodPost, contacts + "/batch/upsert", `{"inputs":[{"id":"1"}]}`, http.StatusMultiStatus},
		{http.MethodPost, contacts + "/batch/update", `{"inputs":[{"id":"1"}]}`, http.StatusMultiStatus},
		{http.MethodPost, contacts + "/search", `{"limit":201}`, http.StatusBadRequest},
		{http.MethodPost, contacts + "/search", `{"limit":200,"after":"9801"}`, http.StatusBadRequest},
		{http.MethodPost, contacts + "/search", `{"query":"` + strings.Repeat("x", 3000) + `"}`, http.StatusBadRequest},
		{http.MethodPost, contacts + "/search", `{"limit":200,"after":"9800"}`, http.StatusOK},
		{http.MethodGet, contacts + "?limit=101", ``, http.StatusBadRequest},
		{http.MethodPost, contacts, `{}`, http.StatusBadRequest},
		{http.MethodPost, contacts, `{"properties":{"email":"a@b.c"}}`, http.StatusCreated},
		{http.MethodPost, contacts, `{"properties":{"email":"A@B.C"}}`, http.StatusConflict},
		{http.MethodPatch, contacts + "/1", `{"properties":{}}`, http.StatusNotFound},
		{http.MethodGet, contacts + "/1", ``, http.StatusNotFound},
		{http.MethodGet, api + "/crm/objects/2026-09/deals/1", ``, http.StatusForbidden},
		{http.MethodPost, api + "/crm/objects/2026-09/deals/batch/read", `{}`, http.StatusForbidden},
		{http.MethodGet, api + "/crm/objects/2026-09/2-7/1", ``, http.StatusNotFound},
	} {
		status, body := send(conn.HTTPClient(), c.method, c.url, "application/json", c.body)
		require.Equal(t, c.want, status, fmt.Sprint(c.method, " ", c.url, " ", c.body[:min(len(c.body), 60)], ": ", body))
	}
}
