package providers_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// call makes one call that is answered by tr.
func call(t *testing.T, api providers.API, c providers.APICall, tr roundTrip) (providers.APIAnswer, error) {
	t.Helper()
	if c.URL == "" {
		c.URL = "https://api.example.com/planted?planted=1"
	}
	return api.Do(t.Context(), &http.Client{Transport: tr}, c)
}

var acme = providers.API{Adapter: "acmeapp"}

func TestAPISendsWhatItIsTold(t *testing.T) {
	var got *http.Request
	var body string
	record := func(r *http.Request) (*http.Response, error) {
		got, body = r, ""
		if r.Body != nil {
			raw, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			body = string(raw)
		}
		return respond(r, 200, `{"a":1}`), nil
	}
	var out struct{ A int }
	_, err := call(t, acme, providers.APICall{Header: providers.Bearer(token.NewSecret("tok")), Out: &out}, record)
	require.NoError(t, err)
	require.Equal(t, 1, out.A)
	require.Equal(t, "GET", got.Method)
	require.Equal(t, "application/json", got.Header.Get("Accept"))
	require.Equal(t, "Bearer tok", got.Header.Get("Authorization"))
	require.Empty(t, got.Header.Get("Content-Type"))
	require.Empty(t, body)

	var raw []byte
	_, err = call(t, acme, providers.APICall{Method: "PUT", In: map[string]string{"x": "<&>"}, Out: &raw}, record)
	require.NoError(t, err)
	require.Equal(t, "PUT", got.Method)
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.JSONEq(t, `{"x":"<&>"}`, body)
	require.NotNil(t, got.GetBody, "a body that cannot be read again is not replayed")
	require.Equal(t, `{"a":1}`, string(raw))

	_, err = call(t, acme, providers.APICall{Method: "POST", In: []byte("as it is"), Header: http.Header{"content-type": {"text/csv"}}}, record)
	require.NoError(t, err)
	require.Equal(t, "as it is", body)
	require.Equal(t, "text/csv", got.Header.Get("Content-Type"))

	for _, c := range []providers.APICall{{In: func() {}}, {URL: "://planted"}, {Method: "bad method"}} {
		_, err = call(t, acme, c, record)
		require.ErrorIs(t, err, providers.ErrInvalid)
		require.NotContains(t, err.Error(), "planted")
	}
}

func TestAPIErrors(t *testing.T) {
	answer := func(status int, body string) roundTrip {
		return func(r *http.Request) (*http.Response, error) { return respond(r, status, body), nil }
	}
	for status, want := range map[int]error{
		401: providers.ErrTransient, 403: providers.ErrForbidden, 404: providers.ErrNotFound, 410: providers.ErrNotFound,
		409: providers.ErrConflict, 412: providers.ErrConflict, 400: providers.ErrInvalid, 422: providers.ErrInvalid, 408: providers.ErrTransient,
		423: providers.ErrTransient, 425: providers.ErrTransient, 429: ratelimit.ErrRateLimited, 500: providers.ErrTransient, 503: providers.ErrProviderDown,
	} {
		ans, err := call(t, acme, providers.APICall{}, answer(status, `{"message":"planted"}`))
		require.ErrorIs(t, err, want, status)
		require.NotContains(t, err.Error(), "planted")
		require.Equal(t, status, ans.Status)
		require.Contains(t, string(ans.Body), "planted", "the caller may look")
	}

	limited := func(r *http.Request) (*http.Response, error) {
		resp := respond(r, 429, "")
		resp.Header = http.Header{"Retry-After": {"30"}}
		return resp, nil
	}
	_, err := call(t, acme, providers.APICall{}, limited)
	var limit *ratelimit.Error
	require.ErrorAs(t, err, &limit)
	require.WithinDuration(t, time.Now().Add(30*time.Second), limit.RetryAt, 2*time.Second)

	known := providers.API{Adapter: "acmeapp", Meaning: func(a providers.APIAnswer) (string, error) {
		if strings.Contains(string(a.Body), "LOCKED") {
			return "ROW_LOCKED", providers.ErrConflict
		}
		return "no code <planted>", nil
	}}
	_, err = call(t, known, providers.APICall{}, answer(400, "LOCKED"))
	require.ErrorIs(t, err, providers.ErrConflict)
	require.EqualError(t, err, "integrations/acmeapp: status 400 ROW_LOCKED: integrations: conflict at the provider")
	_, err = call(t, known, providers.APICall{}, answer(400, ""))
	require.EqualError(t, err, "integrations/acmeapp: status 400: integrations: invalid request")

	var out struct{}
	_, err = call(t, acme, providers.APICall{Out: &out}, answer(200, "<html>"))
	require.ErrorIs(t, err, providers.ErrTransient)
	_, err = call(t, acme, providers.APICall{MaxBody: 3}, answer(200, "four"))
	require.ErrorIs(t, err, providers.ErrTransient)
	_, err = call(t, acme, providers.APICall{MaxBody: 4}, answer(200, "four"))
	require.NoError(t, err)
}

func TestAPIWithoutAnAnswer(t *testing.T) {
	broken := errors.New("planted")
	for _, c := range []struct{ cause, want error }{
		{broken, providers.ErrTransient}, {providers.ErrSuspended, providers.ErrSuspended}, {context.Canceled, context.Canceled},
		{&ratelimit.Error{Scope: "x"}, ratelimit.ErrRateLimited}, {providers.ErrHostNotAllowed, providers.ErrHostNotAllowed},
	} {
		_, err := call(t, acme, providers.APICall{}, func(*http.Request) (*http.Response, error) { return nil, c.cause })
		require.ErrorIs(t, err, c.want)
		require.ErrorIs(t, err, c.cause)
		require.NotContains(t, err.Error(), "planted")
		var u *url.Error
		require.NotErrorAs(t, err, &u)
	}
	_, err := call(t, acme, providers.APICall{}, func(r *http.Request) (*http.Response, error) {
		resp := respond(r, 200, "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), errReader{}))
		return resp, nil
	})
	require.ErrorIs(t, err, providers.ErrTransient)
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
