package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// cable is a loopback port that leads to a server, until it is cut or held.
type cable struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns map[net.Conn]bool
	cut   bool
	held  chan struct{} // closed when nothing is held
}

func newCable(t *testing.T, target string) *cable {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{listener: listener, target: target, conns: map[net.Conn]bool{}, held: make(chan struct{})}
	close(c.held)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { c.carry(conn) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		c.mend()
		c.pull()
		all.Wait()
	})
	return c
}

func (c *cable) address() string { return c.listener.Addr().String() }

// plug notes a connection, or ends it when the cable is cut.
func (c *cable) plug(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		_ = conn.Close()
		return false
	}
	c.conns[conn] = true
	return true
}

func (c *cable) unplug(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = conn.Close()
	delete(c.conns, conn)
}

func (c *cable) carry(client net.Conn) {
	if !c.plug(client) {
		return
	}
	defer c.unplug(client)
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", c.target)
	if err != nil || !c.plug(server) {
		return
	}
	defer c.unplug(server)
	var back sync.WaitGroup
	back.Go(func() {
		c.copy(client, server)
		_ = client.Close()
	})
	c.copy(server, client)
	_ = server.Close()
	back.Wait()
}

func (c *cable) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		c.mu.Lock()
		held := c.held
		c.mu.Unlock()
		<-held
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// pull ends all connections and, until mend, those that are made.
func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for conn := range c.conns {
		_ = conn.Close()
	}
}

// hold lets nothing through until mend.
func (c *cable) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = make(chan struct{})
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
	select {
	case <-c.held:
	default:
		close(c.held)
	}
}

// through is the server's DSN by way of a cable.
func (s server) through(t *testing.T) (*cable, string) {
	dsn := s.address()
	if s.name == mysql.name {
		_, rest, ok := strings.Cut(dsn, "tcp(")
		target, _, closed := strings.Cut(rest, ")")
		require.True(t, ok && closed, "a DSN without an address")
		c := newCable(t, target)
		return c, strings.Replace(dsn, target, c.address(), 1)
	}
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	target := u.Host
	if u.Port() == "" {
		target = net.JoinHostPort(u.Hostname(), "5432")
	}
	c := newCable(t, target)
	u.Host = c.address()
	return c, u.String()
}

// outage is a store that can go away, in several ways.
type outage struct {
	store store.Store
	// ways begin an outage each.
	ways map[string]func()
	end  func()
	// ids are the delivery ids that are stored, whatever goes wrong.
	ids func() map[string]bool
}

// sqliteOutage has faults instead of a cable: before the store did anything, and
// after, when its answer is lost.
func sqliteOutage(t *testing.T) *outage {
	var in *ingest
	ingests(func(name string, open func(t testing.TB) *ingest) {
		if name == "sqlite" {
			in = open(t)
		}
	})
	faults := faultstore.New(in.store)
	down := errors.New("the disk is gone")
	return &outage{
		store: faults, ways: map[string]func(){
			"fails": func() { faults.Fail(func(int, string) (faultstore.When, error) { return faultstore.Before, down }) },
			"answers are lost": func() {
				faults.Fail(func(_ int, method string) (faultstore.When, error) {
					if method == "InsertDeliveries" {
						return faultstore.After, down
					}
					return faultstore.After, nil
				})
			},
		},
		end: func() { faults.Fail(nil) }, ids: in.ids,
	}
}

func (s server) outage(t *testing.T) *outage {
	db := s.open(t, "")
	prefix := s.prefixed(t, db)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, s.dialect, &sqlstore.MigrateOptions{TablePrefix: prefix}))
	c, dsn := s.through(t)
	far, err := sql.Open(s.driver, dsn)
	require.NoError(t, err)
	far.SetMaxOpenConns(20)
	t.Cleanup(func() { require.NoError(t, far.Close()) })
	opts := &sqlstore.Options{TablePrefix: prefix}
	return &outage{
		store: sqlstore.New(far, s.dialect, opts), ways: map[string]func(){"cut": c.pull, "held": c.hold}, end: c.mend,
		ids: (&ingest{db: db, d: s.dialect, prefix: prefix}).ids,
	}
}

// ids are the delivery ids of the inbox.
func (in *ingest) ids() map[string]bool {
	rows, err := in.db.QueryContext(context.Background(), "SELECT delivery_id FROM "+in.prefix+"webhook_inbox")
	if err != nil {
		panic(err)
	}
	defer func() { _ = rows.Close() }()
	out := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			panic(err)
		}
		out[id] = true
	}
	if err := rows.Err(); err != nil {
		panic(err)
	}
	return out
}

// TestW9DatabaseDownAtReceive: while the database is away nothing is acknowledged,
// what was acknowledged is stored, and once it is back all is received.
func TestW9DatabaseDownAtReceive(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) *outage{"sqlite": sqliteOutage, postgres.name: postgres.outage, mysql.name: mysql.outage} {
		t.Run(name, func(t *testing.T) {
			o := open(t)
			h, installation := newHooked(t, o.store)
			const rate = 200 // a second
			var mu sync.Mutex
			status := map[string]int{}
			var requests sync.WaitGroup
			sent := 0
			// send sends for so long and returns the ids.
			send := func(seconds int) []string {
				var ids []string
				tick := time.NewTicker(time.Second / rate)
				defer tick.Stop()
				for range seconds * rate {
					<-tick.C
					sent++
					id := fmt.Sprintf("guid-%06d", sent)
					ids = append(ids, id)
					requests.Go(func() {
						got := h.GitHub.Redeliver("push", id, h.GitHub.PushBody(installation, "repo", "refs/heads/"+id))
						mu.Lock()
						defer mu.Unlock()
						status[id] = got
					})
				}
				return ids
			}
			good := send(1)
			requests.Wait()
			refused, late := 0, 0
			for what, begin := range o.ways {
				begin()
				during := send(sized(2, 30))
				mu.Lock()
				answered := maps.Clone(status)
				mu.Unlock()
				o.end() // what has no answer yet was only delayed
				requests.Wait()
				n := 0
				for _, id := range during {
					if got, ok := answered[id]; ok {
						n++
						require.GreaterOrEqual(t, got, 500, "%s: %s", what, id)
					}
				}
				require.True(t, n > 0 || what == "held", "%s: no answers", what)
			}
			time.Sleep(time.Second) // for pools to notice
			good = append(good, send(1)...)
			requests.Wait()

			stored := o.ids()
			for id, got := range status {
				switch {
				case got == http.StatusOK:
					require.True(t, stored[id], "acknowledged and not stored: %s", id)
				case got < 500:
					t.Errorf("answered %d", got)
				case stored[id]:
					late++
				default:
					refused++
				}
			}
			for _, id := range good {
				require.Equal(t, http.StatusOK, status[id], "before and after: %s", id)
			}
			require.Len(t, status, sent)
			require.Positive(t, refused)
			require.Equal(t, name == "sqlite", late > 0, "%d stored and not acknowledged", late)
			t.Logf("%d sent, %d stored, %d refused, %d stored and not acknowledged", sent, len(stored), refused, late)
			// What was refused is sent again and is there once.
			for id, got := range status {
				if got != http.StatusOK && stored[id] {
					require.Equal(t, 200, h.GitHub.Redeliver("push", id, h.GitHub.PushBody(installation, "repo", "refs/heads/again")))
				}
			}
			require.Len(t, o.ids(), len(stored))
		})
	}
}
