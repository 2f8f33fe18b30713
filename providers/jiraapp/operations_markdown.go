package jiraapp

import (
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Markdown is Markdown as wiki markup: headings with number signs, bold, italic,
// struck out text, code, fenced code blocks, links, nested lists, quotes and
// rulers. All else is text, HTML, tables and indented code among it: it is shown
// as it is and never becomes markup. Images become links to them, and a link to anything but
// http, https and mailto is its text alone. Quotes do not nest in Jira: one within
// another is part of it.
func Markdown(md string) Text {
	lines := strings.Split(normal(md), "\n")
	return Text{strings.Join(blocks(lines), "\n")}
}

var (
	fenceLine   = regexp.MustCompile("^ {0,3}(`{3,}|~{3,})[ \t]*([A-Za-z0-9+#-]*)[^`]*$")
	headingLine = regexp.MustCompile(`^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$`)
	rulerLine   = regexp.MustCompile(`^ {0,3}(?:(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|(?:\*[ \t]*){3,})$`)
	quoteLine   = regexp.MustCompile(`^ {0,3}>(?: {0,3}>)* ?(.*)$`) // however deep
	itemLine    = regexp.MustCompile(`^([ \t]*)([-*+]|[0-9]{1,9}[.)])[ \t]+(.*)$`)
)

// languages are those Jira colours code of, by the names Markdown knows them by
// (jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=advanced, checked
// 2026-11). Another name would be an error on the page.
var languages = map[string]string{
	"bash": "bash", "sh": "bash", "shell": "bash", "c": "c", "cpp": "c++", "c++": "c++", "csharp": "c#", "cs": "c#", "c#": "c#",
	"css": "css", "go": "go", "golang": "go", "haskell": "haskell", "html": "html", "java": "java", "javascript": "javascript",
	"js": "javascript", "json": "json", "lua": "lua", "perl": "perl", "php": "php", "python": "python", "py": "python", "r": "r",
	"ruby": "ruby", "rb": "ruby", "scala": "scala", "sql": "sql", "swift": "swift", "xml": "xml", "yaml": "yaml", "yml": "yaml",
}

// blocks converts lines. Each result is one or more lines of markup; an empty one
// separates paragraphs.
func blocks(lines []string) []string {
	var out, paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, paragraphMarkup(paragraph))
			paragraph = nil
		}
	}
	for i := 0; i < len(lines); {
		line := lines[i]
		switch {
		case strings.TrimSpace(line) == "":
			flush()
			if len(out) > 0 && out[len(out)-1] != "" {
				out = append(out, "")
			}
			i++
		case fenceLine.MatchString(line):
			flush()
			var code []string
			code, i = fenced(lines, i)
			out = append(out, code...)
		case headingLine.MatchString(line):
			flush()
			m := headingLine.FindStringSubmatch(line)
			out = append(out, "h"+string(rune('0'+len(m[1])))+". "+inline(m[2]))
			i++
		case rulerLine.MatchString(line):
			flush()
			out = append(out, "----")
			i++
		case quoteLine.MatchString(line):
			flush()
			var inner []string
			for ; i < len(lines) && quoteLine.MatchString(lines[i]); i++ {
				inner = append(inner, quoteLine.FindStringSubmatch(lines[i])[1])
			}
			out = append(append(append(out, "{quote}"), blocks(inner)...), "{quote}")
		case itemLine.MatchString(line):
			flush()
			var items []string
			items, i = list(lines, i)
			out = append(out, items...)
		default:
			paragraph = append(paragraph, line)
			i++
		}
	}
	flush()
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// fenced converts a fenced code block and returns the line after it. Code stands
// in the macro whose end it does not have; code that has both is text.
func fenced(lines []string, i int) ([]string, int) {
	m := fenceLine.FindStringSubmatch(lines[i])
	fence, language := m[1], languages[strings.ToLower(m[2])]
	var code []string
	for i++; i < len(lines); i++ {
		if end := strings.TrimSpace(lines[i]); strings.HasPrefix(end, fence) && strings.Trim(end, fence[:1]) == "" {
			i++
			break
		}
		code = append(code, lines[i])
	}
	text := strings.ToLower(strings.Join(code, "\n"))
	open, end := "{code}", "{code}"
	switch {
	case !strings.Contains(text, "{code"):
		if language != "" {
			open = "{code:" + language + "}"
		}
	case !strings.Contains(text, "{noformat"):
		open, end = "{noformat}", "{noformat}"
	default:
		for j, line := range code {
			code[j] = escapeLine(line)
		}
		return code, i
	}
	return append(append([]string{open}, code...), end), i
}

// list converts a list and those nested in it, and returns the line after it. How
// deep an item is is told by its indent among those that are open.
func list(lines []string, i int) ([]string, int) {
	type level struct {
		indent int
		mark   byte
	}
	var open []level
	var out []string
	var item []string // of the item that is being read
	prefix := ""
	flush := func() {
		if item != nil {
			out = append(out, prefix+" "+inline(strings.Join(item, " ")))
			item = nil
		}
	}
	for ; i < len(lines); i++ {
		line := lines[i]
		m := itemLine.FindStringSubmatch(line)
		switch {
		case m != nil && !rulerLine.MatchString(line):
			flush()
			indent := width(m[1])
			for len(open) > 0 && indent < open[len(open)-1].indent {
				open = open[:len(open)-1]
			}
			mark := byte('#')
			if strings.Contains("-*+", m[2]) {
				mark = '*'
			}
			if len(open) == 0 || indent > open[len(open)-1].indent+1 {
				open = append(open, level{indent, mark})
			} else {
				open[len(open)-1].mark = mark
			}
			var b strings.Builder
			for _, l := range open {
				b.WriteByte(l.mark)
			}
			prefix, item = b.String(), []string{strings.TrimSpace(m[3])}
		case strings.TrimSpace(line) == "":
			// A blank line ends the list unless more of it follows.
			if i+1 >= len(lines) || !itemLine.MatchString(lines[i+1]) {
				flush()
				return out, i
			}
		case fenceLine.MatchString(line), headingLine.MatchString(line), rulerLine.MatchString(line), quoteLine.MatchString(line):
			flush()
			return out, i
		default:
			item = append(item, strings.TrimSpace(line))
		}
	}
	flush()
	return out, i
}

func width(indent string) int {
	n := 0
	for _, c := range indent {
		if c == '\t' {
			n += 4 - n%4
		} else {
			n++
		}
	}
	return n
}

// paragraphMarkup joins lines as Markdown does: a line's end is a space, unless
// two spaces or a backslash stand before it. In wiki markup every line's end is
// one.
func paragraphMarkup(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		hard := strings.HasSuffix(line, "  ") || strings.HasSuffix(line, `\`) && !strings.HasSuffix(line, `\\`)
		line = strings.TrimSpace(line)
		if i == len(lines)-1 {
			b.WriteString(line)
			break
		}
		if hard {
			b.WriteString(strings.TrimSuffix(line, `\`) + "\n")
		} else {
			b.WriteString(line + " ")
		}
	}
	return inline(b.String())
}

// inline converts what stands within a block and begins at the start of a line.
func inline(text string) string {
	p := inliner{dead: map[string]bool{}}
	out := p.convert(text, true)
	// Only text at the start of a line can pass for a heading: all markup that may
	// stand there begins with another character.
	lines := strings.Split(out, "\n")
	for i, line := range lines {
		if m := lineStart.FindString(line); m != "" {
			lines[i] = m[:len(m)-1] + "&#46;" + line[len(m):]
		}
	}
	return strings.Join(lines, "\n")
}

// inliner converts inline Markdown.
type inliner struct {
	// dead are the delimiters that were looked for in vain up to the end of a text:
	// looking again from further on would be in vain too.
	dead map[string]bool
}

var marks = map[string]string{"**": "*", "__": "*", "*": "_", "_": "_", "~~": "-"}

// convert converts text. links says whether links may stand in it.
func (p *inliner) convert(text string, links bool) string {
	var out strings.Builder
	var plain strings.Builder // characters that wait to be escaped together
	flush := func() {
		out.WriteString(escapeRun(html.UnescapeString(plain.String())))
		plain.Reset()
	}
	before := ' '
	for i := 0; i < len(text); {
		rest := text[i:]
		size := 1
		switch c := rest[0]; {
		case c == '\\' && len(rest) > 1 && unicode.IsPunct(rune(rest[1])) || c == '\\' && len(rest) > 1 && strings.IndexByte("$+<=>^`|~", rest[1]) >= 0:
			flush()
			out.WriteString(escapeChars(rest[1:2]))
			size = 2
		case c == '`':
			if code, n := codeSpan(rest); n > 0 {
				flush()
				out.WriteString("{{" + escapeChars(code) + "}}")
				size = n
			} else {
				size = run(rest)
				plain.WriteString(rest[:size])
			}
		case c == '*' || c == '_' || c == '~':
			markup, n := p.emphasis(rest, before, links)
			if n > 0 {
				flush()
				out.WriteString(markup)
				size = n
			} else {
				size = run(rest)
				plain.WriteString(rest[:size])
			}
		case c == '[' && links, c == '!' && strings.HasPrefix(rest, "![") && links:
			if markup, n := p.link(rest); n > 0 {
				flush()
				out.WriteString(markup)
				size = n
			} else {
				plain.WriteByte(c)
			}
		case c == '<':
			if at := addressHere.FindString(rest[1:]); at != "" && strings.HasPrefix(rest[1+len(at):], ">") {
				flush()
				out.WriteString("[" + at + "]")
				size = len(at) + 2
			} else {
				plain.WriteByte(c)
			}
		case c == 'h' && addressHere.MatchString(rest):
			// As a whole: the underscores in it are no emphasis.
			size = len(addressHere.FindString(rest))
			flush()
			out.WriteString(escapeRun(rest[:size]))
		default:
			_, size = utf8.DecodeRuneInString(rest)
			plain.WriteString(rest[:size])
		}
		before, _ = utf8.DecodeLastRuneInString(text[:i+size])
		i += size
	}
	flush()
	return out.String()
}

// run is how often the first character stands at the start of a text.
func run(text string) int {
	return len(text) - len(strings.TrimLeft(text, text[:1]))
}

// codeSpan reads a code span and returns its length, 0 for none.
func codeSpan(text string) (string, int) {
	n := run(text)
	for i := n; i < len(text); {
		if text[i] != '`' {
			i++
			continue
		}
		m := run(text[i:])
		if m == n {
			code := strings.ReplaceAll(text[n:i], "\n", " ")
			if len(code) > 2 && code[0] == ' ' && code[len(code)-1] == ' ' && strings.TrimSpace(code) != "" {
				code = code[1 : len(code)-1]
			}
			return code, i + m
		}
		i += m
	}
	return "", 0
}

// emphasis converts what stands between two equal runs of delimiters and returns
// its length, 0 for none. Next to a letter Jira wants the delimiters in braces.
func (p *inliner) emphasis(text string, before rune, links bool) (string, int) {
	n := run(text)
	delimiter := text[:n]
	if n == 3 && delimiter[0] != '~' {
		delimiter = delimiter[:2] // bold, and the third is of italic within
	}
	mark := marks[delimiter]
	after, _ := utf8.DecodeRuneInString(text[n:])
	opens := mark != "" && len(text) > n && !unicode.IsSpace(after) && (delimiter[0] == '*' || !isWord(before))
	if !opens || p.dead[text[:n]] {
		return "", 0
	}
	end := closing(text, n)
	if end < 0 {
		p.dead[text[:n]] = true
		return "", 0
	}
	inner := text[n:end]
	if strings.TrimSpace(inner) == "" || strings.Contains(inner, "\n\n") {
		return "", 0
	}
	body := (&inliner{dead: map[string]bool{}}).convert(inner, links)
	if n == 3 {
		body = "_" + body + "_"
	}
	next, _ := utf8.DecodeRuneInString(text[end+n:])
	if isWord(before) || end+n < len(text) && isWord(next) {
		return "{" + mark + "}" + body + "{" + mark + "}", end + n
	}
	return mark + body + mark, end + n
}

// closing finds the run of n delimiters that ends the emphasis a text begins with.
func closing(text string, n int) int {
	c := text[0]
	for i := n; i < len(text); {
		switch {
		case text[i] == '\\':
			i += 2
		case text[i] == '`':
			if _, size := codeSpan(text[i:]); size > 0 {
				i += size
			} else {
				i += run(text[i:])
			}
		case text[i] == c:
			m := run(text[i:])
			last, _ := utf8.DecodeLastRuneInString(text[:i])
			next, _ := utf8.DecodeRuneInString(text[i+m:])
			if m == n && !unicode.IsSpace(last) && (c == '*' || i+m == len(text) || !isWord(next)) {
				return i
			}
			i += m
		default:
			i++
		}
	}
	return -1
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

var (
	linkTarget = regexp.MustCompile(`^\((?:<([^<>\n]*)>|([^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)`)
	linkURL    = regexp.MustCompile(`^(?i:https?://|mailto:)[!-~]+$`)
)

// longestLabel bounds how far the end of a link's text is looked for.
const longestLabel = 1000

// link converts a link or an image and returns its length, 0 for none.
func (p *inliner) link(text string) (string, int) {
	start := strings.IndexByte(text, '[') + 1
	depth, end := 1, -1
	for i := start; i < min(len(text), longestLabel) && depth > 0; i++ {
		switch text[i] {
		case '\\':
			i++
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				end = i
			}
		}
	}
	if end < 0 {
		return "", 0
	}
	m := linkTarget.FindStringSubmatch(text[end+1:])
	if m == nil {
		return "", 0
	}
	size := end + 1 + len(m[0])
	label := (&inliner{dead: map[string]bool{}}).convert(text[start:end], false)
	// A link's text is not looked through for links, which addresses became.
	label = strings.NewReplacer("[", "", "]", "", `\[`, `\[`, `\]`, `\]`, "\n", " ").Replace(label)
	target := html.UnescapeString(m[1] + m[2])
	if !linkURL.MatchString(target) {
		return label, size
	}
	target = strings.NewReplacer("|", "%7C", "[", "%5B", "]", "%5D", "{", "%7B", "}", "%7D", "^", "%5E", `\`, "%5C", `"`, "%22", "<", "%3C", ">", "%3E", "`", "%60").Replace(target)
	if strings.TrimSpace(label) == "" {
		return "[" + target + "]", size
	}
	return "[" + label + "|" + target + "]", size
}
