package providertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
	"github.com/saas-integrations/integrations/token"
)

// source keeps one grant in memory and renews it when a call is refused.
type source struct {
	s *suite

	mu       sync.Mutex
	account  providers.Account
	gen      int64
	rejected int
	dead     bool // as the last report said
}

func (o *source) Token(context.Context) (*token.Token, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current(), nil
}

func (o *source) current() *token.Token {
	access := o.account.Grant.AccessToken
	return &token.Token{Access: access, Header: []string{"Bearer " + access.Reveal()}, Gen: o.gen}
}

func (o *source) Rejected(ctx context.Context, gen int64, dead bool) (*token.Token, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rejected++
	o.dead = dead
	r, ok := o.s.Provider.(providers.Renewer)
	if !ok || gen != o.gen {
		return nil, false, nil
	}
	g, err := r.Renew(ctx, o.s.renewal(o.account))
	if err != nil {
		return nil, false, nil // the refusal is the answer
	}
	if g.RefreshToken.IsZero() {
		g.RefreshToken = o.account.Grant.RefreshToken
	}
	o.account.Grant = g
	o.gen++
	return o.current(), true, nil
}

func (o *source) Snapshot(context.Context) (providers.Snapshot, error) {
	return providers.Snapshot{
		TenantID: "tenant", IntegrationID: "integration", Provider: o.s.Provider.Info().Key, ExternalID: o.account.ExternalID,
		Scopes: o.account.Grant.Scopes, ProviderData: o.account.ProviderData,
	}, nil
}

// limiter writes down what it is told.
type limiter struct {
	mu      sync.Mutex
	waits   int
	limited int
}

func (l *limiter) Wait(context.Context, *ratelimit.Call) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits++
	return nil
}

func (l *limiter) Done(_ *ratelimit.Call, readings []ratelimit.Reading) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range readings {
		if r.Refused {
			l.limited++
			return
		}
	}
}

// connection is a connection of an account, as the Manager makes one.
func (s *suite) connection(a providers.Account, change func(*providers.ConnectionConfig)) *providers.Connection {
	s.Helper()
	info := s.Provider.Info()
	cfg := providers.ConnectionConfig{
		TenantID: "tenant", IntegrationID: "integration", Provider: info.Key, Kind: info.Kind, Account: a.ExternalID,
		Source: &source{s: s, account: a, gen: 1}, Hosts: s.hosts(), Transport: s.wire.as(apiCalls),
		Retries: -1, // what the adapter makes of the first answer is looked at
	}
	cfg.Classifier, _ = s.Provider.(providers.AnswerClassifier)
	cfg.Budgets, _ = s.Provider.(providers.BudgetKeeper)
	if change != nil {
		change(&cfg)
	}
	c, err := providers.NewConnection(cfg)
	s.ok(err)
	return c
}

func (s *suite) call() {
	a := s.connect()
	s.wire.forget()
	s.ok(s.Call(s.Context(), s.connection(a, nil)))
	calls := s.wire.requests(apiCalls)
	s.check(len(calls) > 0 && len(calls) == len(s.wire.requests()), "the call made %d of %d requests through the connection", len(calls), len(s.wire.requests()))
	for _, c := range calls {
		s.check(c.authorization == "Bearer "+a.Grant.AccessToken.Reveal(), "a call went out without the token")
		s.check(!strings.Contains(c.body, a.Grant.AccessToken.Reveal()), "a call has the token in its body")
	}
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	err := s.Call(ctx, s.connection(a, nil))
	s.check(errors.Is(err, context.Canceled), "a call with a context that has ended returns %v", err)
	if s.Plain {
		return
	}
	err = s.Call(s.Context(), s.connection(a, func(cfg *providers.ConnectionConfig) { cfg.Kind = "another" }))
	s.check(errors.Is(err, providers.ErrWrongProvider), "a connection of another provider returns %v", err)
}

func (s *suite) replay() {
	s.renewer()
	a := s.connect()
	src := &source{s: s, account: a, gen: 1}
	conn := s.connection(a, func(cfg *providers.ConnectionConfig) { cfg.Source = src })
	s.wire.forget()
	s.wire.script(apiCalls, s.TokenRefused)
	s.ok(s.Call(s.Context(), conn))
	calls := s.wire.requests(apiCalls)
	s.check(src.rejected == 1, "the refusal was reported %d times", src.rejected)
	s.check(!src.dead, "a token that has ended was reported as dead")
	if len(calls) < 2 {
		s.Fatalf("the call was sent %d times, want it again with another token", len(calls))
	}
	s.check(calls[0].authorization != calls[1].authorization, "the call was sent again with the same token")
	s.check(calls[0].body == calls[1].body, "the call was sent again with another body")

	// Refused twice, it is not sent a third time.
	s.wire.forget()
	s.wire.script(apiCalls, s.TokenRefused, s.TokenRefused)
	err := s.Call(s.Context(), conn)
	s.check(err != nil, "a call that was refused twice succeeded")
	s.check(len(s.wire.requests(apiCalls)) == 2, "a call that is always refused was sent %d times", len(s.wire.requests(apiCalls)))
}

func (s *suite) hostBinding() {
	a := s.connect()
	conn := s.connection(a, nil)
	host := ""
	s.wire.forget()
	s.ok(s.Call(s.Context(), conn))
	hosts := s.hosts()
	for _, r := range s.wire.requests() {
		s.check(hosts.Contains(r.host), "a request went to %s", r.host)
		host = r.host
	}
	s.wire.forget()
	for _, target := range []string{
		"https://evil.example/", "http://" + host + "/", "https://" + host + ".evil.example/", "https://" + host + ":8443/", "https://evil-" + strings.TrimPrefix(host, "www.") + ".example/",
	} {
		r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, target, nil)
		s.ok(err)
		resp, err := conn.HTTPClient().Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		s.check(errors.Is(err, providers.ErrHostNotAllowed), "a request to %s returned %v", target, err)
	}
	s.check(len(s.wire.requests()) == 0, "%d requests went to hosts that are not the provider's", len(s.wire.requests()))

	s.wire.script(apiCalls, Answer{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"https://evil.example/"}}})
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "https://"+host+"/", nil)
	s.ok(err)
	resp, err := conn.HTTPClient().Do(r)
	if err == nil {
		_ = resp.Body.Close()
	}
	s.check(len(s.wire.requests()) == 1, "a redirect to another host was followed")
}

func (s *suite) limit() {
	a := s.connect()
	l := &limiter{}
	conn := s.connection(a, func(cfg *providers.ConnectionConfig) { cfg.Limiter = l })
	s.wire.script(apiCalls, s.Limited)
	err := s.Call(s.Context(), conn)
	var limited *ratelimit.Error
	s.check(errors.As(err, &limited) && errors.Is(err, ratelimit.ErrRateLimited), "a limit is %v, want a *ratelimit.Error", err)
	if limited != nil {
		s.check(limited.RetryAt.After(time.Now()), "a limit is over at %v", limited.RetryAt)
	}
	s.check(l.waits > 0 && l.limited == 1, "the limiter was asked %d times and told of %d limits", l.waits, l.limited)
}

// verify is for providers that can tell whether a grant still works.
func (s *suite) verify() {
	v, ok := s.Provider.(providers.Verifier)
	if !ok {
		return
	}
	a := s.connect()
	src := &source{s: s, account: a, gen: 1}
	conn := s.connection(a, func(cfg *providers.ConnectionConfig) { cfg.Source = src })
	s.wire.forget()
	err := v.Verify(s.Context(), conn)
	if errors.Is(err, errors.ErrUnsupported) {
		s.check(len(s.wire.requests()) == 0, "a verification that is not supported made a request")
		return
	}
	s.ok(err)
	calls := s.wire.requests(apiCalls)
	s.check(len(calls) == 1 && len(s.wire.requests()) == 1, "a verification made %d requests, want one, through the connection", len(s.wire.requests()))
	for _, c := range calls {
		s.check(!strings.Contains(c.body, a.Grant.AccessToken.Reveal()), "a verification has the token in its body")
	}
	says := func(what string, err error) {
		s.check(err != nil, "%s verifies a grant", what)
		s.check(!errors.Is(err, providers.ErrReconnectRequired), "%s ends a grant: %v", what, err)
		s.check(src.rejected == 0, "%s was taken for a refused token", what)
		s.plain(err)
	}
	down := Answer{Status: http.StatusBadGateway, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>down</html>"}
	for what, answer := range map[string]Answer{"an outage": down, "a limit": s.Limited} {
		s.wire.script(apiCalls, answer)
		says(what, v.Verify(s.Context(), conn))
	}
	s.wire.loseNext(apiCalls)
	says("a lost connection", v.Verify(s.Context(), conn))
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	says("a context that has ended", v.Verify(ctx, conn))
}

// vocabulary checks what answers mean. What goes wrong everywhere is added to the
// service's own.
func (s *suite) vocabulary() {
	a := s.connect()
	html := http.Header{"Content-Type": {"text/html"}}
	rows := append([]Refusal{
		{Answer{Status: http.StatusInternalServerError, Header: html, Body: "<html>down</html>"}, providers.ErrTransient},
		{Answer{Status: http.StatusBadGateway, Header: html, Body: "<html>down</html>"}, providers.ErrProviderDown},
		{Answer{Status: http.StatusServiceUnavailable}, providers.ErrProviderDown},
	}, s.Refusals...)
	for _, row := range rows {
		s.wire.script(apiCalls, row.Answer)
		err := s.Call(s.Context(), s.connection(a, nil))
		s.check(errors.Is(err, row.Want), "status %d with %q is %v, want %v", row.Answer.Status, row.Answer.Body, err, row.Want)
		s.plain(err)
	}
	s.wire.loseNext(apiCalls)
	err := s.Call(s.Context(), s.connection(a, nil))
	s.check(errors.Is(err, providers.ErrTransient), "a lost connection is %v, want transient", err)
	s.plain(err)
}

// plain checks that an error's text has no URL and nothing secret.
func (s *suite) plain(err error) {
	s.Helper()
	if err == nil {
		return
	}
	text := fmt.Sprintf("%v %+v", err, err)
	s.check(!strings.Contains(text, "://"), "an error quotes a URL: %v", err)
	for _, secret := range s.watched() {
		s.check(!strings.Contains(text, secret), "an error of type %T holds a secret", err)
	}
}
