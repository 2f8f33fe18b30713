package salesforceapp_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

func TestClassifyAnswer(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, row := range []struct {
		status int
		head   string
		want   providers.Answer
	}{
		{200, `{"records":[]}`, providers.AnswerOK},
		{200, `[{"errorCode":"INVALID_SESSION_ID"}]`, providers.AnswerOK},
		{401, `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`, providers.AnswerTokenExpired},
		{401, ``, providers.AnswerTokenExpired},
		{401, `{"error":"invalid_token"}`, providers.AnswerTokenExpired},
		{401, `[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]`, providers.AnswerOK},
		{401, `[{"message":"Connected app is not attached to Agent","errorCode":"INVALID_SESSION_ID"}]`, providers.AnswerOK},
		{401, `Connected app is not attached to Agent`, providers.AnswerOK},
		{403, `Bad_OAuth_Token`, providers.AnswerTokenExpired},
		{403, "Bad_OAuth_Token\n", providers.AnswerTokenExpired},
		{403, `Missing_OAuth_Token`, providers.AnswerOK},
		{404, `Bad_OAuth_Token`, providers.AnswerOK},
		{403, `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`, providers.AnswerLimited},
		{403, `[ { "errorCode" : "REQUEST_LIMIT_EXCEEDED", "message" : "` + long, providers.AnswerLimited},
		{403, `[{"message":"errorCode\":\"REQUEST_LIMIT_EXCEEDED","errorCode":"INSUFFICIENT_ACCESS_OR_READONLY"}]`, providers.AnswerOK},
		{403, `[{"message":"REQUEST_LIMIT_EXCEEDED","errorCode":"X"}]`, providers.AnswerOK},
		{403, `[]`, providers.AnswerOK},
		{403, `[`, providers.AnswerOK},
		{403, `<html></html>`, providers.AnswerOK},
		{429, ``, providers.AnswerLimited},
		{503, `<html></html>`, providers.AnswerOK},
	} {
		require.Equal(t, row.want, app().ClassifyAnswer(row.status, nil, []byte(row.head)), "%d %s", row.status, row.head)
	}
}

// TestAnExpiredTokenIsRenewedOnce: by both ways in which Salesforce says so.
func TestAnExpiredTokenIsRenewedOnce(t *testing.T) {
	expired := answer{status: 401, body: `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`}
	text := answer{status: 403, body: "Bad_OAuth_Token", contentType: "text/plain; charset=UTF-8"}
	for _, refused := range []answer{expired, text} {
		rec := answers(refused, answer{status: 200, body: `{}`})
		var src *source
		conn := connect(t, rec, func(s *source, _ *providers.ConnectionConfig) { src = s })
		_, err := salesforceapp.Do(t.Context(), conn, salesforceapp.Request{Path: "/services/oauth2/userinfo"})
		require.NoError(t, err)
		require.Equal(t, []bool{false}, src.rejected)
		require.Equal(t, "Bearer first-token", rec.sent[0].header.Get("Authorization"))
		require.Equal(t, "Bearer second-token", rec.sent[1].header.Get("Authorization"))

		// Refused again, it is not the grant that is over: that is found by renewing.
		_, err = salesforceapp.Do(t.Context(), connect(t, answers(refused, refused)), salesforceapp.Request{Path: "limits"})
		require.ErrorIs(t, err, providers.ErrTransient)
		require.NotErrorIs(t, err, providers.ErrReconnectRequired)
	}
	// A policy is not mended by another token.
	rec := answers(answer{status: 401, body: `[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]`})
	var src *source
	conn := connect(t, rec, func(s *source, _ *providers.ConnectionConfig) { src = s })
	_, err := salesforceapp.Limits(t.Context(), conn)
	require.ErrorIs(t, err, providers.ErrForbidden)
	require.Empty(t, src.rejected)
	require.Len(t, rec.sent, 1)
}

func TestErrorsCarryTheCodeAndNothingElse(t *testing.T) {
	for _, row := range []struct {
		answer answer
		code   string
		want   error
	}{
		{answer{status: 400, body: `[{"message":"planted secret","errorCode":"FIELD_CUSTOM_VALIDATION_EXCEPTION","fields":[]}]`}, "FIELD_CUSTOM_VALIDATION_EXCEPTION", providers.ErrInvalid},
		{answer{status: 400, body: `{"error":"invalid_request","error_description":"planted secret"}`}, "invalid_request", providers.ErrInvalid},
		{answer{status: 403, body: "Wrong_Org", contentType: "text/plain"}, "Wrong_Org", providers.ErrForbidden},
		{answer{status: 403, body: "planted secret", contentType: "text/plain"}, "", providers.ErrForbidden},
		{answer{status: 502, body: "<html>planted secret</html>", contentType: "text/html"}, "", providers.ErrProviderDown},
		{answer{status: 400, body: `[{"errorCode":"planted secret"}]`}, "", providers.ErrInvalid},
		{answer{status: 400, body: `[{"errorCode":7}]`}, "", providers.ErrInvalid},
		{answer{status: 404, body: ``}, "", providers.ErrNotFound},
	} {
		_, err := salesforceapp.Limits(t.Context(), connect(t, answers(row.answer)))
		var call *providers.CallError
		require.ErrorAs(t, err, &call, row.answer.body)
		require.Equal(t, row.code, call.Code)
		require.ErrorIs(t, err, row.want)
		require.NotContains(t, err.Error(), "planted")
	}
}

func TestLimitsHaveATimeToWait(t *testing.T) {
	for message, bounds := range map[string][2]time.Duration{
		"TotalRequests Limit exceeded.":                                {5 * time.Minute, 15 * time.Minute},
		"ConcurrentPerOrgLongTxn Limit exceeded.":                      {time.Second, 30 * time.Second},
		"ConcurrentRequests (Concurrent API Requests) Limit exceeded.": {time.Second, 30 * time.Second},
	} {
		for range 20 {
			_, err := salesforceapp.Limits(t.Context(), connect(t, answers(answer{status: 403, body: `[{"message":"` + message + `","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`})))
			var limited *ratelimit.Error
			require.ErrorAs(t, err, &limited)
			wait := time.Until(limited.RetryAt)
			require.Greater(t, wait, bounds[0]-time.Second, message)
			require.LessOrEqual(t, wait, bounds[1], message)
			pause := app().LimitedFor(nil, []byte(`[{"message":"`+message+`","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`))
			require.GreaterOrEqual(t, pause, bounds[0], message)
			require.LessOrEqual(t, pause, bounds[1], message)
		}
	}
}

func TestReadUsage(t *testing.T) {
	type u = salesforceapp.Usage
	for value, want := range map[string][]u{
		"":                       nil,
		"api-usage=10018/100000": {{Name: "api-usage", Used: 10018, Limit: 100000}},
		"api-usage=10018/100000; api-bursts=1/750":                                  {{Name: "api-usage", Used: 10018, Limit: 100000}, {Name: "api-bursts", Used: 1, Limit: 750}},
		"api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)": {{Name: "api-usage", Used: 25, Limit: 5000}, {Name: "per-app-api-usage", Used: 17, Limit: 250}},
		"api-usage=x/y; =; a=1; b=-1/2; c=1/99999999999999999999; d=1/2":            {{Name: "d", Used: 1, Limit: 2}},
	} {
		require.Equal(t, want, salesforceapp.ReadUsage(http.Header{"Sforce-Limit-Info": {value}}), value)
	}
}

func FuzzErrorBodies(f *testing.F) {
	for _, s := range []string{`[{"message":"m","errorCode":"C"}]`, `{"error":"e"}`, `Bad_OAuth_Token`, `<html>`, `[`, `[{`, "", "[[", `[{"errorCode":"\u0041"}`} {
		f.Add(403, s)
		f.Add(401, s)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		app().ClassifyAnswer(status, nil, []byte(body))
		if status < 300 || status > 599 || status == 401 {
			return
		}
		_, err := salesforceapp.Limits(t.Context(), connect(t, transport(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		}), func(_ *source, cfg *providers.ConnectionConfig) { cfg.Classifier = nil }))
		require.Error(t, err)
		require.LessOrEqual(t, len(err.Error()), 256)
	})
}
