package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"
)

// overHTTP posts a request again and again over some loopback connections that stay
// open.
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

// receiverOf is a receiver that verifies, finds the top-level installation and
// stores nothing.
func receiverOf(b *testing.B, v webhook.Verifier) http.Handler {
	key, err := crypto.GenerateKey("k1")
	require.NoError(b, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(b, err)
	rc, err := webhook.NewReceiver(webhook.ReceiverConfig{
		Provider: "github", Inbox: memstore.New(), Cipher: ring,
		Source: webhook.Source{Verifier: v, Read: func(r *webhook.Request) (webhook.Receipt, error) {
			_, err := webhook.Pick(r.Body, "installation")
			return webhook.Receipt{}, err
		}},
		Route: func(context.Context, string) ([]webhook.Target, error) { return nil, nil },
	})
	require.NoError(b, err)
	return rc
}

// BenchmarkReceiveHTTP has the same webhooks, over loopback HTTP, received with
// go-github and, where they are signed by Standard Webhooks, with svix.
func BenchmarkReceiveHTTP(b *testing.B) {
	answer := func(w http.ResponseWriter, err error) {
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	hmac, err := webhook.NewHMAC(webhook.HMACConfig{SignatureHeader: "X-Hub-Signature-256", Prefix: "sha256=", Secrets: []string{secret}})
	require.NoError(b, err)
	standardSecret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of 24 bytes, no less"))
	standard, err := webhook.NewStandardWebhooks(standardSecret)
	require.NoError(b, err)
	theirs, err := svix.NewWebhook(standardSecret)
	require.NoError(b, err)
	for _, size := range []int{1024, 20480} {
		body := []byte(`{"ref":"` + strings.Repeat("x", size-40) + `","installation":{"id":1}}`)
		for _, c := range []struct {
			name     string
			h        http.Handler
			standard bool
		}{
			{"scheme=github/impl=ours", receiverOf(b, hmac), false},
			{"scheme=github/impl=peer-go-github", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := github.ValidatePayload(r, []byte(secret))
				answer(w, err)
			}), false},
			{"scheme=standard/impl=ours", receiverOf(b, standard), true},
			{"scheme=standard/impl=peer-svix", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err == nil {
					err = theirs.Verify(body, r.Header)
				}
				answer(w, err)
			}), true},
		} {
			b.Run(fmt.Sprintf("size=%d/%s", size, c.name), func(b *testing.B) {
				req := webhooktest.GitHub("http://127.0.0.1/webhook", secret, "push", "guid", body)
				if c.standard {
					req = webhooktest.StandardWebhooks("http://127.0.0.1/webhook", standardSecret, "msg_1", body, time.Now())
				}
				overHTTP(b, c.h, req)
			})
		}
	}
}
