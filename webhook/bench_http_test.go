package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// overHTTP posts a request again and again over some loopback connections that stay
// open. Writing and reading it costs next to nothing here.
func overHTTP(b *testing.B, h http.Handler, request *http.Request) {
	server := httptest.NewServer(h)
	defer server.Close()
	var raw bytes.Buffer
	require.NoError(b, request.Write(&raw))
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 16 {
		conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", server.Listener.Addr().String())
		require.NoError(b, err)
		wg.Go(func() {
			defer func() { _ = conn.Close() }()
			in := bufio.NewReader(conn)
			for left.Add(-1) >= 0 {
				if _, err := conn.Write(raw.Bytes()); err != nil {
					b.Error(err)
					return
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Errorf("answered %d", resp.StatusCode)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

// BenchmarkReceiveHTTP: requests a second over loopback HTTP, up to where an event
// would be stored. limit reads and makes the MAC, ours reads, verifies and finds the
// installation at the body's top level.
func BenchmarkReceiveHTTP(b *testing.B) {
	for _, size := range []int{1024, 20480} {
		body := githubBody(size)
		least := limit(githubSecret)
		rc, err := webhook.NewReceiver(webhook.ReceiverConfig{
			Provider: "github", Inbox: noInbox{}, Cipher: ring(b),
			Source: webhook.Source{Verifier: githubHMAC(b, githubSecret), MaxBody: 25 << 20, Read: func(r *webhook.Request) (webhook.Receipt, error) {
				v, err := webhook.Pick(r.Body, "installation")
				if err != nil || v[0] == nil {
					return webhook.Receipt{}, fmt.Errorf("no installation: %w", err)
				}
				return webhook.Receipt{}, nil
			}},
			Route: func(context.Context, string) ([]webhook.Target, error) { return nil, nil },
		})
		require.NoError(b, err)
		for _, c := range []struct {
			name string
			h    http.Handler
		}{
			{"limit", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !least(r) {
					w.WriteHeader(http.StatusUnauthorized)
				}
			})},
			{"ours", rc},
		} {
			b.Run(fmt.Sprintf("size=%d/impl=%s", size, c.name), func(b *testing.B) {
				overHTTP(b, c.h, webhooktest.GitHub("http://127.0.0.1/github/webhook", githubSecret, "push", "guid", body))
			})
		}
	}
}
