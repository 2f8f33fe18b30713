package integrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/token"
)

// tablePage is how many rows are read at a time. None are being read while grants
// are stored, so that one connection is enough.
const tablePage = 500

// tableColumns are read as text, whatever type the table gave them. A moment that
// never comes is none.
const tableColumns = `"tenantId"::text, "provider"::text, "status"::text, "accessToken"::text, "refreshToken"::text,
 CASE WHEN isfinite("tokenExpiresAt") THEN EXTRACT(EPOCH FROM "tokenExpiresAt")::float8 END, "scope"::text, "externalId"::text, "metadata"::text`

// tableKey orders rows by their bytes.
const tableKey = `COALESCE("tenantId"::text, '') COLLATE "C", COALESCE("provider"::text, '') COLLATE "C"`

// TableGrants reads the grants that a Node application keeps in a table of
// PostgreSQL, for [Manager.Import]:
//
//	report, err := m.Import(ctx, integrations.TableGrants(ctx, db, "integrations", hex))
//
// The table, named with its schema if it needs one ("app.integrations"), has the
// columns "tenantId", "provider", "status", "accessToken", "refreshToken",
// "tokenExpiresAt", "scope", "externalId" and "metadata", and one row for each tenant
// and provider. Tokens are in the form ivHex:tagHex:cipherHex under the key of hex.
// Names are used as they are written, in lower and upper case. "tokenExpiresAt" is a
// timestamp, in UTC where it has no time zone; "scope" is separated by spaces or
// commas; "provider" is the key of a provider. Every column may be NULL, but a grant
// without a tenant, provider, account or access token is refused.
//
// Statuses "active", "connected", "expired" (a token that ends is renewed) and NULL are
// imported; "revoked", "disconnected", "inactive", "suspended", "error" and
// "needs_reconnect" are skipped; another is an error wrapping [ErrInvalid] that comes
// with its grant. A token that cannot be opened is an error wrapping [ErrSealed].
//
// The table is only read, a few hundred rows at a time; db is the host's and is not
// closed. A query that fails is an error without a grant and the end. To change what is
// read, for other keys of providers or names of statuses, range over it and yield what
// shall be imported.
func TableGrants(ctx context.Context, db *sql.DB, table string, hex *crypto.HexFormat) iter.Seq2[ImportGrant, error] {
	return func(yield func(ImportGrant, error) bool) {
		if hex == nil {
			yield(ImportGrant{}, errors.New("integrations: table: hex is nil"))
			return
		}
		var last tableRow
		for {
			rows, err := readTable(ctx, db, table, last)
			if err != nil {
				yield(ImportGrant{}, fmt.Errorf("integrations: table: %w", err))
				return
			}
			for _, row := range rows {
				if !yield(row.grant(hex)) {
					return
				}
			}
			if len(rows) < tablePage {
				return
			}
			last = rows[len(rows)-1]
		}
	}
}

// tableRow is a row as it is in the table.
type tableRow struct {
	tenant, provider, status, access, refresh, scope, external, metadata sql.NullString
	ends                                                                 sql.NullFloat64
}

// readTable reads the rows after one, in the order of their key.
func readTable(ctx context.Context, db *sql.DB, table string, after tableRow) ([]tableRow, error) {
	parts := strings.Split(table, ".")
	for i, part := range parts {
		parts[i] = `"` + strings.ReplaceAll(part, `"`, `""`) + `"`
	}
	query := "SELECT " + tableColumns + " FROM " + strings.Join(parts, ".") +
		" WHERE (" + tableKey + ") > ($1, $2) ORDER BY " + tableKey + fmt.Sprintf(" LIMIT %d", tablePage)
	rows, err := db.QueryContext(ctx, query, after.tenant.String, after.provider.String)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []tableRow
	for rows.Next() {
		var r tableRow
		if err := rows.Scan(&r.tenant, &r.provider, &r.status, &r.access, &r.refresh, &r.ends, &r.scope, &r.external, &r.metadata); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// grant is what a row holds. An error comes with all of it but the tokens.
func (r tableRow) grant(hex *crypto.HexFormat) (ImportGrant, error) {
	g := ImportGrant{TenantID: r.tenant.String, Provider: r.provider.String, ExternalID: r.external.String}
	if r.scope.Valid {
		g.Scopes = strings.FieldsFunc(r.scope.String, func(c rune) bool { return c == ' ' || c == ',' })
	}
	if r.metadata.Valid {
		g.Metadata = []byte(r.metadata.String)
	}
	if r.ends.Valid {
		g.ExpiresAt = time.UnixMilli(int64(math.Round(r.ends.Float64 * 1000))).UTC()
	}
	var known bool
	if g.Status, known = tableStatuses[strings.ToLower(r.status.String)]; !known {
		return g, fmt.Errorf("%w: the status is none that is known", ErrInvalid)
	}
	if g.Status != StatusActive {
		return g, nil // whatever is in its tokens
	}
	var err error
	if g.AccessToken, err = openHex(hex, "accessToken", r.access); err != nil {
		return g, err
	}
	g.RefreshToken, err = openHex(hex, "refreshToken", r.refresh)
	return g, err
}

// tableStatuses are those of integrations by the names that tables have for them.
var tableStatuses = map[string]Status{
	"": StatusActive, "active": StatusActive, "connected": StatusActive, "expired": StatusActive,
	"revoked": StatusRevoked, "disconnected": StatusDisconnected, "inactive": StatusDisconnected,
	"suspended": StatusSuspended, "error": StatusNeedsReconnect, "needs_reconnect": StatusNeedsReconnect,
}

func openHex(hex *crypto.HexFormat, column string, sealed sql.NullString) (token.Secret, error) {
	if sealed.String == "" {
		return token.Secret{}, nil
	}
	plain, err := hex.Open(nil, sealed.String)
	if err != nil {
		return token.Secret{}, fmt.Errorf("integrations: table: %s: %w", column, err)
	}
	return token.NewSecret(string(plain)), nil
}
