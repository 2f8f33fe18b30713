package jiraapp

import (
	"encoding/json"
	"regexp"
	"strings"
)

// Text is a description or a comment in Jira's wiki markup, which API v2 takes.
// Make it with [Plain] for text of unknown origin, [Markdown], or [Markup]. The
// zero Text is empty. It is written to JSON as a string.
type Text struct{ markup string }

// Plain is text that is shown as it is: nothing in it becomes markup, so that
// text of unknown origin can neither mention anybody, nor load an image, nor
// format anything. Addresses of web pages become links to themselves, as Jira
// does with any text.
func Plain(text string) Text {
	return Text{escapeLines(normal(text))}
}

// Markup is text that is wiki markup already
// (jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all).
func Markup(wiki string) Text { return Text{wiki} }

// String is the wiki markup.
func (t Text) String() string { return t.markup }

// MarshalJSON writes the wiki markup as a string.
func (t Text) MarshalJSON() ([]byte, error) { return json.Marshal(t.markup) }

// normal takes out what means nothing in a text: carriage returns and control
// characters.
func normal(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r < ' ' && r != '\n' && r != '\t' || r == 0x7f:
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// escaped are the characters that a backslash takes the meaning from, as
// Atlassian's own converter has it (editor-wikimarkup-transformer,
// BackslashEscapeRendererComponent's pattern, checked 2026-11). The backslash is
// not among them: two of them are a line break. It is written as an entity, as
// pandoc does, and so is what makes an entity of a text.
const escaped = `-#*_+?^~|%{}[]()!@`

const addressPattern = `https?://[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]*[A-Za-z0-9/=_~#&+\-]`

var (
	// address finds web addresses, without what is punctuation at their end.
	address     = regexp.MustCompile(addressPattern)
	addressHere = regexp.MustCompile("^" + addressPattern)
	// lineStart finds what has a meaning at the start of a line only and takes no
	// backslash: headings and one-line quotes.
	lineStart = regexp.MustCompile(`^([ \t]*(?:h[1-6]|bq))\.`)
	// smiley finds emoticons that have no character of escaped.
	smiley = regexp.MustCompile(`:([DPp])`)
)

func escapeLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = escapeLine(line)
	}
	return strings.Join(lines, "\n")
}

// escapeLine escapes text that stands at the start of a line.
func escapeLine(line string) string {
	if m := lineStart.FindString(line); m != "" {
		return m[:len(m)-1] + "&#46;" + escapeRun(line[len(m):])
	}
	return escapeRun(line)
}

// escapeRun escapes text within a line. Addresses are written as links: an
// escape within one would become a part of it.
func escapeRun(text string) string {
	var b strings.Builder
	for {
		at := address.FindStringIndex(text)
		if at == nil {
			break
		}
		b.WriteString(escapeChars(text[:at[0]]))
		b.WriteString("[" + text[at[0]:at[1]] + "]")
		text = text[at[1]:]
	}
	b.WriteString(escapeChars(text))
	return b.String()
}

func escapeChars(text string) string {
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\\':
			b.WriteString("&#92;")
		case c == '&':
			b.WriteString("&amp;")
		case strings.IndexByte(escaped, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return smiley.ReplaceAllString(b.String(), "&#58;$1")
}
