package providers_test

import (
	"context"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
	"golang.org/x/oauth2"
)

// BenchmarkTransport: a call through a connection to a GitHub that answers at once,
// against the least a RoundTripper that may not change its request can do. ours is the
// connection alone, ours-full with GitHub's budgets, what its answers tell of them, and
// retries; ours-full-json with answers that have a body, whose head is looked at, and
// limit-json the least with such answers.
func BenchmarkTransport(b *testing.B) {
	header := http.Header{
		"Date": {time.Now().UTC().Format(http.TimeFormat)}, "X-Ratelimit-Resource": {"core"},
		"X-Ratelimit-Limit": {"15000000"}, "X-Ratelimit-Remaining": {"14999999"}, "X-Ratelimit-Used": {"1"},
		"X-Ratelimit-Reset": {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)},
	}
	answer := &http.Response{StatusCode: http.StatusOK, Header: header, Body: http.NoBody}
	base := roundTrip(func(*http.Request) (*http.Response, error) { return answer, nil })
	header = maps.Clone(header)
	header["Content-Type"] = []string{"application/json; charset=utf-8"}
	text := `{"id":1,"name":"` + strings.Repeat("x", 2000) + `"}`
	baseJSON := roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(strings.NewReader(text))}, nil
	})
	req := httptest.NewRequest(http.MethodGet, "https://api.example.com/things?page=2", http.NoBody)
	for _, h := range []string{"Accept", "User-Agent", "X-Request-Id", "Content-Type", "Accept-Language", "X-Api-Version"} {
		req.Header.Set(h, "a value")
	}
	auth := []string{"Bearer token"}
	tok := tokenOf(1)
	full := func(cfg *providers.ConnectionConfig) {
		app := roomy{githubapp.New(githubapp.Config{}), new(ratelimit.Budget)}
		*app.points = ratelimit.Budget{Name: "points", Units: 750, Window: time.Minute, Burst: math.MaxInt32}
		cfg.Limiter, cfg.Budgets, cfg.Classifier = ratelimit.NewLocal(nil), app, app
	}
	for _, impl := range []struct {
		name string
		make func() http.RoundTripper
	}{
		{"limit", func() http.RoundTripper { return shallow{auth, base} }},
		{"ours", func() http.RoundTripper { return connect(b, held{tok}, base).HTTPClient().Transport }},
		{"ours-full", func() http.RoundTripper { return connect(b, held{tok}, base, full).HTTPClient().Transport }},
		{"peer-oauth2", func() http.RoundTripper {
			return &oauth2.Transport{Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "token"}), Base: base}
		}},
		{"limit-json", func() http.RoundTripper { return shallow{auth, baseJSON} }},
		{"ours-full-json", func() http.RoundTripper { return connect(b, held{tok}, baseJSON, full).HTTPClient().Transport }},
	} {
		b.Run("impl="+impl.name, func(b *testing.B) {
			rt := impl.make()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rt.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// roomy is GitHub with a budget of points that a benchmark does not spend.
type roomy struct {
	*githubapp.App
	points *ratelimit.Budget
}

func (a roomy) Charges(q providers.BudgetRequest, into []ratelimit.Charge) []ratelimit.Charge {
	into = a.App.Charges(q, into)
	for i := range into {
		if into[i].Budget.Name == a.points.Name {
			into[i].Budget = a.points
		}
	}
	return into
}

// shallow is the least there is: it does not know what is behind next, so its
// copy of the request is on the heap, as every RoundTripper's is.
type shallow struct {
	header []string
	next   http.RoundTripper
}

func (s shallow) RoundTrip(r *http.Request) (*http.Response, error) {
	c := *r
	c.Header = maps.Clone(r.Header)
	c.Header["Authorization"] = s.header
	return s.next.RoundTrip(&c)
}

// held is a source whose token is at hand.
type held struct{ tok *token.Token }

func (h held) Token(context.Context) (*token.Token, error) { return h.tok, nil }
func (h held) Rejected(context.Context, int64, bool) (*token.Token, bool, error) {
	return nil, false, nil
}
func (h held) Snapshot(context.Context) (providers.Snapshot, error) {
	return providers.Snapshot{}, nil
}
