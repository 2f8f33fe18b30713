package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/store"
)

const (
	// insertRows and insertBytes bound the rows of one INSERT, arrayRows those of one
	// that takes arrays. Of a row that is larger by itself there is one.
	insertRows  = 256
	arrayRows   = 1000
	insertBytes = 4 << 20
	// reviveRows is how many rows are looked for by one UPDATE.
	reviveRows = 50
)

var _ store.ParallelInbox = (*Store)(nil)

// ParallelInserts implements store.ParallelInbox: SQLite has one writer.
func (s *Store) ParallelInserts() int {
	if s.dialect.d == nil {
		return 1
	}
	return s.dialect.d.inserts
}

// InsertDeliveries implements store.Inbox. What fits into one statement needs no
// transaction around it.
func (s *Store) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	const what = "insert deliveries"
	if len(ds) == 0 {
		return nil, ctx.Err()
	}
	parts := s.parts(ds)
	isNew := news{}
	var err error
	if len(parts) == 1 {
		err = s.again(ctx, what, func() (bool, error) {
			return true, s.insertPart(ctx, s.db, parts[0], isNew)
		})
	} else {
		s.prepareInserts(ctx, parts)
		err = s.write(ctx, what, func(tx *sql.Tx) error {
			clear(isNew)
			return s.insertParts(ctx, tx, parts, isNew)
		})
	}
	if err != nil {
		return nil, err
	}
	return isNew.of(ds), nil
}

// insert stores rows in a transaction of somebody else's.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, ds []store.Delivery) error {
	return s.insertParts(ctx, tx, s.parts(ds), news{})
}

func (s *Store) insertParts(ctx context.Context, r runner, parts [][]store.Delivery, isNew news) error {
	for _, part := range parts {
		if err := s.insertPart(ctx, r, part, isNew); err != nil {
			return err
		}
	}
	return nil
}

// news are the ids of the rows that were stored.
type news map[string]bool

// of tells of each row whether it is new. The same row twice is new once.
func (n news) of(ds []store.Delivery) []bool {
	out := make([]bool, len(ds))
	for i, d := range ds {
		out[i] = n[d.ID]
		delete(n, d.ID)
	}
	return out
}

// parts cuts rows into those of one statement each, in one order for everybody,
// so that batches with the same rows do not wait for each other.
func (s *Store) parts(ds []store.Delivery) [][]store.Delivery {
	sorted := slices.Clone(ds)
	slices.SortStableFunc(sorted, func(a, b store.Delivery) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.DeliveryID, b.DeliveryID), cmp.Compare(a.IntegrationID, b.IntegrationID))
	})
	most := insertRows
	if s.dialect.d.arrays {
		most = arrayRows
	}
	var parts [][]store.Delivery
	for len(sorted) > 0 {
		n, size := 0, 0
		for n < len(sorted) && n < most {
			if size += len(sorted[n].Body) + len(sorted[n].Headers); n > 0 && size > insertBytes {
				break
			}
			n++
		}
		if !s.dialect.d.arrays {
			n = 1 << (bits.Len(uint(n)) - 1) // few texts, so that they stay prepared
		}
		parts = append(parts, sorted[:n])
		sorted = sorted[n:]
	}
	return parts
}

// insertPart inserts rows by one statement, notes which are new and revives the
// dead ones that the others equal.
func (s *Store) insertPart(ctx context.Context, r runner, part []store.Delivery, isNew news) error {
	query, args := s.insertion(part)
	n, err := s.execPrepared(ctx, r, query, args...)
	if err != nil {
		return err
	}
	if n == int64(len(part)) {
		for _, d := range part {
			isNew[d.ID] = true
		}
		return nil
	}
	// A row is under its own random id only if it was stored.
	ids := make([]any, len(part))
	for i, d := range part {
		ids[i] = d.ID
	}
	if err := s.rows(ctx, r, "find", "SELECT id FROM {p}webhook_inbox WHERE id IN ("+in(len(ids))+")", ids, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		isNew[id] = true
		return err
	}); err != nil {
		return err
	}
	old := slices.DeleteFunc(slices.Clone(part), func(d store.Delivery) bool { return isNew[d.ID] })
	for some := range slices.Chunk(old, reviveRows) {
		if err := s.revive(ctx, r, some); err != nil {
			return err
		}
	}
	return nil
}

const asNew = "status = 0, claims = 0, starts = 0, lost = 0, last_error = '', run_at = {now}, due_at = NULL, updated_at = {now}, lease_owner = NULL, turn = 0"

// revive makes dead rows that equal one of ds pending again: somebody asked the
// provider to send them once more.
func (s *Store) revive(ctx context.Context, r runner, ds []store.Delivery) error {
	var equal []string
	var args []any
	for _, d := range ds {
		equal = append(equal, "provider = ? AND delivery_id = ? AND integration_id = ?")
		args = append(args, d.Provider, d.DeliveryID, d.IntegrationID)
		if d.BodyHash != "" {
			equal = append(equal, "provider = ? AND body_hash = ? AND integration_id = ?")
			args = append(args, d.Provider, d.BodyHash, d.IntegrationID)
		}
	}
	_, err := r.ExecContext(ctx, s.expand("UPDATE {p}webhook_inbox SET "+asNew+" WHERE status+0 = 2 AND ("+strings.Join(equal, " OR ")+")"), args...)
	return err
}

const insertInto = `INSERT INTO {p}webhook_inbox (id, provider, delivery_id, body_hash, tenant_id, integration_id,
 external_id, event_type, order_key, key_id, occurred_at, body, headers, status, run_at, received_at, updated_at) `

// insertion is the statement that inserts rows. It counts one for each that is
// new.
func (s *Store) insertion(part []store.Delivery) (string, []any) {
	if s.dialect.d.arrays && len(part) > 1 {
		return insertArrays, arraysOf(part)
	}
	args := make([]any, 0, 13*len(part))
	for _, d := range part {
		args = append(args, d.ID, d.Provider, d.DeliveryID, orNull(d.BodyHash), d.TenantID, d.IntegrationID, d.ExternalID,
			d.EventType, d.OrderKey, orNull(d.KeyID), moment(d.OccurredAt), bytesOrNull(d.Body), bytesOrNull(d.Headers))
	}
	return insertValues[bits.Len(uint(len(part)))-1], args
}

// insertValues are the statements of 1, 2, 4, … rows.
var insertValues = func() (texts [9]string) {
	for i := range texts {
		texts[i] = insertInto + "VALUES " + strings.TrimSuffix(strings.Repeat("(?,?,?,?,?,?,?,?,?,?,?,?,?,0,{now},{now},{now}),", 1<<i), ",") + " {ifabsent}"
	}
	return texts
}()

// insertArrays takes each column as an array that is written as text, which any
// driver passes on. What is bytes lies in one parameter, one after the other: in
// an array it would have to be written in hexadecimal.
const insertArrays = insertInto + `SELECT id, provider, delivery_id, body_hash, tenant_id, integration_id, external_id, event_type, order_key, key_id, occurred_at,
 CASE WHEN body_size > 0 THEN substr(bytes, body_at, body_size) END, CASE WHEN headers_size > 0 THEN substr(bytes, body_at+body_size, headers_size) END,
 0, now, now, now
 FROM (SELECT ?::bytea AS bytes, {now} AS now OFFSET 0) b, unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[],
 ?::bigint[], ?::int[], ?::int[], ?::int[]) AS u (id, provider, delivery_id, body_hash, tenant_id, integration_id, external_id, event_type, order_key, key_id,
 occurred_at, body_at, body_size, headers_size) {ifabsent}`

func arraysOf(part []store.Delivery) []any {
	size := 0
	for _, d := range part {
		size += len(d.Body) + len(d.Headers)
	}
	bytes := make([]byte, 0, size)
	var a [14]array
	for _, d := range part {
		a[0].text(d.ID)
		a[1].text(d.Provider)
		a[2].text(d.DeliveryID)
		a[3].textOrNull(d.BodyHash)
		a[4].text(d.TenantID)
		a[5].text(d.IntegrationID)
		a[6].text(d.ExternalID)
		a[7].text(d.EventType)
		a[8].text(d.OrderKey)
		a[9].textOrNull(d.KeyID)
		a[10].moment(d.OccurredAt)
		a[11].number(int64(len(bytes) + 1))
		a[12].number(int64(len(d.Body)))
		a[13].number(int64(len(d.Headers)))
		bytes = append(append(bytes, d.Body...), d.Headers...)
	}
	args := make([]any, 1, 1+len(a))
	args[0] = bytes
	for i := range a {
		args = append(args, a[i].String())
	}
	return args
}

// array is an array of PostgreSQL's, as text.
type array struct{ b []byte }

func (a *array) next() {
	if a.b == nil {
		a.b = append(a.b, '{')
	} else {
		a.b = append(a.b, ',')
	}
}

func (a *array) text(s string) {
	a.next()
	a.b = append(a.b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			a.b = append(a.b, '\\')
		}
		a.b = append(a.b, s[i])
	}
	a.b = append(a.b, '"')
}

func (a *array) textOrNull(s string) {
	if s != "" {
		a.text(s)
		return
	}
	a.next()
	a.b = append(a.b, "NULL"...)
}

func (a *array) number(n int64) {
	a.next()
	a.b = strconv.AppendInt(a.b, n, 10)
}

func (a *array) moment(t time.Time) {
	if t.IsZero() {
		a.textOrNull("")
		return
	}
	a.number(t.UnixMilli())
}

func (a *array) String() string { return string(a.b) + "}" }

// prepareInserts prepares the statements of parts before a transaction holds what
// may be the only connection.
func (s *Store) prepareInserts(ctx context.Context, parts [][]store.Delivery) {
	for _, part := range parts {
		query, _ := s.insertion(part[:1])
		if !s.dialect.d.arrays {
			query = insertValues[bits.Len(uint(len(part)))-1]
		}
		s.prepared(ctx, s.db, s.text(query))
	}
}

// execPrepared is exec of a statement that is run often. In a transaction it is
// prepared only if it was outside before.
func (s *Store) execPrepared(ctx context.Context, r runner, query string, args ...any) (int64, error) {
	text := s.text(query)
	stmt := s.prepared(ctx, r, text)
	if tx, ok := r.(*sql.Tx); ok {
		if known, ok := s.stmts.Load(text); ok {
			stmt = tx.StmtContext(ctx, known.(*sql.Stmt))
		}
	}
	var res sql.Result
	var err error
	if stmt != nil {
		res, err = stmt.ExecContext(ctx, args...)
	} else {
		res, err = r.ExecContext(ctx, text, args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
