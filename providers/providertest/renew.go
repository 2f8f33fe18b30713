package providertest

import (
	"errors"
	"net/http"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
)

// renewer returns the provider's ability to renew, and skips a test of it for a
// provider without: its tokens do not end.
func (s *suite) renewer() providers.Renewer {
	s.Helper()
	r, ok := s.Provider.(providers.Renewer)
	if !ok {
		s.Skip("the provider renews nothing")
	}
	return r
}

func (s *suite) renewal(a providers.Account) token.Renewal {
	return token.Renewal{
		Client: s.client(), TenantID: "tenant", IntegrationID: "integration", ExternalID: a.ExternalID,
		AccessToken: a.Grant.AccessToken, RefreshToken: a.Grant.RefreshToken, Scopes: a.Grant.Scopes, ProviderData: a.ProviderData,
	}
}

func (s *suite) refresh() {
	r, a := s.renewer(), s.connect()
	s.check(s.Mints || !a.Grant.RefreshToken.IsZero(), "the grant has no refresh token")
	s.wire.forget()
	g, err := r.Renew(s.Context(), s.renewal(a))
	s.ok(err)
	s.check(len(s.wire.requests()) == 1 && len(s.wire.requests(tokenCalls)) == 1,
		"a refresh made %d requests, %d by the token client, want one and one", len(s.wire.requests()), len(s.wire.requests(tokenCalls)))
	s.check(!g.AccessToken.IsZero() && g.AccessToken.Reveal() != a.Grant.AccessToken.Reveal(), "no new access token")
	a.Grant.AccessToken = g.AccessToken
	s.ok(s.Call(s.Context(), s.connection(a, nil)))
}

func (s *suite) rotation() {
	r, a := s.renewer(), s.connect()
	g, err := r.Renew(s.Context(), s.renewal(a))
	s.ok(err)
	if !s.Rotates {
		s.check(g.RefreshToken.IsZero() || g.RefreshToken.Reveal() == a.Grant.RefreshToken.Reveal(), "the refresh token was replaced")
		return
	}
	s.check(!g.RefreshToken.IsZero() && g.RefreshToken.Reveal() != a.Grant.RefreshToken.Reveal(), "the refresh token was not replaced")
	a.Grant = g
	g, err = r.Renew(s.Context(), s.renewal(a))
	s.ok(err)
	s.check(g.RefreshToken.Reveal() != a.Grant.RefreshToken.Reveal(), "the second refresh token was not replaced")
}

// outcome is what a renewal failed with.
func (s *suite) outcome(err error) *token.Error {
	s.Helper()
	var e *token.Error
	if !errors.As(err, &e) {
		s.Fatalf("the error is %v, want a *token.Error", err)
	}
	return e
}

func (s *suite) lostAnswer() {
	r, a := s.renewer(), s.connect()
	s.wire.forget()
	s.wire.loseNext(tokenCalls)
	_, err := r.Renew(s.Context(), s.renewal(a))
	s.check(s.outcome(err).Outcome == token.Ambiguous, "a lost answer is %v, want ambiguous", err)
	s.check(len(s.wire.requests()) == 1, "a lost answer was followed by %d more requests", len(s.wire.requests())-1)
	s.wire.script(tokenCalls, Answer{Status: http.StatusOK, Body: `{"access`})
	_, err = r.Renew(s.Context(), s.renewal(a))
	s.check(s.outcome(err).Outcome == token.Ambiguous, "half an answer is %v, want ambiguous", err)
}

func (s *suite) deadGrant() {
	r, a := s.renewer(), s.connect()
	s.wire.script(tokenCalls, s.DeadGrant)
	_, err := r.Renew(s.Context(), s.renewal(a))
	s.check(s.outcome(err).Outcome == token.DeadGrant, "the answer to a dead grant is %v", err)

	later := s.DeadGrant
	for _, later.Status = range []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		s.wire.script(tokenCalls, later)
		_, err = r.Renew(s.Context(), s.renewal(a))
		s.check(s.outcome(err).Outcome == token.Transient, "the same words with status %d are %v, want transient", later.Status, err)
	}
	if s.Mints {
		return
	}
	s.wire.forget()
	a.Grant.RefreshToken = token.Secret{}
	_, err = r.Renew(s.Context(), s.renewal(a))
	e := s.outcome(err)
	s.check(e.Outcome == token.DeadGrant && e.Code == "no_refresh_token", "without a refresh token the error is %v", err)
	s.check(len(s.wire.requests()) == 0, "without a refresh token a request was made")
}

func (s *suite) appFault() {
	r, a := s.renewer(), s.connect()
	s.wire.script(tokenCalls, s.AppFault)
	_, err := r.Renew(s.Context(), s.renewal(a))
	s.check(s.outcome(err).Outcome == token.AppFault, "the answer to a wrong client secret is %v, want an app fault", err)
}

func (s *suite) revoke() {
	r, ok := s.Provider.(providers.Revoker)
	if !ok {
		s.Skip("the provider revokes nothing")
	}
	a := s.connect()
	s.check(s.Live(), "the fake does not accept a fresh token")
	rev := providers.Revocation{
		ExternalID: a.ExternalID, AccessToken: a.Grant.AccessToken, RefreshToken: a.Grant.RefreshToken, ProviderData: a.ProviderData,
		Client: s.client(), HTTP: s.httpClient(),
	}
	err := r.Revoke(s.Context(), rev)
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	s.ok(err)
	s.check(!s.Live(), "the fake still accepts a token")
	s.ok(r.Revoke(s.Context(), rev)) // what is gone is no error
}
