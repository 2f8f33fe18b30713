package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/token"
)

// moment is where in a refresh a race begins.
type moment int

const (
	beforeWork   moment = iota // the token is on its way to the provider
	afterWork                  // the provider has rotated, the answer is on its way
	beforeCommit               // the answer is here and not stored
	moments                    // how many there are
)

// grants stands between the library and both the fake and the store, and keeps
// book of grants by their refresh tokens.
type grants struct {
	kit    *integrationstest.Kit
	cipher crypto.Cipher

	mu      sync.Mutex
	account map[string]string // whose each is
	minted  map[string]string // by a refresh: its tenant
	stored  map[string]bool   // and is, or was, in a row
	revoked map[string]int
	wide    map[string]bool   // accounts all of whose grants end with one, as Google's do
	tenant  map[string]string // that presents a refresh token next
	races   map[string]func(moment)
}

func newGrants(kit *integrationstest.Kit, cipher crypto.Cipher) *grants {
	return &grants{
		kit: kit, cipher: cipher, account: map[string]string{}, minted: map[string]string{}, stored: map[string]bool{},
		revoked: map[string]int{}, wide: map[string]bool{}, tenant: map[string]string{}, races: map[string]func(moment){},
	}
}

// at lets the race of a tenant happen, if it is to begin here.
func (g *grants) at(tenant string, m moment) {
	g.mu.Lock()
	race := g.races[tenant]
	g.mu.Unlock()
	if race != nil {
		race(m)
	}
}

// RoundTrip implements http.RoundTripper.
func (g *grants) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/token" && r.URL.Path != "/revoke" {
		return g.kit.Network.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(body))
	if r.URL.Path == "/revoke" {
		return g.revoke(out, form.Get("token"))
	}
	return g.mint(out, form.Get("refresh_token"))
}

func (g *grants) revoke(r *http.Request, refresh string) (*http.Response, error) {
	g.mu.Lock()
	g.revoked[refresh]++
	account := g.account[refresh]
	wide := g.wide[account]
	g.mu.Unlock()
	if wide {
		g.kit.OAuth.Tokens.Revoke(account)
	}
	return g.kit.Network.RoundTrip(r)
}

// mint passes on a code, or a refresh token where one is given.
func (g *grants) mint(r *http.Request, spent string) (*http.Response, error) {
	g.mu.Lock()
	tenant := g.tenant[spent]
	g.mu.Unlock()
	g.at(tenant, beforeWork)
	resp, err := g.kit.Network.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var grant struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &grant); err != nil {
		return nil, err
	}
	if grant.Refresh != "" {
		account, err := g.owner(grant.Access)
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		g.account[grant.Refresh] = account
		if spent != "" {
			g.minted[grant.Refresh], g.tenant[grant.Refresh] = tenant, tenant
		}
		g.mu.Unlock()
	}
	g.at(tenant, afterWork)
	return resp, nil
}

// owner asks the fake whose a fresh access token is.
func (g *grants) owner(access string) (string, error) {
	r, err := http.NewRequest(http.MethodGet, "https://api.example.test/me", strings.NewReader(""))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+access)
	resp, err := g.kit.Network.RoundTrip(r)
	if err != nil {
		return "", err
	}
	var me struct{ Account struct{ ID string } }
	err = json.NewDecoder(resp.Body).Decode(&me)
	return me.Account.ID, err
}

// watched tells of grants that come into rows.
type watched struct {
	*sqlstore.Store
	g *grants
}

func (w watched) CommitTokens(ctx context.Context, c store.CommitTokens) (bool, error) {
	w.g.at(c.TenantID, beforeCommit)
	ok, err := w.Store.CommitTokens(ctx, c)
	if ok {
		in := store.Integration{ID: c.ID, TenantID: c.TenantID, Provider: replicaKey, AccessToken: c.AccessToken, RefreshToken: c.RefreshToken}
		_, refresh, openErr := token.OpenGrant(w.g.cipher, in)
		if openErr != nil {
			panic(openErr)
		}
		w.g.mu.Lock()
		w.g.stored[refresh.Reveal()] = true
		w.g.mu.Unlock()
	}
	return ok, err
}
