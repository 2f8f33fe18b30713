package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// discard is a writer that takes everything, with a deadline that can be set.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// SetReadDeadline does what a real connection's costs nothing of here.
func (d discard) SetReadDeadline(time.Time) error { return nil }

// rewound is a body that is read again and again.
type rewound struct{ *bytes.Reader }

func (rewound) Close() error { return nil }

// limit reads a body into a pooled buffer, makes its MAC with a pooled hash and
// compares: the least a verifying handler can do.
func limit(secret string) func(r *http.Request) bool {
	buffers := sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}
	hashes := sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(secret)) }}
	return func(r *http.Request) bool {
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		n, err := io.ReadFull(r.Body, (*buf)[:r.ContentLength])
		if err != nil {
			return false
		}
		h := hashes.Get().(hash.Hash)
		defer hashes.Put(h)
		h.Reset()
		h.Write((*buf)[:n])
		var got, want [sha256.Size]byte
		header := r.Header.Get("X-Hub-Signature-256")
		if _, err := hex.Decode(want[:], []byte(header[len("sha256="):])); err != nil {
			return false
		}
		return hmac.Equal(h.Sum(got[:0]), want[:])
	}
}

// benchmark measures the way of a request up to here, before anything is
// stored.
func benchmark(b *testing.B, read func(r *webhook.Request) (webhook.Receipt, error)) {
	for _, size := range []int{1024, 20480} {
		body := githubBody(size)
		req := webhooktest.GitHub("https://app.example/github/webhook", githubSecret, "push", "guid", body)
		reader := rewound{bytes.NewReader(body)}
		req.Body = reader
		cfg := webhook.ReceiverConfig{
			Provider: "github", Inbox: noInbox{}, Cipher: ring(b), Source: webhook.Source{Verifier: githubHMAC(b, githubSecret), Read: read, MaxBody: 25 << 20},
			Route: func(context.Context, string) ([]webhook.Target, error) { return nil, nil },
		}
		rc, err := webhook.NewReceiver(cfg)
		require.NoError(b, err)
		least := limit(githubSecret)
		w := discard{http.Header{}}
		run := func(name string, fn func()) {
			b.Run(fmt.Sprintf("size=%d/impl=%s", size, name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					reader.Reset(body)
					fn()
				}
			})
		}
		run("limit", func() {
			if !least(req) {
				b.Fatal("refused")
			}
		})
		run("ours", func() { rc.ServeHTTP(w, req) })
	}
}

// noInbox fails the benchmark's test if anything is stored.
type noInbox struct{ store.Inbox }

func (noInbox) InsertDeliveries(context.Context, []store.Delivery) ([]bool, error) {
	panic("stored")
}

// BenchmarkVerify: read and verify, for a provider whose path says enough.
func BenchmarkVerify(b *testing.B) {
	benchmark(b, func(*webhook.Request) (webhook.Receipt, error) { return webhook.Receipt{}, nil })
}

// BenchmarkRoute: read, verify, find the top-level installation and look its
// account up among 100,000.
func BenchmarkRoute(b *testing.B) {
	accounts := make(map[int64]string, 100_000)
	for i := range int64(100_000) {
		accounts[52_400_000+i] = strconv.FormatInt(i, 10)
	}
	benchmark(b, func(r *webhook.Request) (webhook.Receipt, error) {
		v, err := webhook.Pick(r.Body, "installation")
		if err != nil {
			return webhook.Receipt{}, err
		}
		in, err := webhook.Pick(v[0], "id")
		if err != nil {
			return webhook.Receipt{}, err
		}
		id, ok := webhook.Int(in[0])
		if !ok || accounts[id] == "" {
			return webhook.Receipt{}, fmt.Errorf("no account %d", id)
		}
		return webhook.Receipt{}, nil
	})
}

func TestTheBenchmarksWayIsTheReceivers(t *testing.T) {
	body := githubBody(2048)
	rc := receiver(t, noInbox{}, ring(t), func(cfg *webhook.ReceiverConfig) {
		cfg.Source.MaxBody = 1 << 20
		cfg.Source.Read = func(*webhook.Request) (webhook.Receipt, error) { return webhook.Receipt{}, nil }
	})
	w := httptest.NewRecorder()
	rc.ServeHTTP(w, webhooktest.GitHub("https://app.example/", githubSecret, "push", "g", body))
	require.Equal(t, 200, w.Code)
}
