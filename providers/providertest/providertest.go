// Package providertest is the suite that every adapter passes: what the library
// relies on when it connects, refreshes, calls and listens through a
// providers.Provider. It needs a fake of the service, such as those of package
// integrationstest.
//
//	func TestProvider(t *testing.T) {
//		providertest.Run(t, func(t *testing.T) providertest.Service { … })
//	}
package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// Service is a provider and a fake of what it talks to, with one account that a
// user can connect.
type Service struct {
	Provider providers.Provider
	// Transport reaches the fake under the service's real host names.
	Transport http.RoundTripper
	// Site is what Authorize.Site and Exchange.Site are, "" for the usual place.
	Site string
	// Consent plays a user at an authorize URL who agrees, or does not, and
	// returns the query that the browser brings back.
	Consent func(authorizeURL string, agree bool) url.Values
	// Account is the external id of the account that gets connected.
	Account string
	// Secrets are further texts that must not be printed anywhere: the client
	// secret, keys, webhook secrets. Tokens and codes are watched anyway.
	Secrets []string

	// Call reads something through a connection, with the adapter's own
	// operations, and returns the error a host gets to see.
	Call func(ctx context.Context, conn *providers.Connection) error
	// Plain says that Call uses nothing of an adapter, only the connection's own
	// client, which serves any provider.
	Plain bool
	// Live reports whether the fake still accepts a token of the account.
	Live func() bool

	// Rotates says that a refresh replaces the refresh token.
	Rotates bool
	// Mints says that tokens are renewed without a refresh token.
	Mints bool
	// DeadGrant and AppFault are the service's answers to a refresh of a grant
	// that is over, and to one with a wrong client secret.
	DeadGrant, AppFault Answer
	// TokenRefused is the API's answer to an access token that has ended,
	// Limited that to one call too many.
	TokenRefused, Limited Answer
	// Refusals are other answers of the API and what they mean.
	Refusals []Refusal

	// Webhooks are requests as the service sends them, none when it sends none.
	Webhooks []Webhook
}

// Answer is an answer of the service.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Refusal is an answer to a call and the error it is, for errors.Is.
type Refusal struct {
	Answer Answer
	Want   error
}

// Webhook is one way in which the service sends events.
type Webhook struct {
	// Name tells several ways apart.
	Name string
	// URL is where the service sends to.
	URL string
	// Endpoint is set for a way that has an endpoint of the integration's own.
	Endpoint *webhook.Endpoint
	// Request makes an event of the account, signed at the given time.
	Request func(at time.Time) *http.Request
	// Type is the event's type.
	Type string
	// Signed are the headers without which, or with others, nothing is accepted.
	Signed []string
	// BodySigned says that the signature covers the body, TimeSigned that it
	// covers a time.
	BodySigned, TimeSigned bool
}

// Run runs the suite. service is called once for each subtest.
func Run(t *testing.T, service func(t *testing.T) Service) {
	t.Helper()
	for _, s := range []struct {
		name string
		test func(*suite)
	}{
		{"describe", (*suite).describe},
		{"connect", (*suite).connectOnce},
		{"deny", (*suite).deny},
		{"import", (*suite).importAccount},
		{"refresh", (*suite).refresh},
		{"rotation", (*suite).rotation},
		{"lost answer", (*suite).lostAnswer},
		{"dead grant", (*suite).deadGrant},
		{"app fault", (*suite).appFault},
		{"revoke", (*suite).revoke},
		{"call", (*suite).call},
		{"replay", (*suite).replay},
		{"host binding", (*suite).hostBinding},
		{"limit", (*suite).limit},
		{"verify", (*suite).verify},
		{"errors", (*suite).vocabulary},
		{"redaction", (*suite).redaction},
		{"webhooks", (*suite).webhooks},
	} {
		t.Run(s.name, func(t *testing.T) {
			svc := service(t)
			s.test(&suite{T: t, Service: svc, wire: &wire{next: svc.Transport}})
		})
	}
}

// suite is one test of one service.
type suite struct {
	*testing.T
	Service
	wire *wire
}

func (s *suite) client() *token.Client {
	return token.NewClient(token.ClientConfig{Transport: s.wire.as(tokenCalls)})
}

func (s *suite) hosts() providers.Hosts {
	s.Helper()
	h, err := providers.NewHosts(s.Provider.Info().Hosts...)
	s.ok(err)
	return h
}

func (s *suite) httpClient() *http.Client {
	return providers.NewClient(s.hosts(), s.wire.as(flowCalls), 10*time.Second)
}

func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("unexpected error: %v", err)
	}
}

func (s *suite) check(holds bool, format string, args ...any) {
	s.Helper()
	if !holds {
		s.Errorf(format, args...)
	}
}

const (
	state       = "state-of-the-flow-AAAAAAAAAAAAAAAAAAAAAAAAA"
	verifier    = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	challenge   = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	callbackURL = "https://app.example.test/integrations/"
)

func (s *suite) redirectURL() string { return callbackURL + s.Provider.Info().Key + "/callback" }

// authorize sends a user to the service and returns what comes back.
func (s *suite) authorize(agree bool) url.Values {
	s.Helper()
	info := s.Provider.Info()
	a := providers.Authorize{State: state, RedirectURL: s.redirectURL(), Scopes: info.Scopes, Site: s.Site}
	if info.PKCE {
		a.Challenge = challenge
	}
	to, err := s.Provider.AuthorizeURL(a)
	s.ok(err)
	u, err := url.Parse(to)
	s.ok(err)
	s.check(u.Scheme == "https", "the authorize URL is %s, want https", u.Scheme)
	s.check(u.Query().Get("state") == state, "the authorize URL has no state")
	return s.Consent(to, agree)
}

func (s *suite) exchange(q url.Values) (providers.Account, error) {
	x := providers.Exchange{
		Code: q.Get("code"), Query: q, RedirectURL: s.redirectURL(), Site: s.Site, Client: s.client(), HTTP: s.httpClient(),
	}
	if s.Provider.Info().PKCE {
		x.Verifier = verifier
	}
	return s.Provider.Exchange(s.Context(), x)
}

// connect connects the account.
func (s *suite) connect() providers.Account {
	s.Helper()
	q := s.authorize(true)
	if q.Get("state") != state {
		s.Fatalf("the user came back with state %q", q.Get("state"))
	}
	a, err := s.exchange(q)
	s.ok(err)
	if a.Choices != nil {
		i := slices.IndexFunc(a.Choices, func(c providers.Choice) bool { return c.ExternalID == s.Account })
		if i < 0 {
			s.Fatalf("%s is not among %d choices", s.Account, len(a.Choices))
		}
		c := a.Choices[i]
		s.check(c.Name != "" && len(c.Name) <= 100, "a choice is named %q", c.Name)
		a = providers.Account{ExternalID: c.ExternalID, Alias: c.Alias, Exclusive: c.Exclusive, ProviderData: c.ProviderData, Grant: a.Grant}
	}
	return a
}

func (s *suite) describe() {
	info := s.Provider.Info()
	s.ok(s.Provider.Validate())
	s.check(providers.ValidKey(info.Key), "key %q is not valid", info.Key)
	s.check(info.Kind != "" && info.Name != "", "Kind or Name is empty")
	s.hosts()
	for _, h := range info.Hosts {
		s.check(strings.Count(h, ".") > 0, "host %q has one label", h)
	}
}

func (s *suite) connectOnce() {
	a := s.connect()
	s.check(a.ExternalID == s.Account, "connected %q, want %q", a.ExternalID, s.Account)
	s.check(!a.Grant.AccessToken.IsZero(), "no access token")
	s.check(len(a.ProviderData) == 0 || json.Valid(a.ProviderData), "ProviderData is not JSON")
	s.check(len(a.ExternalID) <= 191 && len(a.Alias) <= 191, "an id is over 191 bytes")
	for _, secret := range []token.Secret{a.Grant.AccessToken, a.Grant.RefreshToken} {
		s.check(secret.IsZero() || !strings.Contains(string(a.ProviderData), secret.Reveal()), "ProviderData holds a token")
	}
	codes := 0
	for _, r := range s.wire.requests() {
		if strings.Contains(r.body, "code=") || strings.Contains(r.body, `"code":`) {
			codes++
		}
		s.check(r.query.Get("client_secret") == "" && r.query.Get("code") == "", "a secret went out in a query")
	}
	s.check(codes == 1, "the code was sent %d times", codes)
}

func (s *suite) deny() {
	q := s.authorize(false)
	s.check(q.Get("error") != "" && q.Get("code") == "", "a user who says no comes back with %v", slices.Sorted(keys(q)))
	_, err := s.exchange(q)
	var refusal *providers.Refusal
	s.check(errors.As(err, &refusal), "an exchange without a code returns %v, want a *providers.Refusal", err)
	s.check(len(s.wire.requests()) == 0, "an exchange without a code made a request")
}

func keys(v url.Values) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range v {
			if !yield(k) {
				return
			}
		}
	}
}
