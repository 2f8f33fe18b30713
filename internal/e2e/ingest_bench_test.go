package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store/sqlstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

const ingestSecret = "a webhook secret of the benchmark"

// bareColumns are what a row of the inbox needs, all of it.
const bareColumns = "id, provider, delivery_id, body_hash, tenant_id, integration_id, external_id, event_type, body, key_id, headers, status, run_at, received_at, updated_at"

// bareRow is a row as it would be stored, with a body that nothing makes smaller.
func bareRow(size int) []any {
	b := make([]byte, size+35)
	_, _ = rand.Read(b)
	h := hex.EncodeToString(b[:32])
	now := time.Now().UnixMilli()
	return []any{webhook.NewID(), "github", h[:36], h, "tenant-1", "integration-00000001", "52416789", "push", b, "k1", []byte(`{"X-Github-Event":["push"]}`), 0, now, now, now}
}

func (in *ingest) values(rows int) string {
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", 15), ",") + "),"
	q := "INSERT INTO " + in.prefix + "webhook_inbox (" + bareColumns + ") VALUES " + strings.TrimSuffix(strings.Repeat(one, rows), ",")
	if in.d.String() != sqlstore.Postgres.String() {
		return q
	}
	parts := strings.Split(q, "?")
	for i := range parts[:len(parts)-1] {
		parts[i] += "$" + strconv.Itoa(i+1)
	}
	return strings.Join(parts, "")
}

// bulk inserts a thousand rows in a transaction, as fast as the database can be
// asked to through database/sql.
func (in *ingest) bulk(t testing.TB, size int) func(rows [][]any) {
	switch in.d.String() {
	case sqlstore.Postgres.String():
		types := []string{"text", "text", "text", "text", "text", "text", "text", "text", "bytea", "text", "bytea", "smallint", "bigint", "bigint", "bigint"}
		var from []string
		for i, typ := range types {
			from = append(from, fmt.Sprintf("$%d::%s[]", i+1, typ))
		}
		stmt, err := in.db.Prepare("INSERT INTO " + in.prefix + "webhook_inbox (" + bareColumns + ") SELECT * FROM unnest(" + strings.Join(from, ",") + ")")
		require.NoError(t, err)
		return func(rows [][]any) {
			args := make([]any, len(types))
			for i, typ := range types {
				switch typ {
				case "text":
					args[i] = column[string](rows, i)
				case "bytea":
					args[i] = column[[]byte](rows, i)
				case "smallint":
					args[i] = column[int](rows, i)
				default:
					args[i] = column[int64](rows, i)
				}
			}
			_, err := stmt.Exec(args...)
			require.NoError(t, err)
		}
	case sqlstore.MySQL.String():
		stmts := map[int]*sql.Stmt{}
		return func(rows [][]any) {
			tx, err := in.db.Begin()
			require.NoError(t, err)
			for len(rows) > 0 { // no more in one than a packet takes
				n := min(len(rows), max(1, (4<<20)/(size+300)))
				if stmts[n] == nil {
					stmts[n], err = in.db.Prepare(in.values(n))
					require.NoError(t, err)
				}
				var args []any
				for _, r := range rows[:n] {
					args = append(args, r...)
				}
				_, err = tx.Stmt(stmts[n]).Exec(args...)
				require.NoError(t, err)
				rows = rows[n:]
			}
			require.NoError(t, tx.Commit())
		}
	}
	stmt, err := in.db.Prepare(in.values(1))
	require.NoError(t, err)
	return func(rows [][]any) {
		tx, err := in.db.Begin()
		require.NoError(t, err)
		in := tx.Stmt(stmt)
		for _, r := range rows {
			_, err := in.Exec(r...)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
	}
}

func column[T any](rows [][]any, i int) []T {
	out := make([]T, len(rows))
	for j, r := range rows {
		out[j] = r[i].(T)
	}
	return out
}

// hook is a webhook body with a place for what tells it from the others.
type hook struct {
	body []byte
	at   int
}

// newHook is a push of about that size as GitHub sends it, whose ids repeat as
// little as theirs.
func newHook(size int) hook {
	id := func(n int) string {
		b := make([]byte, n/2)
		_, _ = rand.Read(b)
		return hex.EncodeToString(b)
	}
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, `{"ref":"refs/heads/main","before":"%s","after":"`, id(40))
	at := b.Len()
	_, _ = fmt.Fprintf(&b, `%s","commits":[`, id(40))
	for i := 0; b.Len() < size-420; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		sha := id(40)
		_, _ = fmt.Fprintf(&b, `{"id":"%s","tree_id":"%s","distinct":true,"message":"Update README.md\n\nCo-authored-by: Octo Cat <octocat@github.com>","timestamp":"2026-11-05T09:%02d:41+01:00",`+
			`"url":"https://github.com/Codertocat/Hello-World/commit/%s","author":{"name":"Codertocat","email":"21031067+Codertocat@users.noreply.github.com","username":"Codertocat"},"added":[],"removed":["%s.go"],"modified":["README.md"]}`,
			sha, id(40), i%60, sha, id(12))
	}
	b.WriteString(`],"repository":{"id":186853002,"node_id":"MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=","name":"Hello-World","private":false,"size":0,"stargazers_count":12},` +
		`"sender":{"login":"Codertocat","id":21031067,"site_admin":false},"installation":{"id":52416789,"node_id":"MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9uNTI0MTY3ODk="}}`)
	return hook{b.Bytes(), at}
}

// hookReceiver is a receiver of hooks that looks nothing up: all are for one
// integration.
func hookReceiver(t testing.TB, inbox webhook.Inserter) *webhook.Receiver {
	key, err := crypto.GenerateKey("k1")
	require.NoError(t, err)
	ring, err := crypto.NewKeyring(key)
	require.NoError(t, err)
	verifier, err := webhook.NewHMAC(webhook.HMACConfig{SignatureHeader: "X-Hub-Signature-256", Prefix: "sha256=", Secrets: []string{ingestSecret}})
	require.NoError(t, err)
	rc, err := webhook.NewReceiver(webhook.ReceiverConfig{
		Provider: "github", Inbox: inbox, Cipher: ring,
		Source: webhook.Source{Verifier: verifier, MaxBody: 1 << 20, KeepHeaders: []string{"X-Github-Event"}, Read: func(r *webhook.Request) (webhook.Receipt, error) {
			v, err := webhook.Pick(r.Body, "installation")
			return webhook.Receipt{Notices: []webhook.Notice{{DeliveryID: r.Header.Get("X-Github-Delivery"), Type: "push", Account: string(v[0][:12]), DedupBody: true}}}, err
		}},
		Route: func(context.Context, string) ([]webhook.Target, error) {
			return []webhook.Target{{TenantID: "tenant-1", IntegrationID: "integration-00000001"}}, nil
		},
		Budget: webhook.NewBudget(256 << 20),
	})
	require.NoError(t, err)
	return rc
}

// producer sends hooks one after the other.
type producer struct {
	hook hook
	req  *http.Request
	body *bytes.Reader
	w    *statusWriter
}

type statusWriter struct {
	h      http.Header
	status int
}

func (w *statusWriter) Header() http.Header             { return w.h }
func (w *statusWriter) Write(p []byte) (int, error)     { return len(p), nil }
func (w *statusWriter) WriteHeader(status int)          { w.status = status }
func (w *statusWriter) SetReadDeadline(time.Time) error { return nil }

func newProducer(h hook) *producer {
	body := bytes.NewReader(nil)
	req, _ := http.NewRequest(http.MethodPost, "https://app.example/github/webhook", nil)
	req.Body, req.ContentLength = io.NopCloser(body), int64(len(h.body))
	return &producer{hook{bytes.Clone(h.body), h.at}, req, body, &statusWriter{h: http.Header{}}}
}

// send is the whole way of a request: signed, verified, read, routed, sealed and
// stored.
func (p *producer) send(rc http.Handler) int {
	var id [20]byte
	_, _ = rand.Read(id[:])
	hex.Encode(p.hook.body[p.hook.at:], id[:])
	m := hmac.New(sha256.New, []byte(ingestSecret))
	m.Write(p.hook.body)
	p.req.Header["X-Hub-Signature-256"] = []string{"sha256=" + hex.EncodeToString(m.Sum(nil))}
	p.req.Header["X-Github-Delivery"] = []string{hex.EncodeToString(id[:18])}
	p.req.Header["X-Github-Event"] = []string{"push"}
	p.body.Reset(p.hook.body)
	p.w.status = 0
	rc.ServeHTTP(p.w, p.req)
	return p.w.status
}

// BenchmarkIngest: events a second that are durable once they are acknowledged.
// limit inserts rows in transactions of a thousand, each inserts and commits one
// by one over up to 32 connections (one of SQLite, which has one writer), ours is
// the whole way from the request to the answer.
func BenchmarkIngest(b *testing.B) {
	ingests(func(name string, open func(t testing.TB) *ingest) {
		for _, size := range []int{1024, 20480} {
			for _, producers := range []int{1, 64, 512} {
				at := fmt.Sprintf("db=%s/size=%d/producers=%d", name, size, producers)
				spread := func(b *testing.B, run func() func()) {
					var left atomic.Int64
					left.Store(int64(b.N))
					var wg sync.WaitGroup
					b.ResetTimer()
					for range producers {
						one := run()
						wg.Go(func() {
							for left.Add(-1) >= 0 {
								one()
							}
						})
					}
					wg.Wait()
					b.StopTimer()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
				}
				b.Run(at+"/impl=limit", func(b *testing.B) {
					in := open(b)
					bulk := in.bulk(b, size)
					b.ResetTimer()
					for done := 0; done < b.N; {
						b.StopTimer()
						rows := make([][]any, min(1000, b.N-done))
						for i := range rows {
							rows[i] = bareRow(size)
						}
						b.StartTimer()
						bulk(rows)
						done += len(rows)
					}
					b.StopTimer()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
				})
				b.Run(at+"/impl=each", func(b *testing.B) {
					in := open(b)
					if name == "sqlite" {
						in.db.SetMaxOpenConns(1)
					}
					stmt, err := in.db.Prepare(in.values(1))
					require.NoError(b, err)
					spread(b, func() func() {
						return func() {
							if _, err := stmt.Exec(bareRow(size)...); err != nil {
								b.Error(err)
							}
						}
					})
				})
				b.Run(at+"/impl=ours", func(b *testing.B) {
					in := open(b)

					rc, h := hookReceiver(b, in.store), newHook(size)
					spread(b, func() func() {
						p := newProducer(h)
						return func() {
							if status := p.send(rc); status != http.StatusOK {
								b.Errorf("answered %d", status)
							}
						}
					})
				})
			}
		}
	})
}
