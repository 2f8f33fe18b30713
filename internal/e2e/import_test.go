package e2e

import (
	"context"
	"crypto/fips140"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// nodeTable is a table as a Node application keeps it.
type nodeTable struct {
	t    *testing.T
	db   *sql.DB
	name string
	hex  *crypto.HexFormat
}

// newNodeTable makes one beside the library's own tables; types are those of its
// tenants and moments.
func newNodeTable(t *testing.T, f *fleet, key, tenantType, momentType string) *nodeTable {
	t.Helper()
	k, err := crypto.ParseKey("legacy", key)
	require.NoError(t, err)
	n := &nodeTable{t: t, db: f.db, name: "Legacy_" + f.orders.Prefix} // not one of the fleet's own
	n.hex, err = crypto.NewHexFormat(k)
	require.NoError(t, err)
	n.exec(`CREATE TYPE "` + n.name + `Status" AS ENUM ('active', 'connected', 'expired', 'revoked', 'error', 'odd')`)
	n.exec(`CREATE TABLE "` + n.name + `" ("id" SERIAL PRIMARY KEY, "tenantId" ` + tenantType + ` NOT NULL, "provider" TEXT NOT NULL, "status" "` + n.name + `Status",
 "accessToken" TEXT, "refreshToken" TEXT, "tokenExpiresAt" ` + momentType + `, "scope" TEXT, "externalId" TEXT, "metadata" JSONB,
 "createdAt" TIMESTAMPTZ NOT NULL DEFAULT now(), UNIQUE ("tenantId", "provider"))`)
	t.Cleanup(func() {
		for _, drop := range []string{`TABLE IF EXISTS "` + n.name + `"`, `TYPE IF EXISTS "` + n.name + `Status"`} {
			_, err := n.db.ExecContext(context.Background(), "DROP "+drop)
			require.NoError(t, err)
		}
	})
	return n
}

func (n *nodeTable) exec(query string, args ...any) {
	n.t.Helper()
	_, err := n.db.ExecContext(n.t.Context(), query, args...)
	require.NoError(n.t, err)
}

func (n *nodeTable) insert(tenant, provider, status string, access, refresh, ends, scope, external, metadata any) {
	n.t.Helper()
	n.exec(`INSERT INTO "`+n.name+`" ("tenantId", "provider", "status", "accessToken", "refreshToken", "tokenExpiresAt", "scope", "externalId", "metadata")
 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, tenant, provider, status, access, refresh, ends, scope, external, metadata)
}

func (n *nodeTable) grants() iter.Seq2[integrations.ImportGrant, error] {
	return integrations.TableGrants(n.t.Context(), n.db, n.name, n.hex)
}

// TestImportNodeTable: six rows, one of each provider, that Node's crypto sealed are
// taken over as they were, and a second run changes nothing.
func TestImportNodeTable(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("the hex form is not allowed in FIPS-only mode")
	}
	text, err := os.ReadFile("testdata/node_table.json")
	require.NoError(t, err)
	var file struct {
		Key  string
		Rows []struct {
			Row struct {
				TenantID, Provider, Status string
				AccessToken, RefreshToken  *string
				TokenExpiresAt             *time.Time
				Scope                      *string
				ExternalID                 string
				Metadata                   json.RawMessage
			}
			Access  string
			Refresh *string
		}
	}
	require.NoError(t, json.Unmarshal(text, &file))
	require.Len(t, file.Rows, 6)
	for _, momentType := range []string{"TIMESTAMPTZ", "TIMESTAMP(3)"} {
		t.Run(momentType, func(t *testing.T) {
			f := postgres.fleet(t)
			cfg := f.kit.Config()
			cfg.Store, cfg.Cipher = f.store, f.cipher
			m := f.kit.Use(cfg)
			legacy := newNodeTable(t, f, file.Key, "TEXT", momentType)
			for _, r := range file.Rows {
				var metadata, ends any
				if string(r.Row.Metadata) != "null" {
					metadata = string(r.Row.Metadata)
				}
				if r.Row.TokenExpiresAt != nil {
					ends = r.Row.TokenExpiresAt.UTC()
				}
				legacy.insert(r.Row.TenantID, r.Row.Provider, r.Row.Status, r.Row.AccessToken, r.Row.RefreshToken, ends, r.Row.Scope, r.Row.ExternalID, metadata)
			}
			before := f.dump()
			report, err := m.Import(t.Context(), legacy.grants())
			require.NoError(t, err)
			for _, row := range report.Rows {
				require.NoError(t, row.Err, row.Provider)
			}
			require.Len(t, report.Rows, 6)
			require.Equal(t, 6, report.Count(integrations.ImportCreated))
			for _, r := range file.Rows {
				in, err := f.store.Find(t.Context(), r.Row.TenantID, r.Row.Provider, "")
				require.NoError(t, err)
				access, refresh, err := token.OpenGrant(f.cipher, in)
				require.NoError(t, err)
				require.Equal(t, r.Access, access.Reveal(), r.Row.Provider)
				want := ""
				if r.Refresh != nil {
					want = *r.Refresh
				}
				require.Equal(t, want, refresh.Reveal(), r.Row.Provider)
				require.Equal(t, integrations.StatusActive, in.Status)
				switch ends := r.Row.TokenExpiresAt; {
				case ends == nil:
					require.True(t, in.TokenExpiresAt.IsZero(), r.Row.Provider)
				case ends.After(time.Now()):
					require.WithinDuration(t, *ends, in.TokenExpiresAt, time.Minute, r.Row.Provider)
				default:
					require.False(t, in.TokenExpiresAt.After(in.ReadAt), "it has ended")
				}
				if r.Row.Scope != nil {
					require.Equal(t, strings.FieldsFunc(*r.Row.Scope, func(c rune) bool { return c == ' ' || c == ',' }), in.Scopes)
				} else {
					require.Nil(t, in.Scopes)
				}
				if string(r.Row.Metadata) != "null" {
					require.JSONEq(t, string(r.Row.Metadata), string(in.Metadata))
				}
				require.NotEmpty(t, in.ExternalID)
			}
			imported := f.dump()
			require.Len(t, imported, len(before)+6)
			for range 2 {
				report, err = m.Import(t.Context(), legacy.grants())
				require.NoError(t, err)
				require.Equal(t, 6, report.Count(integrations.ImportUnchanged), "%+v", report.Rows)
				require.Equal(t, imported, f.dump(), "the rows, their versions included")
			}
			// No token stands in the clear, here or in the report.
			words := []string{}
			for _, r := range file.Rows {
				words = append(words, r.Access)
			}
			printed, err := json.Marshal(report)
			require.NoError(t, err)
			require.Empty(t, with(append(f.dump(), string(printed), fmt.Sprintf("%+v", report)), words...))
		})
	}
}

// TestImportOfALargeTable: rows are read in pages, none twice and none left out, with
// one connection; a bad one is refused and the others go on.
func TestImportOfALargeTable(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("the hex form is not allowed in FIPS-only mode")
	}
	f := postgres.fleet(t)
	key, err := crypto.GenerateKey("legacy")
	require.NoError(t, err)
	legacy := newNodeTable(t, f, key.Reveal(), "UUID", "TIMESTAMPTZ")
	seal := func(text string) string {
		sealed, err := legacy.hex.Seal([]byte(text))
		require.NoError(t, err)
		return sealed
	}
	const rows = 1203
	uuid := func(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", i*7919%1_000_003) }
	for i := range rows {
		access, status, ends := any(seal(fmt.Sprint("token-", i))), "active", any(nil)
		switch i {
		case 3:
			access = "00" + seal("x") // damaged
		case 500:
			access = nil
		case 700:
			status = "odd"
		case 900:
			status, access = "revoked", "whatever"
		case 1000:
			ends = "infinity"
		}
		legacy.insert(uuid(i), replicaKey, status, access, nil, ends, nil, fmt.Sprint("A", i), nil)
	}
	cfg := f.kit.Config()
	cfg.Store, cfg.Cipher = f.store, f.cipher
	cfg.Providers = append(cfg.Providers, f.withHooks(nil))
	m := f.kit.Use(cfg)
	f.db.SetMaxOpenConns(1)
	report, err := m.Import(t.Context(), legacy.grants())
	require.NoError(t, err)
	require.Len(t, report.Rows, rows)
	require.Equal(t, rows-4, report.Count(integrations.ImportCreated))
	require.Equal(t, 1, report.Count(integrations.ImportSkipped))
	seen := map[string]integrations.ImportResult{}
	for _, row := range report.Rows {
		seen[row.TenantID] = row
	}
	require.Len(t, seen, rows)
	require.ErrorIs(t, seen[uuid(3)].Err, integrations.ErrSealed)
	require.ErrorIs(t, seen[uuid(500)].Err, integrations.ErrInvalid)
	require.ErrorIs(t, seen[uuid(700)].Err, integrations.ErrInvalid)
	in, err := f.store.Find(t.Context(), uuid(1000), replicaKey, "")
	require.NoError(t, err)
	require.True(t, in.TokenExpiresAt.IsZero())

	// The host may mend what it knows better.
	report, err = m.Import(t.Context(), func(yield func(integrations.ImportGrant, error) bool) {
		for g, err := range legacy.grants() {
			if g.TenantID == uuid(700) {
				g.Status, g.AccessToken, err = "", token.NewSecret("token-700"), nil
			}
			if !yield(g, err) {
				return
			}
		}
	})
	require.NoError(t, err)
	require.Equal(t, 1, report.Count(integrations.ImportCreated))
	require.Equal(t, rows-4, report.Count(integrations.ImportUnchanged))

	report, err = m.Import(t.Context(), integrations.TableGrants(t.Context(), f.db, `no"such.table`, legacy.hex))
	require.ErrorContains(t, err, "does not exist")
	require.Empty(t, report.Rows)
}
