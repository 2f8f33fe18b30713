package hubspotapp_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// broken is a source of a connection that is not usable.
type broken struct{ err error }

func (b broken) Token(context.Context) (*token.Token, error) { return nil, b.err }

func (b broken) Rejected(context.Context, int64, bool) (*token.Token, bool, error) {
	return nil, false, b.err
}

func (b broken) Snapshot(context.Context) (providers.Snapshot, error) {
	return providers.Snapshot{}, b.err
}

// headed is an answer with a header.
type headed struct {
	*recorder
	header http.Header
}

func (h headed) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.recorder.RoundTrip(r)
	if err == nil {
		for k, v := range h.header {
			resp.Header[k] = v
		}
	}
	return resp, err
}

func get(t *testing.T, conn *providers.Connection) error {
	t.Helper()
	_, err := hubspotapp.Get(t.Context(), conn, "contacts", "1", nil)
	return err
}

func TestVocabulary(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, code string
		want       error
	}{
		{400, `{"status":"error","message":"planted","category":"VALIDATION_ERROR"}`, "VALIDATION_ERROR", providers.ErrInvalid},
		{400, `{"category":"OBJECT_NOT_FOUND"}`, "OBJECT_NOT_FOUND", providers.ErrNotFound},
		{400, `{"category":"CONFLICT"}`, "CONFLICT", providers.ErrConflict},
		{401, `{"category":"INVALID_AUTHENTICATION","message":"planted"}`, "INVALID_AUTHENTICATION", providers.ErrTransient},
		{401, `{"category":"EXPIRED_AUTHENTICATION"}`, "EXPIRED_AUTHENTICATION", providers.ErrTransient},
		{401, `<html>`, "", providers.ErrTransient},
		{403, `{"category":"FORBIDDEN"}`, "FORBIDDEN", providers.ErrForbidden},
		{403, `not JSON`, "", providers.ErrForbidden},
		{404, ``, "", providers.ErrNotFound},
		{409, `{"category":"CONFLICT","message":"Contact already exists. Existing ID: 5"}`, "CONFLICT", providers.ErrConflict},
		{414, ``, "", providers.ErrInvalid},
		{423, `{"message":"planted"}`, "", providers.ErrTransient},
		{400, `{"category":"planted secret://x"}`, "", providers.ErrInvalid},
		{400, `{"category":{"x":1},"errors":"planted","context":[1]}`, "", providers.ErrInvalid},
		{500, `{"category":"OBJECT_NOT_FOUND"}`, "OBJECT_NOT_FOUND", providers.ErrProviderDown},
		{503, `<html>planted`, "", providers.ErrProviderDown},
		{521, ``, "", providers.ErrProviderDown},
	} {
		err := get(t, connect(answering(c.status, c.body)))
		require.ErrorIs(t, err, c.want, "%d %s", c.status, c.body)
		var e *providers.CallError
		require.ErrorAs(t, err, &e)
		require.Equal(t, c.status, e.Status)
		require.Equal(t, c.code, e.Code, c.body)
		noSecrets(t, err, "Existing")
	}
}

func TestMissingScopesAreNamed(t *testing.T) {
	for body, want := range map[string][]string{
		`{"status":"error","category":"MISSING_SCOPES","errors":[{"message":"x","context":{"requiredGranularScopes":["crm.objects.contacts.read","sales-email-read"]}}]}`: {"crm.objects.contacts.read", "sales-email-read"},
		`{"category":"MISSING_SCOPES","errors":[{"context":{"requiredGranularScopes":["a"]}},{"context":{"requiredGranularScopes":["b"]}}]}`:                              {"a", "b"},
		`{"category":"MISSING_SCOPES","errors":[{"context":"{missingScopes=[scope1, scope2]}"}],"context":{"missingScopes":["c"]}}`:                                       {"c"},
		`{"category":"MISSING_SCOPES","context":{"requiredScopes":["d","planted secret://"]}}`:                                                                            {"d"},
		`{"category":"MISSING_SCOPES","errors":7}`: nil,
		`{"category":"MISSING_SCOPES"}`:            nil,
	} {
		err := get(t, connect(answering(403, body)))
		var missing *providers.MissingScopeError
		require.ErrorAs(t, err, &missing, body)
		require.Equal(t, want, missing.Need, body)
		noSecrets(t, err)
	}
}

// TestLimits is how long each of HubSpot's limits lasts, for the caller and for
// everybody who calls for the same account.
func TestLimits(t *testing.T) {
	message := strings.Repeat("You have reached your limit. ", 5)
	after := func(s string) http.Header { return http.Header{"Retry-After": {s}} }
	for name, c := range map[string]struct {
		status int
		header http.Header
		body   string
		want   time.Duration
		code   string
	}{
		"ten seconds":     {429, nil, `{"status":"error","message":"` + message + `","errorType":"RATE_LIMIT","correlationId":"x","policyName":"TEN_SECONDLY_ROLLING","groupName":"g"}`, 10 * time.Second, "TEN_SECONDLY_ROLLING"},
		"second":          {429, nil, `{"policyName":"SECONDLY"}`, time.Second, "SECONDLY"},
		"day":             {429, nil, `{"policyName":"DAILY"}`, time.Hour, "DAILY"},
		"unknown":         {429, nil, `{"policyName":"MONTHLY"}`, 10 * time.Second, "MONTHLY"},
		"no policy":       {429, nil, `{"category":"RATE_LIMITS"}`, 10 * time.Second, "RATE_LIMITS"},
		"not JSON":        {429, nil, `<html>`, 10 * time.Second, ""},
		"a header":        {429, after("3"), `{"policyName":"DAILY"}`, 3 * time.Second, "DAILY"},
		"a bad header":    {429, after("soon"), `{"policyName":"SECONDLY"}`, time.Second, "SECONDLY"},
		"migration":       {477, after("7200"), `{"message":"planted"}`, 2 * time.Hour, "account_is_moved"},
		"short migration": {477, nil, ``, 10 * time.Second, "account_is_moved"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := answering(c.status, c.body)
				limiter := ratelimit.NewLocal(nil)
				conn := connect(headed{rec, c.header}, func(cfg *providers.ConnectionConfig) { cfg.Limiter = limiter })
				err := get(t, conn)
				var limited *ratelimit.Error
				require.ErrorAs(t, err, &limited)
				require.Equal(t, c.want, time.Until(limited.RetryAt))
				require.Equal(t, c.status == 477, errors.Is(err, providers.ErrTransient))
				var e *providers.CallError
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.code, e.Code)
				noSecrets(t, err)

				ctx, cancel := context.WithTimeout(t.Context(), c.want-time.Millisecond)
				defer cancel()
				_, err = hubspotapp.Get(ctx, conn, "contacts", "1", nil)
				require.ErrorAs(t, err, &limited)
				require.Equal(t, c.want, time.Until(limited.RetryAt))
				require.Len(t, rec.sent, 1, "nothing is sent before the limit is over")
			})
		})
	}
}

func TestClassifyAnswer(t *testing.T) {
	a := app()
	for status, want := range map[int]providers.Answer{
		200: providers.AnswerOK, 207: providers.AnswerOK, 400: providers.AnswerOK, 401: providers.AnswerTokenExpired, 403: providers.AnswerOK,
		423: providers.AnswerOK, 429: providers.AnswerLimited, 477: providers.AnswerLimited, 500: providers.AnswerOK,
	} {
		require.Equal(t, want, a.ClassifyAnswer(status, nil, nil), "%d", status)
	}
	// The head may end in the middle.
	require.Equal(t, time.Second, a.LimitedFor(nil, []byte(`{"status":"error","policyName":"SECONDLY","message":"You ha`)))
	require.Equal(t, 10*time.Second, a.LimitedFor(nil, []byte(`{"status":"error","policyName":"SECON`)))
}
