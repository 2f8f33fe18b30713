package integrations

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func returning(origins ...string) *Manager {
	m := &Manager{origins: map[string]bool{}}
	for _, o := range origins {
		m.origins[o] = true
	}
	return m
}

var hostile = []string{
	"", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/\n/evil.example", "\t//evil.example",
	"https://evil.example", "https:evil.example", "https:/evil.example", "http://app.example", "https://app.example.evil.io", "https://app.example@evil.io",
	"https://user@app.example", "javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "evil.example", "./x", "../x", "?x", "#x",
	"https://app.example:444", "https://APP.example", "/x\x00", "/ x", "/é", "https://app.example\\.evil.io", "https://[::1]", " /x", "/x ", "https:///x",
	"/" + strings.Repeat("a", 2048),
}

func TestO6ReturnPaths(t *testing.T) {
	m := returning("https://app.example")
	for _, s := range hostile {
		require.False(t, m.safeReturnTo(s), "%q", s)
	}
	for _, s := range []string{"/", "/settings", "/settings?tab=2#x", "/a/%2e%2e/b", "https://app.example", "https://app.example/x?y=z"} {
		require.True(t, m.safeReturnTo(s), "%q", s)
	}
	require.Equal(t, "/a?integration=slack&result=connected&x=1", returnURL("/a?x=1&result=forged", "slack", ending{code: "connected"}))
}

// FuzzF5SafeReturnTo: what is accepted stays on an allowed origin, for net/url
// and for a parser that is as lenient as browsers are.
func FuzzF5SafeReturnTo(f *testing.F) {
	for _, s := range append(hostile, "/", "/x?y", "https://app.example/x") {
		f.Add(s)
	}
	m := returning("https://app.example")
	base, err := url.Parse("https://app.example/")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, s string) {
		if !m.safeReturnTo(s) {
			return
		}
		for _, form := range []string{s, returnURL(s, "slack", ending{code: "connected"})} {
			ref, err := url.Parse(form)
			require.NoError(t, err)
			to := base.ResolveReference(ref)
			require.Equal(t, "https://app.example", to.Scheme+"://"+to.Host, "%q", form)
			// As the WHATWG URL parser: white space at the ends and tab, CR and LF
			// anywhere are dropped, a backslash is a slash.
			lenient := strings.Trim(strings.NewReplacer("\t", "", "\r", "", "\n", "", "\\", "/").Replace(form), " \x00\x0b\x0c")
			require.False(t, strings.HasPrefix(lenient, "//"), "%q", form)
			if !strings.HasPrefix(lenient, "/") {
				require.True(t, lenient == "https://app.example" || strings.HasPrefix(lenient, "https://app.example/") ||
					strings.HasPrefix(lenient, "https://app.example?") || strings.HasPrefix(lenient, "https://app.example#"), "%q", form)
			}
		}
	})
}
