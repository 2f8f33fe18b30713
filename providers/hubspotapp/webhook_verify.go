package hubspotapp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// Headers as they stand in an http.Header.
const (
	signatureV3     = "X-Hubspot-Signature-V3"
	timestampHeader = "X-Hubspot-Request-Timestamp"
	signatureLegacy = "X-Hubspot-Signature"
	versionHeader   = "X-Hubspot-Signature-Version"
)

// verifier checks HubSpot's signatures (developers.hubspot.com, "Request
// validation" and "Introducing version 3 of webhook signatures", checked
// 2026-11). All of them are made with the app's client secret.
type verifier struct {
	// v3 covers method, URL, body and time; HubSpot's five minutes count in both
	// directions.
	v3        *webhook.HMAC
	publicURL string
	// legacy are the secrets for v1 and v2, nil unless those are allowed.
	legacy []token.Secret
}

func newVerifier(cfg Config) (*verifier, error) {
	secrets := append([]string{cfg.ClientSecret}, cfg.PreviousClientSecrets...)
	v3, err := webhook.NewHMAC(webhook.HMACConfig{
		SignatureHeader: signatureV3, Encoding: webhook.Base64, Signed: "{method}{url}{body}{timestamp}",
		TimestampHeader: timestampHeader, TimestampMillis: true, Secrets: secrets,
	})
	if err != nil {
		return nil, err
	}
	v := &verifier{v3: v3, publicURL: cfg.PublicURL}
	if cfg.AllowLegacySignatures {
		for _, s := range secrets {
			v.legacy = append(v.legacy, token.NewSecret(s))
		}
	}
	return v, nil
}

// Verify implements webhook.Verifier. HubSpot decodes some escapes of the URL
// before it signs, but its own libraries do not when they verify: where that
// makes a difference both are tried. Both are signed with the secret.
//
// Requests to an endpoint of an integration's own are refused: HubSpot signs with
// the app's secret and has one target URL.
func (v *verifier) Verify(r *webhook.Request) error {
	if r.Endpoint != nil {
		return webhook.ErrBadSignature
	}
	req := *r
	if v.publicURL != "" {
		req.URL = v.publicURL
	}
	// A request with anything of v3 has to pass as one: else a captured request
	// would pass for ever without it.
	if v.legacy != nil && req.Header[signatureV3] == nil && req.Header[timestampHeader] == nil {
		return v.verifyLegacy(&req)
	}
	raw := req.URL
	req.URL = signedURL(raw)
	err := v.v3.Verify(&req)
	if req.URL != raw && errors.Is(err, webhook.ErrBadSignature) {
		req.URL = raw
		err = v.v3.Verify(&req)
	}
	return err
}

// verifyLegacy checks v1 and v2, which are hashes of the secret and a text, and
// not MACs: whoever has one can make that of a text that begins with the same and
// goes on with bytes of the hash's own padding. No JSON does, and read takes
// nothing but JSON to the last byte.
func (v *verifier) verifyLegacy(r *webhook.Request) error {
	signature, version := r.Header[signatureLegacy], r.Header[versionHeader]
	if len(signature) != 1 || len(version) != 1 {
		return webhook.ErrNotSigned
	}
	mac, err := hex.DecodeString(signature[0])
	if err != nil || len(mac) != sha256.Size {
		return webhook.ErrNotSigned
	}
	var before string
	switch version[0] {
	case "v1":
	case "v2":
		before = r.Method + r.URL
	default:
		return webhook.ErrNotSigned
	}
	valid := false
	for _, secret := range v.legacy {
		h := sha256.New()
		_, _ = io.WriteString(h, secret.Reveal()+before)
		_, _ = h.Write(r.Body)
		valid = hmac.Equal(h.Sum(nil), mac) || valid
	}
	if !valid {
		return webhook.ErrBadSignature
	}
	return nil
}

// decoded are the escapes that are decoded before a URL is signed. All others
// stay, those of letters and of %, & and = among them.
var decoded = map[string]byte{
	"3A": ':', "2F": '/', "3F": '?', "40": '@', "21": '!', "24": '$', "27": '\'', "28": '(', "29": ')', "2A": '*', "2C": ',', "3B": ';',
}

// signedURL is a URL as HubSpot signs it.
func signedURL(raw string) string {
	if !strings.Contains(raw, "%") {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '%' && i+2 < len(raw) {
			if c, ok := decoded[strings.ToUpper(raw[i+1:i+3])]; ok {
				out = append(out, c)
				i += 2
				continue
			}
		}
		out = append(out, raw[i])
	}
	return string(out)
}
