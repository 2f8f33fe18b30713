package githubapp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// fixed is a connection's source with a token that does not change.
type fixed struct{ snapshot providers.Snapshot }

func (fixed) Token(context.Context) (*token.Token, error) {
	return &token.Token{Access: token.NewSecret("ghs_real"), Header: []string{"Bearer ghs_real"}, Gen: 1}, nil
}

func (fixed) Rejected(context.Context, int64, bool) (*token.Token, bool, error) {
	return nil, false, nil
}

func (f fixed) Snapshot(context.Context) (providers.Snapshot, error) { return f.snapshot, nil }

type transport func(r *http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(r *http.Request, status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json; charset=utf-8")
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

func connection(t transport, snapshot providers.Snapshot) *providers.Connection {
	hosts, err := providers.NewHosts("api.github.com")
	if err != nil {
		panic(err)
	}
	conn, err := providers.NewConnection(providers.ConnectionConfig{
		TenantID: "tenant-1", Provider: githubapp.Key, Hosts: hosts, Transport: t, Source: fixed{snapshot},
	})
	if err != nil {
		panic(err)
	}
	return conn
}

func ExampleNew() {
	app := githubapp.New(githubapp.Config{Mode: githubapp.ModeOAuthApp, ClientID: "Iv1.1", ClientSecret: "secret", Scopes: []string{"repo"}})
	fmt.Println(app.Info().Key, app.Validate())
	// Output: github <nil>
}

func ExampleClient() {
	conn := connection(func(r *http.Request) (*http.Response, error) {
		return respond(r, 200, nil, `{"login":"octocat"}`), nil
	}, providers.Snapshot{})
	user, _, err := githubapp.Client(conn).Users.Get(context.Background(), "")
	fmt.Println(user.GetLogin(), err)
	// Output: octocat <nil>
}

func ExamplePush() {
	h := githubapp.Push(func(ctx context.Context, ev webhook.Event, p *github.PushEvent) error {
		fmt.Println(ev.TenantID, p.GetRef())
		return nil
	})
	// The Manager calls it for stored deliveries: m.OnWebhook(h).
	err := h.Func(context.Background(), webhook.Event{TenantID: "tenant-1", Body: []byte(`{"ref":"refs/heads/main"}`)})
	fmt.Println(err)
	// Output:
	// tenant-1 refs/heads/main
	// <nil>
}
