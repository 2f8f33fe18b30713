package githubapp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
)

// Client returns a go-github client that calls github.com with the tenant's
// token. It is cheap: make one where it is needed and do not share it between
// tenants, go-github remembers rate limits in the client. Its calls return
// go-github's errors; see [Classify]. On a connection of another provider every
// call fails with an error wrapping providers.ErrWrongProvider.
//
// With Config.EnterpriseHost use [App.Client]: this one's calls fail with
// providers.ErrHostNotAllowed there, and nothing is sent.
func Client(conn *providers.Connection) *github.Client { return client(conn, siteOf("")) }

// Client is the function [Client] for this app's EnterpriseHost.
func (a *App) Client(conn *providers.Connection) *github.Client { return client(conn, a.site) }

func client(conn *providers.Connection, s site) *github.Client {
	c := github.NewClient(conn.ClientFor(Key))
	c.BaseURL = &url.URL{Scheme: "https", Host: s.api, Path: s.apiPath + "/"}
	c.UploadURL = &url.URL{Scheme: "https", Host: s.uploads, Path: s.uploadsPath + "/"}
	return c
}

// site is where one GitHub is.
type site struct {
	web                  string // pages and OAuth
	apps                 string // path of the Apps' pages
	api, apiPath         string
	uploads, uploadsPath string
}

// siteOf returns github.com for "", else a GitHub Enterprise
// (docs.github.com, "Getting started with the REST API" of Enterprise Server, and
// "About GitHub Enterprise Cloud with data residency", checked 2026-11).
func siteOf(enterprise string) site {
	switch {
	case enterprise == "":
		return site{web: "github.com", apps: "/apps/", api: "api.github.com", uploads: "uploads.github.com"}
	case strings.HasSuffix(enterprise, ".ghe.com"):
		return site{web: enterprise, apps: "/apps/", api: "api." + enterprise, uploads: "uploads." + enterprise}
	}
	return site{
		web: enterprise, apps: "/github-apps/", api: enterprise, apiPath: "/api/v3",
		uploads: enterprise, uploadsPath: "/api/uploads",
	}
}

// hosts are where the bearer token may go.
func (s site) hosts() []string {
	if s.api == s.web {
		return []string{s.web}
	}
	return []string{s.api, s.uploads, s.web}
}

func (s site) authorizeURL() string { return "https://" + s.web + "/login/oauth/authorize" }
func (s site) tokenURL() string     { return "https://" + s.web + "/login/oauth/access_token" }
func (s site) apiURL() string       { return "https://" + s.api + s.apiPath }
func (s site) installURL(slug string) string {
	return "https://" + s.web + s.apps + url.PathEscape(slug) + "/installations/new"
}

// isEnterpriseHost reports whether host is a plain host name that is not
// github.com's, or "".
func isEnterpriseHost(host string) bool {
	if host == "" {
		return true
	}
	if host == "github.com" || strings.HasSuffix(host, ".github.com") || host == "ghe.com" {
		return false
	}
	if sub, ok := strings.CutSuffix(host, ".ghe.com"); ok && strings.Contains(sub, ".") {
		return false // api.SUBDOMAIN.ghe.com
	}
	hosts, err := providers.NewHosts(host)
	return err == nil && hosts.Contains(host) // a pattern *.name does not contain itself
}

const (
	apiVersion = "2022-11-28"
	mediaType  = "application/vnd.github+json"
	// maxAnswer bounds what get reads.
	maxAnswer = 8 << 20
)

var errAnswer = fmt.Errorf("integrations/githubapp: answer is not GitHub's JSON: %w", providers.ErrTransient)

// api makes this adapter's own calls.
var api = providers.API{Adapter: "githubapp", Meaning: func(a providers.APIAnswer) (string, error) {
	if limited(a.Status, a.Header, a.Body) {
		return "", &ratelimit.Error{RetryAt: retryAt(a.Header, time.Now()), Scope: Key}
	}
	return "", nil
}}

// get reads from the API with a token that is not stored anywhere yet, and
// reports whether there is another page.
func (s site) get(ctx context.Context, c *http.Client, path string, bearer token.Secret, into any) (more bool, err error) {
	ans, err := api.Do(ctx, c, providers.APICall{
		URL: s.apiURL() + path, Header: bearerHeader(bearer.Reveal()), Out: into, MaxBody: maxAnswer,
	})
	return strings.Contains(ans.Header.Get("Link"), `rel="next"`), err
}
