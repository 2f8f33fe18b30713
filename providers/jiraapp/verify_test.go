package jiraapp_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// FuzzF3Verify: at an endpoint a webhook is accepted exactly when one of the
// endpoint's secrets signed its body. The app's own secret and a JWT prove nothing
// there. (What comes to the provider's path is FuzzF12JWT's.)
func FuzzF3Verify(f *testing.F) {
	const own = "an endpoint's secret of enough bytes"
	f.Add([]byte(`{}`), "", own, own, uint8(1))
	f.Add([]byte(`{}`), "", secret, own, uint8(1))
	f.Add([]byte(`{}`), "sha256="+strings.Repeat("0", 64), "", own, uint8(0))
	f.Add([]byte(`{}`), "", "short", "short", uint8(1))
	f.Add([]byte(`{}`), "", "", "", uint8(1))
	f.Add([]byte(`{}`), "", own, own, uint8(2))
	src := source3(f)
	f.Fuzz(func(t *testing.T, body []byte, signature, signedWith, endpointSecret string, how uint8) {
		mac := func(key string) string {
			m := hmac.New(sha256.New, []byte(key))
			m.Write(body)
			return "sha256=" + hex.EncodeToString(m.Sum(nil))
		}
		if how%3 != 0 {
			signature = mac(signedWith)
		}
		h := http.Header{"X-Hub-Signature": {signature}, "Authorization": {"Bearer " + jwtJ2}}
		if how%3 == 2 {
			h.Add("X-Hub-Signature", signature)
		}
		want := len(h["X-Hub-Signature"]) == 1 && len(endpointSecret) >= 16 && strings.HasPrefix(signature, "sha256=") && strings.ToLower(signature) == mac(endpointSecret)
		got := src.Verifier.Verify(&webhook.Request{
			Method: http.MethodPost, Header: h, Body: body, Now: time.Unix(1700000000, 0),
			Endpoint: &webhook.Endpoint{ID: "e", Secrets: [][]byte{[]byte(endpointSecret)}},
		})
		require.Equal(t, want, got == nil, "%v", got)
	})
}
