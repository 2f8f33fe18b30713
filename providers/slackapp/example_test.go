package slackapp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/token"
)

// fixed is a connection's source with a token that does not change.
type fixed struct{ snapshot providers.Snapshot }

func (fixed) Token(context.Context) (*token.Token, error) {
	return &token.Token{Access: token.NewSecret("xoxb-real"), Header: []string{"Bearer xoxb-real"}, Gen: 1}, nil
}

func (fixed) Rejected(context.Context, int64, bool) (*token.Token, bool, error) {
	return nil, false, nil
}

func (f fixed) Snapshot(context.Context) (providers.Snapshot, error) { return f.snapshot, nil }

type transport func(r *http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is a transport that answers everything with one JSON body.
func answer(body string) transport {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}, nil
	}
}

func connection(t transport, data string) *providers.Connection {
	hosts, err := providers.NewHosts("slack.com", "*.slack.com")
	if err != nil {
		panic(err)
	}
	conn, err := providers.NewConnection(providers.ConnectionConfig{
		TenantID: "tenant-1", Provider: slackapp.Key, Hosts: hosts, Transport: t,
		Source: fixed{providers.Snapshot{ProviderData: []byte(data)}},
	})
	if err != nil {
		panic(err)
	}
	return conn
}

func ExampleNew() {
	app := slackapp.New(slackapp.Config{ClientID: "1.2", ClientSecret: "secret", Scopes: []string{"chat:write"}})
	fmt.Println(app.Info().Key, app.Validate())
	// Output: slack <nil>
}

// A tenant's bot, and beside it the tokens of its users: one Slack app, registered
// twice. Both redirect URLs, BaseURL/slack/callback and BaseURL/slack_user/callback,
// have to be in the app's settings.
func ExampleNew_userTokens() {
	cfg := slackapp.Config{
		ClientID: "1.2", ClientSecret: "secret", SigningSecrets: []string{"0123456789abcdef0123456789abcdef"},
		Scopes: []string{"chat:write"},
	}
	bot := slackapp.New(cfg)
	cfg.Key, cfg.Scopes, cfg.UserScopes = "slack_user", nil, []string{"search:read"}
	cfg.SigningSecrets = nil // events come to the bot's URL
	cfg.Shared = true        // several users of one workspace
	users := slackapp.New(cfg)
	fmt.Println(bot.Validate(), users.Validate())
	fmt.Println(bot.Info().Key, users.Info().Key)
	// Output:
	// <nil> <nil>
	// slack slack_user
}

func ExampleNotify() {
	conn := connection(answer(`{"ok":true,"channel":"C1","ts":"1700000000.000100"}`), `{"default_channel_id":"C1"}`)
	posted, err := slackapp.Notify(context.Background(), conn, slackapp.Message{Text: "Deployed"})
	fmt.Println(posted.Channel, posted.Timestamp, err)
	// Output: C1 1700000000.000100 <nil>
}

func ExampleClient() {
	conn := connection(answer(`{"ok":true,"team":"Acme","team_id":"T1"}`), "{}")
	who, err := slackapp.Client(conn).AuthTestContext(context.Background())
	fmt.Println(who.Team, err)
	// Output: Acme <nil>
}
