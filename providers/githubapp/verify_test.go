package githubapp_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// FuzzF3Verify: a delivery is accepted exactly when a check that is written from
// GitHub's description accepts it. The SHA-1 signature beside it, right or wrong,
// changes nothing.
func FuzzF3Verify(f *testing.F) {
	f.Add([]byte(`{"zen":"x"}`), "", hook, uint8(1))
	f.Add([]byte("payload=%7B%7D"), "", hook, uint8(1))
	f.Add([]byte("x"), "sha256="+strings.Repeat("0", 64), "", uint8(0))
	f.Add([]byte("x"), "sha1="+strings.Repeat("0", 40), "", uint8(1))
	f.Add([]byte("x"), "", hook, uint8(2))
	f.Add([]byte("x"), "", hook, uint8(3))
	src, err := app().WebhookSource()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body []byte, signature, secret string, how uint8) {
		mac := func(key string) string {
			m := hmac.New(sha256.New, []byte(key))
			m.Write(body)
			return "sha256=" + hex.EncodeToString(m.Sum(nil))
		}
		if how%4 == 1 || how%4 == 2 {
			signature = mac(secret)
		}
		h := http.Header{"X-Hub-Signature-256": {signature}}
		switch how % 4 {
		case 2:
			h.Add("X-Hub-Signature-256", signature)
		case 3: // SHA-1 alone, with the right secret
			m := hmac.New(sha1.New, []byte(hook))
			m.Write(body)
			h = http.Header{"X-Hub-Signature": {"sha1=" + hex.EncodeToString(m.Sum(nil))}}
		}
		want := len(h["X-Hub-Signature-256"]) == 1 && strings.HasPrefix(signature, "sha256=") && strings.ToLower(signature) == mac(hook)
		got := src.Verifier.Verify(&webhook.Request{Method: http.MethodPost, Header: h, Body: body, Now: time.Now()})
		require.Equal(t, want, got == nil, "%v", got)
	})
}
