package providers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// source hands out tokens of generations 1, 2, …; Rejected moves on to the next
// one.
type source struct {
	gen      atomic.Int64
	fixed    bool // there is no other token
	err      error
	rejected atomic.Int64
	dead     atomic.Bool
}

func tokenOf(gen int64) *token.Token {
	text := fmt.Sprintf("token-%d", gen)
	return &token.Token{Access: token.NewSecret(text), Header: []string{"Bearer " + text}, Gen: gen}
}

func (s *source) Token(context.Context) (*token.Token, error) { return tokenOf(s.gen.Load()), s.err }

func (s *source) Rejected(_ context.Context, gen int64, dead bool) (*token.Token, bool, error) {
	s.rejected.Add(1)
	s.dead.Store(dead)
	if s.fixed {
		return nil, false, nil
	}
	s.gen.CompareAndSwap(gen, gen+1)
	return tokenOf(s.gen.Load()), true, nil
}

func (s *source) Snapshot(context.Context) (providers.Snapshot, error) {
	return providers.Snapshot{ExternalID: "X"}, nil
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

func connect(t testing.TB, s providers.Source, tr http.RoundTripper, change ...func(*providers.ConnectionConfig)) *providers.Connection {
	t.Helper()
	cfg := providers.ConnectionConfig{TenantID: "t1", IntegrationID: "i1", Provider: "p", Account: "A", Source: s, Hosts: hosts(t, "api.example.com", "*.files.example.com"), Transport: tr}
	for _, fn := range change {
		fn(&cfg)
	}
	c, err := providers.NewConnection(cfg)
	require.NoError(t, err)
	return c
}

func TestNewConnectionReportsAllFaults(t *testing.T) {
	_, err := providers.NewConnection(providers.ConnectionConfig{})
	for _, part := range []string{"Source", "Hosts", "Provider"} {
		require.ErrorContains(t, err, part)
	}
}

// TestN1RebindingIsRefusedAtDialTime: a name that was public when it was looked
// at leads to loopback when it is dialled.
func TestN1RebindingIsRefusedAtDialTime(t *testing.T) {
	reached := atomic.Int64{}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer srv.Close()
	addr := netip.MustParseAddrPort(srv.Listener.Addr().String())
	// The resolver that the attacker's name server answers: public, then loopback.
	answers := []string{"93.184.216.34", addr.Addr().String()}
	tr := providers.NewTransport(providers.TransportConfig{Ports: []uint16{addr.Port()}})
	dial := tr.DialContext
	looked := 0
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		ip := answers[min(looked, len(answers)-1)]
		looked++
		if ip == answers[0] {
			return nil, errors.New("the public address was seen and not dialled")
		}
		return dial(ctx, network, net.JoinHostPort(ip, fmt.Sprint(addr.Port())))
	}
	c := connect(t, &source{}, tr)
	for range 3 {
		_, err := c.HTTPClient().Get("https://api.example.com/")
		require.Error(t, err)
	}
	_, err := c.HTTPClient().Get("https://api.example.com/")
	require.ErrorIs(t, err, providers.ErrHostNotAllowed)
	require.Zero(t, reached.Load())
}

// TestN3TheTokenStaysAtTheProvidersHosts: redirects and links to other hosts are
// not followed with a token, nor with a header of the caller's.
func TestN3TheTokenStaysAtTheProvidersHosts(t *testing.T) {
	var sent []string
	locations := map[string]string{
		"/evil": "https://evil.io/take", "/http": "http://api.example.com/", "/port": "https://api.example.com:8443/", "/sub": "https://a.files.example.com/x",
		"/user": "https://u:p@api.example.com/", "/loop": "/loop", "/same": "/end", "/chain": "/same",
	}
	c := connect(t, &source{}, roundTrip(func(r *http.Request) (*http.Response, error) {
		require.Equal(t, []string{"Bearer token-0"}, r.Header["Authorization"])
		sent = append(sent, r.URL.Host+r.URL.Path)
		resp := respond(r, http.StatusFound, "")
		if to, ok := locations[r.URL.Path]; ok {
			resp.Header.Set("Location", to)
			return resp, nil
		}
		return respond(r, http.StatusOK, "ok"), nil
	}))
	for path, want := range map[string]string{
		"/evil": "evil", "/http": "http", "/port": "port", "/sub": "sub", "/user": "user", "/loop": "loop",
	} {
		sent = nil
		_, err := c.HTTPClient().Get("https://api.example.com" + path)
		require.Error(t, err, want)
		for _, s := range sent {
			require.Equal(t, "api.example.com"+path, s)
		}
	}
	resp, err := c.HTTPClient().Get("https://api.example.com/chain")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	sent = nil
	for _, raw := range []string{"https://evil.io/", "http://api.example.com/", "https://api.example.com.evil.io/", "https://127.0.0.1/"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, raw, nil) // as from a Link header
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer of the caller's")
		_, err = c.HTTPClient().Do(r)
		require.ErrorIs(t, err, providers.ErrHostNotAllowed)
	}
	require.Empty(t, sent)
}

func TestARefusedTokenIsReplacedAndTheCallSentOnceMore(t *testing.T) {
	s := &source{}
	var bodies []string
	c := connect(t, s, roundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		bodies = append(bodies, r.Header.Get("Authorization")+" "+string(body))
		if r.Header.Get("Authorization") == "Bearer token-0" {
			return respond(r, http.StatusUnauthorized, "no"), nil
		}
		return respond(r, http.StatusOK, "yes"), nil
	}))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/", strings.NewReader("payload"))
	require.NoError(t, err)
	resp, err := c.HTTPClient().Do(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, []string{"Bearer token-0 payload", "Bearer token-1 payload"}, bodies)
	require.Empty(t, r.Header, "the caller's request is not changed")

	t.Run("a body that cannot be read again is not sent again", func(t *testing.T) {
		s.gen.Store(0)
		bodies = nil
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/", io.MultiReader(strings.NewReader("stream")))
		require.NoError(t, err)
		resp, err := c.HTTPClient().Do(r)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "no", string(text), "the answer is still to be read")
		require.Len(t, bodies, 1)
	})
	t.Run("without another token the refusal is the answer", func(t *testing.T) {
		c := connect(t, &source{fixed: true}, roundTrip(func(r *http.Request) (*http.Response, error) { return respond(r, 401, "no"), nil }))
		resp, err := c.HTTPClient().Get("https://api.example.com/")
		require.NoError(t, err)
		require.Equal(t, 401, resp.StatusCode)
	})
	t.Run("only once", func(t *testing.T) {
		s := &source{}
		calls := 0
		c := connect(t, s, roundTrip(func(r *http.Request) (*http.Response, error) { calls++; return respond(r, 401, "no"), nil }))
		_, err := c.HTTPClient().Get("https://api.example.com/")
		require.NoError(t, err)
		require.Equal(t, 2, calls)
		require.Equal(t, int64(1), s.rejected.Load())
	})
}

type classifier struct{}

func (classifier) ClassifyAnswer(_ int, _ http.Header, head []byte) providers.Answer {
	switch {
	case strings.Contains(string(head), "dead"):
		return providers.AnswerTokenDead
	case strings.Contains(string(head), "limited"):
		return providers.AnswerLimited
	}
	return providers.AnswerOK
}

func TestAClassifierSeesTheHeadAndTheCallerTheWholeBody(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 5000} {
		text := strings.Repeat("x", size)
		c := connect(t, &source{}, roundTrip(func(r *http.Request) (*http.Response, error) {
			resp := respond(r, 200, text)
			resp.Header.Set("Content-Type", "application/json; charset=utf-8")
			return resp, nil
		}), func(cfg *providers.ConnectionConfig) { cfg.Classifier = classifier{} })
		resp, err := c.HTTPClient().Get("https://api.example.com/")
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
		require.NoError(t, resp.Body.Close())
	}
	s := &source{fixed: true}
	c := connect(t, s, roundTrip(func(r *http.Request) (*http.Response, error) {
		resp := respond(r, 200, "dead")
		resp.Header.Set("Content-Type", "application/json")
		return resp, nil
	}), func(cfg *providers.ConnectionConfig) { cfg.Classifier = classifier{} })
	_, err := c.HTTPClient().Get("https://api.example.com/")
	require.NoError(t, err)
	require.True(t, s.dead.Load())
}

func TestALimitPausesTheAccountAndIsObserved(t *testing.T) {
	var calls []providers.Call
	limiter := ratelimit.NewLocal(nil)
	c := connect(t, &source{}, roundTrip(func(r *http.Request) (*http.Response, error) {
		resp := respond(r, http.StatusTooManyRequests, "")
		resp.Header.Set("Retry-After", "3600")
		return resp, nil
	}), func(cfg *providers.ConnectionConfig) {
		cfg.Limiter = limiter
		cfg.Observe = func(_ context.Context, c providers.Call) { calls = append(calls, c) }
	})
	_, err := c.HTTPClient().Get("https://api.example.com/")
	require.NoError(t, err)
	_, err = c.HTTPClient().Get("https://api.example.com/")
	var limited *ratelimit.Error
	require.ErrorAs(t, err, &limited)
	require.InDelta(t, time.Hour, time.Until(limited.RetryAt), float64(time.Minute))
	require.Len(t, calls, 3, "the one that went, its repetition and the next call")
	require.True(t, calls[0].Limited)
	for _, held := range calls[1:] {
		require.ErrorIs(t, held.Err, ratelimit.ErrRateLimited)
		require.Zero(t, held.Status)
		require.False(t, held.Limited)
	}
	require.Equal(t, []any{"api.example.com", 429, 1, "t1"}, []any{calls[0].Host, calls[0].Status, calls[0].Attempt, calls[0].TenantID})
}

// patient reads from the body how long a limit lasts.
type patient struct{ classifier }

func (patient) LimitedFor(_ http.Header, head []byte) time.Duration {
	if strings.Contains(string(head), "for two hours") {
		return 2 * time.Hour
	}
	return 0
}

func TestALimitLastsAsLongAsItsBodySays(t *testing.T) {
	for text, want := range map[string]time.Duration{"limited for two hours": 2 * time.Hour, "limited": time.Hour} {
		c := connect(t, &source{}, roundTrip(func(r *http.Request) (*http.Response, error) {
			resp := respond(r, http.StatusForbidden, text)
			resp.Header.Set("Content-Type", "application/json")
			resp.Header.Set("Retry-After", "3600")
			return resp, nil
		}), func(cfg *providers.ConnectionConfig) {
			cfg.Limiter, cfg.Classifier = ratelimit.NewLocal(nil), patient{}
		})
		_, err := c.HTTPClient().Get("https://api.example.com/")
		require.NoError(t, err)
		_, err = c.HTTPClient().Get("https://api.example.com/")
		var limited *ratelimit.Error
		require.ErrorAs(t, err, &limited, text)
		require.InDelta(t, want, time.Until(limited.RetryAt), float64(time.Minute), text)
	}
}

func TestErrorsOfTheSourceReachTheCaller(t *testing.T) {
	c := connect(t, &source{err: providers.ErrReconnectRequired}, roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, errors.New("sent")
	}))
	_, err := c.HTTPClient().Get("https://api.example.com/")
	require.ErrorIs(t, err, providers.ErrReconnectRequired)
	require.ErrorIs(t, c.Check(t.Context()), providers.ErrReconnectRequired)
}

func ExampleNewConnection() {
	h, err := providers.NewHosts("api.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := providers.NewConnection(providers.ConnectionConfig{
		TenantID: "tenant-1", Provider: "acme", Hosts: h, Source: &source{},
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return respond(r, http.StatusOK, r.Header.Get("Authorization")), nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := conn.HTTPClient().Get("https://api.example.com/things")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	_, err = conn.HTTPClient().Get("https://elsewhere.example.com/")
	fmt.Println(errors.Is(err, providers.ErrHostNotAllowed))
	// Output:
	// Bearer token-0 <nil>
	// true
}

// acmeOrigin is an integration that somebody else keeps.
type acmeOrigin struct {
	providers.Source
	tenant string
}

func (o acmeOrigin) TenantID() string               { return o.tenant }
func (o acmeOrigin) IntegrationID() string          { return "integration-" + o.tenant }
func (o acmeOrigin) Label() string                  { return "eu" }
func (o acmeOrigin) Account() string                { return "account-" + o.tenant }
func (o acmeOrigin) Syncs() providers.Syncs         { return nil }
func (o acmeOrigin) Endpoints() providers.Endpoints { return nil }

func ExampleNewConnections() {
	h, err := providers.NewHosts("api.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	acme, err := providers.NewConnections(providers.ConnectionConfig{
		Provider: "acme", Hosts: h,
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return respond(r, http.StatusOK, r.Header.Get("Authorization")), nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, tenant := range []string{"tenant-1", "tenant-2"} {
		conn := acme.Of(acmeOrigin{&source{}, tenant})
		resp, err := conn.HTTPClient().Get("https://api.example.com/things")
		if err != nil {
			fmt.Println(err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		fmt.Println(conn.TenantID(), conn.IntegrationID(), conn.Label(), conn.Provider(), string(body), err)
	}
	// Output:
	// tenant-1 integration-tenant-1 eu acme Bearer token-0 <nil>
	// tenant-2 integration-tenant-2 eu acme Bearer token-0 <nil>
}

func TestConnectionsNameTheirOwnIntegration(t *testing.T) {
	_, err := providers.NewConnections(providers.ConnectionConfig{TenantID: "t"})
	require.ErrorContains(t, err, "Hosts")
	require.ErrorContains(t, err, "Provider")
	hosts, err := providers.NewHosts("api.example.com")
	require.NoError(t, err)
	var calls []providers.Call
	limiter := &noting{}
	shared, err := providers.NewConnections(providers.ConnectionConfig{
		TenantID: "not used", IntegrationID: "not used", Label: "not used", Account: "not used",
		Provider: "acme", Hosts: hosts, Limiter: limiter,
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) { return respond(r, http.StatusOK, ""), nil }),
		Observe:   func(_ context.Context, c providers.Call) { calls = append(calls, c) },
	})
	require.NoError(t, err)
	for i, tenant := range []string{"a", "b"} {
		c := shared.Of(acmeOrigin{&source{}, tenant})
		_, err := c.HTTPClient().Get("https://api.example.com/")
		require.NoError(t, err)
		require.Equal(t, tenant, calls[i].TenantID)
		require.Equal(t, "integration-"+tenant, calls[i].IntegrationID)
		require.Equal(t, []string{"acme", tenant, "account-" + tenant}, limiter.calls[i])
		require.Equal(t, "acme", c.Kind())
		_, err = c.Checkpoint("x").Load(t.Context())
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = c.OpenEndpoint(t.Context())
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

// noting is a limiter that writes down of what provider, tenant and account it is
// asked.
type noting struct{ calls [][]string }

func (n *noting) Wait(_ context.Context, c *ratelimit.Call) error {
	n.calls = append(n.calls, []string{c.Provider, c.TenantID, c.Charges[0].Key})
	return nil
}
func (n *noting) Done(*ratelimit.Call, []ratelimit.Reading) {}

func ExampleNewOAuth2() {
	p := providers.NewOAuth2(providers.OAuth2Config{
		Key: "acme", ClientID: "id", ClientSecret: "secret",
		Endpoint: oauth2.Endpoint{AuthURL: "https://acme.example/authorize", TokenURL: "https://acme.example/token"},
		Hosts:    []string{"api.acme.example"}, AccountURL: "https://api.acme.example/me", AccountID: "account.id",
	})
	fmt.Println(p.Info().Name, p.Validate())
	// Output: acme <nil>
}

func ExampleNewTransport() {
	t := providers.NewTransport(providers.TransportConfig{})
	_, err := t.DialContext(context.Background(), "tcp", "169.254.169.254:443")
	fmt.Println(errors.Is(err, providers.ErrHostNotAllowed))
	// Output: true
}

func ExampleNewClient() {
	hosts, err := providers.NewHosts("api.acme.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	c := providers.NewClient(hosts, http.DefaultTransport, 10*time.Second)
	_, err = c.Get("https://elsewhere.example/")
	fmt.Println(errors.Is(err, providers.ErrHostNotAllowed))
	// Output: true
}

func TestAClassifierSeesThePlainTextOfARefusalOnly(t *testing.T) {
	for _, row := range []struct {
		status      int
		contentType string
		seen        bool
	}{{403, "text/plain", true}, {403, "text/plain; charset=UTF-8", true}, {200, "text/plain", false}, {403, "text/html", false}, {200, "application/json", true}} {
		s := &source{fixed: true}
		c := connect(t, s, roundTrip(func(r *http.Request) (*http.Response, error) {
			resp := respond(r, row.status, "dead")
			resp.Header.Set("Content-Type", row.contentType)
			return resp, nil
		}), func(cfg *providers.ConnectionConfig) { cfg.Classifier = classifier{} })
		resp, err := c.HTTPClient().Get("https://api.example.com/")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "dead", string(body))
		require.Equal(t, row.seen, s.dead.Load(), row)
	}
}

// cursors is a providers.Syncs in memory.
type cursors map[string][]byte

func (c cursors) Load(_ context.Context, name string) ([]byte, int64, error) { return c[name], 0, nil }
func (c cursors) Save(_ context.Context, name string, value []byte, version int64) (int64, error) {
	c[name] = value
	return version + 1, nil
}
func (cursors) TryLease(context.Context, string, string, time.Duration) (bool, error) {
	return true, nil
}
func (cursors) Release(context.Context, string, string) error { return nil }

func ExampleNewCheckpoint() {
	ctx := context.Background()
	p := providers.NewCheckpoint(cursors{}, "issues")
	fmt.Println(p.Save(ctx, []byte("page 2")))
	value, err := p.Load(ctx)
	fmt.Println(string(value), err)
	// Output:
	// <nil>
	// page 2 <nil>
}
