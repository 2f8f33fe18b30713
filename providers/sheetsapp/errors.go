package sheetsapp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
)

// classifyToken judges the codes of the token endpoint; the token client judges
// the others. invalid_grant is its DeadGrant whatever else the answer says.
func classifyToken(_ token.Answer, code string) (token.Outcome, bool) {
	switch code {
	case "invalid_rapt":
		return token.DeadGrant, true
	case "deleted_client", "disabled_client", "redirect_uri_mismatch", "org_internal", "access_not_configured":
		return token.AppFault, true
	case "admin_policy_enforced": // of one tenant's Workspace, whose administrator can lift it
		return token.Refused, true
	case "internal_failure":
		return token.Transient, true
	}
	return 0, false
}

// isReauth reports whether a grant ended because its session did: a Workspace
// administrator limits how long one lasts.
func isReauth(body []byte) bool {
	var ans struct {
		Subtype string `json:"error_subtype"`
	}
	_ = json.Unmarshal(body, &ans) // of another form: no subtype
	return ans.Subtype == "invalid_rapt"
}

// classifyRevoke keeps a refusal that is about the token from looking like one of
// the app's: nothing in a revocation names the app.
func classifyRevoke(token.Answer, string) (token.Outcome, bool) { return token.Refused, true }

// refusal is an error answer of a Google API, in the form of the Sheets API with
// details or of the Drive API with errors
// (google.golang.org/api v0.311.0, package googleapi, checked 2026-11).
type refusal struct {
	Error struct {
		Status string `json:"status"`
		Errors []struct {
			Reason string `json:"reason"`
		} `json:"errors"`
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	} `json:"error"`
}

// codes are the codes of an error answer, the most exact first.
func codes(body []byte) []string {
	var r refusal
	_ = json.Unmarshal(body, &r) // not Google's: no codes
	var out []string
	for _, d := range r.Error.Details {
		out = append(out, d.Reason)
	}
	for _, e := range r.Error.Errors {
		out = append(out, e.Reason)
	}
	out = append(out, r.Error.Status)
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// Codes with a meaning that the status does not tell, as answers quoted in public
// issues have them (gargle#160, googledrive#380, checked 2026-11). A 403 without one
// of them is about the file: PERMISSION_DENIED alone says that the user may not.
var (
	limitCodes    = []string{"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
	scopeCodes    = []string{"ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions", "insufficientScopes"}
	disabledCodes = []string{"SERVICE_DISABLED", "accessNotConfigured"}
)

// newAPI makes calls that need one of some scopes, of which need are those to ask the
// tenant for.
func newAPI(need []string) providers.API {
	return providers.API{Adapter: "sheetsapp", Meaning: func(a providers.APIAnswer) (string, error) {
		all := codes(a.Body)
		code := ""
		if len(all) > 0 {
			code = all[0]
		}
		has := func(list []string) bool {
			return slices.ContainsFunc(all, func(c string) bool { return slices.Contains(list, c) })
		}
		switch {
		case a.Status == http.StatusUnauthorized:
			// Renewed by now, or renewing fails at the moment: a grant that is over is
			// the connection's own error.
			return code, providers.ErrTransient
		case a.Status != http.StatusForbidden:
			return code, nil
		case has(limitCodes):
			return code, providers.StatusMeaning(http.StatusTooManyRequests, a.Header)
		case has(scopeCodes):
			return code, &providers.MissingScopeError{Need: slices.Clone(need)}
		case has(disabledCodes):
			return code, providers.ErrAppMisconfigured
		}
		return code, nil
	}}
}

// ClassifyAnswer implements providers.AnswerClassifier.
func (a *App) ClassifyAnswer(status int, _ http.Header, head []byte) providers.Answer {
	switch status {
	case http.StatusUnauthorized:
		return providers.AnswerTokenExpired
	case http.StatusTooManyRequests:
		return providers.AnswerLimited
	case http.StatusForbidden:
		// The head may end anywhere: the codes are looked for as they stand. Text
		// that quotes one has its quotes escaped.
		for _, code := range limitCodes {
			if bytes.Contains(head, []byte(`"`+code+`"`)) {
				return providers.AnswerLimited
			}
		}
	}
	return providers.AnswerOK
}
