package integrationstest

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Headers by which a browser tells the fakes what its user would click, and the
// app who is signed in.
const (
	headerAccount = "X-Test-Account"
	headerDeny    = "X-Test-Deny"
	headerUntick  = "X-Test-Untick"
	headerTenant  = "X-Test-Tenant"
	headerUser    = "X-Test-User"
)

func accountOf(r *http.Request) string {
	if a := r.Header.Get(headerAccount); a != "" {
		return a
	}
	return "T0001"
}

// granted are the scopes that the user of an authorize page agrees to, of those
// that the app asks for under a parameter.
func granted(r *http.Request, parameter string) []string {
	asked := strings.FieldsFunc(r.URL.Query().Get(parameter), func(c rune) bool { return c == ' ' || c == ',' })
	left := strings.Fields(r.Header.Get(headerUntick))
	return slices.DeleteFunc(asked, func(s string) bool { return slices.Contains(left, s) })
}

func userOf(r *http.Request) string { return r.Header.Get(headerUser) }

// Browser is a user's browser between the app and the fakes: it keeps cookies,
// follows redirects and sends Sec-Fetch-Site. It is for one goroutine.
type Browser struct {
	// Tenant and User are who is signed in to the app; both empty is nobody.
	Tenant, User string
	// Account is what the user picks at the provider: a workspace, an
	// organisation. Defaults to "T0001".
	Account string
	// Untick are scopes that the user leaves out, at a Slack, an OAuth App of GitHub
	// or the generic server. At Google see [Sheets.TickOnly].
	Untick []string
	// Deny, when not "", is the OAuth error the user causes: "access_denied".
	Deny string

	app     http.Handler
	appHost string
	network *Network
	jar     http.CookieJar
	visited []Visit
}

// Visit is one request of a browser and its answer.
type Visit struct {
	Method, URL string
	Status      int
	Header      http.Header
	Body        string
}

func newBrowser(app http.Handler, appHost string, n *Network, tenant, user string) *Browser {
	jar, _ := cookiejar.New(nil) // never fails without options
	return &Browser{Tenant: tenant, User: user, app: app, appHost: appHost, network: n, jar: jar}
}

// Visits are all requests so far.
func (b *Browser) Visits() []Visit { return b.visited }

// Open types a URL into the address bar and follows redirects. It returns the
// last answer, or the redirect that leads away from app and fakes.
func (b *Browser) Open(rawURL string) Visit { return b.follow(http.MethodGet, rawURL, nil, "none") }

// Post submits a form of the app's own page.
func (b *Browser) Post(rawURL string, form url.Values) Visit {
	return b.follow(http.MethodPost, rawURL, form, "same-origin")
}

// maxHops ends a redirect loop.
const maxHops = 12

func (b *Browser) follow(method, rawURL string, form url.Values, site string) Visit {
	var v Visit
	for range maxHops {
		v = b.Do(method, rawURL, form, site)
		next := v.Header.Get("Location")
		if v.Status < 300 || v.Status > 399 || next == "" {
			return v
		}
		from, err := url.Parse(rawURL)
		if err != nil {
			return v
		}
		to, err := from.Parse(next)
		if err != nil || to.Host == b.appHost && b.isHome(to) {
			return v
		}
		if to.Host != from.Host {
			site = "cross-site" // and it stays so for the rest of the chain
		}
		method, rawURL, form = http.MethodGet, to.String(), nil
	}
	return v
}

// isHome reports whether a URL of the app is none of the library's.
func (b *Browser) isHome(u *url.URL) bool {
	return !strings.HasSuffix(u.Path, "/connect") && !strings.HasSuffix(u.Path, "/callback")
}

// Do makes one request without following anything.
func (b *Browser) Do(method, rawURL string, form url.Values, site string) Visit {
	var body io.Reader = http.NoBody
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, rawURL, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Sec-Fetch-Site", site)
	for k, v := range map[string]string{headerAccount: b.Account, headerDeny: b.Deny, headerTenant: b.Tenant, headerUser: b.User, headerUntick: strings.Join(b.Untick, " ")} {
		if v != "" {
			r.Header.Set(k, v)
		}
	}
	for _, c := range b.jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	v := Visit{Method: method, URL: rawURL}
	if r.URL.Host == b.appHost {
		rec := httptest.NewRecorder()
		b.app.ServeHTTP(rec, r)
		resp := rec.Result()
		b.jar.SetCookies(r.URL, resp.Cookies())
		v.Status, v.Header, v.Body = resp.StatusCode, resp.Header, rec.Body.String()
	} else {
		r.RequestURI = ""
		resp, err := b.network.RoundTrip(r)
		if err != nil {
			v.Status, v.Body = http.StatusBadGateway, err.Error()
		} else {
			text, _ := io.ReadAll(resp.Body)
			v.Status, v.Header, v.Body = resp.StatusCode, resp.Header, string(text)
		}
	}
	if v.Header == nil {
		v.Header = http.Header{}
	}
	b.visited = append(b.visited, v)
	return v
}

var formPattern = regexp.MustCompile(`<form method="post" action="([^"]+)">`)
var fieldPattern = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// Consent plays a user at a provider's authorize URL, apart from any app: who
// agrees to connect account, or who does not. It returns the query that the
// browser would bring back.
func (k *Kit) Consent(authorizeURL, account string, agree bool) url.Values {
	k.t.Helper()
	b := newBrowser(nil, "", k.Network, "", "user-of-"+account)
	b.Account = account
	if !agree {
		b.Deny = "access_denied"
	}
	v := b.Do(http.MethodGet, authorizeURL, nil, "cross-site")
	u, err := url.Parse(v.Header.Get("Location"))
	if err != nil || v.Header.Get("Location") == "" {
		k.t.Fatalf("integrationstest: the authorize page answered %d %s", v.Status, v.Body)
		return nil
	}
	return u.Query()
}

// Press presses the button of a page of the library.
func (b *Browser) Press(v Visit) Visit { return b.press(v, url.Values{}) }

// Choose picks an account on the page that offers several, and presses its
// button.
func (b *Browser) Choose(v Visit, account string) Visit {
	return b.press(v, url.Values{"account": {account}})
}

// offersAccounts reports whether a page asks to pick an account.
func offersAccounts(v Visit) bool { return strings.Contains(v.Body, `type="radio" name="account"`) }

func (b *Browser) press(v Visit, fields url.Values) Visit {
	form := formPattern.FindStringSubmatch(v.Body)
	if form == nil {
		return v
	}
	for _, f := range fieldPattern.FindAllStringSubmatch(v.Body, -1) {
		fields.Set(html.UnescapeString(f[1]), html.UnescapeString(f[2]))
	}
	return b.Post("https://"+b.appHost+html.UnescapeString(form[1]), fields)
}

func decodeBody(r *http.Request, into any) error { return json.NewDecoder(r.Body).Decode(into) }
