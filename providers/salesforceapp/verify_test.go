package salesforceapp_test

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

// FuzzF3Verify: a callout is accepted exactly when one of the endpoint's secrets
// signed its time and body, and nowhere but at an endpoint. (What makes an outbound
// message is FuzzF9OutboundMessage's.)
func FuzzF3Verify(f *testing.F) {
	const now = 1764072000
	f.Add([]byte(`{"type":"x"}`), "1764072000", "", endpointSecret, uint8(1))
	f.Add([]byte(`{}`), "1764072301", "", endpointSecret, uint8(1))
	f.Add([]byte(`{}`), "-1764072000", "sha256="+strings.Repeat("0", 64), "", uint8(0))
	f.Add([]byte(`{}`), "1764072000", "", endpointSecret, uint8(2))
	f.Add([]byte(`{}`), "1764072000", "", endpointSecret, uint8(3))
	f.Add([]byte(sample), "1764072000", "", "another secret of some length", uint8(1))
	src, err := app().WebhookSource()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body []byte, timestamp, signature, secret string, how uint8) {
		mac := func(key string) string {
			m := hmac.New(sha256.New, []byte(key))
			m.Write([]byte(timestamp + "." + string(body)))
			return "sha256=" + hex.EncodeToString(m.Sum(nil))
		}
		if how%4 != 0 {
			signature = mac(secret)
		}
		r := &webhook.Request{
			Method: http.MethodPost, Body: body, Now: time.Unix(now, 0), Endpoint: endpoint(),
			Header: http.Header{"X-Signature": {signature}, "X-Timestamp": {timestamp}, "Content-Type": {"text/xml"}},
		}
		switch how % 4 {
		case 2:
			r.Header.Add("X-Signature", signature)
		case 3:
			r.Endpoint = nil
		}
		at, err := strconv.ParseUint(timestamp, 10, 50)
		want := err == nil && len(timestamp) <= 15 && at >= now-300 && at <= now+300 && len(r.Header["X-Signature"]) == 1 && r.Endpoint != nil && strings.HasPrefix(signature, "sha256=") &&
			(strings.ToLower(signature) == mac(endpointSecret) || strings.ToLower(signature) == mac("a newer secret of this endpoint, too"))
		got := src.Verifier.Verify(r)
		require.Equal(t, want, got == nil, "%v", got)
	})
}
