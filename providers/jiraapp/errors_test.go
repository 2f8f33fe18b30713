package jiraapp_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

// TestErrors goes through go-jira itself and through the adapter's own calls:
// both say the same.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		answer *http.Response
		want   error
		text   string
	}{
		{answer(400, `{"errorMessages":["planted"],"errors":{"summary":"planted","customfield_10":"x"}}`), providers.ErrInvalid, "integrations/jiraapp: status 400 customfield_10: integrations: invalid request"},
		{answer(400, `{"errorMessages":[],"errors":{"planted field":"x"}}`), providers.ErrInvalid, "integrations/jiraapp: status 400: integrations: invalid request"},
		{answer(400, `planted`), providers.ErrInvalid, "integrations/jiraapp: status 400: integrations: invalid request"},
		{answer(401, `{"code":401,"message":"Unauthorized"}`), providers.ErrTransient, "integrations/jiraapp: status 401: integrations: transient failure"},
		{answer(401, `{"code":401,"message":"Unauthorized; scope does not match"}`), providers.ErrForbidden, "integrations/jiraapp: status 401 scope_does_not_match: integrations: missing scope"},
		{answer(403, `{"errorMessages":["planted"]}`), providers.ErrForbidden, "integrations/jiraapp: status 403: integrations: forbidden"},
		{answer(404, `{"errorMessages":["planted"]}`), providers.ErrNotFound, "integrations/jiraapp: status 404: integrations: not found at the provider"},
		{answer(409, `{}`), providers.ErrConflict, "integrations/jiraapp: status 409: integrations: conflict at the provider"},
		{answer(410, `{}`), providers.ErrNotFound, "integrations/jiraapp: status 410: integrations: not found at the provider"},
		{answer(413, `{}`), providers.ErrInvalid, "integrations/jiraapp: status 413: integrations: invalid request"},
		{answer(500, `planted`), providers.ErrProviderDown, ""},
		{answer(503, ``), providers.ErrTransient, ""},
		{answer(503, ``, "Retry-After", "3"), ratelimit.ErrRateLimited, ""},
		{answer(429, ``), ratelimit.ErrRateLimited, ""},
		{answer(200, `{"planted`), providers.ErrTransient, "integrations/jiraapp: status 200 bad_answer: integrations: transient failure"},
		{answer(200, ``, "Content-Type", "text/html"), providers.ErrTransient, "integrations/jiraapp: bad_answer: integrations: transient failure"},
		{answer(200, `{"id":{"planted":1},"fields":{"description":{"type":"doc"}}}`), providers.ErrTransient, "integrations/jiraapp: bad_answer: integrations: transient failure"},
	} {
		for name, operation := range map[string]func(conn *providers.Connection) error{
			"go-jira": func(conn *providers.Connection) error {
				_, err := jiraapp.GetIssue(t.Context(), conn, "ACME-1")
				return err
			},
			"own": func(conn *providers.Connection) error {
				_, err := jiraapp.Comment(t.Context(), conn, "ACME-1", jiraapp.Plain("x"))
				return err
			},
		} {
			w := answers(c.answer)
			err := operation(connection(t, w))
			require.ErrorIs(t, err, c.want, "%s: %d", name, c.answer.StatusCode)
			var e *providers.CallError
			require.ErrorAs(t, err, &e)
			if c.text != "" {
				require.EqualError(t, err, c.text, name)
			}
			require.NotContains(t, err.Error(), "planted")
			require.Zero(t, w.open)
			require.Len(t, w.sent, 1, "refused calls are not repeated")
		}
	}
}

func TestMissingScope(t *testing.T) {
	_, err := jiraapp.GetIssue(t.Context(), connection(t, answers(answer(401, `{"code":401,"message":"Unauthorized; scope does not match"}`))), "ACME-1")
	var missing *providers.MissingScopeError
	require.ErrorAs(t, err, &missing)
	require.NotErrorIs(t, err, providers.ErrReconnectRequired)
}

func TestClassifyAnswer(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		header http.Header
		want   providers.Answer
	}{
		{200, `{}`, nil, providers.AnswerOK},
		{401, `{"code":401,"message":"Unauthorized"}`, nil, providers.AnswerTokenExpired},
		{401, ``, nil, providers.AnswerTokenExpired},
		{401, `{"code":401,"message":"Unauthorized; scope does not match"}`, nil, providers.AnswerOK},
		{403, `{}`, nil, providers.AnswerOK},
		{429, ``, nil, providers.AnswerLimited},
		{503, ``, http.Header{"Retry-After": {"1"}}, providers.AnswerLimited},
		{503, ``, nil, providers.AnswerOK},
		{404, ``, nil, providers.AnswerOK},
	} {
		require.Equal(t, c.want, app().ClassifyAnswer(c.status, c.header, []byte(c.body)), "%d %s", c.status, c.body)
	}
}

func TestLimits(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		header []string
		wait   time.Duration
		scope  string
	}{
		{[]string{"Retry-After", "7", "RateLimit-Reason", "jira-burst-based", "X-RateLimit-Reset", now.Add(time.Hour).UTC().Format(time.RFC3339)}, 7 * time.Second, "jira-burst-based"},
		{[]string{"X-RateLimit-Reset", now.Add(30 * time.Minute).UTC().Format(time.RFC3339), "RateLimit-Reason", "jira-quota-tenant-based"}, 30 * time.Minute, "jira-quota-tenant-based"},
		{[]string{"X-RateLimit-Reset", now.Add(time.Hour).UTC().Format("2006-01-02T15:04Z")}, time.Hour, "jira"},
		{[]string{"X-RateLimit-Reset", now.Add(time.Hour).UTC().Format("2006-01-02T15:04+00:00")}, time.Hour, "jira"},
		{[]string{"X-RateLimit-Reset", now.Add(1000 * time.Hour).UTC().Format(time.RFC3339)}, 24 * time.Hour, "jira"},
		{[]string{"X-RateLimit-Reset", now.Add(-time.Hour).UTC().Format(time.RFC3339)}, time.Minute, "jira"},
		{[]string{"X-RateLimit-Reset", "soon", "RateLimit-Reason", "planted reason"}, time.Minute, "jira"},
		{nil, time.Minute, "jira"},
	} {
		_, err := jiraapp.GetIssue(t.Context(), connection(t, answers(answer(429, `{}`, c.header...))), "ACME-1")
		var limit *ratelimit.Error
		require.ErrorAs(t, err, &limit)
		require.Equal(t, c.scope, limit.Scope)
		require.InDelta(t, c.wait.Seconds(), time.Until(limit.RetryAt).Seconds(), 61, "%v", c.header) // minutes without seconds
	}
}

// TestTheLimiterHearsOfTheReset: the connection pauses as long as the answer says.
func TestTheLimiterHearsOfTheReset(t *testing.T) {
	w := answers(answer(429, `{}`, "X-RateLimit-Reset", time.Now().Add(30*time.Minute).UTC().Format(time.RFC3339)))
	conn := connection(t, w, func(c *providers.ConnectionConfig) { c.Limiter = ratelimit.NewLocal(nil) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 2 {
		_, err := jiraapp.GetIssue(ctx, conn, "ACME-1")
		var limit *ratelimit.Error
		require.ErrorAs(t, err, &limit)
		require.InDelta(t, 1800, time.Until(limit.RetryAt).Seconds(), 5)
	}
	require.Len(t, w.sent, 1, "the second call is not sent")
}

func TestClassify(t *testing.T) {
	require.NoError(t, jiraapp.Classify(nil))
	own := errors.New("mine")
	require.Equal(t, own, jiraapp.Classify(own))

	c, err := jiraapp.Client(t.Context(), connection(t, answers(answer(400, `{"errorMessages":["Jira's words"],"errors":{}}`))))
	require.NoError(t, err)
	_, resp, err := c.Issue.GetWithContext(t.Context(), "ACME-1", nil)
	require.Nil(t, resp)
	require.ErrorIs(t, err, providers.ErrInvalid, "go-jira's own error is classifiable")
	err = jiraapp.Classify(err)
	require.EqualError(t, err, "integrations/jiraapp: status 400: integrations: invalid request")
	var said *jira.Error
	require.ErrorAs(t, err, &said)
	require.Equal(t, []string{"Jira's words"}, said.ErrorMessages)
	require.Equal(t, "Jira's words: status 400", said.Error())

	wrapped := jiraapp.Classify(&url.Error{Op: "Get", URL: "https://planted", Err: errors.New("reset")})
	require.ErrorIs(t, wrapped, providers.ErrTransient)
	require.NotContains(t, wrapped.Error(), "planted")
	require.ErrorIs(t, jiraapp.Classify(&url.Error{Err: context.Canceled}), context.Canceled)
}

// TestClientLeavesNothingOpen calls methods of go-jira that do not close what
// they get.
func TestClientLeavesNothingOpen(t *testing.T) {
	for _, a := range []*http.Response{answer(204, ""), answer(200, "{}"), answer(400, `{"errorMessages":["x"]}`), answer(500, "down")} {
		w := answers(a)
		c, err := jiraapp.Client(t.Context(), connection(t, w))
		require.NoError(t, err)
		_, _ = c.Issue.UpdateIssueWithContext(t.Context(), "ACME-1", map[string]any{"fields": map[string]any{}})
		_, _, _ = c.Issue.CreateWithContext(t.Context(), &jira.Issue{Fields: &jira.IssueFields{Summary: "x"}})
		_, _ = c.Issue.DoTransitionWithContext(t.Context(), "ACME-1", "11")
		_ = c.Issue.DeleteCommentWithContext(t.Context(), "ACME-1", "1")
		require.Len(t, w.sent, 4)
		require.Zero(t, w.open, "status %d", a.StatusCode)
	}
}
