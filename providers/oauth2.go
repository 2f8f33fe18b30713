package providers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"golang.org/x/oauth2"
)

// OAuth2Config makes a [Provider] of any OAuth 2 server.
type OAuth2Config struct {
	// Key names the provider, see [Info]. Required.
	Key string
	// Name is for people. Defaults to Key.
	Name string

	// ClientID and ClientSecret are those of the registered app. ClientSecret may
	// be empty for a public client, which then must use PKCE.
	ClientID, ClientSecret string
	// Endpoint holds AuthURL, TokenURL and AuthStyle. Both URLs must be https.
	// AuthStyle AutoDetect means AuthStyleInParams: the style is never guessed,
	// because guessing would send a single-use code twice.
	Endpoint oauth2.Endpoint
	// Scopes are those the host wants.
	Scopes []string
	// OptionalScopes are asked for by an upgrade only, and not missed.
	OptionalScopes []string
	// ScopeSeparator joins scopes in the authorize URL. Defaults to a space.
	ScopeSeparator string
	// AuthParams are added to the authorize URL, for example access_type=offline.
	AuthParams map[string]string
	// DisablePKCE leaves out the code challenge, for servers that refuse one.
	DisablePKCE bool
	// Issuer, when not "", must equal the callback's iss where one is sent.
	Issuer string
	// RedirectURL replaces BaseURL/{key}/callback.
	RedirectURL string

	// Hosts are where the bearer token may go, see [Hosts]. Required.
	Hosts []string

	// AccountURL is asked with the new token for the account, and again now and then
	// where tokens do not end: a refusal with error="invalid_token" (RFC 6750 section
	// 3.1) then ends the integration. Its host must be one of Hosts. "" takes the
	// account from the token answer itself and never asks.
	AccountURL string
	// AccountID is the path of the account's id in that JSON, members joined by
	// dots: "team.id". Required.
	AccountID string
	// AccountName is the path of a name for people, "" for none.
	AccountName string
	// Shared lets several integrations hold one account. By default the account
	// is exclusive.
	Shared bool

	// RevokeURL is the RFC 7009 endpoint, "" when there is none.
	RevokeURL string
	// RevokesOneGrant says that RevokeURL ends the grant of the token it is given
	// and no other of the account (RFC 7009 leaves that to the server). Then a
	// grant is revoked also while another integration uses the account, and when a
	// reconnect replaces it. Defaults to false: revoking one may end all.
	RevokesOneGrant bool

	// Webhook, when not nil, receives the provider's webhooks.
	Webhook *OAuth2Webhook
}

// NewOAuth2 makes a provider of an OAuth 2 server (RFC 6749 with PKCE, RFC 7636).
// It never fails; the Manager reports every fault of the configuration.
func NewOAuth2(cfg OAuth2Config) Provider {
	if cfg.Name == "" {
		cfg.Name = cfg.Key
	}
	if cfg.ScopeSeparator == "" {
		cfg.ScopeSeparator = " "
	}
	secret := token.NewSecret(cfg.ClientSecret)
	cfg.ClientSecret = ""
	return &oauth2Provider{cfg: cfg, secret: secret}
}

type oauth2Provider struct {
	cfg    OAuth2Config // ClientSecret is empty here
	secret token.Secret
}

var (
	_ Provider        = (*oauth2Provider)(nil)
	_ Renewer         = (*oauth2Provider)(nil)
	_ Revoker         = (*oauth2Provider)(nil)
	_ GrantSharer     = (*oauth2Provider)(nil)
	_ Verifier        = (*oauth2Provider)(nil)
	_ AccountImporter = (*oauth2Provider)(nil)
	_ WebhookReceiver = (*oauth2Provider)(nil)
)

func (p *oauth2Provider) Info() Info {
	return Info{
		Key: p.cfg.Key, Kind: p.cfg.Key, App: p.cfg.ClientID, Name: p.cfg.Name, Hosts: p.cfg.Hosts, Scopes: p.cfg.Scopes, OptionalScopes: p.cfg.OptionalScopes,
		PKCE: !p.cfg.DisablePKCE, RedirectURL: p.cfg.RedirectURL, Issuer: p.cfg.Issuer,
	}
}

var keyPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// ValidKey reports whether s can be the key of a provider.
func ValidKey(s string) bool { return keyPattern.MatchString(s) }

func (p *oauth2Provider) Validate() error {
	f := NewFaults("providers", p.cfg.Key)
	if p.cfg.ClientID == "" {
		f.Add("ClientID is empty")
	}
	if p.secret.IsZero() && p.cfg.DisablePKCE {
		f.Add("ClientSecret is empty and PKCE is disabled: nothing would protect the code")
	}
	checkURL := func(name, raw string) {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			f.Add("%s is not an https URL", name)
		}
	}
	checkURL("Endpoint.AuthURL", p.cfg.Endpoint.AuthURL)
	checkURL("Endpoint.TokenURL", p.cfg.Endpoint.TokenURL)
	if p.cfg.RevokeURL != "" {
		checkURL("RevokeURL", p.cfg.RevokeURL)
	}
	f.redirect(p.cfg.RedirectURL)
	hosts, err := NewHosts(p.cfg.Hosts...)
	if err != nil {
		f.Add("Hosts: %w", err)
	}
	if p.cfg.AccountURL != "" {
		if u, err := url.Parse(p.cfg.AccountURL); err != nil || hosts.Check(u) != nil {
			f.Add("AccountURL is not an https URL at one of Hosts")
		}
	}
	if p.cfg.AccountID == "" {
		f.Add("AccountID is empty")
	}
	if w := p.cfg.Webhook; w != nil {
		if err := w.validate(); err != nil {
			f.Add("Webhook: %w", err)
		}
	}
	return f.Err()
}

func (p *oauth2Provider) AuthorizeURL(a Authorize) (string, error) {
	c := oauth2.Config{ClientID: p.cfg.ClientID, Endpoint: p.cfg.Endpoint, RedirectURL: a.RedirectURL}
	var opts []oauth2.AuthCodeOption
	if len(a.Scopes) > 0 {
		opts = append(opts, oauth2.SetAuthURLParam("scope", strings.Join(a.Scopes, p.cfg.ScopeSeparator)))
	}
	if a.Challenge != "" {
		opts = append(opts, oauth2.SetAuthURLParam("code_challenge", a.Challenge),
			oauth2.SetAuthURLParam("code_challenge_method", "S256"))
	}
	for k, v := range p.cfg.AuthParams {
		opts = append(opts, oauth2.SetAuthURLParam(k, v))
	}
	return c.AuthCodeURL(a.State, opts...), nil
}

func (p *oauth2Provider) Exchange(ctx context.Context, x Exchange) (Account, error) {
	form, err := x.Form()
	if err != nil {
		return Account{}, err
	}
	var answer []byte
	r := p.request(form)
	r.Decode = func(a token.Answer) (token.Grant, error) {
		answer = a.Body
		return token.DecodeOAuth(a)
	}
	grant, err := x.Client.Do(ctx, r)
	if err != nil {
		return Account{}, err
	}
	if p.cfg.AccountURL != "" {
		call := APICall{URL: p.cfg.AccountURL, Header: Bearer(grant.AccessToken), Out: &answer, MaxBody: maxAccountAnswer}
		if _, err = (API{Adapter: "providers"}).Do(ctx, x.HTTP, call); err != nil {
			return Account{}, err
		}
	}
	id, ok := jsonPath(answer, p.cfg.AccountID)
	if !ok || len(id) > 191 {
		return Account{}, fmt.Errorf("integrations/providers: %s: the answer has no account id at %s", p.cfg.Key, p.cfg.AccountID)
	}
	data := map[string]string{}
	if name, ok := jsonPath(answer, p.cfg.AccountName); ok {
		data["account_name"] = name
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return Account{}, err
	}
	return Account{ExternalID: id, Exclusive: !p.cfg.Shared, Grant: grant, ProviderData: raw}, nil
}

// Renew refreshes (RFC 6749 section 6).
func (p *oauth2Provider) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	form, err := RefreshForm(r, hostOf(p.cfg.Endpoint.TokenURL))
	if err != nil {
		return token.Grant{}, err
	}
	return r.Client.Do(ctx, p.request(form))
}

// Revoke ends the grant by RFC 7009, with the refresh token if there is one.
func (p *oauth2Provider) Revoke(ctx context.Context, r Revocation) error {
	if p.cfg.RevokeURL == "" {
		return fmt.Errorf("integrations/providers: %s has no RevokeURL: %w", p.cfg.Key, errors.ErrUnsupported)
	}
	tok, hint := r.RefreshToken, "refresh_token"
	if tok.IsZero() {
		tok, hint = r.AccessToken, "access_token"
	}
	if tok.IsZero() {
		return nil
	}
	req := p.request(url.Values{"token": {tok.Reveal()}, "token_type_hint": {hint}})
	req.URL = p.cfg.RevokeURL
	req.Decode = NoGrant
	_, err := r.Client.Do(ctx, req)
	return err
}

// SharesGrant implements GrantSharer.
func (p *oauth2Provider) SharesGrant(Snapshot, Snapshot) bool { return !p.cfg.RevokesOneGrant }

// Verify asks for the account again, where there is an AccountURL. A refusal of the
// token itself (RFC 6750 section 3.1) ends a grant that nothing renews.
func (p *oauth2Provider) Verify(ctx context.Context, conn *Connection) error {
	if p.cfg.AccountURL == "" {
		return fmt.Errorf("integrations/providers: %s has no AccountURL: %w", p.cfg.Key, errors.ErrUnsupported)
	}
	ans, err := (API{Adapter: "providers"}).Do(ctx, conn.ClientFor(p.cfg.Key), APICall{URL: p.cfg.AccountURL, MaxBody: maxAccountAnswer})
	if ans.Status == http.StatusUnauthorized && strings.Contains(ans.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		return fmt.Errorf("%w: %w", ErrReconnectRequired, err)
	}
	return err
}

func (p *oauth2Provider) WebhookSource() (webhook.Source, error) {
	if p.cfg.Webhook == nil {
		return webhook.Source{}, fmt.Errorf("integrations/providers: %s has no Webhook: %w", p.cfg.Key, errors.ErrUnsupported)
	}
	return p.cfg.Webhook.source(), nil
}

func (p *oauth2Provider) request(form url.Values) token.Request {
	return token.Request{
		URL: p.cfg.Endpoint.TokenURL, Form: form, AuthStyle: p.cfg.Endpoint.AuthStyle,
		ClientID: p.cfg.ClientID, ClientSecret: p.secret,
	}
}

// maxAccountAnswer bounds the answer of an AccountURL.
const maxAccountAnswer = 1 << 20

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}
