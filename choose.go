package integrations

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

// maxChoices bounds the accounts a page offers.
const maxChoices = 100

// pick returns the account of a grant's choice that is wanted, or the only one.
func pick(a providers.Account, wanted string) (providers.Account, bool) {
	for _, c := range a.Choices {
		if c.ExternalID == wanted || wanted == "" && len(a.Choices) == 1 {
			return providers.Account{
				ExternalID: c.ExternalID, Alias: c.Alias, Exclusive: c.Exclusive, ProviderData: c.ProviderData, Grant: a.Grant,
			}, true
		}
	}
	return providers.Account{}, false
}

// pending is a grant that waits, sealed, for the user to pick an account.
type pending struct {
	AccessToken      string             `json:"access_token"`
	RefreshToken     string             `json:"refresh_token,omitempty"`
	ExpiresIn        time.Duration      `json:"expires_in,omitempty"`
	RefreshExpiresIn time.Duration      `json:"refresh_expires_in,omitempty"`
	Scopes           []string           `json:"scopes"`
	Since            time.Time          `json:"since"`
	Choices          []providers.Choice `json:"choices"`
}

func pendingBinding(f store.Flow) crypto.Binding {
	return crypto.Binding{Tenant: f.TenantID, Provider: f.Provider, Integration: f.StateHash, Field: "pending_grant"}
}

// offer shows a page where the user picks one of the accounts of a grant. The
// grant waits in a flow of its own, which works once, in this browser, for this
// user, as the first did.
func (m *Manager) offer(w http.ResponseWriter, r *http.Request, p *provider, flow store.Flow, a providers.Account) error {
	if len(a.Choices) > maxChoices {
		a.Choices = a.Choices[:maxChoices]
	}
	state, browser := newSecret(), newSecret()
	flow.Continues, flow.StateHash, flow.BrowserHash, flow.TTL = flow.StateHash, hash(state), hash(browser), flowTTL
	g := a.Grant
	plain, err := json.Marshal(pending{
		AccessToken: g.AccessToken.Reveal(), RefreshToken: g.RefreshToken.Reveal(), ExpiresIn: g.ExpiresIn,
		RefreshExpiresIn: g.RefreshExpiresIn, Scopes: g.Scopes, Since: time.Now(), Choices: a.Choices,
	})
	if err != nil {
		return fmt.Errorf("integrations: choose account: %w", err)
	}
	if flow.Verifier, err = m.cfg.Cipher.Seal(nil, plain, pendingBinding(flow)); err != nil {
		return fmt.Errorf("integrations: choose account: %w", err)
	}
	if err := m.cfg.Store.PutFlow(r.Context(), flow); err != nil {
		return fmt.Errorf("integrations: choose account: %w", err)
	}
	m.setFlowCookie(w, r, state, browser)
	action, err := url.Parse(p.redirect)
	if err != nil {
		return fmt.Errorf("integrations: choose account: %w", err)
	}
	options := make([]option, len(a.Choices))
	for i, c := range a.Choices {
		options[i] = option{c.ExternalID, c.Name}
	}
	writePage(w, http.StatusOK, page{
		Title: "Connect " + p.info.Name, Text: "Which account do you want to connect?", Button: "Connect",
		Action: action.Path, Fields: map[string]string{"choice": state}, Options: options,
	})
	return nil
}

// choose finishes a flow whose user has picked an account.
func (m *Manager) choose(w http.ResponseWriter, r *http.Request, p *provider) {
	var csrf http.CrossOriginProtection
	if err := csrf.Check(r); err != nil {
		m.refuse(w, r, p, Identity{}, http.StatusForbidden, codeForbidden, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxQuery)
	if err := r.ParseForm(); err != nil || len(r.PostForm["choice"]) != 1 || len(r.PostForm["account"]) != 1 || !isSecret(r.PostForm.Get("choice")) {
		m.refuse(w, r, p, Identity{}, http.StatusBadRequest, codeState, ErrInvalid)
		return
	}
	who, idErr := m.identify(r)
	flow, ok := m.consume(w, r, p, r.PostForm.Get("choice"), who, idErr)
	if !ok {
		return
	}
	end, err := m.chosen(r, p, flow, r.PostForm.Get("account"))
	m.finished(w, r, p, flow, end, err)
}

func (m *Manager) chosen(r *http.Request, p *provider, flow store.Flow, wanted string) (ending, error) {
	plain, err := m.cfg.Cipher.Open(nil, flow.Verifier, pendingBinding(flow))
	if err != nil {
		return ending{code: codeState}, err // of a flow that was not to be chosen for
	}
	var g pending
	if err := json.Unmarshal(plain, &g); err != nil {
		return ending{code: codeInternal}, fmt.Errorf("integrations: choose account: %w", err)
	}
	// Another replica's clock may be ahead: a life must not grow by it.
	waited := max(time.Since(g.Since), 0)
	account, ok := pick(providers.Account{Choices: g.Choices, Grant: token.Grant{
		AccessToken: token.NewSecret(g.AccessToken), RefreshToken: token.NewSecret(g.RefreshToken), Scopes: g.Scopes,
		ExpiresIn: rest(g.ExpiresIn, waited), RefreshExpiresIn: rest(g.RefreshExpiresIn, waited),
	}}, wanted)
	if !ok {
		return ending{code: codeMismatch}, ErrAccountMismatch
	}
	ctx, cancel := detached(r.Context())
	defer cancel()
	return m.bind(ctx, p, flow, account)
}

// rest is what remains of a life, 0 for one without an end.
func rest(life, waited time.Duration) time.Duration {
	if life == 0 {
		return 0
	}
	return max(life-waited, time.Second)
}
