package integrations

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

// maxParam bounds each parameter of a callback, maxQuery all of them.
const (
	maxParam = 4 << 10
	maxQuery = 16 << 10
	maxError = 64
)

// CallbackHandler finishes flows of one provider. It checks, in this order and
// before anything is asked of the provider: the form of the parameters; the
// state, which works once; that it was made for this provider; the browser's
// cookie; that the same user of the same tenant is signed in; the issuer. Only
// then is the code exchanged. It panics for a key that no provider has.
//
// A grant that is good for several accounts ends at a page where the user picks
// one. That page posts to the same path.
//
// What fails before the cookie was seen to match gets one page with one code,
// whatever it was. Later failures go to the flow's return path.
func (m *Manager) CallbackHandler(key string) http.Handler {
	p := m.mustProvider(key)
	return m.guarded("callback", func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
		case http.MethodPost:
			m.choose(w, r, p)
			return
		default:
			w.Header().Set("Allow", "GET, POST")
			writeError(w, http.StatusMethodNotAllowed, codeInvalid)
			return
		}
		q, ok := callbackQuery(r.URL.RawQuery)
		if !ok {
			m.refuse(w, r, p, Identity{}, http.StatusBadRequest, codeState, ErrInvalid)
			return
		}
		if !q.Has("state") {
			m.land(w, r, p, q)
			return
		}
		m.callback(w, r, p, q)
	})
}

// callbackQuery parses the parameters of a callback. Each must be there once and
// within bounds.
func callbackQuery(raw string) (url.Values, bool) {
	if len(raw) > maxQuery {
		return nil, false
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, false
	}
	for name, v := range q {
		if len(v) != 1 || len(v[0]) > maxParam {
			return nil, false
		}
		if name == "error" && len(v[0]) > maxError {
			return nil, false
		}
	}
	return q, true
}

func (m *Manager) callback(w http.ResponseWriter, r *http.Request, p *provider, q url.Values) {
	ctx := r.Context()
	state := q.Get("state")
	if !isSecret(state) {
		m.refuse(w, r, p, Identity{}, http.StatusBadRequest, codeState, ErrInvalid)
		return
	}
	who, idErr := m.identify(r)
	if errors.Is(idErr, ErrUnauthenticated) && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		// A host session with SameSite=Strict is not sent on the way back from
		// the provider. A reload is a request of this site's own.
		writePage(w, http.StatusOK, page{Title: "One moment", Reload: true})
		return
	}
	flow, ok := m.consume(w, r, p, state, who, idErr)
	if !ok {
		return
	}
	// The code works once: a browser that goes away must not lose the grant.
	ctx, cancel := detached(ctx)
	defer cancel()
	end, account, err := m.finish(ctx, p, flow, q)
	if err == nil && account.Choices != nil {
		if err = m.offer(w, r, p, flow, account); err == nil {
			return
		}
		if end.code = codeInternal; errors.Is(err, store.ErrNotFound) {
			end.code = codeState // the flow went with its tenant meanwhile
		}
	}
	m.finished(w, r, p, flow, end, err)
}

// ending is what a flow ended with.
type ending struct {
	code string
	// lacking says that the account was connected without all the scopes that were
	// asked for.
	lacking bool
}

// consume spends a flow that a browser comes back with, if it is that browser's
// and the same user's. Otherwise it answers.
func (m *Manager) consume(w http.ResponseWriter, r *http.Request, p *provider, state string, who Identity, idErr error) (store.Flow, bool) {
	ctx := r.Context()
	browser := ""
	cookie := m.flowCookie(state, "", -1)
	if c, err := r.Cookie(cookie.Name); err == nil {
		browser = c.Value
	}
	http.SetCookie(w, cookie) // the flow is over, whatever comes of it

	flow, err := m.cfg.Store.ConsumeFlow(ctx, hash(state))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		m.log.ErrorContext(ctx, "integrations: callback failed", "provider", p.info.Key, "error", err)
		m.refuse(w, r, p, Identity{}, http.StatusServiceUnavailable, codeInternal, err)
		return flow, false
	}
	if err != nil || flow.Provider != p.info.Key || !isSecret(browser) || !sameHash(browser, flow.BrowserHash) {
		m.refuse(w, r, p, Identity{}, http.StatusBadRequest, codeState, store.ErrNotFound)
		return flow, false
	}
	if idErr != nil {
		m.failConnect(w, r, p, who, idErr)
		return flow, false
	}
	if who.TenantID != flow.TenantID || who.UserID != flow.ActorID ||
		(flow.SessionHash != "" && !sameHash(who.SessionID, flow.SessionHash)) {
		m.refuse(w, r, p, who, http.StatusForbidden, codeOtherUser, ErrForbidden)
		return flow, false
	}
	return flow, true
}

// finishTimeout bounds the exchange of a code and what follows.
const finishTimeout = time.Minute

// detached goes on when the browser goes away.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
}

// finished sends the browser to the flow's return path.
func (m *Manager) finished(w http.ResponseWriter, r *http.Request, p *provider, flow store.Flow, end ending, err error) {
	m.observe(r.Context(), FlowEvent{Provider: p.info.Key, TenantID: flow.TenantID, UserID: flow.ActorID, Result: end.code, Err: err})
	if end.code == codeInternal {
		m.log.ErrorContext(r.Context(), "integrations: callback failed", "provider", p.info.Key, "error", err)
	}
	redirect(w, returnURL(flow.ReturnTo, p.info.Key, end))
}

// refuse answers a callback that nothing comes of.
func (m *Manager) refuse(w http.ResponseWriter, r *http.Request, p *provider, who Identity, status int, code string, err error) {
	m.observe(r.Context(), FlowEvent{Provider: p.info.Key, TenantID: who.TenantID, UserID: who.UserID, Result: code, Err: err})
	writeError(w, status, code)
}

// land answers a callback without state: the user started at the provider.
// Nothing is bound by it.
func (m *Manager) land(w http.ResponseWriter, r *http.Request, p *provider, q url.Values) {
	if p.lander != nil {
		if l, ok := p.lander.Land(q); ok {
			if _, err := m.identify(r); err != nil {
				m.failConnect(w, r, p, Identity{}, err)
				return
			}
			if l.OfferConnect {
				m.connectButton(w, p, nil)
			} else {
				redirect(w, returnURL(m.cfg.ReturnTo, p.info.Key, ending{code: resultCode(l.Result)}))
			}
			return
		}
	}
	m.refuse(w, r, p, Identity{}, http.StatusBadRequest, codeState, ErrInvalid)
}

// finish exchanges the code and stores the account. It returns what the flow ended
// with and the cause of a failure, or an account with Choices that somebody has to
// pick from.
func (m *Manager) finish(ctx context.Context, p *provider, flow store.Flow, q url.Values) (ending, providers.Account, error) {
	fail := func(code string, err error) (ending, providers.Account, error) {
		return ending{code: code}, providers.Account{}, err
	}
	if code := q.Get("error"); code != "" {
		if code == "access_denied" {
			return fail(providers.RefusedDenied, &providers.Refusal{Code: providers.RefusedDenied})
		}
		return fail(codeProviderError, &providers.Refusal{Code: resultCode(code)})
	}
	if iss := q.Get("iss"); iss != "" && p.info.Issuer != "" && iss != p.info.Issuer {
		return fail(codeIssuer, &providers.Refusal{Code: codeIssuer})
	}
	x := providers.Exchange{
		Code: q.Get("code"), Query: q, RedirectURL: flow.RedirectURI,
		ExpectExternalID: flow.ExpectExternalID, Site: flow.Site, Client: m.client, HTTP: p.http,
	}
	if flow.Verifier != nil {
		verifier, err := m.cfg.Cipher.Open(nil, flow.Verifier, verifierBinding(flow))
		if err != nil {
			return fail(codeInternal, err)
		}
		x.Verifier = string(verifier)
	}
	account, err := p.Exchange(ctx, x)
	if err != nil {
		return fail(exchangeCode(err), err)
	}
	if len(account.Choices) > 0 {
		picked, ok := pick(account, flow.ExpectExternalID)
		switch {
		case !ok && flow.ExpectExternalID != "":
			return fail(codeMismatch, ErrAccountMismatch)
		case !ok:
			return ending{code: codeConnected}, account, nil
		}
		account = picked
	}
	end, err := m.bind(ctx, p, flow, account)
	return end, providers.Account{}, err
}

// bind stores an account as what the flow was for.
func (m *Manager) bind(ctx context.Context, p *provider, flow store.Flow, account providers.Account) (ending, error) {
	if account.ExternalID == "" || len(account.ExternalID) > 191 || len(account.Alias) > 191 || account.Grant.AccessToken.IsZero() {
		return ending{code: codeInternal}, fmt.Errorf("integrations: provider %s returned no account or no token", p.info.Key)
	}
	if flow.ExpectExternalID != "" && account.ExternalID != flow.ExpectExternalID {
		return ending{code: codeMismatch}, ErrAccountMismatch
	}
	if account.Grant.Scopes == nil {
		// RFC 6749 section 5.1: an answer without scope granted what was asked.
		account.Grant.Scopes = flow.Scopes
	}
	switch err := m.connect(ctx, p, flow, account); {
	case errors.Is(err, store.ErrTaken):
		return ending{code: codeTaken}, ErrAccountTaken
	case errors.Is(err, ErrAccountMismatch):
		return ending{code: codeMismatch}, ErrAccountMismatch
	case errors.Is(err, store.ErrNotFound):
		// The flow went with its tenant meanwhile.
		account.Grant.ProviderData = account.ProviderData
		m.revokeOrphan(ctx, store.Integration{TenantID: flow.TenantID, Provider: p.info.Key, ExternalID: account.ExternalID}, account.Grant)
		return ending{code: codeState}, err
	case err != nil:
		return ending{code: codeInternal}, err
	}
	return ending{codeConnected, len(providers.MissingScopes(flow.Scopes, account.Grant.Scopes)) > 0}, nil
}

// exchangeCode is the result code of a failed exchange.
func exchangeCode(err error) string {
	var refusal *providers.Refusal
	var call *token.Error
	switch {
	case errors.As(err, &refusal):
		return resultCode(refusal.Code)
	case errors.As(err, &call) && call.Outcome == token.AppFault:
		return codeMisconfigured
	case errors.As(err, &call) && (call.Outcome == token.Transient || call.Outcome == token.Ambiguous),
		errors.Is(err, ErrTransient), errors.Is(err, ErrRateLimited):
		return codeUnavailable
	default:
		return codeExchange
	}
}

// resultCode lets only short plain codes into a return URL.
func resultCode(code string) string {
	if code == "" || len(code) > maxError {
		return codeProviderError
	}
	for i := range len(code) {
		if c := code[i]; (c < 'a' || c > 'z') && c != '_' {
			return codeProviderError
		}
	}
	return code
}

// newID makes the id of an integration: 16 random bytes in hex.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}
