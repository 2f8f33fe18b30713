package integrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

const (
	// purgeBatch is how many rows are removed at a time: no lock is held for long.
	purgeBatch = 1000
	// purgePasses is how often what is connected meanwhile is purged too.
	purgePasses = 5
	// purgeReason is the reason of an integration whose purge is under way.
	purgeReason = "purge"
	// webhookInFlight is how long a webhook may take from its routing to its row: the
	// receiver's 10 s, and a moment around them.
	webhookInFlight = 11 * time.Second
)

// PurgeReceipt says what was removed of a tenant, for the host to keep. It holds no
// secret.
type PurgeReceipt struct {
	TenantID  string    `json:"tenantId"`
	StartedAt time.Time `json:"startedAt"`
	// FinishedAt is zero when Purge returned an error.
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	// Integrations are those that were there, each with the end of its grant.
	Integrations []PurgedIntegration `json:"integrations"`
	// Removed counts the rows.
	Removed PurgedRows `json:"removed"`
}

// PurgedIntegration is one integration of a [PurgeReceipt].
type PurgedIntegration struct {
	ID         string `json:"id"`
	Provider   string `json:"provider"`
	Label      string `json:"label,omitempty"`
	ExternalID string `json:"externalId,omitempty"`
	// Status is that before the purge; [StatusDisconnected] also for one that an
	// interrupted purge had begun to end.
	Status Status `json:"status"`
	// Grant says whether the grant was revoked at the provider, or why not.
	Grant GrantEnd `json:"grant"`
	// Error is what went wrong at the provider, with the grant or with
	// subscriptions; "" for nothing.
	Error string `json:"error,omitempty"`
}

// PurgedRows counts rows by table.
type PurgedRows struct {
	Integrations  int `json:"integrations"`
	Flows         int `json:"flows"`
	Deliveries    int `json:"deliveries"` // webhooks and changes
	Checkpoints   int `json:"checkpoints"`
	Endpoints     int `json:"endpoints"`
	Subscriptions int `json:"subscriptions"`
}

// Purge removes everything there is of a tenant: it ends all integrations, ends
// their subscriptions and grants at the providers as [Manager.Disconnect] does, and
// removes every row with the tenant's id: integrations, flows, webhooks and changes
// whatever their state, checkpoints and leases, endpoints, subscriptions. After it
// the database holds none. The receipt says what became of each grant; what a
// provider fails at is tried twice, and removed here all the same. No [Change]
// tells of it: the changes go too, and the receipt is the answer.
//
// Purge may be called again at any time. After an error, or a process that died,
// nothing of the tenant is used any more and the next call finishes; a grant that
// was not revoked is still there to be. A purged tenant's id may be used anew.
//
// It is safe beside everything else, on any replica. A refresh that is under way
// ends with its new grant revoked. A connect that is under way is refused and its
// grant revoked. What other replicas were about to write, because they heard of the
// end of an integration only after Config.CacheFor, is waited for: if an
// integration was connected within that time Purge lasts about 15 s with the default
// configuration (the longer of 11 s and CacheFor + CommitBudget), so it is not for a
// request. A user who can still sign in can start a new connect, and a host can
// import: end the tenant's sessions first. Events that arrive afterwards for an
// account that nobody has connected are stored without a tenant, as any such.
//
// It returns an error wrapping [ErrInvalid] for an empty tenant or one over 191
// bytes, [ErrConflict] when the tenant was connected anew again and again, ctx's
// error, or the store's, which wraps errors.ErrUnsupported when the store is no
// [store.Purger]. The receipt then says how far it came.
func (m *Manager) Purge(ctx context.Context, tenant string) (PurgeReceipt, error) {
	r := PurgeReceipt{TenantID: tenant, StartedAt: time.Now().UTC(), Integrations: []PurgedIntegration{}}
	s, ok := m.cfg.Store.(store.Purger)
	switch {
	case !ok:
		return r, fmt.Errorf("integrations: purge: the store is no store.Purger: %w", errors.ErrUnsupported)
	case tenant == "" || len(tenant) > maxName:
		return r, fmt.Errorf("%w: tenant is empty or over %d bytes", ErrInvalid, maxName)
	}
	p := purge{m: m, store: s, tenant: tenant, receipt: &r}
	for range purgePasses {
		over, err := p.pass(ctx)
		if err != nil {
			return r, fmt.Errorf("integrations: purge: %w", err)
		}
		if over {
			r.FinishedAt = time.Now().UTC()
			return r, nil
		}
	}
	return r, fmt.Errorf("%w: the tenant is connected again and again", ErrConflict)
}

// maxName is the width of the store's columns for tenants and accounts.
const maxName = 191

// purge is one call of Purge.
type purge struct {
	m       *Manager
	store   store.Purger
	tenant  string
	receipt *PurgeReceipt
	quietAt time.Time // from when nobody writes for the tenant any more
}

// pass ends and removes what there is. It reports whether nothing is left.
func (p *purge) pass(ctx context.Context) (bool, error) {
	// First, so that no connect that is under way comes to an end: a store refuses
	// the grant of a flow that is gone.
	if err := p.remove(ctx, store.TableFlows, &p.receipt.Removed.Flows); err != nil {
		return false, err
	}
	rows, err := p.m.cfg.Store.List(ctx, p.tenant)
	if err != nil {
		return false, err
	}
	// All before the first is revoked: integrations of one account keep each other's
	// grants from being revoked while they are connected.
	ended := rows[:0]
	for _, in := range rows {
		in, there, err := p.end(ctx, in)
		if err != nil {
			return false, err
		}
		if there {
			ended = append(ended, in)
		}
	}
	if err := p.endGrants(ctx, ended); err != nil {
		return false, err
	}
	return p.removeAll(ctx)
}

// end marks an integration as disconnected, tokens and all, and returns it as it
// was: whoever finishes an interrupted purge finds the grant to revoke. False means
// that it is gone.
func (p *purge) end(ctx context.Context, in store.Integration) (store.Integration, bool, error) {
	for range disconnectTries {
		if in.Status == store.Disconnected {
			p.quiet(in.ReadAt.Sub(in.UpdatedAt))
			return in, true, nil
		}
		done, err := p.m.cfg.Store.SetStatus(ctx, store.SetStatus{
			TenantID: in.TenantID, ID: in.ID, SeenGen: in.TokenGen, To: store.Disconnected, Reason: purgeReason,
		})
		if err != nil {
			return in, false, err
		}
		if done {
			p.m.forget(ctx, in.TenantID, in.ID)
			p.quiet(0)
			return in, true, nil
		}
		switch in, err = p.m.cfg.Store.Get(ctx, in.TenantID, in.ID); {
		case errors.Is(err, store.ErrNotFound):
			return in, false, nil
		case err != nil:
			return in, false, err
		}
	}
	return in, false, fmt.Errorf("%w: the integration keeps changing", ErrConflict)
}

// quiet notes an integration that was disconnected so long ago.
func (p *purge) quiet(ago time.Duration) {
	last := max(p.m.cfg.CacheFor+p.m.cfg.CommitBudget, webhookInFlight)
	if at := time.Now().Add(last - ago); at.After(p.quietAt) {
		p.quietAt = at
	}
}

// endGrants ends what the rows hold at their providers, and waits until nobody
// writes for them any more. Those that fail are tried once more after that.
func (p *purge) endGrants(ctx context.Context, rows []store.Integration) error {
	results := make([]PurgedIntegration, len(rows))
	try := func(again bool) error {
		for i, in := range rows {
			if again && (results[i].Error == "" || results[i].Grant == GrantRevoked) {
				continue
			}
			var err error
			if results[i], err = p.endGrant(ctx, in); err != nil {
				return err
			}
		}
		return nil
	}
	err := try(false)
	if err == nil {
		err = sleepUntil(ctx, p.quietAt)
	}
	if err == nil {
		err = try(true)
	}
	for _, r := range results {
		if r.ID != "" {
			p.receipt.Integrations = append(p.receipt.Integrations, r)
		}
	}
	return err
}

func (p *purge) endGrant(ctx context.Context, in store.Integration) (PurgedIntegration, error) {
	r := PurgedIntegration{ID: in.ID, Provider: in.Provider, Label: in.Label, ExternalID: in.ExternalID, Status: in.Status}
	var subs []providers.Subscription
	if s, ok := p.m.cfg.Store.(store.Endpoints); ok {
		rows, err := s.ListSubscriptions(ctx, store.Ref{TenantID: in.TenantID, ID: in.ID})
		if err != nil {
			return PurgedIntegration{}, err
		}
		for _, row := range rows {
			if row.Name != keeperName { // which is none of the provider's
				subs = append(subs, subscription(row))
			}
		}
	}
	call, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	end, err := p.m.endGrant(call, in, subs)
	switch {
	case ctx.Err() != nil:
		return PurgedIntegration{}, ctx.Err() // the row stays, and says what is left to do
	case end == "":
		return PurgedIntegration{}, err
	}
	if r.Grant = end; err != nil {
		r.Error = err.Error()
	}
	return r, nil
}

func sleepUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// removeAll removes the rows. Flows that were begun meanwhile go before
// integrations and integrations before the rest, so that nothing can be added to
// what was removed.
func (p *purge) removeAll(ctx context.Context) (over bool, err error) {
	n := &p.receipt.Removed
	for _, t := range []struct {
		table store.Table
		count *int
	}{
		{store.TableFlows, &n.Flows}, {store.TableIntegrations, &n.Integrations}, {store.TableDeliveries, &n.Deliveries},
		{store.TableCheckpoints, &n.Checkpoints}, {store.TableEndpoints, &n.Endpoints}, {store.TableSubscriptions, &n.Subscriptions},
	} {
		if err := p.remove(ctx, t.table, t.count); err != nil {
			return false, err
		}
	}
	left, err := p.m.cfg.Store.List(ctx, p.tenant)
	if err != nil {
		return false, err
	}
	for _, in := range p.receipt.Integrations {
		p.m.vault.Forget(p.tenant, in.ID)
	}
	return len(left) == 0, nil
}

func (p *purge) remove(ctx context.Context, t store.Table, count *int) error {
	for {
		n, err := p.store.PurgeRows(ctx, p.tenant, t, purgeBatch)
		*count += n
		if err != nil || n == 0 {
			return err
		}
	}
}

// inTime writes for an integration unless it is disconnected or gone, as far as this
// process knows, and only for as long as a purge waits for: what came later would
// outlive it.
func (m *Manager) inTime(ctx context.Context, ref store.Ref, write func(ctx context.Context) error) error {
	var err error
	if ref != (store.Ref{}) { // else it is kept of the app itself
		var h *token.Handle
		if h, err = m.vault.LookupID(ctx, ref.TenantID, ref.ID); err == nil {
			err = h.Usable(ctx)
		}
	}
	if err = usable(err); errors.Is(err, ErrNotConnected) || errors.Is(err, ErrDisconnected) {
		return err // another fault is not this one's to report
	}
	bounded, cancel := context.WithTimeout(ctx, m.cfg.CommitBudget)
	defer cancel()
	if err = write(bounded); err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: the store did not answer in time", ErrTransient)
	}
	return err
}
