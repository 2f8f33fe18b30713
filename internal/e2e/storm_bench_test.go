package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

const (
	stormCallers  = 1000
	stormReplicas = 16
	stormLatency  = 50 * time.Millisecond
	stormURL      = "https://auth.example.test/token"
)

// BenchmarkStorm: one token has ended and 1,000 callers want the next, of a
// provider that takes 50 ms; ns/op is until all have it. limit is one bare token
// call, wall/refresh the time against that. peer-oauth2 has the callers of each
// replica share one ReuseTokenSource; its losers are refused, one after another.
func BenchmarkStorm(b *testing.B) {
	var bare time.Duration
	b.Run("impl=limit", func(b *testing.B) {
		e := &endpoint{}
		client := &http.Client{Transport: e}
		for b.Loop() {
			resp, err := client.PostForm(stormURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {e.current()}})
			require.NoError(b, err)
			var grant oauth2.Token
			require.NoError(b, json.NewDecoder(resp.Body).Decode(&grant))
			require.NotEmpty(b, grant.AccessToken)
			require.NoError(b, resp.Body.Close())
		}
		bare = b.Elapsed() / time.Duration(b.N)
	})
	measure := func(name string, open func(testing.TB) stormy) {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			var calls, failed int64
			for b.Loop() {
				b.StopTimer()
				s.expire(b)
				before := s.endpoint.calls.Load()
				b.StartTimer()
				n, err := storm(b.Context(), s.call)
				b.StopTimer()
				failed += n
				if err != nil && s.complete {
					b.Errorf("%d callers failed: %v", n, err)
				}
				calls += s.endpoint.calls.Load() - before
				b.StartTimer()
			}
			reportStorm(b, bare, calls, failed)
		})
	}
	measure("replicas=1/impl=peer-oauth2", func(testing.TB) stormy { return oauth2Replicas(1) })
	measure(fmt.Sprintf("replicas=%d/impl=peer-oauth2", stormReplicas), func(testing.TB) stormy { return oauth2Replicas(stormReplicas) })
	for _, replicas := range []int{1, stormReplicas} {
		suffix := fmt.Sprintf("/replicas=%d/impl=ours", replicas)
		measure("db=memstore"+suffix, func(t testing.TB) stormy { return vaults(t, memstore.New(), replicas) })
		crowds(b, func(name string, open func(testing.TB) *crowd) {
			measure("db="+name+suffix, func(t testing.TB) stormy { return vaults(t, open(t).store, replicas) })
		})
	}
}

func reportStorm(b *testing.B, bare time.Duration, calls, failed int64) {
	if bare == 0 {
		bare = stormLatency
	}
	b.ReportMetric(float64(calls)/float64(b.N), "calls/storm")
	b.ReportMetric(float64(failed)/float64(b.N), "failed/storm")
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(bare), "wall/refresh")
}

// storm makes all calls at once, counts those that fail and keeps one error.
func storm(ctx context.Context, call func(ctx context.Context, caller int) error) (int64, error) {
	var failed atomic.Int64
	var one atomic.Pointer[error]
	var wg sync.WaitGroup
	for i := range stormCallers {
		wg.Go(func() {
			if err := call(ctx, i); err != nil {
				failed.Add(1)
				one.Store(&err)
			}
		})
	}
	wg.Wait()
	if e := one.Load(); e != nil {
		return failed.Load(), *e
	}
	return 0, nil
}

// stormy is what can be stormed.
type stormy struct {
	endpoint *endpoint
	expire   func(t testing.TB) // ends the token everybody has
	call     func(ctx context.Context, caller int) error
	complete bool // nobody may fail
}

// endpoint is a token endpoint that replaces the refresh token at each call and
// refuses one that was replaced.
type endpoint struct {
	calls atomic.Int64
	mu    sync.Mutex
	n     int
}

func (e *endpoint) current() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprint("refresh-", e.n)
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	e.calls.Add(1)
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, err
	}
	status, body := e.renew(form.Get("refresh_token"))
	time.Sleep(stormLatency)
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (e *endpoint) renew(refresh string) (int, string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if refresh != fmt.Sprint("refresh-", e.n) {
		return http.StatusBadRequest, `{"error":"invalid_grant"}`
	}
	e.n++
	return http.StatusOK, fmt.Sprintf(`{"access_token":"access-%d","refresh_token":"refresh-%d","token_type":"bearer","expires_in":3600}`, e.n, e.n)
}

// oauth2Replicas has one token source in each replica.
func oauth2Replicas(replicas int) stormy {
	e := &endpoint{}
	client := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: e})
	cfg := oauth2.Config{ClientID: "id", Endpoint: oauth2.Endpoint{TokenURL: stormURL, AuthStyle: oauth2.AuthStyleInParams}}
	sources := make([]oauth2.TokenSource, replicas)
	return stormy{
		endpoint: e,
		expire: func(testing.TB) {
			for i := range sources {
				sources[i] = cfg.TokenSource(client, &oauth2.Token{AccessToken: "old", RefreshToken: e.current(), Expiry: time.Now().Add(-time.Second)})
			}
		},
		call: func(_ context.Context, caller int) error {
			_, err := sources[caller%replicas].Token()
			return err
		},
	}
}

// vaults are replicas over one store.
func vaults(t testing.TB, st store.Store, replicas int) stormy {
	key, err := crypto.GenerateKey("k1")
	require.NoError(t, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(t, err)
	e := &endpoint{}
	ctx := t.Context()
	seal := func() (access, refresh []byte, keyID string) {
		access, refresh, keyID, err := token.SealGrant(ring, "t", replicaKey, "i", token.Grant{AccessToken: token.NewSecret("old"), RefreshToken: token.NewSecret(e.current())})
		require.NoError(t, err)
		return access, refresh, keyID
	}
	c := store.Connect{ID: "i", TenantID: "t", Provider: replicaKey, ExternalID: "x"}
	c.AccessToken, c.RefreshToken, c.KeyID = seal()
	_, err = st.Connect(ctx, c)
	require.NoError(t, err)
	all, handles := make([]*token.Vault, replicas), make([]*token.Handle, replicas)
	for i := range all {
		all[i], err = token.NewVault(token.VaultConfig{
			Store: st, Cipher: ring, Client: token.NewClient(token.ClientConfig{Transport: e}),
			Renewer: func(string) token.Renewer { return formRenewer{} }, CacheFor: time.Hour,
		})
		require.NoError(t, err)
		handles[i], err = all[i].Lookup(ctx, "t", replicaKey, "")
		require.NoError(t, err)
	}
	return stormy{
		endpoint: e, complete: true,
		expire: func(t testing.TB) {
			row, err := st.Get(ctx, "t", "i")
			require.NoError(t, err)
			commit := store.CommitTokens{TenantID: "t", ID: "i", SeenGen: row.TokenGen, ExpiresIn: time.Millisecond, RefreshIn: time.Millisecond}
			commit.AccessToken, commit.RefreshToken, commit.KeyID = seal()
			stored, err := st.CommitTokens(ctx, commit)
			require.NoError(t, err)
			require.True(t, stored)
			for i, v := range all {
				v.Evict("t", "i")
				require.NoError(t, handles[i].Usable(ctx)) // each has seen the token that ends
			}
			time.Sleep(3 * time.Millisecond)
		},
		call: func(ctx context.Context, caller int) error {
			tok, err := handles[caller%replicas].Token(ctx)
			if err == nil && tok.Access.Reveal() == "old" {
				return errors.New("the token has ended")
			}
			return err
		},
	}
}

// formRenewer renews as OAuth 2 does.
type formRenewer struct{}

func (formRenewer) Renew(ctx context.Context, r token.Renewal) (token.Grant, error) {
	return r.Client.Do(ctx, token.Request{URL: stormURL, ClientID: "id", Form: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.RefreshToken.Reveal()}}})
}
