package integrations

import (
	"fmt"
	"time"
)

// Action is what somebody has to do about an integration.
type Action string

const (
	// ActionNone: nothing.
	ActionNone Action = "none"
	// ActionWait: nothing either; it is tried again.
	ActionWait Action = "wait"
	// ActionReconnect: the tenant connects again.
	ActionReconnect Action = "reconnect"
	// ActionAskAdmin: the tenant asks whoever administers the account at the
	// provider.
	ActionAskAdmin Action = "ask_admin"
	// ActionUpgrade: the tenant grants what is missing, at [Manager.UpgradeURL].
	ActionUpgrade Action = "upgrade"
	// ActionConnect: the tenant connects, if the integration is wanted again.
	ActionConnect Action = "connect"
)

// Explanation says how an integration is in one sentence for people, and what to
// do.
type Explanation struct {
	Sentence string `json:"sentence"`
	Action   Action `json:"action"`
}

// reasons say more than the status does.
var reasons = map[string]Explanation{
	"rotation_lost":    {"The access was lost when it was being renewed. Connect again.", ActionReconnect},
	"token_rejected":   {"The provider refuses this connection. Connect again.", ActionReconnect},
	"not_renewable":    {"The access has ended and cannot be renewed. Connect again.", ActionReconnect},
	"no_refresh_token": {"The access has ended and cannot be renewed. Connect again.", ActionReconnect},
}

// endsSoon is how long before the end of a grant a tenant is asked to connect
// again. It is less than half of the usual life after which providers end unused
// grants, at which Run renews those; what renewals are known to prolong is not asked
// for at all.
const endsSoon = 14 * 24 * time.Hour

// Explain says how an integration is and what to do about it. A grant that ends
// within two weeks is something to do: connecting again makes another.
func (in Integration) Explain() Explanation {
	switch in.Status {
	case StatusNeedsReconnect:
		if e, known := reasons[in.Reason]; known {
			return e
		}
		return Explanation{"The provider no longer accepts this connection. Connect again.", ActionReconnect}
	case StatusSuspended:
		return Explanation{"The provider has suspended this connection. Ask an administrator of the account to resume it.", ActionAskAdmin}
	case StatusRevoked:
		return Explanation{"The app was removed at the provider. Connect again.", ActionConnect}
	case StatusDisconnected:
		return Explanation{"Disconnected.", ActionConnect}
	}
	since := in.FailingSince.UTC().Format(time.RFC3339)
	switch {
	case in.GivenUp:
		return Explanation{fmt.Sprintf("Renewing the access has failed since %s (%s) and calls fail. Connect again.", since, in.FailingCode), ActionReconnect}
	case !in.FailingSince.IsZero():
		return Explanation{fmt.Sprintf("Renewing the access fails since %s (%s); it is tried again.", since, in.FailingCode), ActionWait}
	case !in.GrantEndsAt.IsZero() && !in.GrantRenews && time.Until(in.GrantEndsAt) < endsSoon:
		return Explanation{fmt.Sprintf("Connected until %s. Connect again before then to keep it.", in.GrantEndsAt.UTC().Format(time.DateOnly)), ActionReconnect}
	case len(in.MissingScopes) > 0:
		return Explanation{"Connected, without all the permissions that were asked for. Grant the missing ones.", ActionUpgrade}
	}
	return Explanation{"Connected.", ActionNone}
}
