package store

import "context"

// Purger is an optional ability of a [Store]: removing a tenant.
type Purger interface {
	// PurgeRows removes up to limit rows of a tenant from a table and reports how
	// many; 0 means that none is left, also where others remove them too. Of integrations it removes those that are [Disconnected] only: a grant
	// that is connected meanwhile has to be revoked first. Tenant "" has no rows:
	// unrouted deliveries are nobody's.
	PurgeRows(ctx context.Context, tenant string, t Table, limit int) (int, error)
}

// Table is a kind of rows that a tenant has.
type Table string

// The tables of a tenant. A store has none of an ability it lacks.
const (
	TableIntegrations  Table = "integrations"
	TableFlows         Table = "oauth_flows"
	TableDeliveries    Table = "webhook_inbox"
	TableCheckpoints   Table = "checkpoints"
	TableEndpoints     Table = "webhook_endpoints"
	TableSubscriptions Table = "subscriptions"
)
