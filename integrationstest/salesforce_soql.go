package integrationstest

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// soql is a query of the kind
//
//	SELECT a, b FROM T [WHERE c = 'x' AND d IN ('y', 'z')] [ORDER BY e DESC, f] [LIMIT n]
type soql struct {
	object string
	fields []string
	where  []soqlCondition
	order  []soqlOrder
	limit  int // -1 for none
}

type soqlCondition struct {
	field, op string
	values    []string
	quoted    bool
}

type soqlOrder struct {
	field string
	desc  bool
}

// soqlToken finds words and dates, literals, operators and punctuation.
var soqlToken = regexp.MustCompile(`^(?:'(?:[^'\\]|\\.)*'|[A-Za-z0-9_.:+-]+|<=|>=|!=|[=<>(),])`)

type soqlReader struct{ tokens []string }

func (r *soqlReader) next() string {
	if len(r.tokens) == 0 {
		return ""
	}
	t := r.tokens[0]
	r.tokens = r.tokens[1:]
	return t
}

// take consumes words if they are next.
func (r *soqlReader) take(words ...string) bool {
	if len(r.tokens) < len(words) {
		return false
	}
	for i, w := range words {
		if !strings.EqualFold(r.tokens[i], w) {
			return false
		}
	}
	r.tokens = r.tokens[len(words):]
	return true
}

func parseSOQL(text string) (soql, error) {
	q := soql{limit: -1}
	r := &soqlReader{}
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		t := soqlToken.FindString(text)
		if t == "" {
			return q, errors.New("unexpected token: " + text[:1])
		}
		r.tokens, text = append(r.tokens, t), text[len(t):]
	}
	if !r.take("SELECT") {
		return q, errors.New("unexpected token, expecting SELECT")
	}
	for {
		q.fields = append(q.fields, r.next())
		if !r.take(",") {
			break
		}
	}
	if !r.take("FROM") {
		return q, errors.New("unexpected token, expecting FROM")
	}
	q.object = r.next()
	if r.take("WHERE") {
		for {
			c, err := parseCondition(r)
			if err != nil {
				return q, err
			}
			q.where = append(q.where, c)
			if !r.take("AND") {
				break
			}
		}
	}
	if r.take("ORDER", "BY") {
		for {
			o := soqlOrder{field: r.next()}
			if r.take("DESC") {
				o.desc = true
			} else {
				r.take("ASC")
			}
			q.order = append(q.order, o)
			if !r.take(",") {
				break
			}
		}
	}
	if r.take("LIMIT") {
		n, err := strconv.Atoi(r.next())
		if err != nil {
			return q, errors.New("unexpected token, expecting a number")
		}
		q.limit = n
	}
	if len(r.tokens) > 0 || q.object == "" {
		return q, fmt.Errorf("unexpected token: %q", r.next())
	}
	return q, nil
}

func parseCondition(r *soqlReader) (soqlCondition, error) {
	c := soqlCondition{field: r.next(), op: strings.ToUpper(r.next())}
	var raw []string
	switch c.op {
	case "=", "!=", "<", ">", "<=", ">=", "LIKE":
		raw = []string{r.next()}
	case "IN":
		if !r.take("(") {
			return c, errors.New("unexpected token, expecting (")
		}
		for {
			raw = append(raw, r.next())
			if !r.take(",") {
				break
			}
		}
		if !r.take(")") {
			return c, errors.New("unexpected token, expecting )")
		}
	default:
		return c, errors.New("unexpected operator")
	}
	for _, t := range raw {
		if t == "" {
			return c, errors.New("unexpected end")
		}
		if c.quoted = t[0] == '\''; c.quoted && c.op != "LIKE" {
			t = soqlUnquote(t[1 : len(t)-1])
		} else if c.quoted {
			t = t[1 : len(t)-1]
		}
		c.values = append(c.values, t)
	}
	return c, nil
}

func soqlUnquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// likePattern turns the text of a LIKE literal, escapes included, into a regular
// expression.
func likePattern(s string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("(?is)^")
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteString(regexp.QuoteMeta(soqlUnquote(`\` + s[i:i+1])))
		case s[i] == '%':
			b.WriteString(".*")
		case s[i] == '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(s[i : i+1]))
		}
	}
	return regexp.MustCompile(b.String() + "$")
}

func (c soqlCondition) holds(v any) bool {
	text := ""
	if v != nil {
		text = fmt.Sprint(v)
	}
	switch c.op {
	case "LIKE":
		return likePattern(c.values[0]).MatchString(text)
	case "=", "IN":
		return slices.ContainsFunc(c.values, func(want string) bool { return soqlCompare(text, want, c.quoted) == 0 })
	case "!=":
		return soqlCompare(text, c.values[0], c.quoted) != 0
	}
	n := soqlCompare(text, c.values[0], c.quoted)
	return c.op[0] == '<' && n < 0 || c.op[0] == '>' && n > 0 || len(c.op) == 2 && n == 0
}

// soqlCompare compares a field with a literal: text in any case, times as times.
func soqlCompare(have, want string, quoted bool) int {
	if quoted {
		return cmp.Compare(strings.ToLower(have), strings.ToLower(want))
	}
	if want == "null" {
		want = ""
	}
	if h, err := time.Parse(stampForm, have); err == nil {
		if w, err := time.Parse(time.RFC3339, want); err == nil {
			return h.Compare(w)
		}
	}
	if h, err := strconv.ParseFloat(have, 64); err == nil {
		if w, err := strconv.ParseFloat(want, 64); err == nil {
			return cmp.Compare(h, w)
		}
	}
	return cmp.Compare(have, want)
}

func (q soql) run(all []*salesforceRecord) []*salesforceRecord {
	var out []*salesforceRecord
	for _, r := range all {
		if !slices.ContainsFunc(q.where, func(c soqlCondition) bool { return !c.holds(r.fields[c.field]) }) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b *salesforceRecord) int {
		for _, o := range q.order {
			n := cmp.Compare(fmt.Sprint(a.fields[o.field]), fmt.Sprint(b.fields[o.field]))
			if o.desc {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	})
	if q.limit >= 0 && len(out) > q.limit {
		out = out[:q.limit]
	}
	return out
}
