package integrations

import (
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

// transition is one step in an integration's life: which rows it applies to and
// what becomes of them. Each is written together with its [Change] in one
// transaction, or not at all.
type transition struct {
	// from are the statuses a row may have.
	from []Status
	// to is the status afterwards, "" for a step that leaves it.
	to Status
	// wipe removes the tokens.
	wipe bool
}

// transitions are all there are.
//
//   - connected and reconnected are written by Store.Connect, which a fresh grant
//     comes by; a first connect has no row to begin with.
//   - needs_reconnect, refresh_failing, recovered and scopes_changed come from a
//     renewal ([token.Turn]), scopes_changed from a provider's event too.
//   - grant_ending comes from the look for grants that end soon.
//   - needs_reconnect comes from a verification ([providers.Verifier]) and from calls
//     too, both by way of the renewal that they ask for.
//   - suspended, resumed and revoked come from a provider's event
//     ([providers.Lifecycle]).
//   - disconnected comes from [Manager.Disconnect]. [Manager.Purge] ends what it removes
//     without one.
var transitions = map[ChangeKind]transition{
	ChangeConnected:      {from: []Status{StatusDisconnected, StatusRevoked}, to: StatusActive},
	ChangeReconnected:    {from: []Status{StatusActive, StatusNeedsReconnect, StatusSuspended}, to: StatusActive},
	ChangeRefreshFailing: {from: []Status{StatusActive}},
	ChangeRecovered:      {from: []Status{StatusActive, StatusSuspended}},
	ChangeScopes:         {from: []Status{StatusActive, StatusNeedsReconnect, StatusSuspended}},
	ChangeGrantEnding:    {from: []Status{StatusActive}},
	ChangeNeedsReconnect: {from: []Status{StatusActive}, to: StatusNeedsReconnect},
	// A dead grant stays one: a pause and its end must not revive it.
	ChangeSuspended:    {from: []Status{StatusActive}, to: StatusSuspended},
	ChangeResumed:      {from: []Status{StatusSuspended}, to: StatusActive},
	ChangeRevoked:      {from: []Status{StatusActive, StatusNeedsReconnect, StatusSuspended}, to: StatusRevoked, wipe: true},
	ChangeDisconnected: {from: []Status{StatusActive, StatusNeedsReconnect, StatusSuspended, StatusRevoked}, to: StatusDisconnected, wipe: true},
}

// lifecycleKinds are the steps that providers' events bring about.
var lifecycleKinds = map[providers.LifecycleKind]ChangeKind{
	providers.Uninstalled: ChangeRevoked,
	providers.Suspended:   ChangeSuspended,
	providers.Resumed:     ChangeResumed,
}

// step makes the conditional write of a transition that changes the status.
func (m *Manager) step(in store.Integration, kind ChangeKind, reason string) (store.SetStatus, error) {
	t := transitions[kind]
	change, err := m.changeTo(in, Change{Kind: kind, Reason: reason})
	return store.SetStatus{
		TenantID: in.TenantID, ID: in.ID, From: t.from, To: t.to, Reason: reason, Wipe: t.wipe, Change: change,
	}, err
}

// changeTo makes the inbox row of a change of a row that is there.
func (m *Manager) changeTo(in store.Integration, c Change) (*store.Delivery, error) {
	c.TenantID, c.IntegrationID, c.Provider, c.Label, c.ExternalID = in.TenantID, in.ID, in.Provider, in.Label, in.ExternalID
	if c.Status = transitions[c.Kind].to; c.Status == "" {
		c.Status = in.Status
	}
	return m.changeOf(c)
}

// turned makes the inbox row of what a renewal brought about.
func (m *Manager) turned(in store.Integration, t token.Turn) (*store.Delivery, error) {
	c := Change{Kind: ChangeKind(t.Kind), Reason: t.Reason, Since: t.Since}
	if t.Kind == token.TurnScopes {
		c.Scopes, c.MissingScopes = t.Scopes, m.missing(in.Provider, t.Scopes)
	}
	return m.changeTo(in, c)
}
