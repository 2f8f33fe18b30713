package integrations_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/stretchr/testify/require"
)

// acmeKey is the generic OAuth 2 provider of these tests.
const acmeKey = "acme_crm"

// newKit is a kit with the generic provider beside Slack and GitHub.
func newKit(t integrationstest.TB, change ...func(*integrations.Config)) *integrationstest.Kit {
	kit := integrationstest.New(t)
	cfg := kit.Config()
	oauth := kit.OAuth.Config(acmeKey)
	oauth.Issuer = "https://auth.example.test"
	second := kit.OAuth.Config("acme_two")
	cfg.Providers = append(cfg.Providers, providers.NewOAuth2(oauth), providers.NewOAuth2(second))
	for _, fn := range change {
		fn(&cfg)
	}
	kit.Use(cfg)
	return kit
}

// toCallback walks a browser up to, and not through, the callback and returns
// the callback's URL.
func toCallback(t *testing.T, kit *integrationstest.Kit, b *integrationstest.Browser, key string) string {
	t.Helper()
	v := b.Do(http.MethodGet, kit.ConnectURL(key), nil, "none")
	require.Equal(t, http.StatusSeeOther, v.Status, v.Body)
	v = b.Do(http.MethodGet, v.Header.Get("Location"), nil, "cross-site")
	require.Equal(t, http.StatusFound, v.Status, v.Body)
	return v.Header.Get("Location")
}

func back(b *integrationstest.Browser, callback string) integrationstest.Visit {
	return b.Do(http.MethodGet, callback, nil, "cross-site")
}

// with changes a parameter of a URL; "" removes it.
func with(t *testing.T, raw, name, value string) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	q := u.Query()
	if value == "" {
		q.Del(name)
	} else {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func result(t *testing.T, v integrationstest.Visit) string {
	t.Helper()
	u, err := url.Parse(v.Header.Get("Location"))
	require.NoError(t, err)
	return u.Query().Get("result")
}

// nothingStored checks that no integration of any tenant came of a flow.
func nothingStored(t *testing.T, kit *integrationstest.Kit, tenants ...string) {
	t.Helper()
	for _, tenant := range append(tenants, "t1", "t2") {
		list, err := kit.Manager().Integrations(t.Context(), tenant)
		require.NoError(t, err)
		require.Empty(t, list, tenant)
	}
}

// refused checks an answer that gives away nothing.
func refused(t *testing.T, v integrationstest.Visit, status int, code string) {
	t.Helper()
	require.Equal(t, status, v.Status, v.Body)
	require.Contains(t, v.Body, code)
	require.Empty(t, v.Header.Get("Location"))
	clean(t, v)
}

// clean checks that an answer of the app has the protecting headers and no code,
// state or token in its body.
func clean(t *testing.T, v integrationstest.Visit) {
	t.Helper()
	require.Equal(t, "no-store", v.Header.Get("Cache-Control"))
	policy := "no-referrer"
	if strings.Contains(v.Body, "<form") {
		policy = "same-origin" // or its button would come from "Origin: null"
	}
	require.Equal(t, policy, v.Header.Get("Referrer-Policy"))
	require.Equal(t, "nosniff", v.Header.Get("X-Content-Type-Options"))
	require.Contains(t, v.Header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, v.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	u, err := url.Parse(v.URL)
	require.NoError(t, err)
	for _, name := range []string{"code", "state"} {
		if secret := u.Query().Get(name); len(secret) > 8 {
			require.NotContains(t, v.Body, secret, name)
		}
	}
}

func TestConnectEndsAtTheReturnPath(t *testing.T) {
	kit := newKit(t)
	b := kit.Browser("t1", "u1")
	v := b.Open(kit.ConnectURL(acmeKey) + "?return_to=/settings%3Ftab%3D2")
	require.Equal(t, "/settings?integration=acme_crm&result=connected&tab=2", v.Header.Get("Location"))
	for _, visit := range b.Visits() {
		require.NotContains(t, visit.Body, "code=")
	}
	list, err := kit.Manager().Integrations(t.Context(), "t1")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, integrations.StatusActive, list[0].Status)
	require.Empty(t, list[0].MissingScopes)
}

func TestConnectURLForFrontEndsThatRedirectThemselves(t *testing.T) {
	kit := newKit(t)
	w, r := newRequest("t1", "u1")
	to, err := kit.Manager().ConnectURL(w, r, acmeKey, integrations.ConnectOptions{ReturnTo: "/done"})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(to, "https://auth.example.test/authorize?"))
	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)
	c := cookies[0]
	require.True(t, strings.HasPrefix(c.Name, "__Host-int_"))
	require.True(t, c.Secure && c.HttpOnly && c.Path == "/" && c.Domain == "" && c.SameSite == http.SameSiteLaxMode && c.MaxAge == 600)
	_, err = kit.Manager().ConnectURL(w, r, "nothing", integrations.ConnectOptions{})
	require.ErrorIs(t, err, integrations.ErrInvalid)
	_, err = kit.Manager().ConnectURL(w, r, acmeKey, integrations.ConnectOptions{Label: "eu"})
	require.ErrorIs(t, err, integrations.ErrForbidden)
}

func TestO1StateAndBrowser(t *testing.T) {
	t.Run("no state", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		refused(t, back(b, with(t, toCallback(t, kit, b, acmeKey), "state", "")), http.StatusBadRequest, "state_invalid")
		nothingStored(t, kit)
	})
	for name, state := range map[string]string{
		"foreign": strings.Repeat("A", 43), "short": "abc", "long": strings.Repeat("A", 44), "bad bytes": strings.Repeat("%", 43), "empty against empty": " ",
	} {
		t.Run(name+" state", func(t *testing.T) {
			kit := newKit(t)
			b := kit.Browser("t1", "u1")
			refused(t, back(b, with(t, toCallback(t, kit, b, acmeKey), "state", state)), http.StatusBadRequest, "state_invalid")
			nothingStored(t, kit)
		})
	}
	t.Run("other browser", func(t *testing.T) {
		kit := newKit(t)
		callback := toCallback(t, kit, kit.Browser("t1", "u1"), acmeKey)
		refused(t, back(kit.Browser("t1", "u1"), callback), http.StatusBadRequest, "state_invalid")
		nothingStored(t, kit)
	})
	for name, value := range map[string]string{"tampered": strings.Repeat("B", 43), "empty": ""} {
		t.Run(name+" cookie", func(t *testing.T) {
			kit := newKit(t)
			w, r := newRequest("t1", "u1")
			to, err := kit.Manager().ConnectURL(w, r, acmeKey, integrations.ConnectOptions{})
			require.NoError(t, err)
			u, err := url.Parse(to)
			require.NoError(t, err)
			cookie := w.Result().Cookies()[0]
			w, r = newRequest("t1", "u1")
			r.Method, r.URL.RawQuery = http.MethodGet, url.Values{"state": {u.Query().Get("state")}, "code": {"c"}}.Encode()
			r.AddCookie(&http.Cookie{Name: cookie.Name, Value: value})
			kit.Manager().CallbackHandler(acmeKey).ServeHTTP(w, r)
			require.Equal(t, http.StatusBadRequest, w.Code)
			nothingStored(t, kit)
		})
	}
}

func TestO2IdentityAtBothEnds(t *testing.T) {
	for name, who := range map[string][2]string{"another user": {"t1", "u2"}, "another tenant": {"t2", "u1"}} {
		t.Run(name, func(t *testing.T) {
			kit := newKit(t)
			b := kit.Browser("t1", "u1")
			callback := toCallback(t, kit, b, acmeKey)
			b.Tenant, b.User = who[0], who[1]
			refused(t, back(b, callback), http.StatusForbidden, "identity_mismatch")
			nothingStored(t, kit)
			b.Tenant, b.User = "t1", "u1"
			refused(t, back(b, callback), http.StatusBadRequest, "state_invalid") // the flow is used up
		})
	}
	t.Run("nobody signed in", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		callback := toCallback(t, kit, b, acmeKey)
		b.Tenant, b.User = "", ""
		refused(t, b.Do(http.MethodGet, callback, nil, "same-origin"), http.StatusUnauthorized, "unauthenticated")
		nothingStored(t, kit)
	})
	t.Run("another session of the same user", func(t *testing.T) {
		session := "one"
		kit := newKit(t, func(cfg *integrations.Config) {
			cfg.Identify = func(r *http.Request) (integrations.Identity, error) {
				who, err := integrationstest.Identify(r)
				who.SessionID = session
				return who, err
			}
		})
		b := kit.Browser("t1", "u1")
		callback := toCallback(t, kit, b, acmeKey)
		session = "two"
		refused(t, back(b, callback), http.StatusForbidden, "identity_mismatch")
		nothingStored(t, kit)
	})
	t.Run("a session that cross-site requests do not carry", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		callback := toCallback(t, kit, b, acmeKey)
		b.Tenant, b.User = "", ""
		v := back(b, callback)
		require.Equal(t, http.StatusOK, v.Status)
		require.Contains(t, v.Body, `http-equiv="refresh"`)
		clean(t, v)
		b.Tenant, b.User = "t1", "u1" // the reload is a request of the app's own
		require.Equal(t, "connected", result(t, b.Do(http.MethodGet, callback, nil, "same-origin")))
	})
	t.Run("a tenant in the query counts for nothing", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		v := b.Open(kit.ConnectURL(acmeKey) + "?tenant=t2&tenant_id=t2&TenantID=t2")
		require.Equal(t, "connected", result(t, v))
		list, err := kit.Manager().Integrations(t.Context(), "t2")
		require.NoError(t, err)
		require.Empty(t, list)
	})
	t.Run("connect without a session", func(t *testing.T) {
		kit := newKit(t)
		refused(t, kit.Browser("", "").Open(kit.ConnectURL(acmeKey)), http.StatusUnauthorized, "unauthenticated")
	})
}

func TestO3MixUp(t *testing.T) {
	t.Run("another provider key's path", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		callback := strings.Replace(toCallback(t, kit, b, acmeKey), "/"+acmeKey+"/", "/acme_two/", 1)
		refused(t, back(b, callback), http.StatusBadRequest, "state_invalid")
		nothingStored(t, kit)
		require.Empty(t, kit.OAuth.Tokens.Presented())
	})
	t.Run("wrong iss", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		v := back(b, with(t, toCallback(t, kit, b, acmeKey), "iss", "https://evil.example"))
		require.Equal(t, "issuer_mismatch", result(t, v))
		nothingStored(t, kit)
		require.Empty(t, kit.OAuth.Tokens.Presented())
	})
	t.Run("right iss", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		require.Equal(t, "connected", result(t, back(b, with(t, toCallback(t, kit, b, acmeKey), "iss", "https://auth.example.test"))))
	})
	t.Run("a code of another flow: its verifier does not fit", func(t *testing.T) {
		kit := newKit(t)
		kit.OAuth.Tokens.RequirePKCE()
		mine, theirs := kit.Browser("t1", "u1"), kit.Browser("t2", "u2")
		callback, other := toCallback(t, kit, mine, acmeKey), toCallback(t, kit, theirs, acmeKey)
		u, err := url.Parse(other)
		require.NoError(t, err)
		v := back(mine, with(t, callback, "code", u.Query().Get("code")))
		require.Equal(t, "exchange_failed", result(t, v))
		nothingStored(t, kit)
	})
	t.Run("a code from another redirect URI", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		first, second := toCallback(t, kit, b, acmeKey), toCallback(t, kit, b, "acme_two")
		u, err := url.Parse(second)
		require.NoError(t, err)
		require.Equal(t, "exchange_failed", result(t, back(b, with(t, first, "code", u.Query().Get("code")))))
		nothingStored(t, kit)
	})
}

func TestO4OneTimeUse(t *testing.T) {
	t.Run("replay", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		callback := toCallback(t, kit, b, acmeKey)
		require.Equal(t, "connected", result(t, back(b, callback)))
		refused(t, back(b, callback), http.StatusBadRequest, "state_invalid")
	})
	t.Run("100 replays at once", func(t *testing.T) {
		kit := newKit(t)
		w, r := newRequest("t1", "u1")
		to, err := kit.Manager().ConnectURL(w, r, acmeKey, integrations.ConnectOptions{})
		require.NoError(t, err)
		b := kit.Browser("t1", "u1")
		v := b.Do(http.MethodGet, to, nil, "cross-site")
		callback, err := url.Parse(v.Header.Get("Location"))
		require.NoError(t, err)
		cookie := w.Result().Cookies()[0]
		var mu sync.Mutex
		statuses := map[int]int{}
		var wg sync.WaitGroup
		h := kit.Manager().CallbackHandler(acmeKey)
		for range 100 {
			wg.Go(func() {
				w, r := newRequest("t1", "u1")
				r.Method, r.URL = http.MethodGet, callback
				r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
				h.ServeHTTP(w, r)
				mu.Lock()
				defer mu.Unlock()
				statuses[w.Code]++
			})
		}
		wg.Wait()
		require.Equal(t, map[int]int{http.StatusSeeOther: 1, http.StatusBadRequest: 99}, statuses)
		require.Equal(t, 1, kit.OAuth.Tokens.Presented()[callback.Query().Get("code")])
	})
	t.Run("expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			kit := newKit(t)
			b := kit.Browser("t1", "u1")
			callback := toCallback(t, kit, b, acmeKey)
			time.Sleep(10*time.Minute + time.Second)
			refused(t, back(b, callback), http.StatusBadRequest, "state_invalid")
			nothingStored(t, kit)
		})
	})
	t.Run("two tabs at once", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		first, second := toCallback(t, kit, b, acmeKey), toCallback(t, kit, b, acmeKey)
		require.Equal(t, "connected", result(t, back(b, first)))
		require.Equal(t, "connected", result(t, back(b, second)))
	})
	t.Run("too many flows of a tenant", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		for range 20 {
			toCallback(t, kit, b, acmeKey)
		}
		v := b.Do(http.MethodGet, kit.ConnectURL(acmeKey), nil, "none")
		refused(t, v, http.StatusTooManyRequests, "too_many")
		require.Equal(t, "60", v.Header.Get("Retry-After"))
		other := kit.Browser("t2", "u2")
		toCallback(t, kit, other, acmeKey)
	})
}

func TestO5AccountSwitch(t *testing.T) {
	kit := newKit(t)
	b := kit.Browser("t1", "u1")
	b.Account = "A1"
	require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL(acmeKey))))
	before, err := kit.Manager().Integrations(t.Context(), "t1")
	require.NoError(t, err)

	b.Account = "A2"
	require.Equal(t, "account_mismatch", result(t, b.Open(kit.ConnectURL(acmeKey))))
	after, err := kit.Manager().Integrations(t.Context(), "t1")
	require.NoError(t, err)
	require.Equal(t, before, after)

	b.Account = "A1"
	require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL(acmeKey))))
	after, err = kit.Manager().Integrations(t.Context(), "t1")
	require.NoError(t, err)
	require.Equal(t, before[0].ID, after[0].ID)

	t.Run("another account after a disconnect", func(t *testing.T) {
		require.NoError(t, kit.Manager().Disconnect(t.Context(), "t1", before[0].ID))
		b.Account = "A2"
		require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL(acmeKey))))
	})
	t.Run("another account where the host allows it", func(t *testing.T) {
		kit := newKit(t, func(cfg *integrations.Config) { cfg.AllowAccountChange = true })
		b := kit.Browser("t1", "u1")
		for _, account := range []string{"A1", "A2"} {
			b.Account = account
			require.Equal(t, "connected", result(t, b.Open(kit.ConnectURL(acmeKey))))
		}
	})
}

func TestMetadataSurvivesAReinstall(t *testing.T) {
	kit := newKit(t)
	kit.Connect("t1", slackapp.Key)
	m := kit.Manager()
	list, err := m.Integrations(t.Context(), "t1")
	require.NoError(t, err)
	v, err := m.SetMetadata(t.Context(), "t1", list[0].ID, []byte(`{"channel":"ops"}`), list[0].Version)
	require.NoError(t, err)
	require.Equal(t, list[0].Version+1, v)
	_, err = m.SetMetadata(t.Context(), "t1", list[0].ID, []byte(`{}`), list[0].Version)
	require.ErrorIs(t, err, integrations.ErrConflict)
	_, err = m.SetMetadata(t.Context(), "t1", list[0].ID, []byte(`not json`), v)
	require.ErrorIs(t, err, integrations.ErrInvalid)
	kit.Connect("t1", slackapp.Key)
	list, err = m.Integrations(t.Context(), "t1")
	require.NoError(t, err)
	require.JSONEq(t, `{"channel":"ops"}`, string(list[0].Metadata))
}

func TestO7AwkwardCallbacks(t *testing.T) {
	for method, want := range map[string]int{
		http.MethodHead: http.StatusMethodNotAllowed, http.MethodPut: http.StatusMethodNotAllowed, http.MethodPost: http.StatusForbidden,
	} {
		t.Run(method, func(t *testing.T) {
			kit := newKit(t)
			b := kit.Browser("t1", "u1")
			callback := toCallback(t, kit, b, acmeKey)
			v := b.Do(method, callback, nil, "cross-site")
			require.Equal(t, want, v.Status)
			if method == http.MethodPost { // of the page where an account is picked, which this is not
				refused(t, b.Do(method, callback, nil, "same-origin"), http.StatusBadRequest, "state_invalid")
			}
			nothingStored(t, kit)
			require.Equal(t, "connected", result(t, back(b, callback))) // the flow was not touched
		})
	}
	for name, change := range map[string]func(string) string{
		"state twice":  func(u string) string { return u + "&state=" + strings.Repeat("A", 43) },
		"code twice":   func(u string) string { return u + "&code=other" },
		"giant code":   func(u string) string { return u + "&x=" + strings.Repeat("a", 5000) },
		"giant query":  func(u string) string { return u + strings.Repeat("&a=b", 5000) },
		"giant error":  func(u string) string { return u + "&error=" + strings.Repeat("e", 65) },
		"broken query": func(u string) string { return u + "&%zz=1" },
		"semicolons":   func(u string) string { return u + ";a=b" },
	} {
		t.Run(name, func(t *testing.T) {
			kit := newKit(t)
			b := kit.Browser("t1", "u1")
			refused(t, back(b, change(toCallback(t, kit, b, acmeKey))), http.StatusBadRequest, "state_invalid")
			nothingStored(t, kit)
		})
	}
	for sent, want := range map[string]string{
		"access_denied": "denied", "server_error": "provider_error", "<script>alert(1)</script>": "provider_error",
	} {
		t.Run("provider says "+sent, func(t *testing.T) {
			kit := newKit(t)
			b := kit.Browser("t1", "u1")
			b.Deny = sent
			v := b.Open(kit.ConnectURL(acmeKey))
			require.Equal(t, want, result(t, v))
			require.NotContains(t, v.Header.Get("Location"), "script")
			clean(t, v)
			nothingStored(t, kit)
			require.Empty(t, kit.OAuth.Tokens.Presented())
		})
	}
	t.Run("no code", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		require.Equal(t, "ownership_unverified", result(t, back(b, with(t, toCallback(t, kit, b, acmeKey), "code", ""))))
		nothingStored(t, kit)
	})
	t.Run("answers of the provider", func(t *testing.T) {
		for name, c := range map[string]struct {
			fault integrationstest.Fault
			want  string
		}{
			"500": {integrationstest.Status(500), "provider_unavailable"}, "429": {integrationstest.RateLimited(time.Second), "provider_unavailable"},
			"garbage": {integrationstest.Garbage(), "provider_unavailable"}, "half": {integrationstest.HalfBody(), "provider_unavailable"},
			"lost": {integrationstest.DropAfterWork(), "provider_unavailable"}, "elsewhere": {integrationstest.RedirectTo("https://evil.example/"), "provider_unavailable"},
			"wrong secret": {integrationstest.Answer(401, `{"error":"invalid_client"}`), "app_misconfigured"},
		} {
			kit := newKit(t)
			kit.Network.Fail("auth.example.test", "/token", c.fault)
			v := kit.Browser("t1", "u1").Open(kit.ConnectURL(acmeKey))
			require.Equal(t, c.want, result(t, v), name)
			nothingStored(t, kit)
		}
	})
	t.Run("a flow from another site needs a click", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		v := b.Do(http.MethodGet, kit.ConnectURL(acmeKey)+"?return_to=/x", nil, "cross-site")
		require.Equal(t, http.StatusOK, v.Status)
		clean(t, v)
		v = b.Press(v)
		require.Equal(t, "connected", result(t, v))
		require.True(t, strings.HasPrefix(v.Header.Get("Location"), "/x?"))
	})
	t.Run("a POST from another site is refused", func(t *testing.T) {
		kit := newKit(t)
		refused(t, kit.Browser("t1", "u1").Do(http.MethodPost, kit.ConnectURL(acmeKey), url.Values{}, "cross-site"), http.StatusForbidden, "forbidden")
	})
}

func TestM2ExclusiveAndSharedAccounts(t *testing.T) {
	t.Run("exclusive", func(t *testing.T) {
		kit := newKit(t)
		kit.Connect("t1", slackapp.Key, "TSAME")
		b := kit.Browser("t2", "u2")
		b.Account = "TSAME"
		require.Equal(t, "account_taken", result(t, b.Open(kit.ConnectURL(slackapp.Key))))
		list, err := kit.Manager().Integrations(t.Context(), "t2")
		require.NoError(t, err)
		require.Empty(t, list)
		t.Run("free after a disconnect", func(t *testing.T) {
			list, err := kit.Manager().Integrations(t.Context(), "t1")
			require.NoError(t, err)
			require.NoError(t, kit.Manager().Disconnect(t.Context(), "t1", list[0].ID))
			kit.Connect("t2", slackapp.Key, "TSAME")
		})
	})
	t.Run("exclusive, both finish at once", func(t *testing.T) {
		kit := newKit(t)
		var wg sync.WaitGroup
		results := make([]string, 8)
		for i := range results {
			b := kit.Browser(fmt.Sprintf("t%d", i), "u")
			b.Account = "TSAME"
			callback := toCallback(t, kit, b, slackapp.Key)
			wg.Go(func() { results[i] = back(b, callback).Header.Get("Location") })
		}
		wg.Wait()
		counts := map[string]int{}
		for _, r := range results {
			u, err := url.Parse(r)
			require.NoError(t, err)
			counts[u.Query().Get("result")]++
		}
		require.Equal(t, map[string]int{"connected": 1, "account_taken": 7}, counts)
	})
	t.Run("shared: an event reaches each", func(t *testing.T) {
		kit := integrationstest.New(t)
		cfg := kit.Config()
		app := kit.Slack.App()
		app.Shared = true
		cfg.Providers = []providers.Provider{slackapp.New(app)}
		kit.Use(cfg)
		kit.Connect("t1", slackapp.Key, "TSAME")
		kit.Connect("t2", slackapp.Key, "TSAME")
		got := collect(kit, slackapp.Key)
		require.Equal(t, http.StatusOK, kit.Slack.Event("TSAME", `{"type":"app_mention","text":"hi"}`))
		require.NoError(t, kit.Manager().Drain(t.Context()))
		require.ElementsMatch(t, []string{"t1 app_mention", "t2 app_mention"}, got())
	})
	t.Run("unknown account: acknowledged, kept, nobody's", func(t *testing.T) {
		kit := newKit(t)
		kit.Connect("t1", slackapp.Key)
		got := collect(kit, slackapp.Key)
		require.Equal(t, http.StatusOK, kit.Slack.Event("TNOBODY", `{"type":"app_mention"}`))
		require.NoError(t, kit.Manager().Drain(t.Context()))
		require.Empty(t, got())
	})
}

func TestM3GitHubOwnership(t *testing.T) {
	t.Run("spoofed and foreign installation ids", func(t *testing.T) {
		kit := newKit(t)
		victim := kit.GitHub.Install("victim", "somebody")
		foreign := kit.GitHub.InstallOther("acme", "u1")
		own := kit.GitHub.Install("acme", "u1")
		for _, id := range []string{fmt.Sprint(victim), fmt.Sprint(foreign), "0", "-1", "01", "1e3", "abc", fmt.Sprint(own) + "0", "99999999999999999999", " " + fmt.Sprint(own)} {
			b := kit.Browser("t1", "u1")
			b.Account = "acme"
			v := back(b, with(t, toCallback(t, kit, b, githubapp.Key), "installation_id", id))
			require.Equal(t, "ownership_unverified", result(t, v), id)
		}
		nothingStored(t, kit)
		require.Zero(t, kit.GitHub.Mints())
	})
	t.Run("missing code", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		require.Equal(t, "ownership_unverified", result(t, back(b, with(t, toCallback(t, kit, b, githubapp.Key), "code", ""))))
		nothingStored(t, kit)
	})
	t.Run("missing installation id: the user's only one", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		b.Account = "acme"
		callback := with(t, with(t, toCallback(t, kit, b, githubapp.Key), "installation_id", ""), "setup_action", "install")
		require.Equal(t, "connected", result(t, back(b, callback)))
	})
	t.Run("requested only", func(t *testing.T) {
		kit := newKit(t)
		b := kit.Browser("t1", "u1")
		callback := with(t, with(t, toCallback(t, kit, b, githubapp.Key), "installation_id", ""), "setup_action", "request")
		require.Equal(t, "install_requested", result(t, back(b, callback)))
		nothingStored(t, kit)
	})
	t.Run("started at GitHub, without state", func(t *testing.T) {
		kit := newKit(t)
		id := kit.GitHub.Install("acme", "u1")
		callback := integrationstest.BaseURL + "/github/callback?code=abc&setup_action=install&installation_id=" + fmt.Sprint(id)
		b := kit.Browser("t1", "u1")
		b.Account = "acme"
		v := back(b, callback)
		require.Equal(t, http.StatusOK, v.Status)
		clean(t, v)
		nothingStored(t, kit)
		require.Equal(t, "connected", result(t, b.Press(v)))
	})
	t.Run("changed at GitHub, without state", func(t *testing.T) {
		kit := newKit(t)
		v := back(kit.Browser("t1", "u1"), integrationstest.BaseURL+"/github/callback?setup_action=update&installation_id=7")
		require.Equal(t, "updated", result(t, v))
		nothingStored(t, kit)
		refused(t, back(kit.Browser("", ""), integrationstest.BaseURL+"/github/callback?setup_action=install&installation_id=7"), http.StatusUnauthorized, "unauthenticated")
	})
	t.Run("an installation event binds nothing", func(t *testing.T) {
		kit := newKit(t)
		body := `{"action":"created","installation":{"id":77,"app_id":4711,"account":{"login":"acme"}},"sender":{"id":1}}`
		require.Equal(t, http.StatusOK, kit.GitHub.Deliver("installation", []byte(body)))
		require.NoError(t, kit.Manager().Drain(context.Background()))
		nothingStored(t, kit)
	})
}
