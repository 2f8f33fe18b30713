package jiraapp

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/providers"
)

const (
	defaultPage = 100
	// maxPage is what search/jql returns at most, and only of ids and keys
	// (developer.atlassian.com/cloud/jira/platform/rest/v2, "Search for issues using
	// JQL enhanced search", checked 2026-11).
	maxPage = 5000
	// maxReconcile is how many issues a search can be told to look up afresh.
	maxReconcile = 50
	projectsPage = 50
)

// defaultFields are those a search asks for: Jira's own default is the id alone.
var defaultFields = []string{"summary", "status", "issuetype", "project", "assignee", "priority", "labels", "created", "updated"}

// SearchOptions narrow a [Search].
type SearchOptions struct {
	// Fields are the fields to return; few cost little of the rate limit. Defaults
	// to summary, status, issuetype, project, assignee, priority, labels, created
	// and updated.
	Fields []string
	// PageSize is how many issues are asked for at a time, at most 5000. Defaults
	// to 100. Jira returns fewer as it sees fit.
	PageSize int
	// Reconcile are the ids of issues, at most 50, that were written just now and
	// must be found as they are.
	Reconcile []int
}

// Search yields the issues a query finds, page by page as they are consumed. It
// ends after the first error, which is one of [Classify], or wraps
// providers.ErrInvalid for a query that is empty or options that cannot be met,
// when nothing is sent. Jira refuses a query without a restriction (400,
// ErrInvalid). Build queries of values with [JQL]. opts may be nil.
func Search(ctx context.Context, conn *providers.Connection, jql string, opts *SearchOptions) iter.Seq2[*jira.Issue, error] {
	return func(yield func(*jira.Issue, error) bool) {
		o, err := opts.v2(jql)
		var c *jira.Client
		if err == nil {
			c, err = Client(ctx, conn)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for {
			issues, resp, err := c.Issue.SearchV2JQLWithContext(ctx, jql, o)
			if err := done(resp, err); err != nil {
				yield(nil, err)
				return
			}
			for i := range issues {
				if !yield(&issues[i], nil) {
					return
				}
			}
			switch next := resp.NextPageToken; {
			case resp.IsLast || next == "":
				return
			case next == o.NextPageToken:
				yield(nil, badAnswer(http.StatusOK, nil)) // it would go on forever
				return
			default:
				o.NextPageToken = next
			}
		}
	}
}

func (o *SearchOptions) v2(jql string) (*jira.SearchOptionsV2, error) {
	if o == nil {
		o = &SearchOptions{}
	}
	switch {
	case strings.TrimSpace(jql) == "":
		return nil, fmt.Errorf("%w: the query is empty", providers.ErrInvalid)
	case o.PageSize < 0 || o.PageSize > maxPage:
		return nil, fmt.Errorf("%w: PageSize is not within 0 and %d", providers.ErrInvalid, maxPage)
	case len(o.Reconcile) > maxReconcile:
		return nil, fmt.Errorf("%w: more than %d issues to reconcile", providers.ErrInvalid, maxReconcile)
	}
	out := &jira.SearchOptionsV2{Fields: o.Fields, MaxResults: o.PageSize, ReconcileIssues: o.Reconcile}
	if len(out.Fields) == 0 {
		out.Fields = defaultFields
	}
	if out.MaxResults == 0 {
		out.MaxResults = defaultPage
	}
	return out, nil
}

// JQL puts values into a query at its question marks, quoted so that none of
// them is anything but a value. A value is a string, an integer, or a []string
// for IN, which must not be empty. Question marks within quotes stay.
//
//	JQL("project = ? AND status IN ? AND summary ~ ?", key, states, words)
//
// To the right of ~ the characters of Jira's text search keep their meaning. An
// error wraps providers.ErrInvalid: there are too many or too few values, one is
// of another type, has invalid UTF-8 or a NUL, or the query has an open quote.
func JQL(query string, args ...any) (string, error) {
	var b strings.Builder
	var quote byte
	used := 0
	for i := 0; i < len(query); i++ {
		c := query[i]
		switch {
		case quote != 0 && c == '\\' && i+1 < len(query):
			b.WriteByte(c)
			i++
			c = query[i]
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '?':
			if used == len(args) {
				return "", fmt.Errorf("%w: more question marks than values in the query", providers.ErrInvalid)
			}
			value, err := jqlValue(args[used])
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			used++
			continue
		}
		b.WriteByte(c)
	}
	switch {
	case quote != 0:
		return "", fmt.Errorf("%w: a quote of the query is not closed", providers.ErrInvalid)
	case used != len(args):
		return "", fmt.Errorf("%w: %d values for %d question marks in the query", providers.ErrInvalid, len(args), used)
	}
	return b.String(), nil
}

func jqlValue(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return jqlString(v)
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case []string:
		if len(v) == 0 {
			return "", fmt.Errorf("%w: an empty list in the query", providers.ErrInvalid)
		}
		quoted := make([]string, len(v))
		for i, s := range v {
			var err error
			if quoted[i], err = jqlString(s); err != nil {
				return "", err
			}
		}
		return "(" + strings.Join(quoted, ", ") + ")", nil
	}
	return "", fmt.Errorf("%w: a query takes no value of type %T", providers.ErrInvalid, v)
}

func jqlString(s string) (string, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("%w: a value of the query is no text", providers.ErrInvalid)
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 || r == 0x85:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String(), nil
}

// Projects yields the projects the user may see, page by page as they are
// consumed, ordered by key. It ends after the first error, which is one of
// [Classify].
func Projects(ctx context.Context, conn *providers.Connection) iter.Seq2[*jira.Project, error] {
	return func(yield func(*jira.Project, error) bool) {
		c, err := Client(ctx, conn)
		if err != nil {
			yield(nil, err)
			return
		}
		for start := 0; ; {
			var page struct {
				Values []jira.Project `json:"values"`
				IsLast bool           `json:"isLast"`
			}
			q := url.Values{"startAt": {strconv.Itoa(start)}, "maxResults": {strconv.Itoa(projectsPage)}, "orderBy": {"key"}}
			if err := call(ctx, c, http.MethodGet, "rest/api/2/project/search?"+q.Encode(), nil, &page); err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Values {
				if !yield(&page.Values[i], nil) {
					return
				}
			}
			if start += len(page.Values); page.IsLast || len(page.Values) == 0 {
				return
			}
		}
	}
}
