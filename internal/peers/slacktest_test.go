package peers

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/slack-go/slack/slacktest"
	"github.com/stretchr/testify/require"
)

// TestSlacktest posts through slack-go's own test server, which reads forms as
// Slack does.
func TestSlacktest(t *testing.T) {
	var bearer string
	srv := slacktest.NewTestServer()
	go srv.Start()
	defer srv.Stop()
	api, err := url.Parse(srv.GetAPIURL())
	require.NoError(t, err)
	kit := integrationstest.New(t)
	kit.Connect("t1", slackapp.Key)
	conn, err := kit.Manager().Connection(t.Context(), "t1", slackapp.Key)
	require.NoError(t, err)
	kit.Network.Handle("slack.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bearer = r.Header.Get("Authorization")
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Scheme, out.URL.Host, out.Host = "", "http", api.Host, api.Host
		out.URL.Path = strings.TrimPrefix(out.URL.Path, "/api")
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(must(t, resp))
	}))
	posted, err := slackapp.Notify(t.Context(), conn, slackapp.Message{Text: "to slacktest", Channel: "C123"})
	require.NoError(t, err)
	require.Equal(t, "C123", posted.Channel)
	require.True(t, strings.HasPrefix(bearer, "Bearer xoxb-"))
}

func must(t *testing.T, resp *http.Response) []byte {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return body
}
