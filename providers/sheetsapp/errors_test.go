package sheetsapp_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

var someCells = sheetsapp.Range{Sheet: "Data", Cells: "A1:B2"}

func TestErrorVocabulary(t *testing.T) {
	var noScopes *providers.MissingScopeError
	for name, c := range map[string]struct {
		status int
		body   string
		want   error
		code   string
	}{
		"401":                 {401, unauthenticated, providers.ErrTransient, "UNAUTHENTICATED"},
		"403 not permitted":   {403, denied, providers.ErrForbidden, "PERMISSION_DENIED"},
		"403 file":            {403, `{"error":{"code":403,"errors":[{"reason":"insufficientFilePermissions"}]}}`, providers.ErrForbidden, "insufficientFilePermissions"},
		"403 disabled":        {403, disabledAPI, providers.ErrAppMisconfigured, "SERVICE_DISABLED"},
		"403 disabled, drive": {403, `{"error":{"code":403,"errors":[{"reason":"accessNotConfigured"}]}}`, providers.ErrAppMisconfigured, "accessNotConfigured"},
		"403 user rate":       {403, userRate, ratelimit.ErrRateLimited, "userRateLimitExceeded"},
		"403 rate":            {403, strings.ReplaceAll(userRate, "userRateLimit", "rateLimit"), ratelimit.ErrRateLimited, "rateLimitExceeded"},
		"429":                 {429, quotaExceeded, ratelimit.ErrRateLimited, "RATE_LIMIT_EXCEEDED"},
		"404":                 {404, notFound, providers.ErrNotFound, "NOT_FOUND"},
		"400":                 {400, badRange, providers.ErrInvalid, "INVALID_ARGUMENT"},
		"409":                 {409, `{}`, providers.ErrConflict, ""},
		"408":                 {408, ``, providers.ErrTransient, ""},
		"500":                 {500, `{"error":{"code":500,"status":"INTERNAL"}}`, providers.ErrProviderDown, "INTERNAL"},
		"503 with a scope":    {503, noScope, providers.ErrProviderDown, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"},
		"a code that is none": {400, `{"error":{"status":"planted text"}}`, providers.ErrInvalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, conn := answering(t, answer{c.status, c.body})
			_, err := sheetsapp.Read(t.Context(), conn, sheetID, someCells, nil)
			require.ErrorIs(t, err, c.want)
			var call *providers.CallError
			require.ErrorAs(t, err, &call)
			require.Equal(t, c.status, call.Status)
			require.Equal(t, c.code, call.Code)
			require.False(t, errors.As(err, &noScopes))
			for _, part := range []string{"planted", "://", sheetID, "Nowhere", accessToken} {
				require.NotContains(t, err.Error(), part)
			}
		})
	}
}

func TestMissingScopeByAnswer(t *testing.T) {
	for name, body := range map[string]string{
		"sheets": noScope,
		"drive":  `{"error":{"errors":[{"domain":"global","reason":"insufficientPermissions","message":"Insufficient Permission"}],"code":403,"message":"Insufficient Permission"}}`,
		"status": `{"error":{"code":403,"details":[{"reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT"}],"status":"PERMISSION_DENIED"}}`,
	} {
		_, conn := answering(t, answer{403, body})
		_, err := sheetsapp.Update(t.Context(), conn, sheetID, someCells, [][]any{{1}}, nil)
		var e *providers.MissingScopeError
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, []string{sheetsapp.ScopeSpreadsheets}, e.Need, name)
		_, err = sheetsapp.Do(t.Context(), conn, providers.APICall{URL: "https://sheets.googleapis.com/v4/spreadsheets/1"})
		require.ErrorAs(t, err, &e, name)
		require.Empty(t, e.Need, name)
	}
}

// operations are all that make calls, with good arguments.
func operations(t *testing.T) map[string]struct {
	call func(ctx context.Context, conn *providers.Connection) error
	need string
} {
	t.Helper()
	type row struct {
		A string `sheet:"A"`
	}
	type op = struct {
		call func(ctx context.Context, conn *providers.Connection) error
		need string
	}
	cursor := "1"
	return map[string]op{
		"Create": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.Create(ctx, c, "T")
			return err
		}, sheetsapp.ScopeSpreadsheets},
		"Get": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.Get(ctx, c, sheetID)
			return err
		}, sheetsapp.ScopeSpreadsheetsReadonly},
		"Read": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.Read(ctx, c, sheetID, someCells, nil)
			return err
		}, sheetsapp.ScopeSpreadsheetsReadonly},
		"BatchGet": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.BatchGet(ctx, c, sheetID, []sheetsapp.Range{someCells}, nil)
			return err
		}, sheetsapp.ScopeSpreadsheetsReadonly},
		"Update": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.Update(ctx, c, sheetID, someCells, [][]any{{1}}, nil)
			return err
		}, sheetsapp.ScopeSpreadsheets},
		"Append": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.Append(ctx, c, sheetID, someCells, [][]any{{1}}, nil)
			return err
		}, sheetsapp.ScopeSpreadsheets},
		"BatchUpdate": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.BatchUpdate(ctx, c, sheetID, []sheetsapp.Block{{Range: someCells, Rows: [][]any{{1}}}}, nil)
			return err
		}, sheetsapp.ScopeSpreadsheets},
		"Clear": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.Clear(ctx, c, sheetID, someCells)
			return err
		}, sheetsapp.ScopeSpreadsheets},
		"ReadRows": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.ReadRows[row](ctx, c, sheetID, someCells, nil)
			return err
		}, sheetsapp.ScopeSpreadsheetsReadonly},
		"AppendRows": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.AppendRows(ctx, c, sheetID, someCells, []row{{"a"}}, nil)
			return err
		}, sheetsapp.ScopeSpreadsheets},
		"WatchFile": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.WatchFile(ctx, c, sheetID)
			return err
		}, sheetsapp.ScopeDriveFile},
		"WatchChanges": {func(ctx context.Context, c *providers.Connection) error {
			_, err := sheetsapp.WatchChanges(ctx, c)
			return err
		}, sheetsapp.ScopeDriveFile},
		"StopChannel": {func(ctx context.Context, c *providers.Connection) error {
			return sheetsapp.StopChannel(ctx, c, "x")
		}, sheetsapp.ScopeDriveFile},
		"Changes": {func(ctx context.Context, c *providers.Connection) error {
			for _, err := range sheetsapp.Changes(ctx, c, &cursor) {
				return err
			}
			return nil
		}, sheetsapp.ScopeDriveFile},
	}
}

// TestMissingScopeBeforeARequest: an integration without a scope for an operation
// sends nothing, and one that cannot write reads no header first.
func TestMissingScopeBeforeARequest(t *testing.T) {
	for name, op := range operations(t) {
		w := &wire{t: t}
		e := newEndpoints()
		for _, granted := range [][]string{{"openid", emailScope}, {"openid", sheetsapp.ScopeSpreadsheetsReadonly}} {
			if op.need == sheetsapp.ScopeSpreadsheetsReadonly && len(granted) == 2 && granted[1] == op.need {
				continue
			}
			var missing *providers.MissingScopeError
			require.ErrorAs(t, op.call(t.Context(), connect(t, w, e, granted...)), &missing, name)
			require.Equal(t, []string{op.need}, missing.Need, name)
		}
		require.Empty(t, w.sent, name)
		require.Empty(t, e.open, name)
		// Another scope that is good for it sends.
		require.Error(t, op.call(t.Context(), connect(t, w, e, "https://www.googleapis.com/auth/drive")), name)
		if name != "StopChannel" { // there is none
			require.NotEmpty(t, w.sent, name)
		}
	}
}

func TestOperationsOnAnotherProvidersConnection(t *testing.T) {
	w := &wire{t: t}
	hosts, err := providers.NewHosts(app().Info().Hosts...)
	require.NoError(t, err)
	conn, err := providers.NewConnection(providers.ConnectionConfig{Provider: "slack", Hosts: hosts, Source: fixed{}, Transport: w})
	require.NoError(t, err)
	for name, op := range operations(t) {
		require.ErrorIs(t, op.call(t.Context(), conn), providers.ErrWrongProvider, name)
	}
	_, err = sheetsapp.Do(t.Context(), conn, providers.APICall{URL: "https://sheets.googleapis.com/"})
	require.ErrorIs(t, err, providers.ErrWrongProvider)
	_, err = sheetsapp.Channels(t.Context(), conn)
	require.ErrorIs(t, err, providers.ErrWrongProvider)
	require.Empty(t, w.sent)
}

func TestLostAnswers(t *testing.T) {
	for name, op := range operations(t) {
		w := &wire{t: t}
		err := op.call(t.Context(), connect(t, w, newEndpoints(), "https://www.googleapis.com/auth/drive"))
		if name == "StopChannel" {
			continue
		}
		require.ErrorIs(t, err, providers.ErrTransient, name)
		require.Len(t, w.sent, 1, "%s is not repeated", name)
		require.NotContains(t, err.Error(), "://", name)
	}
}

func TestDoRefusesOtherHosts(t *testing.T) {
	w, conn := answering(t)
	for _, u := range []string{"https://evil.example/", "http://sheets.googleapis.com/", "https://gmail.googleapis.com/", "https://oauth2.googleapis.com/token"} {
		_, err := sheetsapp.Do(t.Context(), conn, providers.APICall{URL: u})
		require.ErrorIs(t, err, providers.ErrHostNotAllowed, u)
	}
	require.Empty(t, w.sent)
}

func TestClassifyAnswer(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   providers.Answer
	}{
		{401, unauthenticated, providers.AnswerTokenExpired},
		{401, "", providers.AnswerTokenExpired},
		{429, "", providers.AnswerLimited},
		{403, userRate, providers.AnswerLimited},
		{403, userRate[:90], providers.AnswerLimited},
		{403, strings.ReplaceAll(userRate, "userRateLimit", "rateLimit"), providers.AnswerLimited},
		{403, denied, providers.AnswerOK},
		{403, `{"error":{"message":"no sheet \"rateLimitExceeded\""}}`, providers.AnswerOK},
		{403, "", providers.AnswerOK},
		{200, `{"values":[["rateLimitExceeded"]]}`, providers.AnswerOK},
		{404, notFound, providers.AnswerOK},
		{500, "", providers.AnswerOK},
	} {
		require.Equal(t, c.want, app().ClassifyAnswer(c.status, http.Header{}, []byte(c.body)), "%d %s", c.status, c.body)
	}
}
