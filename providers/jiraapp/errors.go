package jiraapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
)

// adapter names this package in errors.
const adapter = "jiraapp"

// classifyToken judges the answers of the token endpoint
// (developer.atlassian.com/cloud/oauth, "Refresh tokens": 403 with
// "invalid_grant", checked 2026-11). unauthorized_client is said of an app as
// well as of a refresh token: the description tells which.
func classifyToken(a token.Answer, code string) (token.Outcome, bool) {
	switch code {
	case "invalid_grant":
		return token.DeadGrant, true
	case "unauthorized_client":
		var body struct {
			Description string `json:"error_description"`
		}
		if json.Unmarshal(a.Body, &body) == nil && strings.Contains(strings.ToLower(body.Description), "refresh_token is invalid") {
			return token.DeadGrant, true
		}
		return token.AppFault, true
	case "access_denied", "invalid_client":
		return token.AppFault, true
	}
	return 0, false
}

// limited reports whether an answer is about a rate limit: 429, and a 503 that
// says when to come back (jira.atlassian.com/browse/JRACLOUD-69262, checked
// 2026-11).
func limited(status int, h http.Header) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable && h.Get("Retry-After") != ""
}

// wrongScope is in the 401 of a call that the token has no scope for. Another
// token would have none either.
func wrongScope(status int, body []byte) bool {
	return (status == http.StatusUnauthorized || status == http.StatusForbidden) && bytes.Contains(body, []byte("scope does not match"))
}

// ClassifyAnswer implements providers.AnswerClassifier.
func (a *App) ClassifyAnswer(status int, header http.Header, head []byte) providers.Answer {
	switch {
	case limited(status, header):
		return providers.AnswerLimited
	case wrongScope(status, head):
		return providers.AnswerOK
	case status == http.StatusUnauthorized:
		return providers.AnswerTokenExpired
	}
	return providers.AnswerOK
}

// meaning tells what a refusal means. The code is the first field Jira complains
// of, if it complains of fields.
func meaning(a providers.APIAnswer) (code string, kind error) {
	switch {
	case limited(a.Status, a.Header):
		scope := providers.PlainCode(a.Header.Get("RateLimit-Reason"))
		if scope == "" {
			scope = Key
		}
		return "rate_limited", &ratelimit.Error{RetryAt: retryAt(a.Header, time.Now()), Scope: scope}
	case wrongScope(a.Status, a.Body):
		return "scope_does_not_match", &providers.MissingScopeError{} // Jira does not say which
	}
	if e := messages(a); e != nil {
		for _, field := range slices.Sorted(maps.Keys(e.Errors)) {
			return field, nil
		}
	}
	return "", nil
}

// messages reads {"errorMessages":[],"errors":{}}, nil for anything else.
func messages(a providers.APIAnswer) *jira.Error {
	e := &jira.Error{HTTPError: fmt.Errorf("status %d", a.Status)}
	if json.Unmarshal(a.Body, e) != nil || len(e.ErrorMessages)+len(e.Errors) == 0 {
		return nil
	}
	return e
}

// refusal is the error of an answer that is not a success.
func refusal(a providers.APIAnswer) error {
	e := &providers.CallError{Adapter: adapter, Status: a.Status}
	e.Code, e.Kind = meaning(a)
	e.Code = providers.PlainCode(e.Code)
	if e.Kind == nil {
		e.Kind = providers.StatusMeaning(a.Status, a.Header)
	}
	if m := messages(a); m != nil {
		e.Cause = m
	}
	return e
}

// badAnswer is the error of a success that nobody can read.
func badAnswer(status int, cause error) error {
	return &providers.CallError{Adapter: adapter, Status: status, Code: "bad_answer", Kind: providers.ErrTransient, Cause: cause}
}

const (
	// unknownPause is how long to wait after a limit that comes without a time.
	unknownPause = time.Minute
	// longestPause caps what headers can ask for.
	longestPause = 24 * time.Hour
)

// LimitedFor implements providers.LimitReader: some answers say when a limit ends
// in X-RateLimit-Reset alone.
func (a *App) LimitedFor(header http.Header, _ []byte) time.Duration {
	return pause(header, time.Now())
}

// pause is how long an answer asks to wait, 0 when it does not say: Retry-After,
// else X-RateLimit-Reset, which is ISO 8601 with or without seconds
// (developer.atlassian.com/cloud/jira/platform/rate-limiting, checked 2026-11).
func pause(h http.Header, now time.Time) time.Duration {
	if wait := token.ParseRetryAfter(h, now); wait > 0 {
		return wait
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if at, err := time.Parse(layout, h.Get("X-RateLimit-Reset")); err == nil {
			return min(max(at.Sub(now), 0), longestPause)
		}
	}
	return 0
}

// retryAt is when a refused call may be tried again.
func retryAt(h http.Header, now time.Time) time.Time {
	if wait := pause(h, now); wait > 0 {
		return now.Add(wait)
	}
	return now.Add(unknownPause)
}

// Classify maps an error of go-jira with this package's [Client] to a
// *providers.CallError, whose meanings are those of package providers and
// *ratelimit.Error:
//
//   - ErrInvalid for 400 and other 4xx, ErrForbidden, ErrNotFound (410 too),
//     ErrConflict; ErrTransient for another 401, as a grant that is over is the
//     connection's own ErrReconnectRequired;
//   - *providers.MissingScopeError, which is ErrForbidden too, for "scope does not
//     match", without names: Jira gives none;
//   - *ratelimit.Error for 429 and for 503 with Retry-After, its Scope being
//     Jira's RateLimit-Reason;
//   - ErrTransient, ErrProviderDown.
//
// Its text holds no URL and nothing of the answer but a field's name; a
// *jira.Error with Jira's messages is reachable for errors.As. Errors of the
// connection and of a context, and those it does not know, are returned as they
// are, without http.Client's wrapping, which quotes the URL; nil is nil.
func Classify(err error) error {
	var refused *providers.CallError
	var wrapped *url.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &wrapped):
		return providers.NoAnswer(adapter, err)
	}
	return err
}

// isOwn reports whether an error is one of the connection or of a context.
func isOwn(err error) bool {
	var call *providers.CallError
	return !errors.As(providers.NoAnswer(adapter, err), &call)
}
