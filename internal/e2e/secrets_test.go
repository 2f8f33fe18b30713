package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/stretchr/testify/require"
)

// TestS1NoSecretAtRest: after tokens, flows, refreshes, endpoints and webhooks
// neither the tables hold any of 1,000 secrets nor, where they can be read, the
// files under them and the log that is written ahead of them.
func TestS1NoSecretAtRest(t *testing.T) {
	crowds(t, func(name string, open func(testing.TB) *crowd) {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			since := c.walPosition(t)
			secrets, marker := plant(t, c)
			require.Greater(t, len(secrets), 1000)
			n := newNeedles(secrets)
			search := func(where string, text []byte) {
				require.True(t, bytes.Contains(text, []byte(marker)), "the search finds in %s what is there", where)
				require.Empty(t, n.in(text), where)
			}
			searched := 0
			for _, table := range []string{"integrations", "oauth_flows", "webhook_inbox", "webhook_endpoints"} {
				rows := dump(t, c.db, c.prefix+table)
				require.NotEmpty(t, rows, table)
				text := []byte(strings.Join(rows, "\n"))
				search(table, text)
				searched += len(text)
			}
			for where, text := range c.files(t, since) {
				search(where, text)
				searched += len(text)
			}
			t.Logf("%d secrets, %d bytes searched", len(secrets), searched)
		})
	})
}

// plant lets everything happen that leaves rows, and returns all that was secret in
// it and a part of each tenant's name.
func plant(t *testing.T, c *crowd) (secrets map[string]bool, marker string) {
	t.Helper()
	kit := integrationstest.New(t)
	kit.Slack.Tokens.SetLife(12 * time.Hour)
	heard := &eavesdropper{next: kit.Network, secrets: map[string]bool{}}
	cfg := kit.Config()
	cfg.Store, cfg.Transport = c.store, heard
	oauth := kit.OAuth.Config("acme")
	cfg.Providers = append(cfg.Providers, providers.NewOAuth2(oauth))
	m := kit.Use(cfg)
	key, err := crypto.GenerateKey("marker")
	require.NoError(t, err)
	marker = "tenant-" + key.Reveal()[:24]
	for i := range 50 {
		tenant := fmt.Sprintf("%s-%d", marker, i)
		for _, key := range []string{slackapp.Key, githubapp.Key, "acme"} {
			b := kit.Browser(tenant, "u")
			b.Account = fmt.Sprintf("ACC-%s-%d", key, i)
			b.Open(kit.ConnectURL(key))
			unfinished := kit.Browser(tenant, "u")
			unfinished.Do("GET", kit.ConnectURL(key), nil, "none")
			for _, v := range append(b.Visits(), unfinished.Visits()...) {
				heard.visit(v)
			}
		}
	}
	kit.Slack.Tokens.ExpireAccess()
	for i := range 50 {
		tenant := fmt.Sprintf("%s-%d", marker, i)
		conn, err := m.Connection(t.Context(), tenant, slackapp.Key)
		require.NoError(t, err)
		_, err = slackapp.Notify(t.Context(), conn, slackapp.Message{Text: "x"})
		require.NoError(t, err)
		e, err := conn.OpenEndpoint(t.Context())
		require.NoError(t, err)
		heard.add(e.Secret.Reveal(), e.URL[strings.LastIndex(e.URL, "/")+1:])
		words := "PRIVATE-WORDS-OF-A-USER-" + fmt.Sprint(i)
		require.Equal(t, 200, kit.Slack.Event(fmt.Sprintf("ACC-slack-%d", i), fmt.Sprintf(`{"type":"message","text":%q}`, words)))
		heard.add(words)
	}
	heard.add(oauth.ClientSecret, kit.Slack.SigningSecret(), kit.GitHub.WebhookSecret())
	return heard.secrets, marker
}

// eavesdropper keeps every secret that is sent or answered.
type eavesdropper struct {
	next    http.RoundTripper
	mu      sync.Mutex
	secrets map[string]bool
}

func (e *eavesdropper) add(values ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range values {
		if len(v) >= shortest {
			e.secrets[v] = true
		}
	}
}

func (e *eavesdropper) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if form, err := url.ParseQuery(string(body)); err == nil {
			for _, name := range []string{"code", "code_verifier", "refresh_token", "client_secret", "token"} {
				e.add(form[name]...)
			}
		}
	}
	_, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	e.add(bearer)
	resp, err := e.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var answer map[string]any
	if json.Unmarshal(body, &answer) == nil {
		for _, name := range []string{"access_token", "refresh_token", "token"} {
			if v, ok := answer[name].(string); ok {
				e.add(v)
			}
		}
	}
	return resp, nil
}

// visit keeps the secrets of one answer to a browser.
func (e *eavesdropper) visit(v integrationstest.Visit) {
	for _, c := range v.Header.Values("Set-Cookie") {
		_, rest, _ := strings.Cut(c, "=")
		value, _, _ := strings.Cut(rest, ";")
		e.add(value)
	}
	if u, err := url.Parse(v.Header.Get("Location")); err == nil {
		e.add(u.Query().Get("state"), u.Query().Get("code"))
	}
}

// shortest is how long a secret is at least.
const shortest = 12

// needles finds any of many secrets in one pass.
type needles struct {
	first [1 << 16]bool       // their first two bytes
	by    map[uint64][][]byte // their first eight
}

func newNeedles(secrets map[string]bool) *needles {
	n := &needles{by: map[uint64][][]byte{}}
	for s := range secrets {
		head := binary.LittleEndian.Uint64([]byte(s))
		n.first[uint16(head)] = true
		n.by[head] = append(n.by[head], []byte(s))
	}
	return n
}

// in is a secret that is in a text, "" for none.
func (n *needles) in(text []byte) string {
	for i := 0; i+8 <= len(text); i++ {
		head := binary.LittleEndian.Uint64(text[i:])
		if !n.first[uint16(head)] {
			continue
		}
		for _, s := range n.by[head] {
			if bytes.HasPrefix(text[i:], s) {
				return string(s)
			}
		}
	}
	return ""
}

func TestNeedlesAreFound(t *testing.T) {
	n := newNeedles(map[string]bool{"secret-0000-a": true, "secret-0000-b": true, "another-secret": true})
	require.Empty(t, n.in([]byte("secret-0000-c another-secre")))
	require.Empty(t, n.in(nil))
	require.Equal(t, "secret-0000-b", n.in([]byte("x secret-0000-b")))
	require.Equal(t, "another-secret", n.in([]byte("\x00\x01another-secret")))
}

// dump is every row of a table, each column as it is stored.
func dump(t testing.TB, db *sql.DB, table string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table+" ORDER BY 1")
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	values := make([]any, len(columns))
	for i := range values {
		values[i] = new(any)
	}
	var out []string
	for rows.Next() {
		require.NoError(t, rows.Scan(values...))
		var b strings.Builder
		for _, v := range values {
			switch v := (*v.(*any)).(type) {
			case []byte:
				b.Write(v)
			default:
				_, _ = fmt.Fprint(&b, v)
			}
			b.WriteByte(0)
		}
		out = append(out, b.String())
	}
	require.NoError(t, rows.Err())
	return out
}

// walPosition is where PostgreSQL's log stands, "" elsewhere.
func (c *crowd) walPosition(t *testing.T) (segment string) {
	t.Helper()
	if c.driver == postgres.driver {
		require.NoError(t, c.db.QueryRowContext(t.Context(), "SELECT pg_walfile_name(pg_current_wal_lsn())").Scan(&segment))
	}
	return segment
}

// files are those that the database keeps its rows in, as far as this process, or
// the role it has, may read them.
func (c *crowd) files(t *testing.T, since string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	read := func(paths ...string) {
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Logf("%s cannot be read here: %v", path, err)
				continue
			}
			out[path] = text
		}
	}
	switch c.driver {
	case postgres.driver:
		var super bool
		require.NoError(t, c.db.QueryRowContext(t.Context(), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&super))
		if !super {
			t.Log("the role may not read the write-ahead log")
			break
		}
		// The segments may hold rows of others; what was written of ours is in all
		// of them together.
		rows, err := c.db.QueryContext(t.Context(), "SELECT pg_read_binary_file('pg_wal/' || name) FROM pg_ls_waldir() WHERE name >= $1 AND name <= pg_walfile_name(pg_current_wal_lsn()) ORDER BY name", since)
		require.NoError(t, err)
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var segment []byte
			require.NoError(t, rows.Scan(&segment))
			out["pg_wal"] = append(out["pg_wal"], segment...)
		}
		require.NoError(t, rows.Err())
	case mysql.driver:
		var dir, database string
		require.NoError(t, c.db.QueryRowContext(t.Context(), "SELECT @@datadir, DATABASE()").Scan(&dir, &database))
		read(filepath.Join(dir, "ib_logfile0"))
	default:
		path, _, _ := strings.Cut(strings.TrimPrefix(c.dsn, "file:"), "?")
		read(path, path+"-wal")
		out = map[string][]byte{"the file and its log": append(out[path], out[path+"-wal"]...)}
		_, err := c.db.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
		require.NoError(t, err)
		read(path)
	}
	return out
}
