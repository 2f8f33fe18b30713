package jiraapp_test

import (
	"encoding/json"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/stretchr/testify/require"
)

func TestMarkdown(t *testing.T) {
	for _, c := range []struct{ name, md, want string }{
		{"empty", "", ""},
		{"paragraphs", "one\ntwo\n\nthree", "one two\n\nthree"},
		{"hard line breaks", "one  \ntwo\\\nthree", "one\ntwo\nthree"},
		{"headings", "# One\n## Two ##\n###### Six\n####### seven", "h1. One\nh2. Two\nh6. Six\n\\#\\#\\#\\#\\#\\#\\# seven"},
		{"not headings", "h1. no\n\nbq. no", "h1&#46; no\n\nbq&#46; no"},
		{"bold and italic", "**b** __b__ *i* _i_ ***bi*** ~~gone~~", "*b* *b* _i_ _i_ *_bi_* -gone-"},
		{"nested emphasis", "**bold *it* on** and *it **bold** on*", "*bold _it_ on* and _it *bold* on_"},
		{"within a word", "un**frigging**believable snake_case_name", "un{*}frigging{*}believable snake\\_case\\_name"},
		{"no emphasis", "2 * 3 * 4 and **open and a ** b", "2 \\* 3 \\* 4 and \\*\\*open and a \\*\\* b"},
		{"code", "`a*b*{c}` and ``x`y`` and `open", "{{a\\*b\\*\\{c\\}}} and {{x`y}} and `open"},
		{"code wins", "*a `b*` c*", "_a {{b\\*}} c_"},
		{"fence", "```go\nif a *b* {\n```\nafter", "{code:go}\nif a *b* {\n{code}\nafter"},
		{"fence of an unknown language", "~~~brainfuck\n+++\n~~~", "{code}\n+++\n{code}"},
		{"fence to the end", "```\nopen", "{code}\nopen\n{code}"},
		{"fence with an end of it", "```\n{code}\n```", "{noformat}\n{code}\n{noformat}"},
		{"fence with both ends", "```\n{code}{NoFormat}\nh1. x\n```", "\\{code\\}\\{NoFormat\\}\nh1&#46; x"},
		{"bullets", "- a\n* b\n+ c", "* a\n* b\n* c"},
		{"numbers", "1. a\n2) b", "# a\n# b"},
		{"nested lists", "- a\n  - b\n    1. c\n  - d\n- e", "* a\n** b\n**# c\n** d\n* e"},
		{"items of several lines", "- a\n  more\n\n- b\n\nafter", "* a more\n* b\n\nafter"},
		{"items with markup", "- **b** [x](https://x.example)", "* *b* [x|https://x.example]"},
		{"quote", "> one\n> - two\n\nafter", "{quote}\none\n* two\n{quote}\n\nafter"},
		{"quote in a quote", "> a\n>\n> > b", "{quote}\na\n\nb\n{quote}"},
		{"ruler", "a\n\n---\n\n* * *\n\nb", "a\n\n----\n\n----\n\nb"},
		{"links", "[a](https://x.example/p?q=1 \"title\") [b](<https://x.example/a b>)", "[a|https://x.example/p?q=1] b"},
		{"links with parentheses", "[a](https://x.example/(b)) c", "[a|https://x.example/(b)] c"},
		{"links that are none", "[a] [b](javascript:alert(1)) [c](//x) [d", "\\[a\\] b c \\[d"},
		{"links cannot be left", "[a|b](https://x.example/|c]{d})", "[a\\|b|https://x.example/%7Cc%5D%7Bd%7D]"},
		{"link texts with addresses", "[https://a.example](https://b.example)", "[https://a.example|https://b.example]"},
		{"images are links", "![shot](https://x.example/1.png) ![](https://x.example/2.png)", "[shot|https://x.example/1.png] [https://x.example/2.png]"},
		{"addresses", "see https://x.example/a_b_c. <https://y.example/*> mailto", "see [https://x.example/a_b_c]. <[https://y.example/]\\*> mailto"},
		{"escapes", `\*a\* \\ \[b\] 1\. \h`, `\*a\* &#92; \[b\] 1. &#92;h`},
		{"entities", "&lt;b&gt; &amp;lt; &copy; AT&T", "<b> &amp;lt; © AT&amp;T"},
		{"entities make no lines", "a&#10;h1. b", "a\nh1&#46; b"},
		{"html is text", "<b>x</b> <!-- y -->", "<b>x</b> <\\!\\-\\- y \\-\\->"},
		{"markup is text", "{color:red}x{color} [~admin] !x.png! ||a|| ??c?? (/) :D :P ;)", "\\{color:red\\}x\\{color\\} \\[\\~admin\\] \\!x.png\\! \\|\\|a\\|\\| \\?\\?c\\?\\? \\(/\\) &#58;D &#58;P ;\\)"},
		{"controls", "a\x00b\r\nc\x1b[0m", "ab c\\[0m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, jiraapp.Markdown(c.md).String())
		})
	}
}

func TestPlain(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"plain, text.", "plain, text."},
		{"# a\n* b\n- c\n----", "\\# a\n\\* b\n\\- c\n\\-\\-\\-\\-"},
		{"h1. a\n bq. b\nh7. c", "h1&#46; a\n bq&#46; b\nh7. c"},
		{`\*a\\`, `&#92;\*a&#92;&#92;`},
		{"&lt; & &#42;", "&amp;lt; &amp; &amp;\\#42;"},
		{"{code}x{code} [~admin] @ann", "\\{code\\}x\\{code\\} \\[\\~admin\\] \\@ann"},
		{"at https://x.example/a_b-c?d=e#f, ok", "at [https://x.example/a_b-c?d=e#f], ok"},
		{"https://x.example/|y]z", "[https://x.example/]\\|y\\]z"},
	} {
		require.Equal(t, c.want, jiraapp.Plain(c.text).String(), "%q", c.text)
	}
	require.Equal(t, "*b*", jiraapp.Markup("*b*").String())
	raw, err := json.Marshal(map[string]jiraapp.Text{"t": jiraapp.Plain("*\"")})
	require.NoError(t, err)
	require.JSONEq(t, `{"t":"\\*\""}`, string(raw))
}

var (
	linkOf = regexp.MustCompile(`\[(https?://[^\]\[|{}^\\]+)\]`)
	escape = regexp.MustCompile(`\\([-#*_+?^~|%{}\[\]()!@])`)
)

// FuzzPlain: of what the markup says nothing is markup but links of addresses,
// and its text is the text that was given.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", `\*`, "h1. x", "{code}", "[~a]", "https://x.example/a_b!", "&amp;&#42;", ":D;)", "a\nbq. b", "http://[x]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		markup := jiraapp.Plain(text).String()
		bare := linkOf.ReplaceAllString(markup, "x")
		bare = escape.ReplaceAllString(bare, "x")
		require.False(t, strings.ContainsAny(strings.NewReplacer("&#92;", "", "&#46;", "", "&#58;", "", "&amp;", "").Replace(bare), `\*_{}[]!|^~+?-#%()@&`), "%q", markup)
		for line := range strings.SplitSeq(markup, "\n") {
			require.NotRegexp(t, `^[ \t]*(h[1-6]|bq)\.`, line)
		}
		want := strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n"), "\r", "\n")
		want = strings.Map(func(r rune) rune {
			if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
				return -1
			}
			return r
		}, want)
		got := linkOf.ReplaceAllStringFunc(markup, func(s string) string { return html.EscapeString(s[1 : len(s)-1]) })
		got = html.UnescapeString(escape.ReplaceAllStringFunc(got, func(s string) string { return s[1:] }))
		if !strings.Contains(text, "http") { // an address keeps its backslashes out of this
			require.Equal(t, want, got, "%q", markup)
		}
	})
}

// FuzzMarkdown: no input is too much or leaves the macros unbalanced.
func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"# a\n- b\n  1. c\n> d\n```\ne\n```", "***a*** __b__ `c` ~~d~~", "[a](http://b) ![c](d)", "*a **b *c** d*", "\\", "[[[[", "****", "> ```\n> {quote}\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, md string) {
		out := jiraapp.Markdown(md).String()
		require.NotContains(t, out, "\r")
		for _, bad := range []string{"{color", "[~", "!http", "{toc", "[^"} {
			if strings.Contains(out, bad) {
				// Only code is left as it is.
				require.Regexp(t, `(?m)^\{(code|noformat)`, out, "%q", md)
			}
		}
	})
}

// TestMarkdownIsLinear: text that opens much and closes nothing takes no longer
// than it is long.
func TestMarkdownIsLinear(t *testing.T) {
	for _, unit := range []string{"*a ", "_a ", "**a ", "`", "[", "![a](", "~~a ", "\\", "http://", "<http://", "> ", "- a\n", "*a **b _c __d ", "a* ", "``` ", "h1."} {
		text := strings.Repeat(unit, 32000/len(unit))
		began := time.Now()
		_ = jiraapp.Markdown(text).String()
		require.Less(t, time.Since(began), 5*time.Second, "%q", unit)
	}
}
