package hubspotapp_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

const (
	target = "https://www.example.com/webhook_uri"
	batch  = `[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]`
	query  = "https://www.example.com/hooks/hubspot?next=https%3A%2F%2Fa.example%2Fb%3Fc%40d&name=J%C3%B6rg%20M&amp=x%26y&sub=%21%24%27%28%29%2A%2C%3B"
)

// source is that of an app, which must have one.
func source(t testing.TB, a *hubspotapp.App) webhook.Source {
	t.Helper()
	src, err := a.WebhookSource()
	require.NoError(t, err)
	return src
}

func legacy(c *hubspotapp.Config) { c.AllowLegacySignatures = true }

// millis is a time of a timestamp header.
func millis(t testing.TB, ts string) time.Time {
	t.Helper()
	n, err := strconv.ParseInt(ts, 10, 64)
	require.NoError(t, err)
	return time.UnixMilli(n)
}

func v3(method, url, body, signature, ts string) *webhook.Request {
	return &webhook.Request{Method: method, URL: url, Body: []byte(body), Header: http.Header{
		"X-Hubspot-Signature-V3": {signature}, "X-Hubspot-Request-Timestamp": {ts},
	}}
}

func old(version, method, url, body, signature string) *webhook.Request {
	return &webhook.Request{Method: method, URL: url, Body: []byte(body), Now: time.Now(), Header: http.Header{
		"X-Hubspot-Signature": {signature}, "X-Hubspot-Signature-Version": {version},
	}}
}

// TestVectors are signatures made by HubSpot's own libraries: 1 to 3, 8 and 9 are
// in their test suites.
func TestVectors(t *testing.T) {
	require.Len(t, batch, 207)
	sum := sha256.Sum256([]byte(batch))
	require.True(t, strings.HasPrefix(hex.EncodeToString(sum[:]), "94d4cf86"))
	const object = `{"example_field":"example_value"}`
	const quoted = `{'example_field':'example_value'}`
	for name, c := range map[string]struct {
		r  *webhook.Request
		ts string
	}{
		"1 v1":                {old("v1", "POST", target, batch, "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"), ""},
		"2 v2 GET":            {old("v2", "GET", target, "", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"), ""},
		"3 v2 POST":           {old("v2", "POST", target, object, "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"), ""},
		"4 v2 batch":          {old("v2", "POST", target, batch, "276a2548f0a0181a076d456de09c0e7477ae101ccc16a11600488a77714e9b8d"), ""},
		"5 v3 batch":          {v3("POST", target, batch, "/pXDSgWeGksQpwCsgqd43P0eY6gBIse9UX0tfkudUrE=", "1700000000000"), "1700000000000"},
		"6 v3 GET":            {v3("GET", target, "", "r3KKZGKCAis7hc/eM/k4wr0D0ZRQhbee2UGU0SAPfxM=", "1700000000000"), "1700000000000"},
		"7 v3 UTF-8":          {v3("POST", target, `{"name":"Zoë – 東京"}`, "HVWe7sJSFJVXLWm87el/XU/v+3O9XDg/U07yqF7D8IM=", "1700000000000"), "1700000000000"},
		"8 v3 python":         {v3("POST", target, quoted, "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=", "1693657560000"), "1693657560000"},
		"9 v3 ruby":           {v3("POST", target, quoted, "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw=", "1700000300000"), "1700000300000"},
		"10 v3 decoded query": {v3("POST", query, object, "i6jDPE+8QQl+iwlaBVNo0dahTdcWmO+hNRpEs7p7qis=", "1700000000000"), "1700000000000"},
		"10 v3 query as sent": {v3("POST", query, object, "OCwksPDbbMinEOPZUAn9OqyMF/IPhOk/3Yv6DhIuRmQ=", "1700000000000"), "1700000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			a := app(legacy)
			if c.ts != "" {
				a = app() // v3 is the default
				c.r.Now = millis(t, c.ts)
			}
			verify := source(t, a).Verifier.Verify
			require.NoError(t, verify(c.r))

			// The previous secret verifies too, another does not.
			rotated := app(legacy, func(cfg *hubspotapp.Config) {
				cfg.ClientSecret, cfg.PreviousClientSecrets = "the-client-secret-of-today", []string{clientSecret}
			})
			require.NoError(t, source(t, rotated).Verifier.Verify(c.r))
			other := app(legacy, func(cfg *hubspotapp.Config) { cfg.ClientSecret = "the-client-secret-of-today" })
			require.ErrorIs(t, source(t, other).Verifier.Verify(c.r), webhook.ErrBadSignature)

			c.r.Body = append([]byte{' '}, c.r.Body...)
			require.ErrorIs(t, verify(c.r), webhook.ErrBadSignature)
		})
	}
}

func TestNothingElsePassesForV3(t *testing.T) {
	const signature, ts = "/pXDSgWeGksQpwCsgqd43P0eY6gBIse9UX0tfkudUrE=", "1700000000000"
	now := time.UnixMilli(1700000000000)
	good := func() *webhook.Request {
		r := v3("POST", target, batch, signature, ts)
		r.Now = now
		return r
	}
	set := func(name, value string) func(*webhook.Request) {
		return func(r *webhook.Request) { r.Header[name] = []string{value} }
	}
	const sig, stamp = "X-Hubspot-Signature-V3", "X-Hubspot-Request-Timestamp"
	v1 := func(r *webhook.Request) {
		r.Header["X-Hubspot-Signature"] = []string{"232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"}
		r.Header["X-Hubspot-Signature-Version"] = []string{"v1"}
	}
	for name, c := range map[string]struct {
		change func(*webhook.Request)
		want   error
	}{
		"flipped body byte":        {func(r *webhook.Request) { r.Body[10] ^= 1 }, webhook.ErrBadSignature},
		"shorter body":             {func(r *webhook.Request) { r.Body = r.Body[:200] }, webhook.ErrBadSignature},
		"time + 1":                 {set(stamp, "1700000000001"), webhook.ErrBadSignature},
		"method GET":               {func(r *webhook.Request) { r.Method = "GET" }, webhook.ErrBadSignature},
		"http":                     {func(r *webhook.Request) { r.URL = "http" + strings.TrimPrefix(r.URL, "https") }, webhook.ErrBadSignature},
		"trailing slash":           {func(r *webhook.Request) { r.URL += "/" }, webhook.ErrBadSignature},
		"query":                    {func(r *webhook.Request) { r.URL += "?a=1" }, webhook.ErrBadSignature},
		"no signature":             {func(r *webhook.Request) { delete(r.Header, sig) }, webhook.ErrNotSigned},
		"no time":                  {func(r *webhook.Request) { delete(r.Header, stamp) }, webhook.ErrNotSigned},
		"two signatures":           {func(r *webhook.Request) { r.Header[sig] = []string{signature, signature} }, webhook.ErrNotSigned},
		"two times":                {func(r *webhook.Request) { r.Header[stamp] = []string{ts, ts} }, webhook.ErrNotSigned},
		"time abc":                 {set(stamp, "abc"), webhook.ErrNotSigned},
		"time with a sign":         {set(stamp, "+1700000000000"), webhook.ErrNotSigned},
		"time with a space":        {set(stamp, " 1700000000000"), webhook.ErrNotSigned},
		"time as a float":          {set(stamp, "1700000000000.0"), webhook.ErrNotSigned},
		"time empty":               {set(stamp, ""), webhook.ErrNotSigned},
		"time too long":            {set(stamp, strings.Repeat("1", 400)), webhook.ErrNotSigned},
		"older than 300,000 ms":    {func(r *webhook.Request) { r.Now = now.Add(300_001 * time.Millisecond) }, webhook.ErrTooOld},
		"10 min in the future":     {func(r *webhook.Request) { r.Now = now.Add(-10 * time.Minute) }, webhook.ErrTooNew},
		"300,001 ms ahead":         {func(r *webhook.Request) { r.Now = now.Add(-300_001 * time.Millisecond) }, webhook.ErrTooNew},
		"space in place of plus":   {set(sig, strings.ReplaceAll("K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=", "+", " ")), webhook.ErrNotSigned},
		"base64 of URLs":           {set(sig, strings.ReplaceAll(signature, "/", "_")), webhook.ErrNotSigned},
		"no padding":               {set(sig, strings.TrimRight(signature, "=")), webhook.ErrNotSigned},
		"second spelling":          {set(sig, strings.Replace(signature, "rE=", "rF=", 1)), webhook.ErrNotSigned},
		"hex":                      {set(sig, strings.Repeat("ab", 32)), webhook.ErrNotSigned},
		"empty signature":          {set(sig, ""), webhook.ErrNotSigned},
		"v1 in place of v3":        {func(r *webhook.Request) { v1(r); delete(r.Header, sig); delete(r.Header, stamp) }, webhook.ErrNotSigned},
		"v1 beside a bad v3":       {func(r *webhook.Request) { v1(r); set(stamp, "1700000000001")(r) }, webhook.ErrBadSignature},
		"an integration's own":     {func(r *webhook.Request) { r.Endpoint = &webhook.Endpoint{Secrets: [][]byte{[]byte(clientSecret)}} }, webhook.ErrBadSignature},
		"exactly 300,000 ms":       {func(r *webhook.Request) { r.Now = now.Add(300_000 * time.Millisecond) }, nil},
		"exactly 300,000 ms ahead": {func(r *webhook.Request) { r.Now = now.Add(-300_000 * time.Millisecond) }, nil},
		"with a good v1":           {v1, nil},
		"with a bad v1":            {func(r *webhook.Request) { v1(r); r.Header["X-Hubspot-Signature"][0] = "00" }, nil},
	} {
		r := good()
		c.change(r)
		require.ErrorIs(t, source(t, app()).Verifier.Verify(r), c.want, name)
		if name == "v1 in place of v3" {
			require.NoError(t, source(t, app(legacy)).Verifier.Verify(r), name)
			continue
		}
		require.ErrorIs(t, source(t, app(legacy)).Verifier.Verify(r), c.want, name+", legacy allowed")
	}
}

func TestNothingElsePassesForV1AndV2(t *testing.T) {
	const v1, v2 = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de", "276a2548f0a0181a076d456de09c0e7477ae101ccc16a11600488a77714e9b8d"
	verify := source(t, app(legacy)).Verifier.Verify
	for name, c := range map[string]struct {
		r    *webhook.Request
		want error
	}{
		"v1 as v2":             {old("v2", "POST", target, batch, v1), webhook.ErrBadSignature},
		"v2 as v1":             {old("v1", "POST", target, batch, v2), webhook.ErrBadSignature},
		"v2 method":            {old("v2", "PUT", target, batch, v2), webhook.ErrBadSignature},
		"v2 url":               {old("v2", "POST", target+"/", batch, v2), webhook.ErrBadSignature},
		"v3":                   {old("v3", "POST", target, batch, v1), webhook.ErrNotSigned},
		"no version":           {old("", "POST", target, batch, v1), webhook.ErrNotSigned},
		"in capitals":          {old("V1", "POST", target, batch, v1), webhook.ErrNotSigned},
		"short":                {old("v1", "POST", target, batch, v1[:62]), webhook.ErrNotSigned},
		"long":                 {old("v1", "POST", target, batch, v1+"00"), webhook.ErrNotSigned},
		"base64":               {old("v1", "POST", target, batch, base64.StdEncoding.EncodeToString([]byte(v1))), webhook.ErrNotSigned},
		"an integration's own": {&webhook.Request{Endpoint: &webhook.Endpoint{}}, webhook.ErrBadSignature},
		"nothing":              {&webhook.Request{Method: "POST", URL: target, Body: []byte(batch)}, webhook.ErrNotSigned},
	} {
		require.ErrorIs(t, verify(c.r), c.want, name)
	}
	// They are hashes and not MACs: a longer text with the padding of the shorter
	// one's hash in it can be signed by whoever has the hash. No such body is read.
	for _, tail := range []string{"\x80" + strings.Repeat("\x00", 10) + `[{"portalId":1}]`, "\x80\x00", "\x00"} {
		_, err := source(t, app()).Read(&webhook.Request{Body: []byte(batch + tail)})
		require.Error(t, err)
	}
}

func TestPublicURLReplacesTheHandlersOwn(t *testing.T) {
	a := app(func(c *hubspotapp.Config) { c.PublicURL = query })
	now := time.Now()
	r := webhooktest.HubSpot(query, clientSecret, []byte(batch), now)
	req := &webhook.Request{Method: "POST", URL: target, Header: r.Header, Body: []byte(batch), Now: now}
	require.NoError(t, source(t, a).Verifier.Verify(req))
	require.Equal(t, target, req.URL, "the request was changed")
	require.ErrorIs(t, source(t, app()).Verifier.Verify(req), webhook.ErrBadSignature)
}

func TestEscapesAreDecodedInEitherCaseAndOnce(t *testing.T) {
	now := time.UnixMilli(1700000000000)
	for sent, signed := range map[string]string{
		"https://a.example/w?u=%3a%2f%2Fb%3F":  "https://a.example/w?u=://b?",
		"https://a.example/w?u=%253A%252f":     "https://a.example/w?u=%253A%252f",
		"https://a.example/w?u=%25%33A%3%":     "https://a.example/w?u=%25%33A%3%",
		"https://a.example/w?u=%20%26%3D%2b%7": "https://a.example/w?u=%20%26%3D%2b%7",
		"https://a.example/%2a%2A%3b%2c":       "https://a.example/**;,",
	} {
		mac := hmac.New(sha256.New, []byte(clientSecret))
		_, _ = io.WriteString(mac, "POST"+signed+batch+"1700000000000")
		r := v3("POST", sent, batch, base64.StdEncoding.EncodeToString(mac.Sum(nil)), "1700000000000")
		r.Now = now
		require.NoError(t, source(t, app()).Verifier.Verify(r), sent)
		r.URL += "%21"
		require.ErrorIs(t, source(t, app()).Verifier.Verify(r), webhook.ErrBadSignature)
	}
}

// reference verifies v3 by its own means.
func reference(method, uri, body, ts, signature string, now time.Time) bool {
	for i := range len(ts) {
		if ts[i] < '0' || ts[i] > '9' {
			return false
		}
	}
	if ts == "" || len(ts) > 15 {
		return false
	}
	ms, err := strconv.ParseInt(ts, 10, 64)
	if err != nil || max(now.UnixMilli()-ms, ms-now.UnixMilli()) > 300_000 {
		return false
	}
	unescaped := uri
	for _, e := range []string{":3a", "/2f", "?3f", "@40", "!21", "$24", "'27", "(28", ")29", "*2a", ",2c", ";3b"} {
		for _, hex := range []string{e[1:], strings.ToUpper(e[1:])} {
			unescaped = strings.ReplaceAll(unescaped, "%"+hex, "\x00"+e[:1])
		}
	}
	unescaped = strings.ReplaceAll(unescaped, "\x00", "")
	for _, u := range []string{uri, unescaped} {
		mac := hmac.New(sha256.New, []byte(clientSecret))
		_, _ = io.WriteString(mac, method+u+body+ts)
		if signature == base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			return true
		}
	}
	return false
}

// FuzzF3Verify holds the verifier against the reference, with signatures that are
// right for one of the two readings of the URL, or for nothing.
func FuzzF3Verify(f *testing.F) {
	f.Add("POST", target, batch, "1700000000000", "/pXDSgWeGksQpwCsgqd43P0eY6gBIse9UX0tfkudUrE=", int8(0), int64(0))
	f.Add("POST", query, "{}", "1700000000000", "", int8(1), int64(300_000))
	f.Add("POST", query, "{}", "1700000000000", "", int8(2), int64(-300_001))
	f.Add("GET", "https://a.example/%2f%2F%3A%253A%", "", "1", "x", int8(2), int64(1))
	f.Add("POST", target, "1", "700000000000", "", int8(1), int64(0))
	f.Add("", "", "", "", "", int8(1), int64(0))
	f.Fuzz(func(t *testing.T, method, uri, body, ts, signature string, sign int8, off int64) {
		if strings.Contains(uri, "\x00") {
			t.Skip("the reference uses it")
		}
		now := time.UnixMilli(1700000000000 + off%1_000_000)
		signed := uri
		if sign == 2 {
			for _, e := range []string{":3A", "/2F", "?3F", "@40", "!21", "$24", "'27", "(28", ")29", "*2A", ",2C", ";3B"} {
				signed = strings.ReplaceAll(signed, "%"+e[1:], e[:1])
			}
		}
		if sign == 1 || sign == 2 {
			mac := hmac.New(sha256.New, []byte(clientSecret))
			_, _ = io.WriteString(mac, method+signed+body+ts)
			signature = base64.StdEncoding.EncodeToString(mac.Sum(nil))
		}
		r := v3(method, uri, body, signature, ts)
		r.Now = now
		err := source(t, app()).Verifier.Verify(r)
		require.Equal(t, reference(method, uri, body, ts, signature, now), err == nil, "%v", err)
	})
}

func read(a *hubspotapp.App, body string) ([]webhook.Notice, error) {
	src, err := a.WebhookSource()
	if err != nil {
		return nil, err
	}
	receipt, err := src.Read(&webhook.Request{Method: "POST", URL: target, Body: []byte(body)})
	if receipt.Reply != nil {
		return nil, errors.New("replied")
	}
	return receipt.Notices, err
}

func TestReadSplitsARequest(t *testing.T) {
	first := `{"eventId":1,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.propertyChange","attemptNumber":2,"objectId":123,"propertyName":"email","propertyValue":"a]},{\"portalId\":1","appId":54321}`
	second := `{"portalId":77,"subscriptionType":"company.deletion","objectId":9,"eventId":1,"occurredAt":1564113600001}`
	got, err := read(app(), "\n[ "+first+" ,\t"+second+"]\n")
	require.NoError(t, err)
	require.Equal(t, []webhook.Notice{
		{
			DeliveryID: "62515|contact.propertyChange|123|1|1564113600000|email", Type: "contact.propertyChange", Account: "62515",
			OccurredAt: time.UnixMilli(1564113600000).UTC(), Body: []byte(first),
		},
		{
			DeliveryID: "77|company.deletion|9|1|1564113600001|", Type: "company.deletion", Account: "77",
			OccurredAt: time.UnixMilli(1564113600001).UTC(), Body: []byte(second),
		},
	}, got)

	// One event without an array, and a retry of the same.
	single, err := read(app(), strings.Replace(first, `"attemptNumber":2`, `"attemptNumber":3`, 1))
	require.NoError(t, err)
	require.Len(t, single, 1)
	require.Equal(t, got[0].DeliveryID, single[0].DeliveryID)

	none, err := read(app(), "[]")
	require.NoError(t, err)
	require.Empty(t, none)

	many := make([]json.RawMessage, 1001)
	for i := range many {
		many[i] = json.RawMessage(fmt.Sprintf(`{"eventId":%d,"portalId":1,"subscriptionType":"x","objectId":1}`, i))
	}
	got, err = read(app(), string(mustJSON(many[:1000])))
	require.NoError(t, err)
	require.Len(t, got, 1000)
	_, err = read(app(), string(mustJSON(many)))
	require.Error(t, err)
}

func TestWhatIdentifiesAnEvent(t *testing.T) {
	long := strings.Repeat("p", 200)
	ids := map[string]string{}
	for name, c := range map[string]struct{ event, want string }{
		"creation":     {`"subscriptionType":"contact.creation","objectId":1,"eventId":2,"occurredAt":3`, "9|contact.creation|1|2|3|"},
		"another time": {`"subscriptionType":"contact.creation","objectId":1,"eventId":2,"occurredAt":4`, "9|contact.creation|1|2|4|"},
		"type id of a typed event": {
			`"subscriptionType":"deal.creation","objectTypeId":"0-3","objectId":1,"eventId":2,"occurredAt":3`, "9|deal.creation|1|2|3|",
		},
		"object": {
			`"subscriptionType":"object.creation","objectTypeId":"2-7","objectId":1,"eventId":2,"occurredAt":3`, "9|object.creation|1|2|3||objectTypeId=2-7",
		},
		"association": {
			`"subscriptionType":"contact.associationChange","eventId":2,"occurredAt":3,"associationType":"CONTACT_TO_COMPANY","fromObjectId":5,"toObjectId":6,"associationRemoved":false`,
			"9|contact.associationChange||2|3||fromObjectId=5|toObjectId=6|associationType=CONTACT_TO_COMPANY|associationRemoved=false",
		},
		"association removed": {
			`"subscriptionType":"contact.associationChange","eventId":2,"occurredAt":3,"associationType":"CONTACT_TO_COMPANY","fromObjectId":5,"toObjectId":6,"associationRemoved":true`,
			"9|contact.associationChange||2|3||fromObjectId=5|toObjectId=6|associationType=CONTACT_TO_COMPANY|associationRemoved=true",
		},
		"merge": {
			`"subscriptionType":"contact.merge","eventId":2,"occurredAt":3,"primaryObjectId":5,"mergedObjectIds":[6,7],"newObjectId":null`,
			"9|contact.merge||2|3||primaryObjectId=5",
		},
		"conversation": {
			`"subscriptionType":"conversation.newMessage","objectId":1,"eventId":2,"occurredAt":3,"messageId":"m-1","messageType":"MESSAGE"`,
			"9|conversation.newMessage|1|2|3||messageId=m-1",
		},
		"number as a string": {`"subscriptionType":"x","objectId":"1","eventId":"2","occurredAt":"3"`, "9|x|1|2|3|"},
	} {
		got, err := read(app(), `[{"portalId":9,`+c.event+`}]`)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got[0].DeliveryID, name)
		require.Empty(t, ids[c.want], "%s has the id of %s", name, ids[c.want])
		if name != "number as a string" {
			ids[c.want] = name
		}
	}
	// Hashed: too long, or open to another cut, or no plain text.
	var hashed []string
	for _, name := range []string{long, long + "q", "a|b", "é", "a\\u0000b"} {
		got, err := read(app(), `[{"portalId":9,"subscriptionType":"x.propertyChange","objectId":1,"eventId":2,"occurredAt":3,"propertyName":"`+name+`"}]`)
		require.NoError(t, err)
		require.Regexp(t, `^sha256:[0-9a-f]{64}$`, got[0].DeliveryID)
		require.NotContains(t, hashed, got[0].DeliveryID)
		hashed = append(hashed, got[0].DeliveryID)
	}
	// Without an event id and a time only the body tells.
	a, err := read(app(), `[{"portalId":9,"subscriptionType":"x","objectId":1,"n":1},{"portalId":9,"subscriptionType":"x","objectId":1,"n":2}]`)
	require.NoError(t, err)
	require.NotEqual(t, a[0].DeliveryID, a[1].DeliveryID)
	require.True(t, a[0].OccurredAt.IsZero())
	// There is no text for a time after the year 9999.
	a, err = read(app(), `[{"portalId":9,"subscriptionType":"x","occurredAt":253402300800000},{"portalId":9,"subscriptionType":"x","occurredAt":253402300799999}]`)
	require.NoError(t, err)
	require.True(t, a[0].OccurredAt.IsZero())
	require.Equal(t, 9999, a[1].OccurredAt.Year())
}

func TestReadRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"empty":                 ``,
		"null":                  `null`,
		"text":                  `"x"`,
		"form":                  `payload=%5B%5D`,
		"more behind":           batch + "x",
		"half":                  batch[:100],
		"no object":             `[1]`,
		"null in the array":     `[null]`,
		"array in the array":    `[[]]`,
		"no callback":           `{"callbackId":"","origin":{"portalId":1}}`,
		"callback alone":        `{"callbackId":"ap-1"}`,
		"origin is a number":    `{"callbackId":"ap-1","origin":1}`,
		"origin twice":          `{"callbackId":"ap-1","origin":{"portalId":1,"portalId":2}}`,
		"origin has no account": `{"callbackId":"ap-1","origin":{}}`,
	} {
		got, err := read(app(), body)
		require.Error(t, err, name)
		require.Empty(t, got, name)
		require.NotContains(t, err.Error(), "62515", name)
	}
}

// TestAnUnreadableEventStopsNoOthers: after its tries HubSpot would drop them too.
func TestAnUnreadableEventStopsNoOthers(t *testing.T) {
	event := func(members string) string { return `{"eventId":2,` + members + `}` }
	for name, odd := range map[string]string{
		"a number":            `1`,
		"null":                `null`,
		"array":               `[]`,
		"callback alone":      `{"callbackId":"ap-1"}`,
		"no account":          event(`"subscriptionType":"x"`),
		"account 0":           event(`"portalId":0,"subscriptionType":"x"`),
		"account is a string": event(`"portalId":"62515","subscriptionType":"x"`),
		"account is a float":  event(`"portalId":62515.0,"subscriptionType":"x"`),
		"account is negative": event(`"portalId":-1,"subscriptionType":"x"`),
		"account is null":     event(`"portalId":null,"subscriptionType":"x"`),
		"account twice":       event(`"portalId":1,"portalId":2,"subscriptionType":"x"`),
		"account in capitals": event(`"PortalId":2,"subscriptionType":"x"`),
		"account escaped":     event(`"\u0070ortalId":2,"subscriptionType":"x"`),
		"no type":             event(`"portalId":1`),
		"empty type":          event(`"portalId":1,"subscriptionType":""`),
		"type is a number":    event(`"portalId":1,"subscriptionType":7`),
		"id is an object":     event(`"portalId":1,"subscriptionType":"x","objectId":{}`),
		"time is an array":    event(`"portalId":1,"subscriptionType":"x","occurredAt":[1]`),
		"app twice":           event(`"portalId":1,"subscriptionType":"x","appId":1,"appId":2`),
	} {
		const good = `{"eventId":1,"objectId":1,"portalId":1,"subscriptionType":"x"}`
		got, err := read(app(), `[`+good+`,`+odd+`,`+good+`]`)
		require.NoError(t, err, name)
		require.Len(t, got, 3, name)
		require.Equal(t, []string{"1", "", "1"}, []string{got[0].Account, got[1].Account, got[2].Account}, name)
		require.Equal(t, hubspotapp.TypeUnreadable, got[1].Type, name)
		require.Equal(t, odd, string(got[1].Body), name)
		require.NotEmpty(t, got[1].DeliveryID)
		again, err := read(app(), `[`+good+`,`+odd+`]`)
		require.NoError(t, err)
		require.Equal(t, got[1].DeliveryID, again[1].DeliveryID, "a repeat is one")

		got, err = read(app(), `[`+odd+`]`)
		require.Error(t, err, name)
		require.Empty(t, got, name)
		require.NotContains(t, err.Error(), "62515", name)
	}
}

func TestReadIgnoresWhatIsNotWanted(t *testing.T) {
	event := func(id int, members string) string {
		return fmt.Sprintf(`{"eventId":%d,"objectId":1,"portalId":1,"subscriptionType":"x"%s}`, id, members)
	}
	body := "[" + strings.Join([]string{
		event(1, ``), event(2, `,"appId":54321`), event(3, `,"appId":54322`), event(4, `,"appId":"54321"`),
		event(5, `,"appId":54321,"changeSource":"IMPORT"`),
	}, ",") + "]"
	ids := func(a *hubspotapp.App) (out []string) {
		got, err := read(a, body)
		require.NoError(t, err)
		for _, n := range got {
			out = append(out, strings.Split(n.DeliveryID, "|")[3])
		}
		return out
	}
	require.Equal(t, []string{"1", "2", "3", "4", "5"}, ids(app()))
	require.Equal(t, []string{"2", "5"}, ids(app(func(c *hubspotapp.Config) { c.AppID = 54321 })))
	require.Equal(t, []string{"1", "2", "3", "4"}, ids(app(func(c *hubspotapp.Config) { c.SkipImports = true })))
	require.Empty(t, ids(app(func(c *hubspotapp.Config) { c.AppID = 1 })))
}

func TestReadWorkflowAction(t *testing.T) {
	body := `{"callbackId":"ap-62515-1-2-0","origin":{"portalId":62515,"actionDefinitionId":2},"object":{"objectId":4,"portalId":1},"inputFields":{}}`
	got, err := read(app(), body)
	require.NoError(t, err)
	require.Equal(t, []webhook.Notice{{
		DeliveryID: "62515|workflow_action|ap-62515-1-2-0", Type: hubspotapp.TypeWorkflowAction, Account: "62515", Body: []byte(body),
	}}, got)
}

// parsed is an event as a parser reads it that is strict about duplicates and
// built on encoding/json.
type parsed map[string]any

// parse reads an object, and reports false for one in which a wanted key stands
// twice, or in another form.
func parse(raw json.RawMessage, wanted []string) (parsed, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return nil, false
	}
	out := parsed{}
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil, false
		}
		var v any
		if d.Decode(&v) != nil {
			return nil, false
		}
		key := tok.(string)
		for _, w := range wanted {
			if !strings.EqualFold(key, w) {
				continue
			}
			if _, twice := out[w]; twice || key != w {
				return nil, false
			}
			out[w] = v
		}
	}
	return out, true
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// FuzzF9Read holds the ids that are read against those of a strict parser.
func FuzzF9Read(f *testing.F) {
	for _, s := range []string{
		batch, `[]`, `{}`, `[{}]`, `null`, `[{"portalId":1,"subscriptionType":"x","eventId":1}]`, `{"portalId":1,"subscriptionType":"x"}`,
		`[{"portalId":1,"portalId":2,"subscriptionType":"x"}]`, `[{"portalid":1,"subscriptionType":"x"}]`, `[{"portalId":1e3,"subscriptionType":"x"}]`,
		`[{"portalId":1,"subscriptionType":"\ud800","eventId":1}]`, `[{"portalId":1,"subscriptionType":"x","propertyName":"a|b","occurredAt":99999999999999}]`,
		`[{"portalId":1,"subscriptionType":"contact.associationChange","fromObjectId":1,"toObjectId":2,"associationRemoved":true,"occurredAt":1}]`,
		`{"callbackId":"ap-1","origin":{"portalId":1}}`, `[{"callbackId":"ap-1","origin":{"portalId":1}}]`, `{"callbackId":1,"origin":{"portalId":1,"PORTALID":2}}`,
		"[{\"portalId\":1,\"subscriptionType\":\"x\xff\",\"eventId\":1}]",
	} {
		f.Add([]byte(s))
	}
	wanted := []string{"portalId", "subscriptionType", "objectId", "eventId", "occurredAt", "propertyName", "callbackId", "origin"}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := read(app(), string(body))
		if err != nil {
			require.Empty(t, got)
			return
		}
		require.True(t, json.Valid(body), "%q", body)
		var raws []json.RawMessage
		if trimmed := bytes.TrimSpace(body); trimmed[0] == '{' {
			raws = append(raws, trimmed)
		} else {
			require.NoError(t, json.Unmarshal(body, &raws))
		}
		require.Len(t, got, len(raws))
		for i, n := range got {
			want, ok := parse(raws[i], wanted)
			require.Equal(t, string(raws[i]), string(bytes.TrimSpace(n.Body)))
			require.NotEmpty(t, n.DeliveryID)
			require.LessOrEqual(t, len(n.DeliveryID), 191)
			if n.Type == hubspotapp.TypeUnreadable && n.Account == "" {
				continue
			}
			require.True(t, ok, "%q", body)
			if n.Type == hubspotapp.TypeWorkflowAction && want["subscriptionType"] == nil {
				origin, ok := want["origin"].(map[string]any)
				require.True(t, ok)
				require.Equal(t, text(origin["portalId"]), n.Account)
				continue
			}
			require.Equal(t, text(want["portalId"]), n.Account)
			require.IsType(t, json.Number(""), want["portalId"])
			require.Equal(t, text(want["subscriptionType"]), n.Type)
			id := strings.Join([]string{
				n.Account, n.Type, text(want["objectId"]), text(want["eventId"]), text(want["occurredAt"]), text(want["propertyName"]),
			}, "|")
			if strings.HasPrefix(n.DeliveryID, "sha256:") { // only what would not do as it is
				plain := func(r rune) bool { return r < ' ' || r > '~' }
				extras := bytes.ContainsAny(raws[i], "|") || strings.ContainsFunc(string(raws[i]), plain) || bytes.Contains(raws[i], []byte(`\`))
				require.True(t, len(id) > 80 || extras || len(raws[i]) > 191, "%q was hashed", id)
				continue
			}
			require.True(t, n.DeliveryID == id || strings.HasPrefix(n.DeliveryID, id+"|"), "%q is not %q", n.DeliveryID, id)
		}
	})
}
