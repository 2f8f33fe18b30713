package integrations_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// lookedUp lets something happen right before an account is looked up.
type lookedUp struct {
	*memstore.Store
	once   sync.Once
	before func()
}

func (s *lookedUp) FindByExternal(ctx context.Context, provider, id string) ([]store.Integration, error) {
	if s.before != nil {
		s.once.Do(s.before)
	}
	return s.Store.FindByExternal(ctx, provider, id)
}

// wideRevoker ends all grants of an account with one, as Google does.
type wideRevoker struct {
	*fake
	all func(account string)
}

func (p wideRevoker) Revoke(_ context.Context, r providers.Revocation) error {
	p.all(r.ExternalID)
	return nil
}

// TestR13AReconnectOutlivesTheDisconnectBefore: a tenant that is back before the
// disconnect came to the provider keeps its account.
func TestR13AReconnectOutlivesTheDisconnectBefore(t *testing.T) {
	st := &lookedUp{Store: memstore.New()}
	kit, p := fakeKit(t)
	cfg := kit.Config()
	cfg.Store, cfg.Providers = st, []providers.Provider{wideRevoker{p, kit.OAuth.Tokens.Revoke}}
	m := kit.Use(cfg)
	kit.Connect("t1", acmeKey)
	conn := connOf(t, kit)
	st.before = func() { kit.Connect("t1", acmeKey) }
	require.NoError(t, m.Disconnect(t.Context(), "t1", conn.IntegrationID()))
	resp, err := connOf(t, kit).HTTPClient().Get("https://api.example.test/me")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode, "the new grant was revoked")
}

// revocations are both kinds of provider.
var revocations = map[string]bool{"one revocation may end all": false, "each grant ends alone": true}

func ofKind(one bool) []changeConfig {
	if one {
		return []changeConfig{shared, revokesOne}
	}
	return []changeConfig{shared}
}

// TestR13ADisconnectOfASharedAccount: of another tenant's, or of the tenant's own
// under another label.
func TestR13ADisconnectOfASharedAccount(t *testing.T) {
	for name, one := range revocations {
		for _, other := range []store.Integration{{TenantID: "t2"}, {TenantID: "t1", Label: "eu"}} {
			t.Run(name+" "+other.TenantID+other.Label, func(t *testing.T) {
				p := newPurging(t, ofKind(one)...)
				mine, theirs := p.connect("t1", "", "SAME"), p.connect(other.TenantID, other.Label, "SAME")
				disconnect := func(tenant, label string) {
					in, err := p.st.Find(t.Context(), tenant, acmeKey, label)
					require.NoError(t, err)
					require.NoError(t, p.kit.Manager().Disconnect(t.Context(), tenant, in.ID))
				}
				disconnect("t1", "")
				require.True(t, p.alive(theirs), "the access of the other was taken away")
				require.Equal(t, !one, p.alive(mine))
				disconnect(other.TenantID, other.Label)
				require.False(t, p.alive(theirs))
			})
		}
	}
}

// TestR13TheVeryGrantOfAnotherIsLeft: two integrations may hold the same tokens, as
// a provider that grants an app once gives out.
func TestR13TheVeryGrantOfAnotherIsLeft(t *testing.T) {
	p := newPurging(t, ofKind(true)...)
	mine := p.connect("t1", "", "SAME")
	in, err := p.st.Find(t.Context(), "t1", acmeKey, "")
	require.NoError(t, err)
	access, refresh, err := token.OpenGrant(p.cfg.Cipher, in)
	require.NoError(t, err)
	c := store.Connect{ID: "copy", TenantID: "t2", Provider: acmeKey, ExternalID: "SAME"}
	c.AccessToken, c.RefreshToken, c.KeyID, err = token.SealGrant(p.cfg.Cipher, "t2", acmeKey, "copy", token.Grant{AccessToken: access, RefreshToken: refresh})
	require.NoError(t, err)
	_, err = p.st.Connect(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, p.kit.Manager().Disconnect(t.Context(), "t1", in.ID))
	require.True(t, p.alive(mine))
	require.NoError(t, p.kit.Manager().Disconnect(t.Context(), "t2", "copy"))
	require.False(t, p.alive(mine))
}

// TestR13AReconnectEndsTheGrantItReplaces: where that ends no other.
func TestR13AReconnectEndsTheGrantItReplaces(t *testing.T) {
	for name, one := range revocations {
		t.Run(name, func(t *testing.T) {
			p := newPurging(t, ofKind(one)...)
			old, other := p.connect("t1", "", "SAME"), p.connect("t2", "", "SAME")
			fresh := p.connect("t1", "", "SAME")
			require.Equal(t, !one, p.alive(old))
			require.True(t, p.alive(fresh))
			require.True(t, p.alive(other))
		})
	}
}

// TestR13ARefreshDuringAReconnect: what it brings is revoked where that ends no
// other grant, and what the user has just granted lives.
func TestR13ARefreshDuringAReconnect(t *testing.T) {
	for name, one := range revocations {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p *purging
				var minted, revoked []string
				during := func() {}
				p = newPurging(t, append(ofKind(one), func(cfg *integrations.Config, _ *providers.OAuth2Config) {
					cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
						if r.URL.Path == "/revoke" {
							body, err := io.ReadAll(r.Body)
							require.NoError(t, err)
							form, err := url.ParseQuery(string(body))
							require.NoError(t, err)
							revoked = append(revoked, form.Get("token"))
							r.Body = io.NopCloser(bytes.NewReader(body))
						}
						if r.URL.Path != "/token" {
							return p.kit.Network.RoundTrip(r)
						}
						resp, err := p.kit.Network.RoundTrip(r)
						if err != nil {
							return nil, err
						}
						body, err := io.ReadAll(resp.Body)
						require.NoError(t, err)
						resp.Body = io.NopCloser(bytes.NewReader(body))
						var ans struct {
							Refresh string `json:"refresh_token"`
						}
						require.NoError(t, json.Unmarshal(body, &ans))
						minted = append(minted, ans.Refresh)
						reconnect := during
						during = func() {}
						reconnect()
						return resp, nil
					})
				})...)
				p.connect("t1", "", "SAME")
				conn := p.conn("t1")
				time.Sleep(2 * time.Hour)
				fresh := ""
				during = func() { fresh = p.connect("t1", "", "SAME") }
				require.NoError(t, conn.Check(t.Context()))
				require.NoError(t, p.kit.Manager().Shutdown(t.Context()))
				require.Len(t, minted, 3)
				require.Equal(t, fresh, minted[2])
				require.True(t, p.alive(fresh))
				require.Equal(t, !one, p.alive(minted[1]), "the orphan")
				if one {
					require.Equal(t, []string{minted[0], minted[1]}, revoked)
				} else {
					require.Empty(t, revoked)
				}
			})
		})
	}
}
