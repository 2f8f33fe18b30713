package providers_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/stretchr/testify/require"
)

// script answers calls one after the other; the last answer stands for all that
// follow. A status of 0 is a broken connection.
type script struct {
	answers []answer
	bodies  []string
}

type answer struct {
	status     int
	retryAfter string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(b)
	}
	s.bodies = append(s.bodies, body)
	a := s.answers[min(len(s.bodies), len(s.answers))-1]
	if a.status == 0 {
		return nil, errors.New("connection reset")
	}
	resp := respond(r, a.status, "")
	if a.retryAfter != "" {
		resp.Header.Set("Retry-After", a.retryAfter)
	}
	return resp, nil
}

func TestWhatIsSentAgain(t *testing.T) {
	const url = "https://api.example.com/"
	ok := answer{status: 200}
	post := func(ctx context.Context, body io.Reader) *http.Request {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
		require.NoError(t, err)
		return r
	}
	get := func(ctx context.Context, _ io.Reader) *http.Request {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		require.NoError(t, err)
		return r
	}
	for name, c := range map[string]struct {
		request func(context.Context, io.Reader) *http.Request
		mark    func(context.Context) context.Context
		body    io.Reader
		answers []answer
		sent    int
		status  int
	}{
		"GET after 503":                 {get, nil, nil, []answer{{status: 503}, ok}, 2, 200},
		"GET after a broken connection": {get, nil, nil, []answer{{}, ok}, 2, 200},
		"GET as often as allowed":       {get, nil, nil, []answer{{status: 502}}, 3, 502},
		"GET after 500":                 {get, nil, nil, []answer{{status: 500}, ok}, 1, 500},
		"GET after 404":                 {get, nil, nil, []answer{{status: 404}, ok}, 1, 404},
		"POST after 503":                {post, nil, strings.NewReader("b"), []answer{{status: 503}, ok}, 1, 503},
		"POST after a broken connection": {
			post, nil, strings.NewReader("b"), []answer{{}, ok}, 1, 0},
		"POST that may be done twice": {post, providers.Idempotent, strings.NewReader("b"), []answer{{status: 503}, {}, ok}, 3, 200},
		"POST after a limit":          {post, nil, strings.NewReader("b"), []answer{{429, "2"}, ok}, 2, 200},
		"POST of a body that is gone": {post, nil, io.MultiReader(strings.NewReader("b")), []answer{{429, "2"}, ok}, 1, 429},
		"a limit that lasts":          {get, nil, nil, []answer{{429, "3600"}, ok}, 1, 429},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers}
				conn := connect(t, &source{}, s, func(cfg *providers.ConnectionConfig) { cfg.Retries, cfg.Limiter = 0, ratelimit.NewLocal(nil) })
				ctx := t.Context()
				if c.mark != nil {
					ctx = c.mark(ctx)
				}
				resp, err := conn.HTTPClient().Do(c.request(ctx, c.body))
				if c.status == 0 {
					require.Error(t, err)
				} else {
					require.NoError(t, err)
					require.Equal(t, c.status, resp.StatusCode)
					require.NoError(t, resp.Body.Close())
				}
				require.Len(t, s.bodies, c.sent)
				for _, b := range s.bodies {
					require.Equal(t, s.bodies[0], b)
				}
			})
		})
	}
}

func TestARetryKeepsTheCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []answer{{503, "5"}, {status: 200}}}
		conn := connect(t, &source{}, s, func(cfg *providers.ConnectionConfig) { cfg.Retries = 0 })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/", nil)
		require.NoError(t, err)
		start := time.Now()
		resp, err := conn.HTTPClient().Do(r)
		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		require.Zero(t, time.Since(start))
	})
}

// TestRetriesAddLittleToAProviderThatIsDown: of many calls that fail few are sent
// again, and then none is sent for a while.
func TestRetriesAddLittleToAProviderThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []answer{{status: 503}}}
		conn := connect(t, &source{}, s, func(cfg *providers.ConnectionConfig) { cfg.Retries = 0 })
		get := func() (*http.Response, error) {
			resp, err := conn.HTTPClient().Get("https://api.example.com/")
			if resp != nil {
				require.NoError(t, resp.Body.Close())
			}
			return resp, err
		}
		stopped := 0
		for range 100 {
			if _, err := get(); err != nil {
				require.ErrorIs(t, err, providers.ErrProviderDown)
				stopped++
			}
		}
		require.Less(t, len(s.bodies), 25)
		require.Greater(t, stopped, 80)
		sent := len(s.bodies)
		time.Sleep(6 * time.Second)
		s.answers = []answer{{status: 200}}
		resp, err := get()
		require.NoError(t, err, "one call tries")
		require.Equal(t, 200, resp.StatusCode)
		_, err = get()
		require.NoError(t, err)
		require.Len(t, s.bodies, sent+2)
	})
}
