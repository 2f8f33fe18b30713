package integrations_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// told collects what happened to integrations, and delivers it when asked.
type told struct {
	m   *integrations.Manager
	mu  sync.Mutex
	got []integrations.Change
}

func listen(kit *integrationstest.Kit) *told {
	l := &told{m: kit.Manager()}
	l.m.OnChange(func(_ context.Context, c integrations.Change) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, c)
		return nil
	})
	return l
}

// since are the changes since the last call. Drain renews what is due, too.
func (l *told) since(t *testing.T) []integrations.Change {
	require.NoError(t, l.m.Drain(t.Context()))
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.got
	l.got = nil
	return got
}

func only(t *testing.T, m *integrations.Manager) integrations.Integration {
	list, err := m.Integrations(t.Context(), "t1")
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

// renewTimes asks for a token again and again, each time when it may be tried.
func renewTimes(t *testing.T, conn interface {
	Check(context.Context) error
}, n int, pause time.Duration) (last error) {
	for range n {
		last = conn.Check(t.Context())
		time.Sleep(pause)
	}
	return last
}

func TestAFailingRenewalIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		changes := listen(kit)
		kit.Connect("t1", acmeKey)
		conn := connOf(t, kit)
		require.NoError(t, conn.Check(t.Context()))
		require.Equal(t, integrations.ChangeConnected, changes.since(t)[0].Kind)
		time.Sleep(48 * time.Hour) // the token has ended
		p.fault = &token.Error{Outcome: token.Transient, Code: "server_error", Status: http.StatusBadGateway}

		began := time.Now()
		require.Error(t, renewTimes(t, conn, 3, 10*time.Minute))
		require.Empty(t, changes.since(t), "four are not worth a word")
		in := only(t, changes.m)
		require.Equal(t, "server_error", in.FailingCode)
		require.WithinDuration(t, began, in.FailingSince, time.Minute)
		require.False(t, in.GivenUp)
		require.Equal(t, integrations.ActionWait, in.Explain().Action)
		require.Equal(t, in.Explain().Sentence, in.LastError)

		require.Error(t, renewTimes(t, conn, 20, 10*time.Minute))
		got := changes.since(t)
		require.Len(t, got, 1, "told once")
		require.Equal(t, integrations.ChangeRefreshFailing, got[0].Kind)
		require.Equal(t, "server_error", got[0].Reason)
		require.Equal(t, integrations.StatusActive, got[0].Status)
		require.True(t, in.FailingSince.Equal(got[0].Since))

		time.Sleep(72*time.Hour - time.Since(began) - time.Hour)
		require.Error(t, conn.Check(t.Context()))
		require.Empty(t, changes.since(t), "an hour before GiveUpAfter")
		time.Sleep(2 * time.Hour)
		require.Error(t, renewTimes(t, conn, 5, 10*time.Minute))
		got = changes.since(t)
		require.Len(t, got, 1, "told once")
		require.Equal(t, integrations.ChangeRefreshFailing, got[0].Kind)
		require.Equal(t, "given_up", got[0].Reason)
		in = only(t, changes.m)
		require.True(t, in.GivenUp)
		require.Equal(t, integrations.StatusActive, in.Status, "an outage disconnects nobody")
		require.Equal(t, integrations.ActionReconnect, in.Explain().Action)

		p.fault = nil
		time.Sleep(10 * time.Minute)
		require.NoError(t, conn.Check(t.Context()))
		got = changes.since(t)
		require.Len(t, got, 1)
		require.Equal(t, integrations.ChangeRecovered, got[0].Kind)
		require.False(t, got[0].Since.IsZero())
		in = only(t, changes.m)
		require.Zero(t, in.FailingSince)
		require.Empty(t, in.LastError)
		require.Equal(t, integrations.Explanation{Sentence: "Connected.", Action: integrations.ActionNone}, in.Explain())

		time.Sleep(48 * time.Hour)
		require.NoError(t, renewTimes(t, conn, 1, 0))
		require.Empty(t, changes.since(t), "a renewal that works is no news")
	})
}

func TestGiveUpAfterIsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t, func(cfg *integrations.Config, _ *providers.OAuth2Config) { cfg.GiveUpAfter = time.Hour })
		changes := listen(kit)
		kit.Connect("t1", acmeKey)
		conn := connOf(t, kit)
		changes.since(t)
		time.Sleep(48 * time.Hour)
		p.fault = &token.Error{Outcome: token.Transient, Code: "server_error", Status: http.StatusBadGateway}
		require.Error(t, renewTimes(t, conn, 1, 59*time.Minute))
		require.Empty(t, changes.since(t))
		time.Sleep(2 * time.Minute)
		require.Equal(t, "given_up", changes.since(t)[0].Reason)
	})
}

// TestAnEndIsSeenComing: of a grant that nothing prolongs beyond its year.
func TestAnEndIsSeenComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		changes := listen(kit)
		p.life = 365 * 24 * time.Hour
		kit.Connect("t1", acmeKey)
		ends := time.Now().Add(p.life)
		p.life = 0 // renewals do not prolong it
		conn := connOf(t, kit)
		time.Sleep(350 * 24 * time.Hour)
		require.NoError(t, conn.Check(t.Context()))
		in := only(t, changes.m)
		require.WithinDuration(t, ends, in.GrantEndsAt, time.Second)
		require.Equal(t, integrations.ActionNone, in.Explain().Action)
		time.Sleep(48 * time.Hour)
		require.NoError(t, conn.Check(t.Context()))
		in = only(t, changes.m)
		require.Equal(t, integrations.ActionReconnect, in.Explain().Action)
		require.Contains(t, in.Explain().Sentence, ends.UTC().Format(time.DateOnly))
	})
}

func TestAScopeChangeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		changes := listen(kit)
		kit.Connect("t1", acmeKey)
		conn := connOf(t, kit)
		changes.since(t)
		for i, step := range []struct {
			scopes []string
			told   bool
		}{{[]string{"write", "read"}, false}, {nil, false}, {[]string{"read"}, true}, {[]string{"read"}, false}} {
			time.Sleep(48 * time.Hour)
			p.scopes = step.scopes
			require.NoError(t, conn.Check(t.Context()))
			got := changes.since(t)
			require.Equal(t, step.told, len(got) == 1, i)
			if step.told {
				require.Equal(t, integrations.ChangeScopes, got[0].Kind)
			}
		}
		in := only(t, changes.m)
		require.Equal(t, []string{"write"}, in.MissingScopes)
		require.Equal(t, integrations.ActionUpgrade, in.Explain().Action)
	})
}

func TestADeadGrantIsToldAndExplained(t *testing.T) {
	for code, sentence := range map[string]string{
		"invalid_grant": "The provider no longer accepts this connection. Connect again.",
		// An answer was lost first: the refusal is then not the tenant's doing.
		"rotation_lost": "The access was lost when it was being renewed. Connect again.",
	} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit, p := fakeKit(t)
				changes := listen(kit)
				kit.Connect("t1", acmeKey)
				conn := connOf(t, kit)
				changes.since(t)
				time.Sleep(48 * time.Hour)
				if code == "rotation_lost" {
					p.fault = &token.Error{Outcome: token.Ambiguous, Code: "no_answer"}
					require.Error(t, renewTimes(t, conn, 1, time.Minute))
				}
				p.fault = &token.Error{Outcome: token.DeadGrant, Code: "invalid_grant", Status: 400}
				err := renewTimes(t, conn, 3, time.Hour)
				require.ErrorIs(t, err, integrations.ErrReconnectRequired)
				got := changes.since(t)
				require.Len(t, got, 1)
				require.Equal(t, integrations.ChangeNeedsReconnect, got[0].Kind)
				require.Equal(t, code, got[0].Reason)
				in := only(t, changes.m)
				require.Equal(t, integrations.Explanation{Sentence: sentence, Action: integrations.ActionReconnect}, in.Explain())
				require.Equal(t, sentence, in.LastError)

				p.fault = nil
				kit.Connect("t1", acmeKey)
				require.Equal(t, integrations.ChangeReconnected, changes.since(t)[0].Kind)
				require.Empty(t, only(t, changes.m).LastError)

				require.NoError(t, changes.m.Disconnect(t.Context(), "t1", in.ID))
				got = changes.since(t)
				require.Len(t, got, 1)
				require.Equal(t, integrations.ChangeDisconnected, got[0].Kind)
				require.NoError(t, changes.m.Disconnect(t.Context(), "t1", in.ID))
				require.Empty(t, changes.since(t), "a second disconnect is no news")
				kit.Connect("t1", acmeKey)
				require.Equal(t, integrations.ChangeConnected, changes.since(t)[0].Kind)
			})
		})
	}
}

func TestExplainHasAWordForEveryStatus(t *testing.T) {
	seen := map[string]bool{}
	for _, in := range []integrations.Integration{
		{Status: integrations.StatusActive},
		{Status: integrations.StatusActive, GrantEndsAt: time.Now().Add(13 * 24 * time.Hour)},
		{Status: integrations.StatusActive, MissingScopes: []string{"x"}},
		{Status: integrations.StatusActive, FailingSince: time.Unix(1, 0), FailingCode: "x"},
		{Status: integrations.StatusActive, FailingSince: time.Unix(1, 0), GivenUp: true},
		{Status: integrations.StatusNeedsReconnect},
		{Status: integrations.StatusNeedsReconnect, Reason: "token_rejected"},
		{Status: integrations.StatusNeedsReconnect, Reason: "not_renewable"},
		{Status: integrations.StatusSuspended},
		{Status: integrations.StatusRevoked},
		{Status: integrations.StatusDisconnected},
	} {
		e := in.Explain()
		require.NotEmpty(t, e.Action)
		require.NotEmpty(t, e.Sentence)
		require.False(t, seen[e.Sentence], e.Sentence)
		seen[e.Sentence] = true
	}
	far := integrations.Integration{Status: integrations.StatusActive, GrantEndsAt: time.Now().Add(15 * 24 * time.Hour)}
	require.Equal(t, integrations.ActionNone, far.Explain().Action)
	require.Equal(t, integrations.ActionAskAdmin, integrations.Integration{Status: integrations.StatusSuspended}.Explain().Action)
}

// TestADeadGrantIsNotRevivedByAPause: what a provider pauses and resumes is an
// installation; the grant that it refused stays refused.
func TestADeadGrantIsNotRevivedByAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, p := fakeKit(t)
		changes := listen(kit)
		kit.Connect("t1", acmeKey)
		conn := connOf(t, kit)
		time.Sleep(48 * time.Hour)
		p.fault = &token.Error{Outcome: token.DeadGrant, Code: "invalid_grant", Status: 400}
		require.ErrorIs(t, conn.Check(t.Context()), integrations.ErrReconnectRequired)
		changes.since(t)
		for _, id := range []string{"pause", "resume"} {
			send(t, kit, `{"id":"`+id+`","account":"T-t1"}`)
			require.Empty(t, changes.since(t))
		}
		require.Equal(t, integrations.StatusNeedsReconnect, only(t, changes.m).Status)
	})
}
