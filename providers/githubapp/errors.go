package githubapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
)

// classifyToken judges the codes of login/oauth/access_token, which come with
// HTTP 200 (docs.github.com, "Troubleshooting OAuth app access token request
// errors", checked 2026-11).
func classifyToken(_ token.Answer, code string) (token.Outcome, bool) {
	switch code {
	case "bad_refresh_token":
		return token.DeadGrant, true
	case "incorrect_client_credentials", "redirect_uri_mismatch", "unsupported_grant_type":
		return token.AppFault, true
	}
	return 0, false
}

// classifyMint judges a refusal to mint and gives it a code; "" leaves it to the
// general rules. Gone and suspended were seen in integrations/slack#318 and
// octokit.rb#1307. Only GitHub's own 404 means gone: one of a proxy, or of a
// server being updated, must not end every integration.
func classifyMint(a token.Answer) (token.Outcome, string) {
	text := message(a.Body)
	switch {
	case limited(a.Status, a.Header, a.Body):
		return token.Transient, "rate_limited"
	case a.Status == http.StatusNotFound && text == "":
		return token.Transient, "bad_answer"
	case a.Status == http.StatusNotFound:
		return token.DeadGrant, "installation_gone"
	case a.Status == http.StatusUnauthorized:
		return token.AppFault, "bad_jwt" // the key, the App's id or this machine's clock
	case a.Status == http.StatusForbidden && isSuspended(text):
		return token.Refused, "suspended"
	case a.Status == http.StatusForbidden:
		return token.Refused, "forbidden"
	case a.Status == http.StatusUnprocessableEntity:
		return token.Refused, "not_granted"
	}
	return 0, ""
}

// message is the message of an error answer of the API, "" of any other body.
func message(body []byte) string {
	var ans struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &ans) // not GitHub's: no message
	return ans.Message
}

// isSuspended reads "This installation has been suspended".
func isSuspended(message string) bool {
	return strings.Contains(message, "installation") && strings.Contains(message, "suspended")
}

// classifyRevoke keeps a refusal that is about the token from looking like one of
// the app's.
func classifyRevoke(a token.Answer, _ string) (token.Outcome, bool) {
	if a.Status/100 == 4 && a.Status != http.StatusUnauthorized && !limited(a.Status, a.Header, a.Body) {
		return token.Refused, true
	}
	return 0, false
}

// limited tells a rate limit from a missing permission: GitHub answers 403 or
// 429 for the first and 403 for the second
// (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api, checked
// 2026-11). Enterprise Servers say "abuse" for the secondary limit.
func limited(status int, h http.Header, head []byte) bool {
	switch status {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return h.Get("Retry-After") != "" || h.Get("X-Ratelimit-Remaining") == "0" ||
			bytes.Contains(head, []byte("secondary rate limit")) || bytes.Contains(head, []byte("abuse detection"))
	}
	return false
}

// ClassifyAnswer implements providers.AnswerClassifier.
func (a *App) ClassifyAnswer(status int, header http.Header, head []byte) providers.Answer {
	switch {
	case limited(status, header, head):
		return providers.AnswerLimited
	case status == http.StatusUnauthorized && a.cfg.Mode == ModeOAuthApp:
		return providers.AnswerTokenDead // nothing renews it
	case status == http.StatusUnauthorized:
		return providers.AnswerTokenExpired
	}
	return providers.AnswerOK
}

// callError is a refused call. It prints neither the URL nor the answer's text,
// which go-github's errors do; they stay reachable with errors.As.
func callError(kind error, status int, cause error) error {
	return &providers.CallError{Adapter: "githubapp", Status: status, Kind: kind, Cause: cause}
}

// Classify maps an error of go-github or of a connection to the errors of
// packages providers and ratelimit: *ratelimit.Error for both of GitHub's limits,
// ErrReconnectRequired (a grant that is over), ErrSuspended, ErrForbidden, ErrNotFound,
// ErrConflict, ErrInvalid (other 4xx), ErrTransient (a 401 too) and ErrProviderDown. A
// 403 because the App lacks a permission, or the token a scope, is a
// *providers.MissingScopeError, which is ErrForbidden too: it names permissions as
// "issues:write", and all of those of which one is enough. GitHub may say 404 instead,
// which hides what there is. An error's text holds no URL and nothing of the answer; go-github's error stays
// reachable for errors.As. An error it does not know, a context's among them, is
// returned as it is, without http.Client's wrapping, which quotes the URL.
//
// A *github.AcceptedError (202) is ErrTransient: GitHub works on it. After calls
// for which that is success, such as CreateFork, look for it first.
func Classify(err error) error {
	var (
		primary   *github.RateLimitError
		secondary *github.AbuseRateLimitError
		accepted  *github.AcceptedError
		refused   *github.ErrorResponse
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &primary):
		return limitError(primary.Rate.Reset.Time, primary.Response, err)
	case errors.As(err, &secondary):
		wait := unknownWait
		if secondary.RetryAfter != nil {
			wait = *secondary.RetryAfter
		}
		return limitError(time.Now().Add(wait), secondary.Response, err)
	case errors.As(err, &accepted):
		return callError(providers.ErrTransient, http.StatusAccepted, err)
	case errors.As(err, &refused) && refused.Response != nil:
		return classifyResponse(refused, err)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return providers.NoAnswer("githubapp", err)
	}
	return err
}

// classifyResponse does what go-github v62 does not: it knows 429.
func classifyResponse(refused *github.ErrorResponse, err error) error {
	resp := refused.Response
	switch {
	case limited(resp.StatusCode, resp.Header, []byte(refused.Message)):
		return limitError(retryAt(resp.Header, time.Now()), resp, err)
	case resp.StatusCode == http.StatusForbidden && isSuspended(refused.Message):
		return callError(providers.ErrSuspended, resp.StatusCode, err)
	case resp.StatusCode == http.StatusForbidden:
		if missing := missingScope(resp.Header, refused.Message); missing != nil {
			return callError(missing, resp.StatusCode, err)
		}
	}
	return callError(providers.StatusMeaning(resp.StatusCode, resp.Header), resp.StatusCode, err)
}

// unknownWait is GitHub's advice for limits that come without a time
// (docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api,
// checked 2026-11).
const unknownWait = time.Minute

// retryAt is when a refused call may be tried again: Retry-After, else the reset
// of a spent primary limit, else in a minute.
func retryAt(h http.Header, now time.Time) time.Time {
	if wait := token.ParseRetryAfter(h, now); wait > 0 {
		return now.Add(wait)
	}
	if reset, err := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64); err == nil && h.Get("X-Ratelimit-Remaining") == "0" {
		if at := time.Unix(reset, 0); at.After(now) && at.Before(now.Add(24*time.Hour)) {
			return at
		}
	}
	return now.Add(unknownWait)
}

func limitError(at time.Time, resp *http.Response, cause error) error {
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	return callError(&ratelimit.Error{RetryAt: at, Scope: Key}, status, cause)
}
