package peers

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// The benchmarks have the names of those in the packages they are of, so that
// they can be read together; each has ours beside the peer.

func BenchmarkSeal(b *testing.B) { seal(b, true) }
func BenchmarkOpen(b *testing.B) { seal(b, false) }

func seal(b *testing.B, sealing bool) {
	key, err := crypto.GenerateKey("k1")
	require.NoError(b, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(b, err)
	bound := ring.Bind("tenant-1", "slack")
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(b, err)
	tink, err := aead.New(handle)
	require.NoError(b, err)
	aad := []byte("0123456789abcdef0123456789abcdef access_token")
	for _, size := range []int{60, 2048} {
		plain := make([]byte, size)
		_, _ = rand.Read(plain)
		dst := make([]byte, 0, size+128)
		ours, err := bound.Seal(nil, plain, "0123456789abcdef0123456789abcdef", "access_token")
		require.NoError(b, err)
		theirs, err := tink.Encrypt(plain, aad)
		require.NoError(b, err)
		for name, fn := range map[string]func() error{
			"ours": func() error {
				var err error
				if sealing {
					_, err = bound.Seal(dst, plain, "0123456789abcdef0123456789abcdef", "access_token")
				} else {
					_, err = bound.Open(dst, ours, "0123456789abcdef0123456789abcdef", "access_token")
				}
				return err
			},
			"peer-tink": func() error {
				var err error
				if sealing {
					_, err = tink.Encrypt(plain, aad)
				} else {
					_, err = tink.Decrypt(theirs, aad)
				}
				return err
			},
		} {
			b.Run(fmt.Sprintf("size=%d/impl=%s", size, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := fn(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkHandOut has ghinstallation's token, of one transport for each tenant.
func BenchmarkHandOut(b *testing.B) {
	const tenants = 10_000
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(b, err)
	answer := roundTrip(func(r *http.Request) (*http.Response, error) {
		body := fmt.Sprintf(`{"token":"ghs_1","expires_at":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})
	app := ghinstallation.NewAppsTransportFromPrivateKey(answer, 1, key)
	var transports sync.Map
	names := make([]string, tenants)
	shared := ghinstallation.NewFromAppsTransport(app, 1)
	_, err = shared.Token(b.Context())
	require.NoError(b, err)
	for i := range names {
		names[i] = "tenant-" + strconv.Itoa(i)
		transports.Store(names[i], shared) // minting 10,000 tokens is not what is measured
	}
	b.Run("impl=peer-ghinstallation/mode=serial", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			t, _ := transports.Load(names[i%tenants])
			if _, err := t.(*ghinstallation.Transport).Token(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const secret = "a secret of more than sixteen bytes"

// BenchmarkVerify has go-github's and slack-go's verification of a request.
func BenchmarkVerify(b *testing.B) {
	ours, err := webhook.NewHMAC(webhook.HMACConfig{SignatureHeader: "X-Hub-Signature-256", Prefix: "sha256=", Secrets: []string{secret}})
	require.NoError(b, err)
	for _, size := range []int{1024, 20480} {
		body := []byte(`{"ref":"` + strings.Repeat("x", size-10) + `"}`)
		req := webhooktest.GitHub("https://app.example/", secret, "push", "g", body)
		reader := bytes.NewReader(body)
		req.Body = io.NopCloser(reader)
		now := time.Now()
		ts := strconv.FormatInt(now.Unix(), 10)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte("v0:" + ts + ":" + string(body)))
		header := http.Header{"X-Slack-Request-Timestamp": {ts}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(mac.Sum(nil))}}
		for name, fn := range map[string]func() error{
			"ours": func() error { // the reading is measured in package webhook
				return ours.Verify(&webhook.Request{Header: req.Header, Body: body, Now: now})
			},
			"peer-go-github": func() error {
				_, err := github.ValidatePayload(req, []byte(secret))
				return err
			},
			"peer-slack-go": func() error {
				v, err := slack.NewSecretsVerifier(header, secret)
				if err != nil {
					return err
				}
				raw, err := io.ReadAll(reader)
				if err != nil {
					return err
				}
				if _, err := v.Write(raw); err != nil {
					return err
				}
				return v.Ensure()
			},
		} {
			b.Run(fmt.Sprintf("size=%d/impl=%s", size, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					reader.Reset(body)
					if err := fn(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
