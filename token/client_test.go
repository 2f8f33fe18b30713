package token_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answering(status int, header http.Header, body string) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		if header == nil {
			header = http.Header{}
		}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

const tokenURL = "https://auth.example.test/token"

// TestOutcomes: what each provider answers, and what it means. Provider rules of
// adapters are tested with the adapters.
func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		body    string
		outcome token.Outcome
		code    string
	}{
		"RFC 6749 invalid_grant":        {400, `{"error":"invalid_grant","error_description":"expired refresh-secret"}`, token.DeadGrant, "invalid_grant"},
		"Atlassian 403 invalid_grant":   {403, `{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`, token.DeadGrant, "invalid_grant"},
		"GitHub 200 bad_refresh_token":  {200, `{"error":"bad_refresh_token","error_uri":"https://x"}`, token.DeadGrant, "bad_refresh_token"},
		"GitHub form bad_refresh_token": {200, `error=bad_refresh_token&error_description=x`, token.DeadGrant, "bad_refresh_token"},
		"GitHub client credentials":     {200, `{"error":"incorrect_client_credentials"}`, token.AppFault, "incorrect_client_credentials"},
		"HubSpot BAD_REFRESH_TOKEN":     {400, `{"status":"BAD_REFRESH_TOKEN","message":"missing or unknown refresh token"}`, token.DeadGrant, "bad_refresh_token"},
		"Google invalid_grant":          {400, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, token.DeadGrant, "invalid_grant"},
		"Salesforce invalid_grant":      {400, `{"error":"invalid_grant","error_description":"expired access/refresh token"}`, token.DeadGrant, "invalid_grant"},
		"invalid_client":                {401, `{"error":"invalid_client"}`, token.AppFault, "invalid_client"},
		"unauthorized_client":           {400, `{"error":"unauthorized_client"}`, token.AppFault, "unauthorized_client"},
		"bare 401":                      {401, ``, token.AppFault, "refused"},
		"invalid_grant with a 500":      {500, `{"error":"invalid_grant"}`, token.Transient, "invalid_grant"},
		"500 HTML":                      {502, `<html>bad gateway</html>`, token.Transient, "server_error"},
		"429":                           {429, ``, token.Transient, "too_many_requests"},
		"408":                           {408, ``, token.Transient, "refused"},
		"425":                           {425, ``, token.Transient, "refused"},
		"another 400":                   {400, `{"error":"invalid_request"}`, token.Refused, "invalid_request"},
		"404 HTML":                      {404, `<html>`, token.Refused, "refused"},
		"redirect":                      {307, ``, token.Transient, "redirected"},
		"200 without a token":           {200, `{}`, token.Ambiguous, "bad_answer"},
		"200 cut off":                   {200, `{"access_to`, token.Ambiguous, "bad_answer"},
		"200 HTML":                      {200, `<html>hello</html>`, token.Ambiguous, "bad_answer"},
		"200 empty":                     {200, ``, token.Ambiguous, "bad_answer"},
		"a code that is an echo":        {400, `{"error":"refresh-secret was 123"}`, token.Refused, "refused"},
		"temporarily_unavailable":       {400, `{"error":"temporarily_unavailable"}`, token.Transient, "temporarily_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			c2 := token.NewClient(token.ClientConfig{Transport: answering(c.status, http.Header{"Retry-After": {"7"}, "Location": {"https://evil.example"}}, c.body)})
			_, err := c2.Do(t.Context(), token.Request{URL: tokenURL, Form: url.Values{"refresh_token": {"refresh-secret"}}})
			var e *token.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.outcome, e.Outcome)
			require.Equal(t, c.code, e.Code)
			require.Equal(t, c.status, e.Status)
			require.Equal(t, "auth.example.test", e.Host)
			require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "refresh-secret")
		})
	}
}

func TestGrants(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		expires time.Duration
		scopes  []string
	}{
		"number":      {`{"access_token":"a","expires_in":3600,"scope":"x y"}`, time.Hour, []string{"x", "y"}},
		"string":      {`{"access_token":"a","expires_in":"3600","scope":"x,y"}`, time.Hour, []string{"x", "y"}},
		"float":       {`{"access_token":"a","expires_in":3600.5,"scopes":["x","y"]}`, time.Hour + 500*time.Millisecond, []string{"x", "y"}},
		"absent":      {`{"access_token":"a"}`, 0, nil},
		"senseless":   {`{"access_token":"a","expires_in":{"a":1},"scope":7}`, 0, nil},
		"negative":    {`{"access_token":"a","expires_in":-5}`, 0, nil},
		"huge":        {`{"access_token":"a","expires_in":1e300}`, 10 * 365 * 24 * time.Hour, nil},
		"form":        {`access_token=a&expires_in=3600&scope=x%2Cy`, time.Hour, []string{"x", "y"}},
		"white space": {"\n {\"access_token\":\"a\"} \n", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := token.DecodeOAuth(token.Answer{Status: 200, Body: []byte(c.body)})
			require.NoError(t, err)
			require.Equal(t, "a", g.AccessToken.Reveal())
			require.Equal(t, c.expires, g.ExpiresIn)
			require.Equal(t, c.scopes, g.Scopes)
		})
	}
}

func TestOneRequestWithOneWayOfAuthentication(t *testing.T) {
	for style, check := range map[oauth2.AuthStyle]func(r *http.Request, form url.Values){
		oauth2.AuthStyleAutoDetect: func(r *http.Request, f url.Values) {
			require.Equal(t, []string{"id", "s/1", ""}, []string{f.Get("client_id"), f.Get("client_secret"), r.Header.Get("Authorization")})
		},
		oauth2.AuthStyleInHeader: func(r *http.Request, f url.Values) {
			id, secret, ok := r.BasicAuth()
			require.Equal(t, []any{"id", "s%2F1", true, false}, []any{id, secret, ok, f.Has("client_id")})
		},
	} {
		calls := 0
		c := token.NewClient(token.ClientConfig{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			calls++
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			form, err := url.ParseQuery(string(body))
			require.NoError(t, err)
			check(r, form)
			require.Equal(t, "code", form.Get("grant_type"))
			return answering(503, nil, "")(r)
		})})
		form := url.Values{"grant_type": {"code"}}
		_, err := c.Do(t.Context(), token.Request{URL: tokenURL, Form: form, ClientID: "id", ClientSecret: token.NewSecret("s/1"), AuthStyle: style})
		require.Error(t, err)
		require.Equal(t, 1, calls)
		require.Len(t, form, 1, "the caller's form is not changed")
	}
}

func TestOnlyPlainHTTPS(t *testing.T) {
	c := token.NewClient(token.ClientConfig{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, errors.New("sent")
	})})
	for _, u := range []string{"http://auth.example.test/", "https://u:p@auth.example.test/", "auth.example.test", "", "ftp://x", "https://"} {
		_, err := c.Do(t.Context(), token.Request{URL: u})
		var e *token.Error
		require.ErrorAs(t, err, &e, u)
		require.Equal(t, "bad_url", e.Code)
	}
}

// TestN4AwkwardAnswers: broken, slow and endless answers, and whether the grant
// may have been spent.
func TestN4AwkwardAnswers(t *testing.T) {
	kit := integrationstest.New(t)
	for name, c := range map[string]struct {
		fault   integrationstest.Fault
		outcome token.Outcome
	}{
		"dropped before it was sent": {integrationstest.DropBeforeWrite(), token.Transient},
		"dropped after the work":     {integrationstest.DropAfterWork(), token.Ambiguous},
		"half an answer":             {integrationstest.HalfBody(), token.Ambiguous},
		"garbage":                    {integrationstest.Garbage(), token.Ambiguous},
		"slow":                       {integrationstest.Latency(time.Second), token.Ambiguous},
		"huge":                       {integrationstest.Answer(200, strings.Repeat(" ", 2<<20)+`{"access_token":"a"}`), token.Ambiguous},
	} {
		kit.Network.Fail("auth.example.test", "/token", c.fault)
		client := token.NewClient(token.ClientConfig{Transport: kit.Network, Timeout: 20 * time.Millisecond})
		_, err := client.Do(t.Context(), token.Request{URL: tokenURL, Form: url.Values{"grant_type": {"refresh_token"}}})
		var e *token.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, c.outcome, e.Outcome, name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := token.NewClient(token.ClientConfig{Transport: kit.Network}).Do(ctx, token.Request{URL: tokenURL})
	require.Error(t, err)
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "0": 0, "-1": 0, "1e99": 24 * time.Hour, "99999999999999999999": 24 * time.Hour, "x": 0, "NaN": 0,
		"Thu, 01 Jan 2026 00:01:00 GMT": time.Minute, "Thu, 01 Jan 2020 00:00:00 GMT": 0, "Fri, 01 Jan 2100 00:00:00 GMT": 24 * time.Hour,
	} {
		require.Equal(t, want, token.ParseRetryAfter(http.Header{"Retry-After": {v}}, now), "%q", v)
	}
}

// FuzzF6TokenAnswer: a 2xx with an access token is never an error, and expiry is
// always within bounds.
func FuzzF6TokenAnswer(f *testing.F) {
	for _, s := range []string{`{"access_token":"a","expires_in":1}`, `access_token=a&expires_in=1`, `{"error":"invalid_grant"}`, `{`, ``, `{"access_token":"a","expires_in":"1e999"}`, `{"access_token":"a","scope":["x"]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := token.DecodeOAuth(token.Answer{Status: 200, Body: body})
		code := token.ErrorCode(body)
		require.LessOrEqual(t, len(code), 64)
		require.Empty(t, strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_"))
		if err != nil {
			return
		}
		require.False(t, g.AccessToken.IsZero())
		for _, d := range []time.Duration{g.ExpiresIn, g.RefreshExpiresIn} {
			require.GreaterOrEqual(t, d, time.Duration(0))
			require.LessOrEqual(t, d, 10*365*24*time.Hour)
		}
	})
}

func ExampleNewClient() {
	c := token.NewClient(token.ClientConfig{Transport: answering(200, nil, `{"access_token":"a","expires_in":3600}`)})
	g, err := c.Do(context.Background(), token.Request{
		URL:  "https://auth.example.com/token",
		Form: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"r"}},
	})
	fmt.Println(g.AccessToken, g.ExpiresIn, err)
	// Output: [redacted] 1h0m0s <nil>
}
