package jiraapp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/providers"
)

// maxSummary is how many characters a summary has at most
// (support.atlassian.com, "What are the different types of work item fields",
// checked 2026-11).
const maxSummary = 255

// Draft is an issue to create. Project, Type and Summary are required.
type Draft struct {
	// Project is the project's key, Type the name of an issue type of it: "Task".
	Project, Type string
	// Summary is one line of at most 255 characters.
	Summary string
	// Description is optional: [Plain], [Markdown] or [Markup].
	Description Text
	// Parent is the key or id of the parent issue, for sub-tasks. Optional.
	Parent string
	Labels []string
	// Fields are further fields as API v2 spells them, custom ones included:
	// {"priority": {"name": "High"}}. None of the above may be among them.
	Fields map[string]any
}

// CreateIssue creates an issue. The result has its ID, Key and Self and nothing
// else. The errors are those of [Classify]; a draft that cannot be right is an
// error wrapping providers.ErrInvalid and nothing is sent. Creating twice is
// possible when an answer was lost: Jira has no idempotency key for issues.
func CreateIssue(ctx context.Context, conn *providers.Connection, d Draft) (*jira.Issue, error) {
	fields, err := d.fields()
	if err != nil {
		return nil, err
	}
	c, err := Client(ctx, conn)
	if err != nil {
		return nil, err
	}
	var issue jira.Issue
	if err := call(ctx, c, http.MethodPost, "rest/api/2/issue", fieldsBody{fields}, &issue); err != nil {
		return nil, err
	}
	if issue.Key == "" {
		return nil, badAnswer(http.StatusCreated, nil)
	}
	return &issue, nil
}

// fieldsBody is the body of what writes fields.
type fieldsBody struct {
	Fields map[string]json.RawMessage `json:"fields"`
}

func (d Draft) fields() (map[string]json.RawMessage, error) {
	switch {
	case !isProjectKey(d.Project):
		return nil, fmt.Errorf("%w: %q is no project key", providers.ErrInvalid, d.Project)
	case d.Type == "":
		return nil, fmt.Errorf("%w: the issue has no type", providers.ErrInvalid)
	case strings.TrimSpace(d.Summary) == "" || strings.ContainsAny(d.Summary, "\r\n") || utf8.RuneCountInString(d.Summary) > maxSummary:
		return nil, fmt.Errorf("%w: a summary is one line of 1 to %d characters", providers.ErrInvalid, maxSummary)
	}
	own := map[string]any{"project": map[string]string{"key": d.Project}, "issuetype": map[string]string{"name": d.Type}, "summary": d.Summary}
	if d.Description != (Text{}) {
		own["description"] = d.Description
	}
	if d.Parent != "" {
		if err := checkIssue(d.Parent); err != nil {
			return nil, err
		}
		own["parent"] = map[string]string{"key": d.Parent}
		if isDigits(d.Parent) {
			own["parent"] = map[string]string{"id": d.Parent}
		}
	}
	if len(d.Labels) > 0 {
		own["labels"] = d.Labels
	}
	for name, v := range d.Fields {
		if _, taken := own[name]; taken {
			return nil, fmt.Errorf("%w: field %q is given twice", providers.ErrInvalid, name)
		}
		own[name] = v
	}
	return encode(own)
}

// encode turns the values of fields into JSON, so that a value that has none is
// an error before anything is sent.
func encode(fields map[string]any) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(fields))
	for name, v := range fields {
		raw, err := json.Marshal(v)
		if err != nil || name == "" {
			return nil, fmt.Errorf("%w: field %q has no name or a value that is no JSON", providers.ErrInvalid, name)
		}
		out[name] = raw
	}
	return out, nil
}

// GetIssue reads an issue by key or id, with the given fields, or all without
// any. The errors are those of [Classify]; a text that is neither key nor id is
// an error wrapping providers.ErrInvalid, here and in every other operation, and
// nothing is sent.
func GetIssue(ctx context.Context, conn *providers.Connection, issue string, fields ...string) (*jira.Issue, error) {
	c, err := clientFor(ctx, conn, issue)
	if err != nil {
		return nil, err
	}
	got, resp, err := c.Issue.GetWithContext(ctx, issue, &jira.GetQueryOptions{Fields: strings.Join(fields, ",")})
	if err := done(resp, err); err != nil {
		return nil, err
	}
	return got, nil
}

// UpdateIssue sets fields of an issue, given as API v2 spells them; a [Text] may
// be a value. Fields that are not named stay as they are. The errors are those
// of [Classify].
func UpdateIssue(ctx context.Context, conn *providers.Connection, issue string, fields map[string]any) error {
	if len(fields) == 0 {
		return fmt.Errorf("%w: no fields to update", providers.ErrInvalid)
	}
	encoded, err := encode(fields)
	if err != nil {
		return err
	}
	c, err := clientFor(ctx, conn, issue)
	if err != nil {
		return err
	}
	return done(c.Issue.UpdateIssueWithContext(ctx, issue, map[string]any{"fields": encoded}))
}

// Transition moves an issue by the transition of the given name, in any case,
// that its workflow offers to the user now. A name it does not offer, or offers
// several times, is an error wrapping providers.ErrInvalid that lists the names;
// other errors are those of [Classify].
func Transition(ctx context.Context, conn *providers.Connection, issue, name string) error {
	c, err := clientFor(ctx, conn, issue)
	if err != nil {
		return err
	}
	offered, resp, err := c.Issue.GetTransitionsWithContext(ctx, issue)
	if err := done(resp, err); err != nil {
		return err
	}
	var ids, names []string
	for _, t := range offered {
		names = append(names, fmt.Sprintf("%q", t.Name))
		if strings.EqualFold(strings.TrimSpace(t.Name), strings.TrimSpace(name)) {
			ids = append(ids, t.ID)
		}
	}
	if len(ids) != 1 {
		return fmt.Errorf("%w: %d transitions are named %q, offered are: %s", providers.ErrInvalid, len(ids), name, strings.Join(names, ", "))
	}
	return done(c.Issue.DoTransitionWithContext(ctx, issue, ids[0]))
}

// Comment adds a comment to an issue. The errors are those of [Classify].
func Comment(ctx context.Context, conn *providers.Connection, issue string, body Text) (*jira.Comment, error) {
	if body == (Text{}) {
		return nil, fmt.Errorf("%w: the comment is empty", providers.ErrInvalid)
	}
	c, err := clientFor(ctx, conn, issue)
	if err != nil {
		return nil, err
	}
	// go-jira's AddComment sends an empty author and visibility along.
	var added jira.Comment
	if err := call(ctx, c, http.MethodPost, "rest/api/2/issue/"+issue+"/comment", map[string]Text{"body": body}, &added); err != nil {
		return nil, err
	}
	return &added, nil
}

// Assign gives an issue to a user by account id, "-1" to the project's default
// assignee, "" to nobody. The errors are those of [Classify]. Jira Cloud knows
// users by account id alone.
func Assign(ctx context.Context, conn *providers.Connection, issue, accountID string) error {
	if !isAccountID(accountID) {
		return fmt.Errorf("%w: not an account id", providers.ErrInvalid)
	}
	c, err := clientFor(ctx, conn, issue)
	if err != nil {
		return err
	}
	// go-jira's UpdateAssignee cannot send the null that means nobody.
	body := map[string]*string{"accountId": &accountID}
	if accountID == "" {
		body["accountId"] = nil
	}
	return call(ctx, c, http.MethodPut, "rest/api/2/issue/"+issue+"/assignee", body, nil)
}

// clientFor is Client for calls about an issue, whose name goes into a path.
func clientFor(ctx context.Context, conn *providers.Connection, issue string) (*jira.Client, error) {
	if err := checkIssue(issue); err != nil {
		return nil, err
	}
	return Client(ctx, conn)
}

// checkIssue checks the form of an issue's key or id.
func checkIssue(issue string) error {
	project, number, ok := strings.Cut(issue, "-")
	if isDigits(issue) || ok && isProjectKey(project) && isDigits(number) {
		return nil
	}
	return fmt.Errorf("%w: %.64q is neither an issue's key nor its id", providers.ErrInvalid, issue)
}

// isDigits reports whether a text is a number from 1 without leading zeros.
func isDigits(s string) bool {
	return s != "" && len(s) <= 18 && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}

// isProjectKey checks the form of a key, which administrators may change within
// limits: a letter, then letters, digits and underscores (support.atlassian.com,
// "Change the project key format", checked 2026-11).
func isProjectKey(s string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= 64 && strings.ContainsRune(letters, rune(s[0])) && strings.Trim(s, letters+"0123456789_") == ""
}

func isAccountID(s string) bool {
	return len(s) <= 128 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_-") == ""
}
