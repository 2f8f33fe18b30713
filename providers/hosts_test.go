package providers_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

func hosts(t testing.TB, patterns ...string) providers.Hosts {
	t.Helper()
	h, err := providers.NewHosts(patterns...)
	require.NoError(t, err)
	return h
}

func TestHostsMatchOnLabelBoundaries(t *testing.T) {
	h := hosts(t, "api.github.com", "*.slack.com")
	for host, want := range map[string]bool{
		"api.github.com":         true,
		"API.GitHub.com":         true,
		"github.com":             false,
		"x.api.github.com":       false,
		"api.github.com.evil.io": false,
		"slack.com":              false,
		"files.slack.com":        true,
		"a.b.slack.com":          true,
		"evilslack.com":          false,
		"slack.com.evil.io":      false,
		".slack.com":             false,
		"files.slack.com.":       false,
		"files..slack.com":       false,
		"":                       false,
		"slack.com\x00.evil.io":  false,
		"ﬁles.slack.com":         false,
		"fıles.slack.com":        false,
		"\u212Aelvin.slack.com":  false, // the Kelvin sign lower-cases to an ASCII k
	} {
		require.Equal(t, want, h.Contains(host), "%q", host)
	}
}

func TestHostsRefusesPatternsThatAreNotNames(t *testing.T) {
	for _, p := range []string{"", "*", "*.", "*.com", "com", "127.0.0.1", "*.0.0.1", "[::1]", "a.com:443", "https://a.com", "A.com", "a..com", "-a.com", "0x7f.0x1"} {
		_, err := providers.NewHosts(p)
		require.Error(t, err, "%q", p)
	}
	_, err := providers.NewHosts()
	require.Error(t, err)
	_, err = providers.NewHosts("bad", "worse", "fine.example.com")
	require.ErrorContains(t, err, "bad")
	require.ErrorContains(t, err, "worse")
}

func TestZeroHostsAllowNothing(t *testing.T) {
	require.False(t, providers.Hosts{}.Contains("api.example.com"))
}

// TestN2ForbiddenSpellings: no spelling of a URL leads a token to a host that is
// not the provider's, or to an address.
func TestN2ForbiddenSpellings(t *testing.T) {
	h := hosts(t, "api.github.com", "*.slack.com")
	for _, raw := range forbiddenURLs {
		u, err := url.Parse(raw)
		if err != nil {
			continue // such a URL cannot even be made into a request
		}
		require.ErrorIs(t, h.Check(u), providers.ErrHostNotAllowed, raw)
	}
	for _, raw := range []string{"https://api.github.com/x", "https://API.GITHUB.COM/x", "https://api.github.com:443/x", "https://files.slack.com"} {
		u, err := url.Parse(raw)
		require.NoError(t, err)
		require.NoError(t, h.Check(u), raw)
	}
	require.ErrorIs(t, h.Check(nil), providers.ErrHostNotAllowed)
}

var forbiddenURLs = []string{
	"http://api.github.com/", "ftp://api.github.com/", "ws://api.github.com/", "//api.github.com/", "api.github.com", "https:api.github.com",
	"https://user@api.github.com/", "https://user:pass@api.github.com/", "https://api.github.com@evil.io/", "https://api.github.com:80/",
	"https://api.github.com:8443/", "https://api.github.com:/", "https://api.github.com:443:443/", "https://api.github.com./", "https://.api.github.com/",
	"https://api.github.com.evil.io/", "https://evil.io/api.github.com", "https://evil.io#api.github.com", "https://evil.io?api.github.com",
	"https://evil.io\\@api.github.com/", "https://api.github.com%2eevil.io/", "https://api.github.com%00.evil.io/", "https://api%2egithub.com/",
	"https://evilslack.com/", "https://slack.com.evil.io/", "https://xn--slack-3ve.com/", "https://slаck.com/", "https://slack.com/", "https://files-slack.com/",
	"https://127.0.0.1/", "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://017700000001/",
	"https://0177.0.0.1/", "https://127.0.0.1.slack.com:80/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::]/",
	"https://[fe80::1%25eth0]/", "https://0.0.0.0/", "https://0/", "https://localhost/", "https://localhost.localdomain/", "https://169.254.169.254/",
	"https://metadata.google.internal/", "https://10.0.0.1/", "https://192.168.0.1/", "https://172.16.0.1/", "https://100.64.0.1/", "https://[64:ff9b::7f00:1]/",
	"https://[2002:7f00:1::]/", "https://[fd00::1]/", "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://ⓐⓟⓘ.github.com/", "https:///etc/passwd", "https://",
	"javascript://api.github.com/%0aalert(1)", "file://api.github.com/etc/passwd", "https://api.github.com\t.evil.io/", "https://api.github.com\n/",
}

// TestN2ForbiddenAddresses: whatever name led to it, an address that is not
// public is not dialled.
func TestN2ForbiddenAddresses(t *testing.T) {
	require.GreaterOrEqual(t, len(forbiddenURLs)+len(forbiddenAddresses), 60)
	for _, a := range forbiddenAddresses {
		tr := providers.NewTransport(providers.TransportConfig{})
		_, err := tr.DialContext(t.Context(), "tcp", a)
		require.ErrorIs(t, err, providers.ErrHostNotAllowed, a)
	}
}

var forbiddenAddresses = []string{
	"127.0.0.1:443", "127.255.255.254:443", "0.0.0.0:443", "0.1.2.3:443", "10.0.0.1:443", "10.255.255.255:443", "100.64.0.1:443", "100.127.255.255:443",
	"169.254.169.254:443", "172.16.0.1:443", "172.31.255.255:443", "192.0.0.8:443", "192.0.2.1:443", "192.168.1.1:443", "198.18.0.1:443", "198.51.100.1:443",
	"203.0.113.1:443", "224.0.0.1:443", "240.0.0.1:443", "255.255.255.255:443", "[::]:443", "[::1]:443", "[::ffff:127.0.0.1]:443", "[::ffff:10.0.0.1]:443",
	"[::127.0.0.1]:443", "[64:ff9b::127.0.0.1]:443", "[64:ff9b:1::1]:443", "[2001::1]:443", "[2001:db8::1]:443", "[2002:7f00:1::]:443", "[fc00::1]:443",
	"[fd12:3456::1]:443", "[fe80::1]:443", "[fec0::1]:443", "[ff02::1]:443", "[100::1]:443",
}

// FuzzF7Hosts: what is accepted is a plain name that ends in the suffix on a dot
// boundary, or is the exact name.
func FuzzF7Hosts(f *testing.F) {
	for _, s := range []string{"api.github.com", "files.slack.com", "evilslack.com", "a.my.salesforce.com", "xn--a.slack.com", "a_b.slack.com", "slack.com", "A.SLACK.COM", "\u017Flack.com", "\u212A.slack.com"} {
		f.Add(s)
	}
	for _, s := range forbiddenURLs {
		if u, err := url.Parse(s); err == nil {
			f.Add(u.Host)
		}
	}
	h := hosts(f, "api.github.com", "*.slack.com")
	f.Fuzz(func(t *testing.T, host string) {
		if !h.Contains(host) {
			return
		}
		for i := range len(host) {
			c := host[i]
			ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.'
			require.True(t, ok, "%q", host)
		}
		lower := strings.ToLower(host)
		require.True(t, lower == "api.github.com" || strings.HasSuffix(lower, ".slack.com"), "%q", host)
		u, err := url.Parse("https://" + host + "/x")
		require.NoError(t, err)
		require.Equal(t, host, u.Hostname())
		require.Empty(t, u.Port())
	})
}

func ExampleNewHosts() {
	h, err := providers.NewHosts("api.github.com", "*.slack.com")
	fmt.Println(err, h.Contains("files.slack.com"), h.Contains("evilslack.com"))
	// Output: <nil> true false
}
