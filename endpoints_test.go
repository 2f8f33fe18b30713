package integrations_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// hooked is a provider with webhooks, endpoints and subscriptions of its own.
type hooked struct {
	providers.Provider
	hmac    webhook.Verifier
	renew   func(s providers.Subscription) (providers.Subscription, error)
	revoked *providers.Revocation
	ended   *[]providers.Subscription
}

func (p hooked) WebhookSource() (webhook.Source, error) {
	return webhook.Source{Verifier: p.hmac, Read: func(r *webhook.Request) (webhook.Receipt, error) {
		v, err := webhook.Pick(r.Body, "id", "account", "subscription")
		if err != nil {
			return webhook.Receipt{}, err
		}
		n := webhook.Notice{Type: "changed"}
		n.DeliveryID, _ = webhook.String(v[0])
		n.Account, _ = webhook.String(v[1])
		if s, ok := webhook.String(v[2]); ok {
			n.Subscriptions = []string{s}
		}
		return webhook.Receipt{Notices: []webhook.Notice{n}}, nil
	}}, nil
}

func (p hooked) RenewSubscription(_ context.Context, _ *providers.Connection, s providers.Subscription) (providers.Subscription, error) {
	return p.renew(s)
}

func (p hooked) Revoke(_ context.Context, r providers.Revocation) error {
	*p.revoked = r
	return nil
}

func (p hooked) EndSubscriptions(_ context.Context, r providers.Revocation) error {
	*p.ended = append(*p.ended, r.Subscriptions...)
	return nil
}

var hookScheme = webhook.HMACConfig{SignatureHeader: "X-Signature", Secrets: []string{"the app's own secret"}}

func hookedKit(t *testing.T) (*integrationstest.Kit, *hooked, *providers.Connection) {
	kit := newKit(t)
	verifier, err := webhook.NewHMAC(hookScheme)
	require.NoError(t, err)
	p := &hooked{Provider: providers.NewOAuth2(kit.OAuth.Config(acmeKey)), hmac: verifier, revoked: &providers.Revocation{}, ended: &[]providers.Subscription{}}
	cfg := kit.Config()
	cfg.Providers = []providers.Provider{p}
	kit.Use(cfg)
	kit.Connect("t1", acmeKey)
	kit.Connect("t2", acmeKey)
	conn, err := kit.Manager().Connection(t.Context(), "t1", acmeKey)
	require.NoError(t, err)
	return kit, p, conn
}

func endpointIDs(ctx context.Context, conn *providers.Connection) ([]string, error) {
	list, err := conn.Endpoints(ctx)
	ids := []string{}
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids, err
}

// sign signs a body with a secret as the provider does.
func sign(url, secret, body string) *http.Request {
	cfg := hookScheme
	cfg.Secrets = []string{secret}
	return webhooktest.HMAC(url, cfg, []byte(body), time.Now())
}

func TestAnEndpointIsItsIntegrationsAlone(t *testing.T) {
	kit, p, conn := hookedKit(t)
	got := collect(kit, acmeKey)
	ctx := t.Context()
	require.Equal(t, integrationstest.BaseURL+"/acme_crm/webhook", conn.WebhookURL())
	e, err := conn.OpenEndpoint(ctx)
	require.NoError(t, err)
	require.Regexp(t, `^https://app\.example\.test/integrations/acme_crm/webhook/[A-Za-z0-9_-]{43}$`, e.URL)
	require.NotContains(t, fmt.Sprintf("%+v", e.Secret), e.Secret.Reveal())

	// The body names another tenant's account: the endpoint decides.
	require.Equal(t, http.StatusOK, kit.Send(sign(e.URL, e.Secret.Reveal(), `{"id":"1","account":"T-t2"}`)).StatusCode)
	require.Equal(t, http.StatusUnauthorized, kit.Send(sign(e.URL, hookScheme.Secrets[0], `{"id":"2","account":"T-t1"}`)).StatusCode)
	require.Equal(t, http.StatusUnauthorized, kit.Send(sign(conn.WebhookURL(), e.Secret.Reveal(), `{"id":"3","account":"T-t1"}`)).StatusCode)
	require.Equal(t, http.StatusUnauthorized, kit.Send(sign(e.URL+"x", e.Secret.Reveal(), `{"id":"4","account":"T-t1"}`)).StatusCode)
	require.NoError(t, kit.Manager().Drain(ctx))
	require.Equal(t, []string{"t1 changed"}, got())

	other, err := kit.Manager().Connection(ctx, "t2", acmeKey)
	require.NoError(t, err)
	require.NoError(t, other.CloseEndpoint(ctx, e.ID)) // is not its own and stays
	ids, err := endpointIDs(ctx, conn)
	require.NoError(t, err)
	require.Equal(t, []string{e.ID}, ids)

	require.NoError(t, conn.SaveSubscription(ctx, providers.Subscription{Name: "issues", RemoteID: "7"}))
	require.NoError(t, kit.Manager().Disconnect(ctx, "t1", conn.IntegrationID()))
	require.Equal(t, http.StatusUnauthorized, kit.Send(sign(e.URL, e.Secret.Reveal(), `{"id":"5","account":"T-t1"}`)).StatusCode)
	ids, err = endpointIDs(ctx, conn)
	require.NoError(t, err)
	require.Empty(t, ids)
	require.Len(t, *p.ended, 1)
	require.Equal(t, "7", (*p.ended)[0].RemoteID)
	require.Empty(t, p.revoked.Subscriptions)
	require.False(t, p.revoked.AccessToken.IsZero())
}

func TestSubscriptionsNarrowTheRouting(t *testing.T) {
	kit, _, conn := hookedKit(t)
	got := collect(kit, acmeKey)
	ctx := t.Context()
	require.NoError(t, conn.SaveSubscription(ctx, providers.Subscription{Name: "issues", RemoteID: "7"}))
	for i, body := range []string{`"account":"T-t1","subscription":"7"`, `"account":"T-t1","subscription":"8"`, `"account":"T-t2","subscription":"7"`, `"account":"T-t2"`} {
		require.Equal(t, http.StatusOK, kit.Send(sign(conn.WebhookURL(), hookScheme.Secrets[0], fmt.Sprintf(`{"id":"%d",%s}`, i, body))).StatusCode)
	}
	require.NoError(t, kit.Manager().Drain(ctx))
	require.ElementsMatch(t, []string{"t1 changed", "t2 changed"}, got()) // the others are for nobody
	require.ErrorIs(t, conn.SaveSubscription(ctx, providers.Subscription{}), providers.ErrInvalid)
}

func TestSubscriptionsAreRenewedWhenDue(t *testing.T) {
	kit, p, conn := hookedKit(t)
	ctx := t.Context()
	due := time.Now().Add(-time.Minute)
	for _, name := range []string{"fails", "gone", "good"} {
		require.NoError(t, conn.SaveSubscription(ctx, providers.Subscription{Name: name, RemoteID: name, RenewAt: due}))
	}
	require.NoError(t, conn.SaveSubscription(ctx, providers.Subscription{Name: "later", RemoteID: "later", RenewAt: time.Now().Add(time.Hour)}))
	var asked []string
	p.renew = func(s providers.Subscription) (providers.Subscription, error) {
		asked = append(asked, s.Name)
		switch s.Name {
		case "fails":
			return s, providers.ErrTransient
		case "gone":
			return s, providers.ErrNotFound
		}
		return providers.Subscription{RemoteID: "new", RenewAt: time.Now().Add(time.Hour)}, nil
	}
	for range 2 { // the second finds nothing due
		require.NoError(t, kit.Manager().Drain(ctx))
	}
	require.ElementsMatch(t, []string{"fails", "gone", "good"}, asked)
	subs, err := conn.Subscriptions(ctx)
	require.NoError(t, err)
	have := map[string]string{}
	for _, s := range subs {
		have[s.Name] = s.RemoteID
		require.True(t, s.RenewAt.After(time.Now()), s.Name)
	}
	require.Equal(t, map[string]string{"fails": "fails", "good": "new", "later": "later"}, have)
}

// ahead is a store whose clock is ahead of this machine's.
type ahead struct {
	*memstore.Store
	by time.Duration
}

func (s *ahead) Get(ctx context.Context, tenant, id string) (store.Integration, error) {
	in, err := s.Store.Get(ctx, tenant, id)
	in.ReadAt = in.ReadAt.Add(s.by)
	return in, err
}

// TestR12ASecretEndsByTheStoresClock: an endpoint's previous secret, whatever this
// machine's clock says.
func TestR12ASecretEndsByTheStoresClock(t *testing.T) {
	st := &ahead{Store: memstore.New()}
	var cipher crypto.Cipher
	kit, _ := fakeKit(t, on(st), func(cfg *integrations.Config, _ *providers.OAuth2Config) { cipher = cfg.Cipher })
	kit.Connect("t1", acmeKey)
	conn := connOf(t, kit)
	e, err := conn.OpenEndpoint(t.Context())
	require.NoError(t, err)
	rows, err := st.ListEndpoints(t.Context(), store.Ref{TenantID: "t1", ID: conn.IntegrationID()})
	require.NoError(t, err)
	row := rows[0]
	row.PreviousSecret, row.PreviousUntil = row.Secret, time.Now().Add(5*time.Minute)
	next, err := conn.OpenEndpoint(t.Context())
	require.NoError(t, err)
	row.Secret, err = cipher.Seal(nil, []byte(next.Secret.Reveal()), webhook.SecretBinding(row))
	require.NoError(t, err)
	require.NoError(t, st.PutEndpoint(t.Context(), row))
	for i, c := range []struct {
		by   time.Duration
		want int
	}{{0, http.StatusOK}, {10 * time.Minute, http.StatusUnauthorized}, {-10 * time.Minute, http.StatusOK}} {
		st.by = c.by
		got := kit.Send(sign(e.URL, e.Secret.Reveal(), fmt.Sprintf(`{"id":"%d","account":"T-t1"}`, i))).StatusCode
		require.Equal(t, c.want, got, c.by)
	}
}

// TestR12ARenewalIsTriedAgainByTheStoresClock: what could not be renewed is put off
// by the store.
func TestR12ARenewalIsTriedAgainByTheStoresClock(t *testing.T) {
	kit, p, conn := hookedKit(t)
	p.renew = func(s providers.Subscription) (providers.Subscription, error) { return s, providers.ErrProviderDown }
	require.NoError(t, conn.SaveSubscription(t.Context(), due("a")))
	require.NoError(t, kit.Manager().Drain(t.Context()))
	subs, err := conn.Subscriptions(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(10*time.Minute), subs[0].RenewAt, time.Minute)
}
