package jiraapp_test

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

func source3(t testing.TB, change ...func(*jiraapp.Config)) webhook.Source {
	t.Helper()
	src, err := app(change...).WebhookSource()
	require.NoError(t, err)
	return src
}

// Vector J2: made with openssl.
const (
	jwtHeader = `{"alg":"HS256","typ":"JWT"}`
	jwtClaims = `{"iss":"client-id-123","iat":1700000000,"exp":1700000180}`
	jwtJ2     = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJjbGllbnQtaWQtMTIzIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjE3MDAwMDAxODB9.HuQ1fBzSISLnNxSzrcfcru-8yaIwG1i8i3Nmoufho_A"
)

var issuedAt = time.Unix(1700000000, 0)

// bearer is a request with these Authorization headers.
func bearer(now time.Time, authorization ...string) *webhook.Request {
	h := http.Header{"X-Atlassian-Webhook-Identifier": {"id-1"}}
	if authorization != nil {
		h["Authorization"] = authorization
	}
	return &webhook.Request{Method: "POST", URL: "https://app.example.test/integrations/jira/webhook", Header: h, Body: []byte("{}"), Now: now}
}

func part(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// jwt signs as HS256 does, whatever the header says.
func jwt(key, header, claims string) string {
	signed := part(header) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestJWTVector(t *testing.T) {
	require.Equal(t, jwtJ2, jwt(secret, jwtHeader, jwtClaims))
	verify := source3(t).Verifier.Verify
	for _, now := range []time.Time{issuedAt, issuedAt.Add(-time.Minute), issuedAt.Add(3*time.Minute + 59*time.Second)} {
		require.NoError(t, verify(bearer(now, "Bearer "+jwtJ2)))
	}
	require.NoError(t, verify(bearer(issuedAt, "bearer "+jwtJ2)), "RFC 9110 section 11.1")
	require.ErrorIs(t, verify(bearer(issuedAt.Add(-time.Minute-time.Second), "Bearer "+jwtJ2)), webhook.ErrTooNew)
	require.ErrorIs(t, verify(bearer(issuedAt.Add(4*time.Minute), "Bearer "+jwtJ2)), webhook.ErrTooOld)
	previous := source3(t, func(c *jiraapp.Config) {
		c.ClientSecret, c.PreviousClientSecrets = "another-client-secret", []string{"yet-another-client-secret", secret}
	})
	require.NoError(t, previous.Verifier.Verify(bearer(issuedAt, "Bearer "+jwtJ2)))
	other := source3(t, func(c *jiraapp.Config) { c.ClientSecret = "another-client-secret" })
	require.ErrorIs(t, other.Verifier.Verify(bearer(issuedAt, "Bearer "+jwtJ2)), webhook.ErrBadSignature)
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func TestJWTRefusals(t *testing.T) {
	verify := source3(t).Verifier.Verify
	rs256 := func() string {
		signed := part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(jwtClaims)
		sum := sha256.Sum256([]byte(signed))
		sig, err := rsa.SignPKCS1v15(rand.Reader, rsaKey(), crypto.SHA256, sum[:])
		require.NoError(t, err)
		return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
	hs512 := func() string {
		signed := part(`{"alg":"HS512","typ":"JWT"}`) + "." + part(jwtClaims)
		mac := hmac.New(sha512.New, []byte(secret))
		mac.Write([]byte(signed))
		return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	parts := strings.Split(jwtJ2, ".")
	header := func(h string) string { return jwt(secret, h, jwtClaims) }
	claims := func(c string) string { return jwt(secret, jwtHeader, c) }
	for name, token := range map[string]string{
		"empty":               "",
		"two parts":           parts[0] + "." + parts[1],
		"no signature":        parts[0] + "." + parts[1] + ".",
		"four parts":          jwtJ2 + ".x",
		"encrypted":           jwtJ2 + ".x.y",
		"padding":             jwtJ2 + "=",
		"standard alphabet":   strings.ReplaceAll(strings.ReplaceAll(jwtJ2, "-", "+"), "_", "/"),
		"a line break":        jwtJ2[:20] + "\n" + jwtJ2[20:],
		"a line break at end": jwtJ2 + "\r\n",
		"a space":             jwtJ2 + " ",
		"second spelling":     jwtJ2[:len(jwtJ2)-1] + "B", // the same bytes: two bits of the last character are not used
		"none":                part(`{"alg":"none"}`) + "." + parts[1] + ".",
		"none, signed":        header(`{"alg":"none"}`),
		"None, signed":        header(`{"alg":"nOnE"}`),
		"RS256":               rs256(),
		"RS256 with secret":   header(`{"alg":"RS256","typ":"JWT"}`),
		"HS512":               hs512(),
		"HS512 with HS256":    header(`{"alg":"HS512"}`),
		"hs256":               header(`{"alg":"hs256"}`),
		"no alg":              header(`{"typ":"JWT"}`),
		"alg null":            header(`{"alg":null}`),
		"alg list":            header(`{"alg":["HS256"]}`),
		"alg twice":           header(`{"alg":"HS256","alg":"HS256"}`),
		"alg in another case": header(`{"alg":"HS256","Alg":"none"}`),
		"alg escaped":         header(`{"\u0061lg":"HS256"}`),
		"typ":                 header(`{"alg":"HS256","typ":"at+jwt"}`),
		"typ is no text":      header(`{"alg":"HS256","typ":1}`),
		"crit":                header(`{"alg":"HS256","crit":["exp"]}`),
		"b64":                 header(`{"alg":"HS256","b64":false}`),
		"kid twice":           header(`{"alg":"HS256","kid":"a","kid":"b"}`),
		"header is a list":    header(`["HS256"]`),
		"header is no JSON":   header(`{"alg":"HS256"`),
		"header and more":     header(`{"alg":"HS256"}{}`),
		"no exp":              claims(`{"iat":1700000000}`),
		"exp null":            claims(`{"iat":1700000000,"exp":null}`),
		"no iat":              claims(`{"exp":1700000180}`),
		"exp in quotes":       claims(`{"iat":1700000000,"exp":"1700000180"}`),
		"exp with a fraction": claims(`{"iat":1700000000,"exp":1700000180.5}`),
		"exp as a power":      claims(`{"iat":1700000000,"exp":1.70000018e9}`),
		"exp negative":        claims(`{"iat":1700000000,"exp":-1700000180}`),
		"exp too large":       claims(`{"iat":1700000000,"exp":9223372036854775807}`),
		"exp beyond numbers":  claims(`{"iat":1700000000,"exp":99999999999999999999}`),
		"exp before iat":      claims(`{"iat":1700000000,"exp":1699999999}`),
		"exp at iat":          claims(`{"iat":1700000000,"exp":1700000000}`),
		"exp a week ahead":    claims(`{"iat":1700000000,"exp":1700604800}`),
		"exp twice":           claims(`{"iat":1700000000,"exp":1700000180,"exp":1700000180}`),
		"exp escaped twice":   claims(`{"iat":1700000000,"exp":1700000180,"\u0065xp":1}`),
		"exp in another case": claims(`{"iat":1700000000,"exp":1700000180,"EXP":1}`),
		"another claim twice": claims(`{"iat":1700000000,"exp":1700000180,"iss":"a","iss":"b"}`),
		"escaped claim twice": claims(`{"iat":1700000000,"exp":1700000180,"iss":"a","is\u0073":"b"}`),
		"iat in the future":   claims(`{"iat":1700000100,"exp":1700000180}`),
		"iat ages ago":        claims(`{"iat":0,"exp":1700000180}`),
		"nbf in the future":   claims(`{"iat":1700000000,"nbf":1700000100,"exp":1700000180}`),
		"nbf is no number":    claims(`{"iat":1700000000,"nbf":"0","exp":1700000180}`),
		"claims are a list":   claims(`[]`),
		"claims and more":     claims(jwtClaims + " x"),
		"another key":         jwt("another-client-secret", jwtHeader, jwtClaims),
		"an empty key":        jwt("", jwtHeader, jwtClaims),
		"long":                claims(`{"iat":1700000000,"exp":1700000180,"x":"` + strings.Repeat("x", 9000) + `"}`),
	} {
		require.Error(t, verify(bearer(issuedAt, "Bearer "+token)), name)
	}
	// The bytes are those of the real one.
	a, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	b, err := base64.RawURLEncoding.DecodeString(parts[2][:42] + "B")
	require.NoError(t, err)
	require.Equal(t, a, b)

	for _, authorization := range [][]string{nil, {}, {""}, {"Bearer " + jwtJ2, "Bearer " + jwtJ2}, {jwtJ2}, {"JWT " + jwtJ2}, {"Bearer  " + jwtJ2}, {"Basic " + jwtJ2}, {"Bearer"}} {
		require.ErrorIs(t, verify(bearer(issuedAt, authorization...)), webhook.ErrNotSigned, "%q", authorization)
	}
	inQuery := bearer(issuedAt)
	inQuery.URL += "?jwt=" + jwtJ2
	require.ErrorIs(t, verify(inQuery), webhook.ErrNotSigned)
	for _, fine := range []string{header(`{"alg":"HS256"}`), header(`{"typ":"jwt","alg":"HS256","kid":"a"}`), claims(`{"iat":1699999000,"exp":1700000180,"nbf":1699999000,"qsh":"context-qsh","aud":["a"]}`)} {
		require.NoError(t, verify(bearer(issuedAt, "Bearer "+fine)))
	}
}

// TestAdminSignatureVector is vector J1, of Atlassian's own page.
func TestAdminSignatureVector(t *testing.T) {
	verify := source3(t).Verifier.Verify
	const key, good = "It's a Secret to Everybody", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
	own := &webhook.Endpoint{ID: "e", ExternalID: cloud, Secrets: [][]byte{[]byte(key)}}
	request := func(body string, signature ...string) *webhook.Request {
		return &webhook.Request{Method: "POST", Header: http.Header{"X-Hub-Signature": signature}, Body: []byte(body), Now: time.Now(), Endpoint: own}
	}
	require.NoError(t, verify(request("Hello World!", good)))
	require.NoError(t, verify(request("Hello World!", "sha256="+strings.ToUpper(good[7:]))), "hexadecimal has two cases")
	for name, r := range map[string]*webhook.Request{
		"another body": request("Hello, World!", good), "no header": request("Hello World!"), "twice": request("Hello World!", good, good),
		"no method": request("Hello World!", good[7:]), "another method": request("Hello World!", "sha1="+good[7:]), "SHA256": request("Hello World!", "SHA256="+good[7:]),
		"half": request("Hello World!", good[:40]), "empty": request("Hello World!", ""),
	} {
		require.Error(t, verify(r), name)
	}
	// Neither way stands in for the other.
	r := request("Hello World!", good)
	r.Endpoint = nil
	require.ErrorIs(t, verify(r), webhook.ErrNotSigned)
	r = bearer(issuedAt, "Bearer "+jwtJ2)
	r.Endpoint = own
	require.ErrorIs(t, verify(r), webhook.ErrNotSigned)
	// Nor does the app's secret open a tenant's endpoint, or an empty one anything.
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("Hello World!"))
	require.ErrorIs(t, verify(request("Hello World!", "sha256="+hex.EncodeToString(mac.Sum(nil)))), webhook.ErrBadSignature)
	own.Secrets = [][]byte{nil}
	mac = hmac.New(sha256.New, nil)
	mac.Write([]byte("Hello World!"))
	require.ErrorIs(t, verify(request("Hello World!", "sha256="+hex.EncodeToString(mac.Sum(nil)))), webhook.ErrBadSignature)
}

func read(t testing.TB, body string, change ...func(*webhook.Request)) (webhook.Notice, error) {
	t.Helper()
	r := bearer(issuedAt, "Bearer "+jwtJ2)
	r.Body = []byte(body)
	for _, fn := range change {
		fn(r)
	}
	receipt, err := source3(t).Read(r)
	if err != nil {
		require.Empty(t, receipt.Notices)
		return webhook.Notice{}, err
	}
	require.Len(t, receipt.Notices, 1)
	require.Nil(t, receipt.Reply)
	return receipt.Notices[0], nil
}

func TestRead(t *testing.T) {
	n, err := read(t, `{"timestamp":1700000000123,"webhookEvent":"jira:issue_updated","user":{"self":"https://other.atlassian.net/rest/api/2/user?accountId=1"},
		"issue":{"id":"1","self":"https://ACME.atlassian.net/rest/api/2/issue/1","fields":{"self":"https://nested.example/"}},"matchedWebhookIds":[ 7, 12 ]}`)
	require.NoError(t, err)
	require.Equal(t, webhook.Notice{
		DeliveryID: "acme.atlassian.net/id-1", Type: "jira:issue_updated", Account: "acme.atlassian.net", Subscriptions: []string{"7", "12"},
		OccurredAt: time.UnixMilli(1700000000123).UTC(),
	}, n)

	for body, account := range map[string]string{
		`{"webhookEvent":"e","comment":{"self":"https://acme.atlassian.net/rest/api/2/issue/1/comment/2"}}`:                     "acme.atlassian.net",
		`{"webhookEvent":"e","user":{"self":"https://acme.atlassian.net/rest/api/2/user"},"issue":{"id":"1"}}`:                  "acme.atlassian.net",
		`{"webhookEvent":"e","user":{"self":"https://a.atlassian.net/x"},"project":{"self":"https://acme.atlassian.net/rest"}}`: "acme.atlassian.net",
		`{"webhookEvent":"e","issue":{"self":"https://api.atlassian.com/ex/jira/` + cloud + `/rest/api/2/issue/1"}}`:            cloud,
		`{"webhookEvent":"e","issue":{"self":"https://jira.example.com/rest/api/2/issue/1"}}`:                                   "jira.example.com",
		`{"webhookEvent":"e","issue":{"self":null},"sprint":{"self":"https://acme.atlassian.net/rest/agile/1.0/sprint/1"}}`:     "acme.atlassian.net",
		`{"webhookEvent":"e","issue":"x","user":["self"]}`:                                                                      "",
		`{"webhookEvent":"e","other":{"self":"https://acme.atlassian.net/"},"timestamp":-1}`:                                    "",
	} {
		n, err := read(t, body)
		require.NoError(t, err, body)
		require.Equal(t, account, n.Account, body)
		require.Equal(t, account+"/id-1", n.DeliveryID)
		require.True(t, n.OccurredAt.IsZero())
		require.Empty(t, n.Subscriptions)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, body := range []string{
		``, `[]`, `{}`, `{"webhookEvent":""}`, `{"webhookEvent":1}`, `{"webhookEvent":"e"`, `{"webhookEvent":"e"} x`,
		`{"webhookEvent":"e","webhookEvent":"f"}`, `{"webhookEvent":"e","WebhookEvent":"f"}`, `{"webhookEvent":"e","issue":{},"issue":{}}`,
		`{"webhookEvent":"e","issue":{"self":"https://a.atlassian.net/","self":"https://b.atlassian.net/"}}`,
		`{"webhookEvent":"e","issue":{"self":"https://a.atlassian.net/","Self":"https://b.atlassian.net/"}}`,
		`{"webhookEvent":"e","issue":{"self":"https://a.atlassian.net/","\u0073elf":"https://b.atlassian.net/"}}`,
		`{"webhookEvent":"e","issue":{"self":7}}`, `{"webhookEvent":"e","issue":{"self":"x"}}`, `{"webhookEvent":"e","issue":{"self":"http://acme.atlassian.net/"}}`,
		`{"webhookEvent":"e","issue":{"self":"https://user@acme.atlassian.net/"}}`, `{"webhookEvent":"e","issue":{"self":"https://acme.atlassian.net:8443/"}}`,
		`{"webhookEvent":"e","issue":{"self":"https://127.0.0.1/"}}`, `{"webhookEvent":"e","issue":{"self":"https://localhost/"}}`,
		`{"webhookEvent":"e","issue":{"self":"https://api.atlassian.com/rest"}}`, `{"webhookEvent":"e","issue":{"self":"https://api.atlassian.com/ex/jira/"}}`,
		`{"webhookEvent":"e","issue":{"self":"https://api.atlassian.com/ex/jira/acme.atlassian.net/rest"}}`,
		`{"webhookEvent":"e","issue":{"self":"https://api.atlassian.com/ex/jira/` + cloud + `"}}`,
		`{"webhookEvent":"e","matchedWebhookIds":7}`, `{"webhookEvent":"e","matchedWebhookIds":["7"]}`, `{"webhookEvent":"e","matchedWebhookIds":[1.5]}`,
		`{"webhookEvent":"e","matchedWebhookIds":[-1]}`, `{"webhookEvent":"e","matchedWebhookIds":[7],"matchedWebhookIds":[8]}`,
	} {
		_, err := read(t, body)
		require.Error(t, err, body)
		require.NotContains(t, err.Error(), "atlassian.net")
	}
	for _, ids := range [][]string{nil, {""}, {"a", "b"}} {
		_, err := read(t, `{"webhookEvent":"e"}`, func(r *webhook.Request) { r.Header["X-Atlassian-Webhook-Identifier"] = ids })
		require.Error(t, err)
	}
}

func TestReadAtAnEndpoint(t *testing.T) {
	// Whoever knows the endpoint's secret names the site: it is not believed.
	n, err := read(t, `{"webhookEvent":"jira:issue_updated","timestamp":1700000000000,"issue":{"self":"https://victim.atlassian.net/rest"},"matchedWebhookIds":[7]}`,
		func(r *webhook.Request) { r.Endpoint = &webhook.Endpoint{ExternalID: cloud} })
	require.NoError(t, err)
	require.Equal(t, webhook.Notice{
		DeliveryID: cloud + "/id-1", Type: "jira:issue_updated", Account: cloud, DedupBody: true, OccurredAt: time.Unix(1700000000, 0).UTC(),
	}, n)
}

func TestWebhookSigners(t *testing.T) {
	src := source3(t)
	now := time.Now()
	body := []byte(`{"webhookEvent":"e"}`)
	r := webhooktest.JiraDynamic("https://app.example.test/w", secret, "id", body, now)
	require.NoError(t, src.Verifier.Verify(&webhook.Request{Header: r.Header, Body: body, Now: now}))
	require.Error(t, src.Verifier.Verify(&webhook.Request{Header: r.Header, Body: body, Now: now.Add(time.Hour)}))
}

// members reads an object with encoding/json alone and tells whether one of the
// wanted keys is there in more than one way.
func members(body []byte, wanted ...string) (map[string]json.RawMessage, bool) {
	if !json.Valid(body) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return nil, false
	}
	out, ok := map[string]json.RawMessage{}, true
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil, false
		}
		key := tok.(string)
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return nil, false
		}
		for _, w := range wanted {
			if strings.EqualFold(key, w) && (key != w || out[w] != nil) {
				ok = false
			}
		}
		out[key] = raw
	}
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	_, err := d.Token()
	return out, ok && err == io.EOF
}

// twice reports whether any key of an object is there twice.
func twice(body []byte) bool {
	d := json.NewDecoder(bytes.NewReader(body))
	_, _ = d.Token()
	seen := map[string]bool{}
	for d.More() {
		tok, err := d.Token()
		key, ok := tok.(string)
		var raw json.RawMessage
		if err != nil || !ok || d.Decode(&raw) != nil || seen[key] {
			return true
		}
		seen[key] = true
	}
	return false
}

func text(raw json.RawMessage) (string, bool) {
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// accepts is the verifier's rule once more, on encoding/json.
func accepts(header, claims []byte, now int64) bool {
	h, ok := members(header, "alg", "typ", "crit", "b64")
	if !ok || twice(header) || h["crit"] != nil || h["b64"] != nil {
		return false
	}
	if alg, ok := text(h["alg"]); !ok || alg != "HS256" {
		return false
	}
	if h["typ"] != nil {
		if typ, ok := text(h["typ"]); !ok || !strings.EqualFold(typ, "JWT") {
			return false
		}
	}
	c, ok := members(claims, "iat", "exp", "nbf")
	if !ok || twice(claims) {
		return false
	}
	var at [3]int64
	for i, name := range []string{"iat", "exp", "nbf"} {
		if name == "nbf" && c[name] == nil {
			continue
		}
		n, err := strconv.ParseInt(string(c[name]), 10, 64)
		if err != nil || n < 0 || string(c[name]) != strconv.FormatInt(n, 10) {
			return false
		}
		at[i] = n
	}
	iat, exp, nbf := at[0], at[1], at[2]
	return exp < 1<<40 && exp > iat && exp-iat <= 24*3600 && now < exp+60 && iat <= now+60 && nbf <= now+60
}

// FuzzF12JWT: what is accepted is signed with HS256 and the exact key, and fine by
// the rule written a second time.
func FuzzF12JWT(f *testing.F) {
	for _, s := range []struct{ header, claims string }{
		{jwtHeader, jwtClaims}, {`{"alg":"none"}`, jwtClaims}, {`{"alg":"RS256"}`, jwtClaims}, {`{"alg":"HS256","alg":"none"}`, jwtClaims},
		{jwtHeader, `{"iat":1700000000,"exp":1700000180,"exp":1}`}, {jwtHeader, `{"iat":1700000000}`}, {jwtHeader, `{"exp":1700000180,"iat":1700000000,"nbf":1700000060}`},
		{`{"alg":"HS256","crit":[]}`, `{"EXP":1}`}, {`{"\u0061lg":"HS256"}`, `{"iat":1e9,"exp":1700000180}`}, {``, `[]`},
	} {
		f.Add([]byte(s.header), []byte(s.claims), uint8(0), "")
	}
	f.Add([]byte(jwtHeader), []byte(jwtClaims), uint8(1), "Bearer "+jwtJ2)
	f.Add([]byte(jwtHeader), []byte(jwtClaims), uint8(2), "x")
	f.Add([]byte(jwtHeader), []byte(jwtClaims), uint8(3), "")
	verify := source3(f).Verifier.Verify
	f.Fuzz(func(t *testing.T, header, claims []byte, how uint8, other string) {
		token := jwt(secret, string(header), string(claims))
		signed, good := token[:strings.LastIndexByte(token, '.')], true
		switch how % 5 {
		case 1: // something else in place of it all
			if other == "Bearer "+jwtJ2 {
				require.NoError(t, verify(bearer(issuedAt, other)))
			} else if !strings.Contains(strings.ToLower(other), "bearer") {
				require.Error(t, verify(bearer(issuedAt, other)))
			}
			return
		case 2: // another key
			token, good = jwt(other, string(header), string(claims)), other == secret
		case 3: // none
			token, good = signed+".", false
		case 4: // another signature
			token, good = signed+"."+part(other), signed+"."+part(other) == token
		}
		err := verify(bearer(issuedAt, "Bearer "+token))
		want := good && accepts(header, claims, issuedAt.Unix()) && len(token) < 8000
		if err == nil {
			require.True(t, want, "accepted %s %s", header, claims)
		} else if want && !bytes.ContainsAny(append(header, claims...), `\`) && bytes.Count(header, []byte("[")) < 60 && bytes.Count(claims, []byte("[")) < 60 && bytes.Count(append(header, claims...), []byte("{")) < 60 {
			// Keys that are written with escapes, and what is nested too deep, may be refused.
			t.Errorf("refused %s %s: %v", header, claims, err)
		}
	})
}

var (
	hostAddress = regexp.MustCompile(`^(?i:https)://([A-Za-z0-9.-]+)(?:[/?#].*)?$`)
	apiAddress  = regexp.MustCompile(`^(?i:https://api\.atlassian\.com)/ex/jira/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/`)
)

// FuzzF9Read holds the routing of webhooks against a reader that is strict about
// duplicates and built on encoding/json.
func FuzzF9Read(f *testing.F) {
	for _, s := range []string{
		`{"webhookEvent":"e","issue":{"self":"https://acme.atlassian.net/rest"},"matchedWebhookIds":[1,2]}`,
		`{"webhookEvent":"e","issue":{"self":"https://a.b/","self":"https://c.d/"}}`, `{"webhookEvent":"e","Issue":{}}`, `{"webhookEvent":"e","user":{"self":null}}`,
		`{"webhookEvent":"e","comment":{"self":"https://api.atlassian.com/ex/jira/` + cloud + `/x"}}`, `{"webhookEvent":"e","issue":{"self":"https://a.b:1/"}}`, `{`, "{\"webhookEvent\":\"\x80\"}",
	} {
		f.Add([]byte(s))
	}
	src := source3(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := bearer(issuedAt, "Bearer "+jwtJ2)
		r.Body = body
		receipt, err := src.Read(r)
		places := []string{"issue", "comment", "project", "version", "sprint", "board", "worklog", "attachment", "user"}
		m, ok := members(body, append([]string{"webhookEvent", "timestamp", "matchedWebhookIds"}, places...)...)
		if !ok {
			require.Error(t, err, "%q", body)
			return
		}
		if err != nil {
			return
		}
		n := receipt.Notices[0]
		typ, ok := text(m["webhookEvent"])
		require.True(t, ok && typ == n.Type && typ != "")
		account := ""
		for _, place := range places {
			inner, ok := members(m[place], "self")
			if inner == nil {
				continue
			}
			require.True(t, ok, "%q is ambiguous", m[place])
			if self, ok := text(inner["self"]); ok {
				if id := apiAddress.FindStringSubmatch(self); id != nil {
					account = id[1]
				} else {
					host := hostAddress.FindStringSubmatch(self)
					require.NotNil(t, host, "%q", self)
					account = strings.ToLower(host[1])
				}
				break
			}
		}
		require.Equal(t, account, n.Account)
		require.Equal(t, account+"/id-1", n.DeliveryID)
		var ids []json.Number
		if m["matchedWebhookIds"] != nil {
			require.NoError(t, json.Unmarshal(m["matchedWebhookIds"], &ids))
		}
		require.Len(t, n.Subscriptions, len(ids))
		for i, id := range ids {
			require.Equal(t, fmt.Sprint(id), n.Subscriptions[i])
		}
	})
}
