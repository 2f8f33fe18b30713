package integrations

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"golang.org/x/oauth2"
)

// Results of a flow, in the return URL's "result" and on pages. The Refused
// constants of package providers are further ones.
const (
	codeConnected       = "connected"
	codeState           = "state_invalid"
	codeUnauthenticated = "unauthenticated"
	codeForbidden       = "forbidden"
	codeOtherUser       = "identity_mismatch"
	codeInvalid         = "invalid_request"
	codeTooMany         = "too_many"
	codeInternal        = "internal_error"
	codeIssuer          = "issuer_mismatch"
	codeProviderError   = "provider_error"
	codeExchange        = "exchange_failed"
	codeMisconfigured   = "app_misconfigured"
	codeUnavailable     = "provider_unavailable"
	codeTaken           = "account_taken"
	codeMismatch        = "account_mismatch"
)

// FlowEvent is the end of a connect flow, or its refusal, as an [Observer] sees
// it.
type FlowEvent struct {
	Provider, TenantID, UserID string
	// Result is the code the user was given.
	Result string
	// Err is the cause, nil for a connection.
	Err error
}

// ConnectOptions are the parameters of a flow.
type ConnectOptions struct {
	// ReturnTo is where the flow ends: a local path, or a URL at one of
	// Config.AllowedReturnOrigins. Defaults to Config.ReturnTo.
	ReturnTo string
	// Label tells several accounts of one provider apart. Anything but "" needs
	// Config.AllowLabel.
	Label string
	// UpgradeScopes asks for all scopes already granted besides those wanted. A
	// connect without it asks again for those of them that the provider still has
	// among its OptionalScopes. It has to land on the same account, also with
	// Config.AllowAccountChange.
	UpgradeScopes bool
	// Scopes are further ones to ask for, of the Scopes and OptionalScopes of the
	// provider's configuration; any other is refused. Of a GitHub App they mean
	// nothing.
	Scopes []string
	// Site is where at the provider the user signs in, for providers with several
	// places: see their packages. "" is the usual one or, on a reconnect, that of
	// the connected account.
	Site string
}

// flowError is a refusal with the status and code to answer with.
type flowError struct {
	status int
	code   string
	cause  error
}

func (e *flowError) Error() string {
	if e.cause == nil {
		return "integrations: connect: " + e.code
	}
	return "integrations: connect: " + e.code + ": " + e.cause.Error()
}

func (e *flowError) Unwrap() error { return e.cause }

// ConnectHandler starts flows for one provider: GET or POST with return_to,
// label, site, scopes=upgrade, and scope, which is [ConnectOptions].Scopes joined
// by spaces. A POST from another site is refused; a GET from another site shows a
// page with one button. It panics for a key that no provider has.
func (m *Manager) ConnectHandler(key string) http.Handler {
	p := m.mustProvider(key)
	var csrf http.CrossOriginProtection
	return m.guarded("connect", func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
		case http.MethodPost:
			if err := csrf.Check(r); err != nil {
				writeError(w, http.StatusForbidden, codeForbidden)
				return
			}
		default:
			w.Header().Set("Allow", "GET, POST")
			writeError(w, http.StatusMethodNotAllowed, codeInvalid)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		if err := r.ParseForm(); err != nil {
			writeError(w, http.StatusBadRequest, codeInvalid)
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); r.Method == http.MethodGet && site != "same-origin" && site != "none" {
			if _, err := m.identify(r); err != nil {
				m.failConnect(w, r, p, Identity{}, err)
				return
			}
			m.connectButton(w, p, r.Form)
			return
		}
		to, err := m.connectURL(w, r, p, ConnectOptions{
			ReturnTo: r.Form.Get("return_to"), Label: r.Form.Get("label"), UpgradeScopes: r.Form.Get("scopes") == "upgrade",
			Site: r.Form.Get("site"), Scopes: strings.Fields(r.Form.Get("scope")),
		})
		if err != nil {
			who, _ := m.cfg.Identify(r)
			m.failConnect(w, r, p, who, err)
			return
		}
		redirect(w, to)
	})
}

// ConnectURL starts a flow and returns the provider's URL for front ends that
// send the browser there themselves. It sets the flow's cookie on w, so r and w
// must be of the browser that will come back. The caller must have made sure
// that the user meant it: a JSON API behind the host's own CSRF defence does.
//
// It returns an error wrapping [ErrUnauthenticated], [ErrForbidden] or
// [ErrInvalid].
func (m *Manager) ConnectURL(w http.ResponseWriter, r *http.Request, key string, opts ConnectOptions) (to string, err error) {
	defer m.recovered(r.Context(), "connect", &err)
	p := m.providers[key]
	if p == nil {
		return "", fmt.Errorf("%w: no provider %q", ErrInvalid, key)
	}
	return m.connectURL(w, r, p, opts)
}

func (m *Manager) connectURL(w http.ResponseWriter, r *http.Request, p *provider, opts ConnectOptions) (string, error) {
	who, err := m.identify(r)
	if err != nil {
		return "", err
	}
	if opts.ReturnTo == "" {
		opts.ReturnTo = m.cfg.ReturnTo
	}
	if !m.safeReturnTo(opts.ReturnTo) {
		return "", &flowError{http.StatusBadRequest, codeInvalid, fmt.Errorf("%w: return_to leads elsewhere", ErrInvalid)}
	}
	ctx := r.Context()
	if err := m.checkLabel(ctx, who, p.info.Key, opts.Label); err != nil {
		return "", err
	}
	if err := m.checkRate(ctx, who.TenantID); err != nil {
		return "", err
	}
	flow, err := m.reconnecting(ctx, who.TenantID, p, opts)
	if err != nil {
		return "", err
	}
	state, browser := newSecret(), newSecret()
	flow.StateHash, flow.BrowserHash, flow.TenantID, flow.ActorID = hash(state), hash(browser), who.TenantID, who.UserID
	flow.Provider, flow.Label, flow.RedirectURI, flow.ReturnTo = p.info.Key, opts.Label, p.redirect, opts.ReturnTo
	flow.TTL = flowTTL
	if who.SessionID != "" {
		flow.SessionHash = hash(who.SessionID)
	}
	challenge := ""
	if p.info.PKCE {
		verifier := oauth2.GenerateVerifier()
		challenge = oauth2.S256ChallengeFromVerifier(verifier)
		if flow.Verifier, err = m.cfg.Cipher.Seal(nil, []byte(verifier), verifierBinding(flow)); err != nil {
			return "", fmt.Errorf("integrations: connect: %w", err)
		}
	}
	to, err := p.AuthorizeURL(providers.Authorize{
		State: state, RedirectURL: p.redirect, Challenge: challenge, Scopes: flow.Scopes,
		ExpectExternalID: flow.ExpectExternalID, Site: flow.Site,
	})
	if errors.Is(err, ErrInvalid) {
		return "", &flowError{http.StatusBadRequest, codeInvalid, err}
	}
	if err != nil {
		return "", fmt.Errorf("integrations: connect: %w", err)
	}
	if err := m.cfg.Store.PutFlow(ctx, flow); err != nil {
		return "", fmt.Errorf("integrations: connect: %w", err)
	}
	m.setFlowCookie(w, r, state, browser)
	return to, nil
}

// verifierBinding ties a sealed PKCE verifier to its flow.
func verifierBinding(f store.Flow) crypto.Binding {
	return crypto.Binding{Tenant: f.TenantID, Provider: f.Provider, Integration: f.StateHash, Field: "pkce_verifier"}
}

func (m *Manager) checkLabel(ctx context.Context, who Identity, key, label string) error {
	if label == "" {
		return nil
	}
	if len(label) > 64 || m.cfg.AllowLabel == nil || !m.cfg.AllowLabel(ctx, who, key, label) {
		return &flowError{http.StatusForbidden, codeForbidden, fmt.Errorf("%w: label", ErrForbidden)}
	}
	return nil
}

func (m *Manager) checkRate(ctx context.Context, tenant string) error {
	n, err := m.cfg.Store.CountFlows(ctx, tenant, time.Minute)
	if err != nil {
		return fmt.Errorf("integrations: connect: %w", err)
	}
	if n >= flowsPerMinute {
		return &flowError{http.StatusTooManyRequests, codeTooMany, ErrRateLimited}
	}
	return nil
}

// reconnecting begins a flow by what is connected already: which scopes to ask
// for, at which site, and which account the flow has to land on.
func (m *Manager) reconnecting(ctx context.Context, tenant string, p *provider, opts ConnectOptions) (store.Flow, error) {
	flow := store.Flow{Site: opts.Site}
	if len(opts.Site) > maxSite {
		return flow, &flowError{http.StatusBadRequest, codeInvalid, fmt.Errorf("%w: site is too long", ErrInvalid)}
	}
	if unknown := p.undeclared(opts.Scopes); len(unknown) > 0 {
		return flow, &flowError{http.StatusBadRequest, codeInvalid, fmt.Errorf("%w: %d scopes that the provider's configuration does not have", ErrInvalid, len(unknown))}
	}
	flow.Scopes = p.asking(opts, nil)
	in, err := m.cfg.Store.Find(ctx, tenant, p.info.Key, opts.Label)
	if errors.Is(err, store.ErrNotFound) {
		return flow, nil
	}
	if err != nil {
		return flow, fmt.Errorf("integrations: connect: %w", err)
	}
	if !over(in) {
		flow.Scopes = p.asking(opts, in.Scopes)
	}
	if flow.Site == "" && p.sites != nil {
		flow.Site = p.sites.SiteOf(snapshot(in))
	}
	// What was disconnected or uninstalled is over: the next account may be
	// another one. More scopes are for the account that is there.
	if !over(in) && (opts.UpgradeScopes || !m.cfg.AllowAccountChange) {
		flow.ExpectExternalID = in.ExternalID
	}
	return flow, nil
}

// identify asks the host who makes the request.
func (m *Manager) identify(r *http.Request) (Identity, error) {
	who, err := m.cfg.Identify(r)
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return Identity{}, &flowError{http.StatusUnauthorized, codeUnauthenticated, ErrUnauthenticated}
	case errors.Is(err, ErrForbidden):
		return Identity{}, &flowError{http.StatusForbidden, codeForbidden, ErrForbidden}
	case err != nil:
		return Identity{}, fmt.Errorf("integrations: Identify: %w", err)
	case who.TenantID == "" || who.UserID == "":
		return Identity{}, &flowError{http.StatusUnauthorized, codeUnauthenticated, ErrUnauthenticated}
	case len(who.TenantID) > 191 || len(who.UserID) > 191:
		return Identity{}, fmt.Errorf("integrations: Identify: %w: id over 191 bytes", ErrInvalid)
	}
	return who, nil
}

// failConnect answers a request that no flow came of.
func (m *Manager) failConnect(w http.ResponseWriter, r *http.Request, p *provider, who Identity, err error) {
	status, code := http.StatusInternalServerError, codeInternal
	var fe *flowError
	if errors.As(err, &fe) {
		status, code = fe.status, fe.code
	} else {
		m.log.ErrorContext(r.Context(), "integrations: connect failed", "provider", p.info.Key, "error", err)
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "60")
	}
	m.observe(r.Context(), FlowEvent{Provider: p.info.Key, TenantID: who.TenantID, UserID: who.UserID, Result: code, Err: err})
	writeError(w, status, code)
}
