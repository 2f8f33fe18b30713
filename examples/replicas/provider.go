package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
)

const (
	providerKey = "acme_crm"
	// fromHeader tells the fake which replica calls: a real provider cannot tell.
	fromHeader = "X-Replica"
	// thinks is how long it takes over a token call, as a real one would: all
	// replicas ask while the call of one is under way.
	thinks = 300 * time.Millisecond
)

// provider is the test kit's OAuth 2 server, served on loopback so that other
// processes reach it. It writes down who asked for tokens.
type provider struct {
	kit *integrationstest.Kit
	srv *httptest.Server

	mu    sync.Mutex
	calls []call
}

// call is a token call and what came of it: the token's fingerprint, or "refused".
type call struct{ Replica, Token string }

// access is how a process reaches the provider.
type access struct {
	OAuth       providers.OAuth2Config
	Address     string
	Certificate []byte
}

// failure ends the program where the kit would end a test.
type failure struct{}

func (failure) Helper() {}

func (failure) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "replicas: "+format+"\n", args...)
	os.Exit(1)
}

func serveProvider() *provider {
	p := &provider{kit: integrationstest.New(failure{})}
	p.srv = httptest.NewTLSServer(http.HandlerFunc(p.serve))
	return p
}

func (p *provider) close() { p.srv.Close() }

func (p *provider) access() access {
	return access{p.kit.OAuth.Config(providerKey), p.srv.Listener.Addr().String(), p.srv.Certificate().Raw}
}

// tokenCalls are all there were, in order.
func (p *provider) tokenCalls() []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]call(nil), p.calls...)
}

// serve answers as the kit's network does.
func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "https", r.Host, ""
	if r.URL.Path == "/token" {
		time.Sleep(thinks)
	}
	resp, err := p.kit.Network.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	body, _ := io.ReadAll(resp.Body) // it lies in memory
	var token struct {
		Value string `json:"access_token"`
	}
	if r.URL.Path == "/token" {
		c := call{Replica: r.Header.Get(fromHeader), Token: "refused"}
		if json.Unmarshal(body, &token) == nil && token.Value != "" {
			c.Token = fingerprint(token.Value)
		}
		p.mu.Lock()
		p.calls = append(p.calls, c)
		p.mu.Unlock()
	}
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(body)
}

// transport reaches the fake whatever host a request names, so that the
// configuration is that of a real provider. A real host leaves Config.Transport
// alone.
func (a access) transport(replica string) (http.RoundTripper, error) {
	cert, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return named{replica, &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, a.Address)
		},
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}, // the certificate's name
	}}, nil
}

// named tells the fake who calls.
type named struct {
	name string
	next http.RoundTripper
}

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Header.Set(fromHeader, n.name)
	return n.next.RoundTrip(out)
}
