package hubspotapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
)

// statusMigrating is answered while HubSpot moves an account to another data
// centre, with a Retry-After of up to a day.
const statusMigrating = 477

// classifyRefresh judges a refused refresh. Only a few words are about the grant;
// what is not known is taken for a fault of the app, which ends no tenant's
// connection. HubSpot sends RFC 6749's members since January 2026 and its older
// "status" beside them (developers.hubspot.com/changelog, "New OAuth v3 API
// endpoints and standardized error responses", checked 2026-11); the older one is
// the more exact.
func classifyRefresh(a token.Answer, _ string) (token.Outcome, bool) {
	word, ok := refusalOf(a)
	switch {
	case !ok:
		return token.Transient, true
	case isGone(word):
		return token.DeadGrant, true
	}
	return token.AppFault, true
}

// classifyExchange judges a refused code: its own words mean that the user starts
// again, and so do those of a grant that is over.
func classifyExchange(a token.Answer, _ string) (token.Outcome, bool) {
	word, ok := refusalOf(a)
	switch word {
	case "bad_auth_code", "expired_auth_code", "bad_code_verifier", "bad_redirect_uri":
		return token.Refused, true
	}
	switch {
	case !ok:
		return token.Transient, true
	case isGone(word):
		return token.Refused, true
	}
	return token.AppFault, true
}

// isGone reports whether a word means that the grant, or the account, is no more.
func isGone(word string) bool {
	switch word {
	case "bad_refresh_token", "bad_hub", "invalid_grant", "access_denied":
		return true
	}
	return false
}

// refusalOf reads the word that decides in lower case, "" when there is none. It
// reports false for what is no judgement: an answer that is not HubSpot's JSON, a
// lock, or an account that is being moved.
func refusalOf(a token.Answer) (word string, ok bool) {
	var e struct {
		Status, Error any
	}
	if a.Status == http.StatusLocked || a.Status == statusMigrating || json.Unmarshal(a.Body, &e) != nil {
		return "", false
	}
	if s, _ := e.Status.(string); s != "" && !strings.EqualFold(s, "error") {
		return strings.ToLower(s), true
	}
	s, _ := e.Error.(string)
	return strings.ToLower(s), true
}

// outcomeOf is what a token call ended with, -1 for everything else.
func outcomeOf(err error) token.Outcome {
	var e *token.Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return -1
}

// ClassifyAnswer implements providers.AnswerClassifier. Every 401 is worth one
// refresh, whether its category is EXPIRED_AUTHENTICATION or
// INVALID_AUTHENTICATION: only the token endpoint tells whether a grant is over.
func (a *App) ClassifyAnswer(status int, _ http.Header, _ []byte) providers.Answer {
	switch status {
	case http.StatusUnauthorized:
		return providers.AnswerTokenExpired
	case http.StatusTooManyRequests, statusMigrating:
		return providers.AnswerLimited
	}
	return providers.AnswerOK
}

// LimitedFor implements providers.LimitReader.
func (a *App) LimitedFor(header http.Header, head []byte) time.Duration {
	return wait(header, policyOf(head))
}

// wait is how long to wait after a limit. HubSpot documents no Retry-After but
// sends one with 477; a 429 names the policy
// (github.com/HubSpot/hubspot-api-nodejs v14, RetryDecorator.ts, checked 2026-11).
func wait(h http.Header, policy string) time.Duration {
	if d := token.ParseRetryAfter(h, time.Now()); d > 0 {
		return d
	}
	switch policy {
	case "SECONDLY":
		return time.Second
	case "DAILY":
		// It ends at midnight where the account is, which the answer does not
		// tell: an hour, and then another try.
		return time.Hour
	}
	return 10 * time.Second // TEN_SECONDLY_ROLLING, which all OAuth apps have
}

// apiError is an error of the API (developers.hubspot.com, "Error handling",
// checked 2026-11). Every member may be missing or of another kind.
type apiError struct {
	category, policy string
	scopes           []string
}

func readError(body []byte) apiError {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(body, &members) // not HubSpot's: nothing is known
	var e apiError
	e.category, _ = webhook.String(members["category"])
	e.policy, _ = webhook.String(members["policyName"])
	var details []struct {
		Context json.RawMessage `json:"context"`
	}
	_ = json.Unmarshal(members["errors"], &details)
	for _, d := range details {
		e.scopes = append(e.scopes, scopesOf(d.Context)...)
	}
	if e.scopes == nil {
		e.scopes = scopesOf(members["context"])
	}
	return e
}

// scopesOf reads the scopes a call needs out of an error's context.
func scopesOf(context json.RawMessage) []string {
	var c map[string]json.RawMessage
	_ = json.Unmarshal(context, &c)
	for _, name := range []string{"requiredGranularScopes", "requiredScopes", "missingScopes"} {
		var list []string
		if json.Unmarshal(c[name], &list) == nil {
			return providers.PlainScopes(list)
		}
	}
	return nil
}

// meaning is what a refusal of the API means.
func meaning(a providers.APIAnswer) (string, error) {
	e := readError(a.Body)
	limit := func() error {
		scope := Key
		if policy := providers.PlainCode(e.policy); policy != "" {
			scope += " " + policy
		}
		return &ratelimit.Error{RetryAt: time.Now().Add(wait(a.Header, e.policy)), Scope: scope}
	}
	switch {
	case a.Status == http.StatusTooManyRequests && e.policy != "":
		return e.policy, limit()
	case a.Status == http.StatusTooManyRequests:
		return e.category, limit()
	case a.Status == statusMigrating:
		return "account_is_moved", fmt.Errorf("%w: %w", providers.ErrTransient, limit())
	case a.Status == http.StatusUnauthorized && meaningOf(e) == nil:
		// Renewed by now, or renewing fails at the moment: a grant that is over is the
		// connection's own error.
		return e.category, providers.ErrTransient
	case a.Status/100 == 4:
		return e.category, meaningOf(e)
	}
	return e.category, nil
}

// meaningOf is the meaning of a category, nil when the status says it all.
func meaningOf(e apiError) error {
	switch e.category {
	case "MISSING_SCOPES":
		return &providers.MissingScopeError{Need: e.scopes}
	case "OBJECT_NOT_FOUND":
		return providers.ErrNotFound
	case "CONFLICT":
		return providers.ErrConflict
	}
	return nil
}
