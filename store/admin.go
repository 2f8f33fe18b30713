package store

import "context"

// Admin is an optional ability of a [Store]: work that crosses tenants, for key
// rotation, health checks and operators' tools.
type Admin interface {
	// CountByKey reports how many rows with sealed columns name each key, over
	// integrations, endpoints and unfinished or dead deliveries: [SealedTokens],
	// [SealedSecrets] and [SealedBodies].
	CountByKey(ctx context.Context) (map[string]int64, error)

	// CountByStatus reports how many integrations have each status.
	CountByStatus(ctx context.Context) (map[Status]int64, error)

	// ListAll returns up to limit integrations with an id above afterID, ordered
	// by id.
	ListAll(ctx context.Context, afterID string, limit int) ([]Integration, error)

	// CountSealed is CountByKey for one kind of row.
	CountSealed(ctx context.Context, kind SealedKind) (map[string]int64, error)

	// ListSealed returns up to limit rows of a kind that are under the key and have
	// an id above afterID, ordered by id. It returns fewer where they are large,
	// and none only when there are none.
	ListSealed(ctx context.Context, kind SealedKind, keyID, afterID string, limit int) ([]Sealed, error)

	// Reseal replaces sealed values by the same ones under another key, all in one
	// transaction. A row is changed only if it still is as it was listed: Gen and
	// Values of Old, for bodies, which never change, its KeyID. No counter moves,
	// and a delivery is kept no longer. It reports how many rows it changed.
	Reseal(ctx context.Context, kind SealedKind, rs []Reseal) (int, error)
}

// SealedKind is a kind of row with sealed columns.
type SealedKind int8

const (
	// SealedTokens are the access and the refresh token of integrations.
	SealedTokens SealedKind = iota + 1
	// SealedSecrets are the secret and the previous secret of endpoints.
	SealedSecrets
	// SealedBodies are the bodies of pending and dead deliveries.
	SealedBodies
	// SealedDone are the bodies of done deliveries.
	SealedDone
)

// String names what is sealed, for messages.
func (k SealedKind) String() string {
	switch k {
	case SealedTokens:
		return "tokens"
	case SealedSecrets:
		return "secrets"
	case SealedBodies:
		return "bodies"
	case SealedDone:
		return "done bodies"
	}
	return "nothing"
}

// Sealed is what is sealed of one row.
type Sealed struct {
	TenantID, Provider, ID string
	KeyID                  string
	// Gen is the TokenGen of an integration, 0 for other kinds.
	Gen int64
	// Values are the sealed columns in the order in which the kind names them;
	// nil where the row has none.
	Values [2][]byte
}

// Reseal is one row of [Admin.Reseal].
type Reseal struct {
	// Old is the row as it was listed.
	Old Sealed
	// Values take the place of Old.Values, KeyID names their key.
	Values [2][]byte
	KeyID  string
}
