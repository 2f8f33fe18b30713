package salesforceapp_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// sites are what may be given as a site, and the host it is, "" for none.
var sites = map[string]string{
	"":                                    "login.salesforce.com",
	"production":                          "login.salesforce.com",
	"sandbox":                             "test.salesforce.com",
	"login.salesforce.com":                "login.salesforce.com",
	"test.salesforce.com":                 "test.salesforce.com",
	"acme.my.salesforce.com":              "acme.my.salesforce.com",
	"Acme.My.Salesforce.com":              "acme.my.salesforce.com",
	"acme--uat.sandbox.my.salesforce.com": "acme--uat.sandbox.my.salesforce.com",

	"Production":                          "",
	"salesforce.com":                      "",
	"my.salesforce.com":                   "",
	".my.salesforce.com":                  "",
	"evil.example":                        "",
	"evilmy.salesforce.com":               "",
	"acme.my.salesforce.com.evil.example": "",
	"acme.my.salesforce.com.":             "",
	"acme.my.salesforce.com:443":          "",
	"user@acme.my.salesforce.com":         "",
	"evil.example@acme.my.salesforce.com": "",
	"acme.my.salesforce.com@evil.example": "",
	"evil.example/.my.salesforce.com":     "",
	"evil.example?.my.salesforce.com":     "",
	"evil.example#.my.salesforce.com":     "",
	"evil.example\\.my.salesforce.com":    "",
	"acme..my.salesforce.com":             "",
	"-acme.my.salesforce.com":             "",
	"acmé.my.salesforce.com":              "",
	"acme.my.ſalesforce.com":              "",
	"acme.my.sale\u212aforce.com":         "",
	"acme。my.salesforce.com":              "",
	"acme.my.salesforce.com\n":            "",
	" acme.my.salesforce.com":             "",
	"acme%2emy.salesforce.com":            "",
	"https://acme.my.salesforce.com":      "",
	"acme.my.salesforce.com/":             "",
	"eu5.salesforce.com":                  "",
	"login.salesforce.com.evil.example":   "",
	"acme.lightning.force.com":            "",
	"https://acme.lightning.force.com/":   "",
	"acme.my.site.com":                    "",
	"acme.my.salesforce-sites.com":        "",
	"127.0.0.1":                           "",
	"[::1]":                               "",
}

func TestSites(t *testing.T) {
	for site, host := range sites {
		raw, err := app().AuthorizeURL(providers.Authorize{State: "s", Site: site})
		if host == "" {
			require.ErrorIs(t, err, providers.ErrInvalid, site)
			require.NotContains(t, err.Error(), "evil", site)
			rec := answers()
			_, err = app().Exchange(t.Context(), exchange(rec, site))
			require.ErrorIs(t, err, providers.ErrInvalid, site)
			require.Empty(t, rec.sent, site)
			continue
		}
		require.NoError(t, err, site)
		require.True(t, strings.HasPrefix(raw, "https://"+host+"/services/oauth2/authorize?"), raw)
	}
	_, err := app().AuthorizeURL(providers.Authorize{Site: "acme.lightning.force.com"})
	require.ErrorContains(t, err, "NAME.my.salesforce.com")
	// "" is the configured site, and a named one another.
	sandbox := app(func(c *salesforceapp.Config) { c.Site = "sandbox" })
	for site, host := range map[string]string{"": "test.salesforce.com", "production": "login.salesforce.com"} {
		raw, err := sandbox.AuthorizeURL(providers.Authorize{Site: site})
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(raw, "https://"+host+"/"), raw)
	}
}

// FuzzF7Site: whatever is accepted as a site or as an instance_url is a plain host
// below Salesforce's domain, for every reader of the URL that is made of it.
func FuzzF7Site(f *testing.F) {
	for site := range sites {
		f.Add(site)
	}
	f.Fuzz(func(t *testing.T, site string) {
		plain := func(raw, host string, suffixes ...string) {
			t.Helper()
			u, err := url.Parse(raw)
			require.NoError(t, err)
			require.Equal(t, "https", u.Scheme)
			require.Nil(t, u.User)
			require.Empty(t, u.Port())
			require.Equal(t, host, u.Host)
			require.Equal(t, "", strings.Trim(u.Host, "abcdefghijklmnopqrstuvwxyz0123456789-."))
			for _, s := range suffixes {
				if rest, ok := strings.CutSuffix(u.Host, s); ok && (rest == "" || s[0] == '.' && !strings.HasSuffix(rest, ".") && !strings.HasPrefix(rest, ".")) {
					return
				}
			}
			t.Fatalf("%q became the host %q", site, u.Host)
		}
		if raw, err := app().AuthorizeURL(providers.Authorize{Site: site}); err == nil {
			u, err := url.Parse(raw)
			require.NoError(t, err)
			plain(raw, u.Host, "login.salesforce.com", "test.salesforce.com", ".my.salesforce.com")
		} else {
			require.ErrorIs(t, err, providers.ErrInvalid)
		}
		for _, instance := range []string{site, "https://" + site} {
			data, err := json.Marshal(map[string]string{"instance_url": instance, "auth_host": site})
			require.NoError(t, err)
			o, err := salesforceapp.ReadOrg(providers.Snapshot{ProviderData: data})
			if err != nil || o.InstanceURL == "" {
				continue
			}
			rec := answers(answer{status: 200, body: `{}`})
			_, err = salesforceapp.Do(t.Context(), connect(t, rec, withData(string(data))), salesforceapp.Request{Path: "limits"})
			require.NoError(t, err)
			u, err := url.Parse(rec.sent[0].url)
			require.NoError(t, err)
			plain(rec.sent[0].url, u.Host, ".salesforce.com")
		}
	})
}

func TestAuthorizeURL(t *testing.T) {
	a := app(func(c *salesforceapp.Config) { c.Prompt = "login" })
	raw, err := a.AuthorizeURL(providers.Authorize{
		State: "the state", RedirectURL: "https://app.example.com/cb?x=1", Challenge: "the-challenge", Scopes: []string{"api", "refresh_token"},
	})
	require.NoError(t, err)
	u, err := url.Parse(raw)
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"response_type": {"code"}, "client_id": {"3MVG9"}, "redirect_uri": {"https://app.example.com/cb?x=1"}, "state": {"the state"},
		"scope": {"api refresh_token"}, "code_challenge": {"the-challenge"}, "code_challenge_method": {"S256"}, "prompt": {"login"},
	}, u.Query())
	raw, err = app().AuthorizeURL(providers.Authorize{})
	require.NoError(t, err)
	require.NotContains(t, raw, "prompt")
}

func tokens(t http.RoundTripper) *token.Client {
	return token.NewClient(token.ClientConfig{Transport: t})
}

func exchange(t http.RoundTripper, site string) providers.Exchange {
	return providers.Exchange{
		Code: "the-code", Query: url.Values{"code": {"the-code"}}, RedirectURL: "https://app.example.com/cb", Verifier: "the-verifier",
		Site: site, Client: tokens(t),
	}
}

// The published vector of a signature, with short ids.
const (
	vectorSecret    = "1955279925675241571"
	vectorID        = "https://login.salesforce.com/id/00Dx0000000BV7z/005x00000012Q9P"
	vectorIssuedAt  = "1278448101416"
	vectorSignature = "3r4Hd3gBa1PtXL4KEj/6GricfJ6fT0qeWbmyuOwxDrM="
)

func vectorApp(change ...func(*salesforceapp.Config)) *salesforceapp.App {
	return app(append([]func(*salesforceapp.Config){func(c *salesforceapp.Config) { c.ClientSecret = vectorSecret }}, change...)...)
}

// vectorAnswer is a token answer of the vector, changed.
func vectorAnswer(change map[string]any) answer {
	m := map[string]any{
		"access_token": "the-access-token", "refresh_token": "the-refresh-token", "signature": vectorSignature, "scope": "offline_access api",
		"instance_url": "https://acme.my.salesforce.com", "id": vectorID, "token_type": "Bearer", "issued_at": vectorIssuedAt, "token_format": "opaque",
	}
	for k, v := range change {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return answer{status: 200, body: string(b)}
}

func TestExchange(t *testing.T) {
	rec := answers(vectorAnswer(nil))
	account, err := vectorApp(func(c *salesforceapp.Config) { c.APIVersion = "v65.0" }).Exchange(t.Context(), exchange(rec, "Acme.my.salesforce.com"))
	require.NoError(t, err)
	require.Len(t, rec.sent, 1)
	require.Equal(t, "POST", rec.sent[0].method)
	require.Equal(t, "https://acme.my.salesforce.com/services/oauth2/token", rec.sent[0].url)
	require.Empty(t, rec.sent[0].header.Get("Authorization"))
	form, err := url.ParseQuery(rec.sent[0].body)
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"grant_type": {"authorization_code"}, "code": {"the-code"}, "redirect_uri": {"https://app.example.com/cb"}, "code_verifier": {"the-verifier"},
		"client_id": {"3MVG9"}, "client_secret": {vectorSecret},
	}, form)

	require.Equal(t, "00Dx0000000BV7zEAG", account.ExternalID)
	require.True(t, account.Exclusive)
	require.Equal(t, "the-access-token", account.Grant.AccessToken.Reveal())
	require.Equal(t, "the-refresh-token", account.Grant.RefreshToken.Reveal())
	require.Zero(t, account.Grant.ExpiresIn)
	require.Equal(t, idleLimit, account.Grant.RefreshExpiresIn)
	require.Equal(t, []string{"refresh_token", "api"}, account.Grant.Scopes)
	require.JSONEq(t, `{"org_id":"00Dx0000000BV7zEAG","user_id":"005x00000012Q9PAAU","instance_url":"https://acme.my.salesforce.com",
		"auth_host":"acme.my.salesforce.com","api_version":"v65.0"}`, string(account.ProviderData))

	shared := vectorApp(func(c *salesforceapp.Config) { c.Shared, c.IdleLimit = true, -1 })
	account, err = shared.Exchange(t.Context(), exchange(answers(vectorAnswer(nil)), ""))
	require.NoError(t, err)
	require.False(t, account.Exclusive)
	require.Zero(t, account.Grant.RefreshExpiresIn)
	require.Equal(t, "login.salesforce.com", vectorApp().SiteOf(providers.Snapshot{ProviderData: account.ProviderData}))
}

// TestExchangeRefuses: what Salesforce did not sign, or is not of an org, connects
// nothing.
func TestExchangeRefuses(t *testing.T) {
	for name, change := range map[string]map[string]any{
		"no signature":           {"signature": nil},
		"an empty signature":     {"signature": ""},
		"another signature":      {"signature": "4r4Hd3gBa1PtXL4KEj/6GricfJ6fT0qeWbmyuOwxDrM="},
		"a cut signature":        {"signature": "3r4Hd3gBa1PtXL4KEj/6GricfJ6fT0qeWbmyuOwxDg=="},
		"a signature in hex":     {"signature": "deb7877778016b53ed5cbe0a123ffa1ab89c7c9e9f4f4a9e59b9b2b8ec310eb3"},
		"a signature as URL":     {"signature": "3r4Hd3gBa1PtXL4KEj_6GricfJ6fT0qeWbmyuOwxDrM="},
		"another time":           {"issued_at": "1278448101417"},
		"no time":                {"issued_at": nil},
		"another org":            {"id": "https://login.salesforce.com/id/00Dx0000000BV7y/005x00000012Q9P"},
		"another user":           {"id": "https://login.salesforce.com/id/00Dx0000000BV7z/005x00000012Q9Q"},
		"no id":                  {"id": nil},
		"a piece moved":          {"id": vectorID + "1", "issued_at": "278448101416"},
		"the time within the id": {"id": vectorID + vectorIssuedAt, "issued_at": ""},
	} {
		_, err := vectorApp().Exchange(t.Context(), exchange(answers(vectorAnswer(change)), ""))
		var refusal *providers.Refusal
		require.ErrorAs(t, err, &refusal, name)
		require.Equal(t, providers.RefusedOwnership, refusal.Code, name)
	}
	_, err := app().Exchange(t.Context(), exchange(answers(vectorAnswer(nil)), ""))
	require.Error(t, err, "another app's secret")

	// Rightly signed, and still not what an identity looks like.
	for _, id := range []string{
		"", "http://login.salesforce.com/id/00Dx0000000BV7z/005x00000012Q9P", "https://evil.example/id/00Dx0000000BV7z/005x00000012Q9P",
		"https://eu5.salesforce.com/id/00Dx0000000BV7z/005x00000012Q9P", "https://login.salesforce.com:443/id/00Dx0000000BV7z/005x00000012Q9P",
		"https://login.salesforce.com/id/001x0000000BV7z/005x00000012Q9P", "https://login.salesforce.com/id/00Dx0000000BV7z/003x00000012Q9P",
		"https://login.salesforce.com/id/00Dx0000000BV7z", "https://login.salesforce.com/id/00Dx0000000BV7z/005x00000012Q9P/",
		"https://login.salesforce.com/id/00Dx0000000BV7z/005x00000012Q9P?x", "https://login.salesforce.com/x/00Dx0000000BV7z/005x00000012Q9P",
		"https://login.salesforce.com/id/00Dx0000000BV7zEAA/005x00000012Q9P", "https://login.salesforce.com/id/00Dx0000000BV7zEAG/005x00000012Q9PAAA",
		"https://login.salesforce.com/id/00Dx0000000BV7zE/005x00000012Q9P", "https://login.salesforce.com//id/00Dx0000000BV7z/005x00000012Q9P",
	} {
		change := map[string]any{"id": id, "signature": sign(vectorSecret, id+vectorIssuedAt)}
		_, err := vectorApp().Exchange(t.Context(), exchange(answers(vectorAnswer(change)), ""))
		var refusal *providers.Refusal
		require.ErrorAs(t, err, &refusal, id)
		require.Equal(t, providers.RefusedOwnership, refusal.Code, id)
	}
	long := "https://acme.my.salesforce.com/id/00Dx0000000BV7zEAG/005x00000012Q9PAAU"
	account, err := vectorApp().Exchange(t.Context(), exchange(answers(vectorAnswer(map[string]any{"id": long, "signature": sign(vectorSecret, long+vectorIssuedAt)})), ""))
	require.NoError(t, err)
	require.Equal(t, "00Dx0000000BV7zEAG", account.ExternalID)

	for _, instance := range badInstances {
		_, err := vectorApp().Exchange(t.Context(), exchange(answers(vectorAnswer(map[string]any{"instance_url": instance})), ""))
		require.ErrorContains(t, err, "instance_url", instance)
		require.NotContains(t, err.Error(), "evil")
	}
	for _, body := range []string{``, `[]`, `<html></html>`, `access_token=form&token_type=Bearer`, `{"token_type":"Bearer"}`} {
		_, err := vectorApp().Exchange(t.Context(), exchange(answers(answer{status: 200, body: body}), ""))
		var e *token.Error
		require.ErrorAs(t, err, &e, body)
		require.Equal(t, token.Ambiguous, e.Outcome, body)
	}
}

var badInstances = []string{
	"", "acme.my.salesforce.com", "http://acme.my.salesforce.com", "https://evil.example", "https://acme.my.salesforce.com.evil.example",
	"https://evilsalesforce.com", "https://salesforce.com", "https://acme.my.salesforce.com:8443", "https://evil@acme.my.salesforce.com",
	"https://evil.example/.salesforce.com", "https://acme.my.salesforce.com/evil", "https://acme.my.salesforce.com/", "https://acme.my.salesforce.com?x",
	"https://evil.example#.salesforce.com", "https://acme.my.salesforce.com.", "HTTPS://acme.my.salesforce.com", "https:acme.my.salesforce.com",
}

func TestLongID(t *testing.T) {
	for short, long := range map[string]string{
		"00D5e000000KQ2e": "00D5e000000KQ2eEAG", "0015e00000ZkM3h": "0015e00000ZkM3hAAF", "04l5e00000Gx7Qz": "04l5e00000Gx7QzAAJ",
		"003ak00000IiFIn": "003ak00000IiFInAAN", "00Dx0000000BV7z": "00Dx0000000BV7zEAG", "005x00000012Q9P": "005x00000012Q9PAAU",
		"ABCDEabcde00000": "ABCDEabcde000005AA",
	} {
		got, err := salesforceapp.LongID(short)
		require.NoError(t, err)
		require.Equal(t, long, got)
		got, err = salesforceapp.LongID(long)
		require.NoError(t, err)
		require.Equal(t, long, got)
		for i := 15; i < 18; i++ {
			changed := []byte(long)
			if changed[i]++; changed[i] == 'Z'+1 || changed[i] == '6' {
				changed[i] = 'A'
			}
			_, err = salesforceapp.LongID(string(changed))
			require.ErrorIs(t, err, providers.ErrInvalid, string(changed))
		}
		_, err = salesforceapp.LongID(short + strings.ToLower(long[15:]))
		if long[15:] != strings.ToLower(long[15:]) {
			require.ErrorIs(t, err, providers.ErrInvalid)
		}
	}
	// A letter in the other case is another record: the checksum tells.
	_, err := salesforceapp.LongID("00d5e000000KQ2eEAG")
	require.ErrorIs(t, err, providers.ErrInvalid)
	for _, bad := range []string{"", "00D5e000000KQ2", "00D5e000000KQ2eE", "00D5e000000KQ2eEAGA", "00D5e000000KQ2_", "00D5e000000KQ2/", "00D5e00000é2e", "00D5e000000KQ2\x00"} {
		_, err := salesforceapp.LongID(bad)
		require.ErrorIs(t, err, providers.ErrInvalid, bad)
	}
}

func renewal(rec *recorder, data string) token.Renewal {
	return token.Renewal{
		Client: tokens(rec), TenantID: "tenant-1", ExternalID: "00D5e000000KQ2eEAG", AccessToken: token.NewSecret("the-access-token"),
		RefreshToken: token.NewSecret("the-refresh-token"), ProviderData: []byte(data),
	}
}

func TestRenew(t *testing.T) {
	data := strings.Replace(orgData, "login.salesforce.com", "Acme.my.salesforce.com", 1)
	rec := answers(answer{status: 200, body: `{"access_token":"next","refresh_token":"rotated","instance_url":"https://acme.my.salesforce.com","scope":"api refresh_token","token_type":"Bearer","issued_at":"1"}`})
	g, err := app().Renew(t.Context(), renewal(rec, data))
	require.NoError(t, err)
	require.Equal(t, "https://acme.my.salesforce.com/services/oauth2/token", rec.sent[0].url)
	form, err := url.ParseQuery(rec.sent[0].body)
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {"the-refresh-token"}, "client_id": {"3MVG9"}, "client_secret": {clientSecret},
	}, form)
	require.Equal(t, "next", g.AccessToken.Reveal())
	require.Equal(t, "rotated", g.RefreshToken.Reveal())
	require.Zero(t, g.ExpiresIn)
	require.Equal(t, idleLimit, g.RefreshExpiresIn)
	require.Nil(t, g.ProviderData, "nothing changed")

	// Without rotation the token is kept, and its time begins again.
	g, err = app().Renew(t.Context(), renewal(answers(answer{status: 200, body: `{"access_token":"next"}`}), orgData))
	require.NoError(t, err)
	require.Equal(t, "the-refresh-token", g.RefreshToken.Reveal())
	require.Equal(t, idleLimit, g.RefreshExpiresIn)

	// The org moved, and the app wants another version.
	g, err = app(func(c *salesforceapp.Config) { c.APIVersion = "v67.0" }).Renew(t.Context(), renewal(answers(answer{status: 200, body: `{"access_token":"next","instance_url":"https://Renamed.my.salesforce.com"}`}), orgData))
	require.NoError(t, err)
	require.JSONEq(t, `{"org_id":"00D5e000000KQ2eEAG","user_id":"005x00000012Q9PAAU","instance_url":"https://renamed.my.salesforce.com",
		"auth_host":"login.salesforce.com","api_version":"v67.0"}`, string(g.ProviderData))

	// A bad place is ignored. The tokens are kept: the old one may be spent.
	for _, instance := range badInstances {
		body, err := json.Marshal(map[string]string{"access_token": "next", "refresh_token": "rotated", "instance_url": instance})
		require.NoError(t, err)
		g, err = app().Renew(t.Context(), renewal(answers(answer{status: 200, body: string(body)}), orgData))
		require.NoError(t, err, instance)
		require.Equal(t, "rotated", g.RefreshToken.Reveal())
		require.Nil(t, g.ProviderData, instance)
	}
	g, err = app().Renew(t.Context(), renewal(answers(answer{status: 200, body: `{"access_token":"next","refresh_token":"rotated","instance_url":7}`}), orgData))
	require.NoError(t, err)
	require.Equal(t, "rotated", g.RefreshToken.Reveal())

	// An integration that was imported without data is of the configured site.
	rec = answers(answer{status: 200, body: `{"access_token":"next","instance_url":"https://acme.my.salesforce.com"}`})
	g, err = app(func(c *salesforceapp.Config) { c.Site = "sandbox" }).Renew(t.Context(), renewal(rec, ""))
	require.NoError(t, err)
	require.Equal(t, "https://test.salesforce.com/services/oauth2/token", rec.sent[0].url)
	require.JSONEq(t, `{"instance_url":"https://acme.my.salesforce.com"}`, string(g.ProviderData))
}

// TestTheSecretGoesToSalesforceOnly: data that was tampered with sends nothing.
func TestTheSecretGoesToSalesforceOnly(t *testing.T) {
	for site, host := range sites {
		if host != "" || site == "Production" {
			continue
		}
		data, err := json.Marshal(map[string]string{"auth_host": site})
		require.NoError(t, err)
		rec := answers()
		_, err = app().Renew(t.Context(), renewal(rec, string(data)))
		var e *token.Error
		require.ErrorAs(t, err, &e, site)
		require.Equal(t, token.Refused, e.Outcome)
		err = app().Revoke(t.Context(), providers.Revocation{RefreshToken: token.NewSecret("r"), ProviderData: data, Client: tokens(rec)})
		require.Error(t, err, site)
		require.Empty(t, rec.sent, site)
		require.Empty(t, app().SiteOf(providers.Snapshot{ProviderData: data}))
	}
}

// TestTokenErrors: what the token endpoint's answers mean for a grant.
func TestTokenErrors(t *testing.T) {
	html := "<html><head><title>Maintenance</title></head><body>error=invalid_grant&amp;access_token=x</body></html>"
	for _, row := range []struct {
		status int
		body   string
		want   token.Outcome
	}{
		{400, `{"error":"invalid_grant","error_description":"expired access/refresh token"}`, token.DeadGrant},
		{400, `{"error":"invalid_grant","error_description":"authentication failure"}`, token.DeadGrant},
		{400, `{"error":"invalid_grant","error_description":"inactive user"}`, token.DeadGrant},
		{400, `{"error":"invalid_grant","error_description":"password expired"}`, token.DeadGrant},
		{400, `{"error":"invalid_grant","error_description":"user hasn't approved this consumer"}`, token.DeadGrant},
		{400, `{"error":"invalid_grant","error_description":"token validity expired"}`, token.DeadGrant},
		{400, `{"error":"invalid_grant"}`, token.DeadGrant},
		{400, `{"error":"invalid_grant","error_description":"ip restricted"}`, token.Refused},
		{400, `{"error":"invalid_grant","error_description":"IP restricted or invalid login hours"}`, token.Refused},
		{400, `{"error":"inactive_org","error_description":"organization is inactive"}`, token.Refused},
		{400, `{"error":"inactive_user","error_description":"user is inactive"}`, token.Refused},
		{400, `{"error":"invalid_client","error_description":"invalid client credentials"}`, token.AppFault},
		{400, `{"error":"invalid_client_id","error_description":"client identifier invalid"}`, token.AppFault},
		{400, `{"error":"invalid_client_credentials"}`, token.AppFault},
		{400, `{"error":"unsupported_grant_type"}`, token.AppFault},
		{400, `{"error":"redirect_uri_mismatch"}`, token.AppFault},
		{400, `{"error":"invalid_app_access","error_description":"user is not admin approved to access this app"}`, token.AppFault},
		{400, `{"error":"OAUTH_EC_APP_NOT_FOUND","error_description":"External client app is not installed in this org"}`, token.AppFault},
		{400, `{"error":"rate_limit_exceeded","error_description":"login rate exceeded"}`, token.Transient},
		{400, `{"error":"unknown_error","error_description":"retry your request"}`, token.Transient},
		{400, `{"error":"something_else"}`, token.Refused},
		{400, `{"error":"invalid_request","error_description":"code verifier does not match"}`, token.Refused},
		{400, html, token.Transient},
		{404, html, token.Transient},
		{403, ``, token.Transient},
		{429, `{"error":"invalid_grant"}`, token.Transient},
		{500, `{"error":"invalid_grant","error_description":"expired access/refresh token"}`, token.Transient},
		{503, html, token.Transient},
		{200, html, token.Ambiguous},
		{200, `{"acc`, token.Ambiguous},
		{200, `{"error":"invalid_grant","error_description":"expired access/refresh token"}`, token.DeadGrant},
	} {
		contentType := "application/json;charset=UTF-8"
		if row.body == html {
			contentType = "text/html"
		}
		_, err := app().Renew(t.Context(), renewal(answers(answer{status: row.status, body: row.body, contentType: contentType}), orgData))
		var e *token.Error
		require.ErrorAs(t, err, &e, row.body)
		require.Equal(t, row.want, e.Outcome, "%d %s", row.status, row.body)
		require.NotContains(t, err.Error(), "expired access")
	}
}

func TestRevoke(t *testing.T) {
	revoke := func(rec *recorder, r providers.Revocation) error {
		r.Client, r.ProviderData = tokens(rec), []byte(strings.Replace(orgData, "login.", "test.", 1))
		return app().Revoke(t.Context(), r)
	}
	both := providers.Revocation{AccessToken: token.NewSecret("access"), RefreshToken: token.NewSecret("refresh")}
	rec := answers(answer{status: 200})
	require.NoError(t, revoke(rec, both))
	require.Equal(t, "https://test.salesforce.com/services/oauth2/revoke", rec.sent[0].url)
	require.Equal(t, "token=refresh", rec.sent[0].body, "no client authentication")
	rec = answers(answer{status: 200})
	require.NoError(t, revoke(rec, providers.Revocation{AccessToken: token.NewSecret("access")}))
	require.Equal(t, "token=access", rec.sent[0].body)
	require.NoError(t, revoke(answers(), providers.Revocation{}))
	require.NoError(t, revoke(answers(answer{status: 400, body: `{"error":"invalid_token","error_description":"invalid token"}`}), both))
	require.Error(t, revoke(answers(answer{status: 400, body: `{"error":"unsupported_token_type"}`}), both))
	require.Error(t, revoke(answers(answer{status: 503}), both))
}

func TestSiteOf(t *testing.T) {
	for _, host := range []string{"login.salesforce.com", "test.salesforce.com", "acme.my.salesforce.com"} {
		site := app().SiteOf(providers.Snapshot{ProviderData: []byte(`{"auth_host":"` + host + `"}`)})
		raw, err := app().AuthorizeURL(providers.Authorize{Site: site})
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(raw, "https://"+host+"/"))
	}
	require.Empty(t, app().SiteOf(providers.Snapshot{}))
}

func TestAnIdleGrantIsRenewed(t *testing.T) {
	g := token.Grant{RefreshExpiresIn: idleLimit}
	require.Equal(t, 15*24*time.Hour, g.RefreshIn(app(), "x"))
}
