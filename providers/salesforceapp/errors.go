package salesforceapp

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// adapter names this package in errors.
const adapter = "salesforceapp"

// Codes of the REST API (developer.salesforce.com, REST API developer guide,
// "Status Codes and Error Responses", and SOAP API developer guide, "Core Data
// Types Used in API Calls", checked 2026-11).
const (
	codeSession     = "INVALID_SESSION_ID"
	codeLimit       = "REQUEST_LIMIT_EXCEEDED"
	codeBadToken    = "Bad_OAuth_Token"
	codeUnavailable = "SERVER_UNAVAILABLE"
)

// classifyToken judges refusals of the token endpoint. Only invalid_grant ends a
// grant (help.salesforce.com, "OAuth 2.0 Authorization Errors", checked 2026-11).
// What is not JSON is a page of some outage.
func classifyToken(a token.Answer, code string) (token.Outcome, bool) {
	if !isObject(a.Body) {
		return token.Transient, true
	}
	switch code {
	case "invalid_grant":
		if strings.Contains(description(a.Body), "ip restricted") {
			return token.Refused, true // an administrator has to allow our address
		}
		return token.DeadGrant, true
	case "inactive_org", "inactive_user":
		return token.Refused, true // they may be activated again
	case "invalid_client", "invalid_client_id", "invalid_client_credentials", "unsupported_grant_type",
		"redirect_uri_mismatch", "invalid_app_access", "oauth_ec_app_not_found":
		return token.AppFault, true
	case "rate_limit_exceeded", "unknown_error":
		return token.Transient, true // "retry your request"
	}
	return 0, false
}

// description is the error_description of an OAuth answer in lower case. It
// decides and is not passed on.
func description(body []byte) string {
	var ans struct {
		Description string `json:"error_description"`
	}
	if json.NewDecoder(bytes.NewReader(body)).Decode(&ans) != nil {
		return ""
	}
	return strings.ToLower(ans.Description)
}

// ClassifyAnswer implements providers.AnswerClassifier. Nothing but a refused
// token tells that one has ended (developer.salesforce.com, REST API developer
// guide, "Status Codes and Error Responses", checked 2026-11). Two kinds of 401
// are about policy, and another token would be refused too (jsforce 3.10,
// http-api.js). The identity service says Bad_OAuth_Token with 403 and as text.
func (a *App) ClassifyAnswer(status int, _ http.Header, head []byte) providers.Answer {
	code, message := firstError(head)
	switch {
	case status == http.StatusUnauthorized && !isPolicy(message):
		return providers.AnswerTokenExpired
	case status == http.StatusForbidden && code == codeBadToken:
		return providers.AnswerTokenExpired
	case status == http.StatusForbidden && code == codeLimit, status == http.StatusTooManyRequests:
		return providers.AnswerLimited
	}
	return providers.AnswerOK
}

// isPolicy reports whether a 401 is not about the token.
func isPolicy(message string) bool {
	return isNotForREST(message) || strings.Contains(message, "Connected app is not attached to Agent")
}

// isNotForREST reports whether a 401 is about what the grant is good for: it lacks
// the scope "api" (help.salesforce.com article 005226515, checked 2026-11), or the
// org asks for a higher session security level (jsforce#1301).
func isNotForREST(message string) bool {
	return strings.Contains(message, "This session is not valid for use with the REST API")
}

// firstError reads the first error of a refusal. Salesforce answers with a JSON
// array of errors, its OAuth endpoints with an object, the identity service with a
// word of text, and an outage with HTML, which has none. body may be cut off: what
// was read before the cut counts.
func firstError(body []byte) (code, message string) {
	body = bytes.TrimSpace(body)
	object, ok := bytes.CutPrefix(body, []byte("["))
	if !ok && !isObject(body) {
		return providers.PlainCode(string(body)), string(body)
	}
	_ = webhook.Fields(object, func(key, raw []byte) bool {
		text, _ := webhook.String(raw)
		switch string(key) {
		case "errorCode", "error":
			code = text
		case "message", "error_description":
			message = text
		}
		return true
	})
	return code, message
}

// meaning maps the codes of the REST API.
func meaning(a providers.APIAnswer) (string, error) {
	code, message := firstError(a.Body)
	switch {
	case code == codeLimit:
		return code, &ratelimit.Error{RetryAt: time.Now().Add(pause(message)), Scope: Key}
	case a.Status == http.StatusUnauthorized && isPolicy(message):
		return code, providers.ErrForbidden
	case a.Status == http.StatusUnauthorized, code == codeBadToken:
		// Renewed by now, or renewing fails at the moment: a grant that is over is
		// the connection's own error.
		return code, providers.ErrTransient
	case a.Status == http.StatusMultipleChoices: // several records have one external id
		return code, providers.ErrConflict
	case strings.HasPrefix(code, "INSUFFICIENT_ACCESS"):
		return code, providers.ErrForbidden
	}
	switch code {
	case "NOT_FOUND", "ENTITY_IS_DELETED", "INVALID_QUERY_LOCATOR":
		return code, providers.ErrNotFound
	case "API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED":
		return code, providers.ErrForbidden
	case "UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT", codeUnavailable:
		return code, providers.ErrTransient
	case "DUPLICATE_VALUE", "DUPLICATES_DETECTED":
		return code, providers.ErrConflict
	}
	return code, nil
}

// LimitedFor implements providers.LimitReader.
func (a *App) LimitedFor(_ http.Header, head []byte) time.Duration {
	_, message := firstError(head)
	return pause(message)
}

// pause is how long a spent allowance is left alone. Salesforce gives no time: that
// of 24 hours moves on all the time, that of calls that run long ends with one of
// them.
func pause(message string) time.Duration {
	if strings.HasPrefix(message, "Concurrent") {
		return 5*time.Second + rand.N(25*time.Second)
	}
	return 5*time.Minute + rand.N(10*time.Minute)
}
