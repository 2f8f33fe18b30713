package e2e

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// rewrapEnv holds the orders of a process that rewraps and does nothing else.
const rewrapEnv = "INTEGRATIONS_E2E_REWRAP"

type rewrapOrders struct {
	Driver, DSN, Dialect, Prefix string
	Old, New                     string // keys k1 and k2
	BatchSize                    int
}

// rewrapper is the process: it prints its progress after each batch.
func rewrapper(raw string) error {
	var o rewrapOrders
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		return err
	}
	dialect, ok := sqlstore.DialectByName(o.Dialect)
	if !ok {
		return fmt.Errorf("no dialect %q", o.Dialect)
	}
	db, err := sql.Open(o.Driver, o.DSN)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	k1, err := crypto.ParseKey("k1", o.Old)
	k2, err2 := crypto.ParseKey("k2", o.New)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	ring, err := crypto.NewKeyring(k2, k1)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	_, err = integrations.Rewrap(context.Background(), sqlstore.New(db, dialect, &sqlstore.Options{TablePrefix: o.Prefix}), ring,
		&integrations.RewrapOptions{BatchSize: o.BatchSize, RowsPerSecond: -1, Progress: func(p integrations.RewrapProgress) { _ = out.Encode(p) }})
	return err
}

// TestRewrapIsKilled: what a rewrap that is killed has not moved is moved by the
// next, row by row as if nothing had happened.
func TestRewrapIsKilled(t *testing.T) {
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			c.bare = 3
			rows, kills := sized(1200, 10_000), sized(4, 40)
			c.grow(t, rows)
			k2, err := crypto.GenerateKey("k2")
			require.NoError(t, err)
			alone, err := crypto.NewKeyring(k2)
			require.NoError(t, err)
			o := rewrapOrders{
				Driver: c.driver, DSN: c.dsn, Dialect: c.dialect.String(), Prefix: c.prefix,
				Old: c.key.Reveal(), New: k2.Reveal(), BatchSize: rows / kills / 6,
			}
			for kill := range kills {
				told, died := c.rewrapper(t, o, 1+kill%3)
				require.True(t, died)
				left := c.byKey(t)
				require.Equal(t, int64(rows), left["k1"]+left["k2"])
				require.LessOrEqual(t, left["k1"], told.Total-told.Done)
			}
			left := c.byKey(t)["k1"]
			require.Positive(t, left, "it was killed too late")
			for i, in := range c.all(t) { // under one key or the other, all of them whole
				_, _, err := token.OpenGrant(c.cipher, in)
				if in.KeyID == "k2" {
					_, _, err = token.OpenGrant(alone, in)
				}
				require.NoError(t, err, i)
			}
			told, died := c.rewrapper(t, o, rows)
			require.False(t, died)
			// A server may have committed after the process was dead.
			require.LessOrEqual(t, told.Total, left)
			require.Equal(t, told.Total, told.Moved, "the last does what is left")
			t.Logf("%d kills, %d of %d rows were left for the last", kills, left, rows)
			all := c.all(t)
			require.Len(t, all, rows)
			for i := range rows {
				c.asMade(t, i, all[crowdID(i)], alone)
			}
		})
	})
}

// rewrapper runs one and kills it after so many batches. It returns the last
// progress that was seen and whether the process was killed.
func (c *crowd) rewrapper(t *testing.T, o rewrapOrders, batches int) (last integrations.RewrapProgress, died bool) {
	t.Helper()
	raw, err := json.Marshal(o)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), rewrapEnv+"="+string(raw))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		require.NoError(t, json.Unmarshal(lines.Bytes(), &last))
		if n == batches {
			time.Sleep(rand.N(5 * time.Millisecond)) // into the middle of another
			require.NoError(t, cmd.Process.Kill())
		}
	}
	err = cmd.Wait()
	return last, err != nil
}
