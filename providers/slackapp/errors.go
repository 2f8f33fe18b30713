package slackapp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/slack-go/slack"
)

// classifyToken judges the error codes of oauth.v2.access, which come with HTTP
// 200. The token client judges the others.
func classifyToken(_ token.Answer, code string) (token.Outcome, bool) {
	switch code {
	case "invalid_refresh_token", "token_revoked", "token_expired", "account_inactive", "invalid_grant":
		return token.DeadGrant, true
	case "bad_client_secret", "invalid_client_id", "invalid_client", "bad_redirect_uri", "invalid_grant_type",
		"oauth_authorization_url_mismatch", "cannot_install_an_org_installed_app":
		return token.AppFault, true
	case "not_ok", "team_added_to_org", "org_login_required":
		return token.Transient, true
	}
	if isLimit(code) || isOutage(code) {
		return token.Transient, true
	}
	return 0, false
}

// isLimit reports whether a code says that a rate limit was met; the second is
// of chat methods (docs.slack.dev/reference/methods/chat.meMessage, checked
// 2026-11).
func isLimit(code string) bool { return code == "ratelimited" || code == "rate_limited" }

// isOutage reports whether a code of any method says that Slack failed
// (docs.slack.dev/reference/methods/auth.test, checked 2026-11).
func isOutage(code string) bool {
	switch code {
	case "internal_error", "fatal_error", "service_unavailable", "request_timeout":
		return true
	}
	return false
}

// ClassifyAnswer implements providers.AnswerClassifier: Slack refuses tokens with
// HTTP 200 (docs.slack.dev/apis/web-api, "Evaluating responses", checked
// 2026-11).
func (a *App) ClassifyAnswer(status int, _ http.Header, head []byte) providers.Answer {
	switch status {
	case http.StatusTooManyRequests:
		return providers.AnswerLimited
	case http.StatusUnauthorized:
		return providers.AnswerTokenExpired
	case http.StatusOK:
	default:
		return providers.AnswerOK
	}
	switch code := errorOf(head); {
	case code == "token_expired", code == "invalid_auth":
		// invalid_auth is also said to a caller whose address the app does not
		// allow: it never ends a connection by itself.
		return providers.AnswerTokenExpired
	case code == "token_revoked", code == "account_inactive":
		return providers.AnswerTokenDead
	case isLimit(code):
		return providers.AnswerLimited
	}
	return providers.AnswerOK
}

// errorOf reads the error code of an answer with "ok": false from the head of
// its body. Where the head was cut off the scan ends with an error, after the
// members before the cut: refusals are short, so theirs are all there.
func errorOf(head []byte) string {
	var code string
	refused := false
	_ = webhook.Fields(head, func(key, raw []byte) bool {
		switch string(key) {
		case "ok":
			refused = string(raw) == "false"
		case "error":
			code, _ = webhook.String(raw)
		}
		return true
	})
	if !refused {
		return ""
	}
	return code
}

// Classify maps an error of slack-go to the errors of package providers and to
// *ratelimit.Error, and an error of the network to providers.ErrTransient. The
// cause stays reachable for errors.As; the text has Slack's code and nothing else
// of an answer. Errors of the connection and those it does not know come back
// without http.Client's URL and else as they are; nil is nil.
//
// Only token_revoked and account_inactive are providers.ErrReconnectRequired.
// invalid_auth is ErrForbidden: Slack gives it for a bad token and also to a
// caller whose address the app does not allow. token_expired is ErrTransient.
func Classify(err error) error {
	var done *providers.CallError
	if err == nil || errors.As(err, &done) {
		return err
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return providers.NoAnswer(adapter, err)
	}
	var limited *slack.RateLimitedError
	var refused slack.SlackErrorResponse
	var status slack.StatusCodeError
	switch {
	case errors.As(err, &limited):
		return callError(&ratelimit.Error{RetryAt: time.Now().Add(limited.RetryAfter), Scope: Key}, "ratelimited", err)
	case errors.As(err, &refused):
		return callError(meaning(refused), printable(refused.Err), err)
	case errors.As(err, &status):
		return &providers.CallError{Adapter: adapter, Status: status.Code, Kind: meaningOf(status.Code), Cause: err}
	case isNetwork(err):
		return callError(providers.ErrTransient, "no_answer", err)
	}
	return err
}

// adapter names this package in errors.
const adapter = "slackapp"

func callError(kind error, code string, cause error) error {
	return &providers.CallError{Adapter: adapter, Code: code, Kind: kind, Cause: cause}
}

// printable keeps only what looks like a code of Slack's: anything else could be
// an echo of the request.
func printable(code string) string {
	if code = providers.PlainCode(code); code == "" {
		return "unknown_error"
	}
	return code
}

// isNetwork reports whether no answer came or none that could be read. A context
// that ended is the caller's doing.
func isNetwork(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, providers.ErrTransient) {
		return false
	}
	var network net.Error
	var syntax *json.SyntaxError
	return errors.As(err, &network) || errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// meaningOf is the meaning of a status: Slack refuses tokens with 200, so a 401
// is not about the token.
func meaningOf(status int) error {
	if status == http.StatusUnauthorized {
		return providers.ErrForbidden
	}
	return providers.StatusMeaning(status, nil)
}

// meaning maps the codes of the Web API (docs.slack.dev/reference/methods, the
// errors of each method, checked 2026-11).
func meaning(r slack.SlackErrorResponse) error {
	has := func(prefix string) bool { return strings.HasPrefix(r.Err, prefix) }
	switch {
	case r.Err == "missing_scope":
		separator := func(c rune) bool { return c == ',' || c == ' ' }
		return &providers.MissingScopeError{Need: providers.PlainScopes(strings.FieldsFunc(r.Needed, separator))}
	case isLimit(r.Err):
		return providers.StatusMeaning(http.StatusTooManyRequests, nil)
	case isOutage(r.Err):
		return providers.StatusMeaning(http.StatusServiceUnavailable, nil)
	case r.Err == "token_expired": // renewed by now, or renewing fails at the moment
		return providers.ErrTransient
	case r.Err == "team_added_to_org", r.Err == "org_login_required": // a workspace moves into an organisation
		return providers.ErrTransient
	case strings.HasSuffix(r.Err, "_not_found"):
		return providers.ErrNotFound
	case has("already_"), r.Err == "name_taken":
		return providers.ErrConflict
	case has("restricted_action"), has("not_allowed"), has("cant_"), has("cannot_"):
		return providers.ErrForbidden
	}
	switch r.Err {
	case "token_revoked", "account_inactive":
		return providers.ErrReconnectRequired
	case "invalid_auth", "not_authed", "not_in_channel", "is_archived", "no_permission", "access_denied",
		"accesslimited", "ekm_access_denied", "team_access_not_granted", "two_factor_setup_required":
		return providers.ErrForbidden
	}
	return providers.ErrInvalid
}
