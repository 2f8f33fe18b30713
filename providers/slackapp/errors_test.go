package slackapp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
)

// noSecrets fails if an error shows one of the secrets where errors get printed.
func noSecrets(t *testing.T, err error, secrets ...string) {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%s", "%q"} {
		_, _ = fmt.Fprintf(&out, verb+"\n", err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("failed", "error", err)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("failed", "error", err)
	for _, s := range secrets {
		require.NotContains(t, out.String(), s)
	}
}

func TestClassifyAnswer(t *testing.T) {
	long := strings.Repeat("x", 600)
	for want, bodies := range map[providers.Answer][]string{
		providers.AnswerTokenExpired: {`{"ok":false,"error":"token_expired"}`, `{"ok":false,"error":"invalid_auth"}`, ` { "error" : "token_expired" , "ok" : false } `},
		providers.AnswerTokenDead: {
			`{"ok":false,"error":"token_revoked"}`, `{"error":"account_inactive","ok":false}`, `{"ok":false,"error":"\u0074oken_revoked"}`,
			`{"ok":false,"error":"token_revoked","response_metadata":{"messages":["` + long, // the members before the cut count
		},
		providers.AnswerLimited: {`{"ok":false,"error":"ratelimited"}`, `{"ok":false,"error":"rate_limited"}`},
		providers.AnswerOK: {
			`{"ok":true}`, `{"ok":false,"error":"channel_not_found"}`, ``, `[]`, `null`, `{`, `"token_revoked"`, `{"ok":false}`,
			`{"ok":true,"error":"token_revoked"}`, `{"error":"token_revoked"}`, `{"ok":"false","error":"token_revoked"}`,
			`{"OK":false,"ERROR":"token_revoked"}`, `{"ok":false,"error":["token_revoked"]}`, `{"ok":false,"error":{"error":"token_revoked"}}`,
			`{"ok":true,"text":"\"ok\":false,\"error\":\"token_revoked\""}`, `{"ok":true,"text":"\",\"ok\":false,\"error\":\"token_revoked\"}`,
			`{"ok":true,"message":{"ok":false,"error":"token_revoked"}}`, `{"ok":true,"messages":[{"ok":false,"error":"token_revoked"},`,
			`{"ok":false,"error":"token_revokedx"}`, `{"ok":false,"error":"token_revoked`, `{"ok":false,"error":`,
			`{"text":"` + long + `","ok":false,"error":"token_revoked"}`, // the error is behind the cut
		},
	} {
		for _, body := range bodies {
			head := []byte(body)[:min(512, len(body))]
			require.Equal(t, want, app().ClassifyAnswer(200, nil, head), body)
		}
	}
	for status, want := range map[int]providers.Answer{
		429: providers.AnswerLimited, 401: providers.AnswerTokenExpired, 403: providers.AnswerOK, 500: providers.AnswerOK, 302: providers.AnswerOK,
	} {
		require.Equal(t, want, app().ClassifyAnswer(status, nil, []byte(`{"ok":false,"error":"token_revoked"}`)), status)
	}
}

// TestClassifyAnswerOfEveryCut: wherever a body is cut off, a success is never
// taken for a refusal, nor a refusal for another one.
func TestClassifyAnswerOfEveryCut(t *testing.T) {
	for body, whole := range map[string]providers.Answer{
		`{"ok":true,"messages":[{"text":"{\"ok\":false,\"error\":\"token_revoked\"}","error":"token_revoked","ok":false}],"error":"token_revoked"}`: providers.AnswerOK,
		`{"ok":false,"error":"token_revoked","needed":"a"}`: providers.AnswerTokenDead,
		`{"error":"token_expired","ok":false}`:              providers.AnswerTokenExpired,
	} {
		require.Equal(t, whole, app().ClassifyAnswer(200, nil, []byte(body)))
		for i := range body {
			require.Contains(t, []providers.Answer{providers.AnswerOK, whole}, app().ClassifyAnswer(200, nil, []byte(body[:i])), body[:i])
		}
	}
}

func TestClassifyCodes(t *testing.T) {
	for want, codes := range map[error][]string{
		providers.ErrNotFound:          {"channel_not_found", "users_not_found", "message_not_found"},
		providers.ErrForbidden:         {"not_in_channel", "is_archived", "no_permission", "restricted_action", "restricted_action_read_only_channel", "cant_update_message", "not_allowed_token_type", "access_denied", "invalid_auth", "team_access_not_granted"},
		providers.ErrConflict:          {"already_reacted", "already_in_channel", "name_taken"},
		providers.ErrInvalid:           {"msg_too_long", "no_text", "invalid_blocks", "unknown_method", "some_new_code"},
		providers.ErrReconnectRequired: {"token_revoked", "account_inactive"},
		providers.ErrTransient:         {"token_expired", "team_added_to_org", "internal_error", "fatal_error"},
		providers.ErrProviderDown:      {"internal_error", "fatal_error", "service_unavailable", "request_timeout"},
		ratelimit.ErrRateLimited:       {"ratelimited", "rate_limited"},
	} {
		for _, code := range codes {
			err := slackapp.Classify(fmt.Errorf("call: %w", slack.SlackErrorResponse{Err: code}))
			require.ErrorIs(t, err, want, code)
			require.ErrorContains(t, err, code)
			var cause slack.SlackErrorResponse
			require.ErrorAs(t, err, &cause)
			require.Equal(t, code, cause.Err)
			require.Equal(t, err, slackapp.Classify(err), "once is enough")
		}
	}
	for needed, want := range map[string][]string{"chat:write,files:write": {"chat:write", "files:write"}, "a, b": {"a", "b"}, "<a>": nil, "": nil} {
		var scope *providers.MissingScopeError
		require.ErrorAs(t, slackapp.Classify(slack.SlackErrorResponse{Err: "missing_scope", Needed: needed}), &scope)
		require.Equal(t, want, scope.Need)
	}
}

func TestClassifyTheRest(t *testing.T) {
	require.NoError(t, slackapp.Classify(nil))

	var limited *ratelimit.Error
	before := time.Now()
	require.ErrorAs(t, slackapp.Classify(&slack.RateLimitedError{RetryAfter: 30 * time.Second}), &limited)
	require.WithinRange(t, limited.RetryAt, before.Add(30*time.Second), time.Now().Add(30*time.Second))
	require.ErrorAs(t, slackapp.Classify(slack.StatusCodeError{Code: 429}), &limited)
	require.WithinRange(t, limited.RetryAt, before.Add(time.Minute), time.Now().Add(time.Minute))

	for code, want := range map[int]error{503: providers.ErrProviderDown, 500: providers.ErrTransient, 404: providers.ErrNotFound, 403: providers.ErrForbidden, 400: providers.ErrInvalid} {
		err := slackapp.Classify(slack.StatusCodeError{Code: code, Status: "planted"})
		require.ErrorIs(t, err, want, code)
		noSecrets(t, err, "planted")
	}

	const secretURL = "https://slack.com/api/x?planted"
	wrap := func(err error) error { return &url.Error{Op: "Post", URL: secretURL, Err: err} }
	for _, err := range []error{
		wrap(&net.OpError{Op: "dial", Err: errors.New("refused")}), wrap(io.EOF), io.ErrUnexpectedEOF, &json.SyntaxError{},
	} {
		got := slackapp.Classify(err)
		require.ErrorIs(t, got, providers.ErrTransient)
		noSecrets(t, got, "planted")
	}
	for _, own := range []error{
		providers.ErrHostNotAllowed, providers.ErrReconnectRequired, &ratelimit.Error{Scope: "x"}, context.Canceled, context.DeadlineExceeded,
		fmt.Errorf("%w: %w", providers.ErrTransient, &net.OpError{Op: "dial", Err: errors.New("refused")}),
	} {
		require.Equal(t, own, slackapp.Classify(wrap(own)))
		require.Equal(t, own, slackapp.Classify(own))
	}
	unknown := errors.New("unknown")
	require.Equal(t, unknown, slackapp.Classify(unknown))
	lost := slackapp.Classify(wrap(unknown)) // by the transport: no answer came
	require.ErrorIs(t, lost, providers.ErrTransient)
	require.ErrorIs(t, lost, unknown)
	noSecrets(t, lost, "planted")

	echo := slackapp.Classify(slack.SlackErrorResponse{Err: "xoxb-planted is no code", ResponseMetadata: slack.ResponseMetadata{Messages: []string{"planted"}}})
	require.ErrorIs(t, echo, providers.ErrInvalid)
	noSecrets(t, echo, "planted")
}
