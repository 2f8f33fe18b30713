package slackapp_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// FuzzF3Verify: a request is accepted exactly when a check that is written from
// Slack's description accepts it, whatever the secret it was signed with.
func FuzzF3Verify(f *testing.F) {
	const now = 1700000000
	f.Add([]byte(`{"type":"a"}`), "1700000000", "", signing, uint8(1))
	f.Add([]byte(""), "1700000300", "", signing, uint8(1))
	f.Add([]byte("a=b"), "1699999699", "", signing, uint8(1))
	f.Add([]byte("x"), "+1700000000", "v0=00", "", uint8(1))
	f.Add([]byte("x"), "1700000000.0", "v1="+strings.Repeat("0", 64), "", uint8(0))
	f.Add([]byte("x"), "1700000000", "v0="+strings.Repeat("A", 64), signing, uint8(2))
	src, err := app().WebhookSource()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body []byte, timestamp, signature, secret string, how uint8) {
		mac := func(key string) string {
			m := hmac.New(sha256.New, []byte(key))
			m.Write([]byte("v0:" + timestamp + ":" + string(body)))
			return "v0=" + hex.EncodeToString(m.Sum(nil))
		}
		if how%3 != 0 {
			signature = mac(secret)
		}
		h := http.Header{"X-Slack-Signature": {signature}, "X-Slack-Request-Timestamp": {timestamp}}
		if how%3 == 2 {
			h.Add("X-Slack-Signature", signature)
		}
		at, err := strconv.ParseUint(timestamp, 10, 50)
		want := err == nil && len(timestamp) <= 15 && at >= now-300 && at <= now+300 && len(h["X-Slack-Signature"]) == 1 &&
			signature[:min(3, len(signature))] == "v0=" && strings.ToLower(signature) == mac(signing)
		got := src.Verifier.Verify(&webhook.Request{Method: http.MethodPost, Header: h, Body: body, Now: time.Unix(now, 0)})
		require.Equal(t, want, got == nil, "%v", got)
	})
}
