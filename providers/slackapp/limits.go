package slackapp

import (
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/ratelimit"
)

// limits are Slack's (docs.slack.dev/apis/web-api/rate-limits, checked 2026-11): each
// method has a tier, kept for each workspace and method; posting has about one
// message a second for each channel besides. Slack tolerates bursts and tells no
// numbers with its answers, only how long to wait after a refusal.
type limits struct {
	tiers   [5]*ratelimit.Budget // 1 to 4; 0 is for methods without a tier
	history *ratelimit.Budget
	posts   *ratelimit.Budget
}

func newLimits(cfg Config) limits {
	tier := func(name string, perMinute, burst int) *ratelimit.Budget {
		return &ratelimit.Budget{Name: name, Units: perMinute, Window: time.Minute, Burst: burst}
	}
	l := limits{
		tiers: [5]*ratelimit.Budget{
			// "Special" methods: no number is documented; answers slow them down.
			tier("special", 600, 100), tier("tier1", 1, 1), tier("tier2", 20, 5), tier("tier3", 50, 10), tier("tier4", 100, 20),
		},
		posts: &ratelimit.Budget{Name: "channel", Units: 1, Window: time.Second, Burst: 3},
	}
	l.history = l.tiers[3]
	if cfg.LimitedHistory {
		// Apps that are distributed commercially outside the Marketplace (Slack's
		// changelog of 2025-05).
		l.history = tier("history", 1, 1)
	}
	return l
}

// tierOf is the tier of the methods that this package and slack-go call most; the
// list is from memory (see docs/limits.md). One that is not in it is taken for tier 2
// when its name says that it lists, else for tier 3.
var tierOf = map[string]int{
	"apps.uninstall":     1,
	"conversations.list": 2, "users.list": 2, "usergroups.list": 2, "search.messages": 2, "chat.getPermalink": 0,
	"conversations.info": 3, "conversations.open": 3, "conversations.join": 3, "chat.update": 3, "chat.delete": 3, "chat.scheduleMessage": 3,
	"users.lookupByEmail": 3, "team.info": 3, "reactions.add": 3,
	"users.info": 4, "conversations.members": 4, "chat.postEphemeral": 4, "views.open": 4, "views.publish": 4, "views.update": 4,
	"files.getUploadURLExternal": 4, "files.completeUploadExternal": 4,
	"chat.postMessage": 0, "auth.test": 0, "auth.revoke": 0, "oauth.v2.access": 0, "api.test": 0,
}

// Budgets implements providers.BudgetKeeper. The tiers are kept for each method: what
// a connection shows of them is of no method and always whole.
func (a *App) Budgets() []*ratelimit.Budget {
	l := &a.limits
	out := append([]*ratelimit.Budget{}, l.tiers[:]...)
	if l.history != l.tiers[3] {
		out = append(out, l.history)
	}
	return append(out, l.posts)
}

// method is the Web API method of a request, "" for what is none.
func method(q providers.BudgetRequest) string {
	m, ok := strings.CutPrefix(q.Request.URL.Path, "/api/")
	if !ok || strings.Contains(m, "/") {
		return ""
	}
	return m
}

// budget is the budget of a method and whose it is.
func (a *App) budget(q providers.BudgetRequest) (*ratelimit.Budget, string) {
	m := method(q)
	switch m {
	case "":
		return a.limits.tiers[0], q.Account
	case "conversations.history", "conversations.replies":
		return a.limits.history, q.Account + " " + m
	}
	tier, known := tierOf[m]
	if !known {
		tier = 3
		if strings.HasSuffix(m, ".list") {
			tier = 2
		}
	}
	return a.limits.tiers[tier], q.Account + " " + m
}

// Charges implements providers.BudgetKeeper.
func (a *App) Charges(q providers.BudgetRequest, into []ratelimit.Charge) []ratelimit.Charge {
	if m := method(q); m == "chat.postMessage" || m == "chat.postEphemeral" {
		if channel := channelOf(q); channel != "" {
			into = append(into, ratelimit.Charge{Budget: a.limits.posts, Key: q.Account + " " + channel})
		}
	}
	b, key := a.budget(q)
	return append(into, ratelimit.Charge{Budget: b, Key: key})
}

// Readings implements providers.BudgetKeeper. A refusal is of the method in the
// workspace; where a channel was posted to, nobody can tell which of both it was of.
func (a *App) Readings(q providers.BudgetRequest, ans providers.BudgetAnswer, into []ratelimit.Reading) []ratelimit.Reading {
	if ans.Verdict != providers.AnswerLimited {
		return into
	}
	b, key := a.budget(q)
	return append(into, ratelimit.Reading{Budget: b, Key: key, Remaining: -1, Refused: true, RetryAfter: ans.RetryAfter})
}

// bodyHead is how much of a message is read to find its channel.
const bodyHead = 64 << 10

// channelOf is the channel that a message goes to, "" when it cannot be told without
// spending the body.
func channelOf(q providers.BudgetRequest) string {
	r := q.Request
	if r.GetBody == nil {
		return ""
	}
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	defer func() { _ = body.Close() }()
	head, err := io.ReadAll(io.LimitReader(body, bodyHead))
	if err != nil {
		return ""
	}
	var channel string
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var m struct{ Channel string }
		if json.Unmarshal(head, &m) == nil {
			channel = m.Channel
		}
	} else if form, err := url.ParseQuery(string(head)); err == nil {
		channel = form.Get("channel")
	}
	if len(channel) > 64 {
		return ""
	}
	return channel
}
