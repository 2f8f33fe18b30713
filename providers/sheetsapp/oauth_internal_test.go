package sheetsapp

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const testClient = "1-a.apps.googleusercontent.com"

var testNow = time.Unix(1_800_000_000, 0)

func part(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func signed(payload string) string {
	return part(`{"alg":"RS256"}`) + "." + part(payload) + "." + part("signature")
}

const goodClaims = `"iss":"https://accounts.google.com","aud":"` + testClient + `","sub":"107","exp":1800000001`

func TestParseIDToken(t *testing.T) {
	who, err := parseIDToken(signed(`{`+goodClaims+`,"email":"a@example.com","email_verified":true,"hd":"example.com","name":"A \"B\"","iat":1}`), testClient, testNow)
	require.NoError(t, err)
	require.Equal(t, identity{Sub: "107", Email: "a@example.com", HD: "example.com", Name: `A "B"`}, who)

	// The older issuer, and claims for people that cannot be shown.
	who, err = parseIDToken(signed(`{"iss":"accounts.google.com","aud":"`+testClient+`","sub":"107","exp":1800000001,"email":null,"hd":7,"name":"a\u0000b"}`), testClient, testNow)
	require.NoError(t, err)
	require.Equal(t, identity{Sub: "107"}, who)

	for name, text := range map[string]string{
		"empty":               "",
		"two parts":           part("{}") + "." + part(`{`+goodClaims+`}`),
		"four parts":          signed(`{`+goodClaims+`}`) + ".a",
		"no signature":        strings.TrimSuffix(signed(`{`+goodClaims+`}`), part("signature")),
		"not an object":       signed(`[` + goodClaims + `]`),
		"cut off":             signed(`{` + goodClaims),
		"more after it":       signed(`{` + goodClaims + `}{}`),
		"padded":              part(`{"alg":"RS256"}`) + "." + base64.URLEncoding.EncodeToString([]byte(`{`+goodClaims+`} `)) + "." + part("s") + "=",
		"another alphabet":    part("{}") + "." + strings.Repeat("+", 8) + "." + part("s"),
		"line break":          part("{}") + ".\n" + part(`{`+goodClaims+`}`) + "." + part("s"),
		"bad header":          "!." + part(`{`+goodClaims+`}`) + "." + part("s"),
		"sub twice":           signed(`{` + goodClaims + `,"sub":"108"}`),
		"sub in another case": signed(`{` + goodClaims + `,"SUB":"108"}`),
		"aud twice":           signed(`{` + goodClaims + `,"aud":"other"}`),
		"no iss":              signed(`{"aud":"` + testClient + `","sub":"107","exp":1800000001}`),
		"iss with a slash":    signed(strings.Replace(`{`+goodClaims+`}`, "google.com", "google.com/", 1)),
		"aud as a list":       signed(strings.Replace(`{`+goodClaims+`}`, `"`+testClient+`"`, `["`+testClient+`"]`, 1)),
		"another aud":         signed(strings.Replace(`{`+goodClaims+`}`, testClient, testClient+".x", 1)),
		"exp now":             signed(strings.Replace(`{`+goodClaims+`}`, "1800000001", "1800000000", 1)),
		"exp in quotes":       signed(strings.Replace(`{`+goodClaims+`}`, "1800000001", `"1800000001"`, 1)),
		"exp broken":          signed(strings.Replace(`{`+goodClaims+`}`, "1800000001", "1.8e9", 1)),
		"sub as a number":     signed(strings.Replace(`{`+goodClaims+`}`, `"107"`, "107", 1)),
		"sub empty":           signed(strings.Replace(`{`+goodClaims+`}`, `"107"`, `""`, 1)),
		"sub with a space":    signed(strings.Replace(`{`+goodClaims+`}`, `"107"`, `"1 7"`, 1)),
		"sub in letters":      signed(strings.Replace(`{`+goodClaims+`}`, `"107"`, `"1é7"`, 1)),
		"sub too long":        signed(strings.Replace(`{`+goodClaims+`}`, `"107"`, `"`+strings.Repeat("1", 192)+`"`, 1)),
		"too large":           signed(`{` + goodClaims + `,"x":"` + strings.Repeat("x", maxIDToken) + `"}`),
	} {
		_, err := parseIDToken(text, testClient, testNow)
		require.ErrorIs(t, err, errIDToken, name)
	}
	_, err = parseIDToken(signed(strings.Replace(`{`+goodClaims+`}`, testClient, "", 1)), "", testNow)
	require.ErrorIs(t, err, errIDToken, "an app without a client id")
}

// FuzzIDToken: what is accepted names this client, has not ended, and its subject is
// that of a parser that refuses duplicates.
func FuzzIDToken(f *testing.F) {
	for _, payload := range []string{
		`{` + goodClaims + `}`, `{` + goodClaims + `,"email":"a@b","hd":"b","name":"A"}`, `{` + goodClaims + `,"sub":"2"}`,
		`{` + goodClaims + `,"s\u0075b":"2"}`, `{"iss":"accounts.google.com"}`, `[]`, `{}`, ``,
	} {
		f.Add("e30", payload, "c2ln")
	}
	f.Add("!", "{}", "")
	f.Fuzz(func(t *testing.T, header, payload, signature string) {
		who, err := parseIDToken(header+"."+part(payload)+"."+signature, testClient, testNow)
		if err != nil {
			require.ErrorIs(t, err, errIDToken)
			require.Zero(t, who)
			return
		}
		claims, ok := strictClaims(payload)
		require.True(t, ok, payload)
		require.Equal(t, who.Sub, claims["sub"])
		require.Equal(t, testClient, claims["aud"])
		require.Contains(t, []any{"https://accounts.google.com", "accounts.google.com"}, claims["iss"])
		exp, err := strconv.ParseInt(claims["exp"].(json.Number).String(), 10, 64)
		require.NoError(t, err)
		require.Greater(t, exp, testNow.Unix())
		require.LessOrEqual(t, len(who.Sub), 191)
	})
}

// strictClaims reads an object and refuses one of the claims that decide twice, by
// tokens of encoding/json.
func strictClaims(payload string) (map[string]any, bool) {
	d := json.NewDecoder(strings.NewReader(payload))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	out := map[string]any{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false
		}
		var v any
		if d.Decode(&v) != nil {
			return nil, false
		}
		if _, twice := out[key.(string)]; twice {
			switch key {
			case "iss", "aud", "sub", "exp":
				return nil, false
			}
		}
		out[key.(string)] = v
	}
	_, err := d.Token()
	return out, err == nil
}
