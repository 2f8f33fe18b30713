// Package webhooktest signs webhook requests as providers do, to test what
// receives them. It signs by its own means, not with the code that verifies.
//
// The requests can be given to a handler's ServeHTTP and to an http.Client.
// All functions panic when url is none or a secret is not of the form its scheme
// asks for.
package webhooktest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/webhook"
)

// Slack returns a request as Slack signs it with an app's signing secret: JSON,
// or a form when body does not begin with a brace.
func Slack(url, signingSecret string, body []byte, at time.Time) *http.Request {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	r := post(url, body)
	r.Header.Set("X-Slack-Request-Timestamp", timestamp)
	r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac([]byte(signingSecret), "v0:", timestamp, ":", string(body))))
	return r
}

// GitHub returns a request as GitHub signs it with a webhook secret. event is
// the X-GitHub-Event, delivery the X-GitHub-Delivery.
func GitHub(url, secret, event, delivery string, body []byte) *http.Request {
	r := post(url, body)
	r.Header.Set("User-Agent", "GitHub-Hookshot/0000000")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", delivery)
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac([]byte(secret), string(body))))
	return r
}

// JiraDynamic returns a request as Jira sends it for a webhook that an app
// registered: a JWT made at the given time with the app's client secret, good
// for three minutes. identifier is the X-Atlassian-Webhook-Identifier.
func JiraDynamic(url, clientSecret, identifier string, body []byte, at time.Time) *http.Request {
	enc := base64.RawURLEncoding
	claims := `{"iss":"client-id","iat":` + strconv.FormatInt(at.Unix(), 10) + `,"exp":` + strconv.FormatInt(at.Unix()+180, 10) + `}`
	signed := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString([]byte(claims))
	r := jira(url, identifier, body)
	r.Header.Set("Authorization", "Bearer "+signed+"."+enc.EncodeToString(mac([]byte(clientSecret), signed)))
	return r
}

// JiraAdmin returns a request as Jira signs it for a webhook that an
// administrator made with a secret.
func JiraAdmin(url, secret, identifier string, body []byte) *http.Request {
	r := jira(url, identifier, body)
	r.Header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac([]byte(secret), string(body))))
	return r
}

func jira(url, identifier string, body []byte) *http.Request {
	r := post(url, body)
	r.Header.Set("User-Agent", "Atlassian Webhook HTTP Client")
	r.Header.Set("X-Atlassian-Webhook-Identifier", identifier)
	r.Header.Set("X-Atlassian-Webhook-Flow", "Primary")
	return r
}

// HubSpot returns a request as HubSpot signs those of its subscriptions with an
// app's client secret: with v3 and, beside it, v1. url is the target URL.
func HubSpot(url, clientSecret string, body []byte, at time.Time) *http.Request {
	timestamp := strconv.FormatInt(at.UnixMilli(), 10)
	r := post(url, body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-HubSpot-Request-Timestamp", timestamp)
	sum := mac([]byte(clientSecret), http.MethodPost, hubSpotEscapes.Replace(url), string(body), timestamp)
	r.Header.Set("X-HubSpot-Signature-v3", base64.StdEncoding.EncodeToString(sum))
	hubSpotHash(r, "v1", clientSecret, string(body))
	return r
}

// HubSpotV1 is [HubSpot] with the v1 signature alone.
func HubSpotV1(url, clientSecret string, body []byte) *http.Request {
	r := post(url, body)
	r.Header.Set("Content-Type", "application/json")
	hubSpotHash(r, "v1", clientSecret, string(body))
	return r
}

// HubSpotV2 returns a request as HubSpot signs those of custom workflow actions.
func HubSpotV2(url, clientSecret string, body []byte) *http.Request {
	r := post(url, body)
	r.Header.Set("Content-Type", "application/json")
	hubSpotHash(r, "v2", clientSecret, http.MethodPost+url+string(body))
	return r
}

// hubSpotEscapes are those that are decoded before a URL is signed.
var hubSpotEscapes = strings.NewReplacer(
	"%3A", ":", "%3a", ":", "%2F", "/", "%2f", "/", "%3F", "?", "%3f", "?", "%40", "@", "%21", "!", "%24", "$", "%27", "'",
	"%28", "(", "%29", ")", "%2A", "*", "%2a", "*", "%2C", ",", "%2c", ",", "%3B", ";", "%3b", ";",
)

func hubSpotHash(r *http.Request, version, secret, text string) {
	sum := sha256.Sum256([]byte(secret + text))
	r.Header.Set("X-HubSpot-Signature", hex.EncodeToString(sum[:]))
	r.Header.Set("X-HubSpot-Signature-Version", version)
}

// HMAC returns a request signed by the scheme of cfg with its first secret.
func HMAC(url string, cfg webhook.HMACConfig, body []byte, at time.Time) *http.Request {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	if cfg.TimestampMillis {
		timestamp = strconv.FormatInt(at.UnixMilli(), 10)
	}
	signed := cfg.Signed
	if signed == "" {
		signed = "{body}"
	}
	signed = strings.NewReplacer("{body}", string(body), "{timestamp}", timestamp, "{method}", http.MethodPost, "{url}", url).Replace(signed)
	sum := mac([]byte(cfg.Secrets[0]), signed)
	encoded := hex.EncodeToString(sum)
	if cfg.Encoding == webhook.Base64 {
		encoded = base64.StdEncoding.EncodeToString(sum)
	}
	r := post(url, body)
	r.Header.Set(cfg.SignatureHeader, cfg.Prefix+encoded)
	if cfg.TimestampHeader != "" {
		r.Header.Set(cfg.TimestampHeader, timestamp)
	}
	return r
}

// StandardWebhooks returns a request signed by Standard Webhooks 1.0.0 with a
// secret in base64, with or without the prefix "whsec_".
func StandardWebhooks(url, secret, id string, body []byte, at time.Time) *http.Request {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		panic("webhooktest: secret is not base64")
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	r := post(url, body)
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", timestamp)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac(key, id, ".", timestamp, ".", string(body))))
	return r
}

func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

func post(url string, body []byte) *http.Request {
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		panic("webhooktest: " + err.Error())
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if bytes.HasPrefix(body, []byte("{")) {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}
