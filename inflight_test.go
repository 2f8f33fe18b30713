package integrations_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/stretchr/testify/require"
)

// killing is the way to a provider whose refreshes end the old access token at
// once, as GitHub's do. Requests to the API are under way for a while before the
// provider looks at their tokens.
type killing struct {
	kit    *integrationstest.Kit
	answer time.Duration // between the work of a refresh and its answer

	mu      sync.Mutex
	bodies  map[string][]string // by request, for each time it came
	refused int
}

const (
	onTheWay      = 50 * time.Millisecond
	headerRequest = "X-Test-Request"
)

func (k *killing) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/token" {
		k.kit.OAuth.Tokens.ExpireAccess()
		resp, err := k.kit.Network.RoundTrip(r)
		time.Sleep(k.answer)
		return resp, err
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	time.Sleep(onTheWay)
	resp, err := k.kit.Network.RoundTrip(r)
	k.mu.Lock()
	defer k.mu.Unlock()
	if id := r.Header.Get(headerRequest); id != "" {
		k.bodies[id] = append(k.bodies[id], string(body))
	}
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		k.refused++
	}
	return resp, err
}

// request is the i-th one: without a body, with one that can be read again, or
// with one that cannot, as an upload from a pipe.
func request(t *testing.T, i int) *http.Request {
	var body io.Reader
	method := http.MethodPost
	switch i % 4 {
	case 0, 1:
		method = http.MethodGet
	case 2:
		body = bytes.NewReader([]byte(content(i)))
	case 3:
		body = io.MultiReader(strings.NewReader(content(i)))
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "https://api.example.test/things", body)
	require.NoError(t, err)
	require.Equal(t, i%4 == 3, r.Body != nil && r.GetBody == nil)
	r.Header.Set(headerRequest, fmt.Sprint(i))
	return r
}

func content(i int) string {
	if i%4 < 2 {
		return ""
	}
	return fmt.Sprint("content of ", i)
}

// TestR11GitHubSemantics: 500 requests of four replicas are under way with a token
// that dies. All but those whose body is gone succeed, by being sent once more,
// and the token is refreshed once.
func TestR11GitHubSemantics(t *testing.T) {
	const replicas, requests = 4, 500
	for _, c := range []struct {
		name   string
		age    time.Duration // of the token; from 54 minutes, more or less, on it is due
		answer time.Duration
		killed bool // by somebody else
	}{
		{"one replica refreshes and has finished when requests are refused", 55 * time.Minute, onTheWay / 5, false},
		{"one replica refreshes and has not", 55 * time.Minute, 4 * onTheWay, false},
		{"the token dies by itself", time.Minute, 4 * onTheWay, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit := newKit(t)
				k := &killing{kit: kit, bodies: map[string][]string{}}
				cfg := kit.Config()
				cfg.Transport = k
				cfg.Providers = []providers.Provider{providers.NewOAuth2(kit.OAuth.Config(acmeKey))}
				managers := []*integrations.Manager{kit.Use(cfg)}
				for len(managers) < replicas {
					m, err := integrations.New(t.Context(), cfg)
					require.NoError(t, err)
					managers = append(managers, m)
				}
				kit.Connect("t1", acmeKey)
				k.answer = c.answer
				time.Sleep(c.age)
				wave := func() (statuses []int) {
					statuses = make([]int, requests)
					var wg sync.WaitGroup
					for i := range requests {
						conn, err := managers[i%replicas].Connection(t.Context(), "t1", acmeKey)
						require.NoError(t, err)
						r := request(t, i/replicas)
						r.Header.Set(headerRequest, fmt.Sprint(i))
						wg.Go(func() {
							resp, err := conn.HTTPClient().Do(r)
							if err == nil {
								statuses[i] = resp.StatusCode
								err = resp.Body.Close()
							}
							if err != nil {
								t.Error(err)
							}
						})
					}
					if c.killed {
						time.Sleep(onTheWay / 2)
						kit.OAuth.Tokens.ExpireAccess()
						c.killed = false
					}
					wg.Wait()
					return statuses
				}
				replayed := 0
				for i, status := range wave() {
					came := k.bodies[fmt.Sprint(i)]
					for _, body := range came {
						require.Equal(t, content(i/replicas), body)
					}
					if i/replicas%4 == 3 {
						require.Len(t, came, 1, "sent twice, and what the second time?")
						require.Equal(t, http.StatusUnauthorized, status)
						continue
					}
					require.Equal(t, http.StatusOK, status)
					require.Len(t, came, 2)
					replayed++
				}
				require.Equal(t, requests, k.refused, "all were under way")
				require.Equal(t, 1, kit.OAuth.Tokens.Calls())
				for _, status := range wave() {
					require.Equal(t, http.StatusOK, status)
				}
				require.Equal(t, requests, k.refused)
				require.Equal(t, 1, kit.OAuth.Tokens.Calls())
				t.Logf("%d requests under way, %d sent again, %d without a body to send again, 1 refresh", requests, replayed, requests-replayed)
			})
		})
	}
}

// TestR11ATokenThatIsRenewedMeanwhileIsNotRenewedAgain: another replica may be
// faster between a look at the row and the renewal that follows from it.
func TestR11ATokenThatIsRenewedMeanwhileIsNotRenewedAgain(t *testing.T) {
	st := &spyStore{Store: memstore.New()}
	kit := newKit(t)
	cfg := kit.Config()
	cfg.Store, cfg.Providers = st, []providers.Provider{providers.NewOAuth2(kit.OAuth.Config(acmeKey))}
	slow := kit.Use(cfg)
	cfg.Store = st.Store
	fast, err := integrations.New(t.Context(), cfg)
	require.NoError(t, err)
	kit.Connect("t1", acmeKey)
	get := func(m *integrations.Manager) {
		conn, err := m.Connection(t.Context(), "t1", acmeKey)
		require.NoError(t, err)
		resp, err := conn.HTTPClient().Get("https://api.example.test/me")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	get(slow)
	get(fast)
	kit.OAuth.Tokens.ExpireAccess()
	st.afterGet = map[int]func(){st.gets + 1: func() { get(fast) }}
	get(slow)
	require.Equal(t, 1, kit.OAuth.Tokens.Calls())
}
