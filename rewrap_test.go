package integrations_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations"
	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/stretchr/testify/require"
)

// rotation is a store with sealed rows and the keys of a rotation: k1 was the
// primary, k2 is to be.
type rotation struct {
	*memstore.Store
	k1, k2   crypto.Key
	old, mix *crypto.Keyring // k1 alone; k2 with k1 as a reader
	new      *crypto.Keyring // k2 alone
}

func keyring(t testing.TB, keys ...crypto.Key) *crypto.Keyring {
	t.Helper()
	ring, err := crypto.NewKeyring(keys[0], keys[1:]...)
	require.NoError(t, err)
	return ring
}

func newRotation(t testing.TB, rows int) *rotation {
	t.Helper()
	v := &rotation{Store: memstore.New()}
	var err error
	v.k1, err = crypto.GenerateKey("k1")
	require.NoError(t, err)
	v.k2, err = crypto.GenerateKey("k2")
	require.NoError(t, err)
	v.old, v.mix, v.new = keyring(t, v.k1), keyring(t, v.k2, v.k1), keyring(t, v.k2)
	for i := range rows {
		v.connect(t, v.old, i)
	}
	return v
}

func rowTenant(i int) string { return fmt.Sprintf("t%04d", i) }
func rowID(i int) string     { return fmt.Sprintf("int%04d", i) }

// connect makes an integration; each third has no refresh token.
func (v *rotation) connect(t testing.TB, c crypto.Cipher, i int) {
	t.Helper()
	g := token.Grant{AccessToken: token.NewSecret("access of " + rowID(i))}
	if i%3 != 0 {
		g.RefreshToken = token.NewSecret("refresh of " + rowID(i))
	}
	access, refresh, key, err := token.SealGrant(c, rowTenant(i), "slack", rowID(i), g)
	require.NoError(t, err)
	_, err = v.Connect(t.Context(), store.Connect{ID: rowID(i), TenantID: rowTenant(i), Provider: "slack", AccessToken: access, RefreshToken: refresh, KeyID: key})
	require.NoError(t, err)
}

// endpoint makes one with both secrets.
func (v *rotation) endpoint(t testing.TB, id string) {
	t.Helper()
	e := store.Endpoint{ID: id, TenantID: "t0001", IntegrationID: rowID(1), Provider: "jira", PathHash: id, KeyID: "k1", PreviousUntil: time.Now().Add(time.Hour)}
	var err error
	e.Secret, err = v.old.Seal(nil, []byte("secret of "+id), webhook.SecretBinding(e))
	require.NoError(t, err)
	e.PreviousSecret, err = v.old.Seal(nil, []byte("previous of "+id), webhook.SecretBinding(e))
	require.NoError(t, err)
	require.NoError(t, v.PutEndpoint(t.Context(), e))
}

// delivery makes one and brings it to a state.
func (v *rotation) delivery(t testing.TB, id string, state store.DeliveryState) {
	t.Helper()
	d := store.Delivery{ID: id, Provider: "slack", DeliveryID: id, TenantID: "t0001", IntegrationID: rowID(1), EventType: id, KeyID: "k1"}
	var err error
	d.Body, err = webhook.SealBody(v.old, d, []byte("body of "+id))
	require.NoError(t, err)
	_, err = v.InsertDeliveries(t.Context(), []store.Delivery{d})
	require.NoError(t, err)
	if state != store.Pending {
		_, err = v.ClaimDeliveries(t.Context(), store.ClaimDeliveries{Owner: "o", Limit: 1, TTL: time.Minute, Match: []store.Match{{Provider: "slack", EventType: id}}})
		require.NoError(t, err)
		_, err = v.RecordDeliveries(t.Context(), store.RecordDeliveries{Ends: []store.FinishDelivery{{ID: id, Owner: "o", State: state}}})
		require.NoError(t, err)
	}
}

// opens checks that an integration is as it was made and opens with c.
func (v *rotation) opens(t testing.TB, c crypto.Cipher, i int) {
	t.Helper()
	in, err := v.Get(t.Context(), rowTenant(i), rowID(i))
	require.NoError(t, err)
	access, refresh, err := token.OpenGrant(c, in)
	require.NoError(t, err)
	require.Equal(t, "access of "+rowID(i), access.Reveal())
	if i%3 == 0 {
		require.Nil(t, in.RefreshToken)
	} else {
		require.Equal(t, "refresh of "+rowID(i), refresh.Reveal())
	}
	require.Equal(t, [2]int64{1, 1}, [2]int64{in.TokenGen, in.Version})
}

func (v *rotation) byKey(t testing.TB) map[string]int64 {
	t.Helper()
	n, err := v.CountByKey(t.Context())
	require.NoError(t, err)
	return n
}

func TestRewrapMovesEverySealedColumn(t *testing.T) {
	v := newRotation(t, 30)
	v.endpoint(t, "e1")
	v.delivery(t, "d-pending", store.Pending)
	v.delivery(t, "d-dead", store.Dead)
	v.delivery(t, "d-done", store.Done)
	require.Equal(t, map[string]int64{"k1": 33}, v.byKey(t))

	var told []integrations.RewrapProgress
	opts := &integrations.RewrapOptions{BatchSize: 7, Progress: func(p integrations.RewrapProgress) { told = append(told, p) }}
	got, err := integrations.Rewrap(t.Context(), v, v.mix, opts)
	require.NoError(t, err)
	require.Equal(t, integrations.RewrapResult{Moved: 33}, got)
	require.Len(t, told, 7, "five batches of tokens, one of secrets, one of bodies")
	require.Equal(t, [2]int64{7, 33}, [2]int64{told[0].Done, told[0].Total})
	require.Positive(t, told[0].Left)
	last := told[len(told)-1]
	require.Equal(t, [2]int64{33, 33}, [2]int64{last.Done, last.Total})
	require.Zero(t, last.Left)
	require.Positive(t, last.RowsPerSecond)

	require.Equal(t, map[string]int64{"k2": 33}, v.byKey(t))
	for i := range 30 {
		v.opens(t, v.new, i)
	}
	e, err := v.FindEndpoint(t.Context(), "jira", "e1")
	require.NoError(t, err)
	secrets, err := webhook.OpenSecrets(v.new, e, time.Now())
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("secret of e1"), []byte("previous of e1")}, secrets)
	body := func(id string) (string, error) {
		d, err := v.GetDelivery(t.Context(), "t0001", id)
		require.NoError(t, err)
		plain, err := v.new.Open(nil, d.Body, webhook.BodyBinding(d))
		return string(plain), err
	}
	for _, id := range []string{"d-pending", "d-dead"} {
		plain, err := body(id)
		require.NoError(t, err)
		require.Equal(t, "body of "+id, plain)
	}
	_, err = body("d-done")
	require.ErrorIs(t, err, crypto.ErrUnknownKey, "a handled one is left")

	got, err = integrations.Rewrap(t.Context(), v, v.mix, nil)
	require.NoError(t, err)
	require.Zero(t, got, "a second run has nothing to do")
	got, err = integrations.Rewrap(t.Context(), v, v.mix, &integrations.RewrapOptions{Handled: true})
	require.NoError(t, err)
	require.Equal(t, integrations.RewrapResult{Moved: 1}, got)
	plain, err := body("d-done")
	require.NoError(t, err)
	require.Equal(t, "body of d-done", plain)
	require.Equal(t, map[string]int64{"k2": 33}, v.byKey(t))
}

// between calls something after each list of sealed rows.
type between struct {
	store.Store
	store.Admin
	then func(rows []store.Sealed)
}

func (b between) ListSealed(ctx context.Context, kind store.SealedKind, key, after string, limit int) ([]store.Sealed, error) {
	rows, err := b.Admin.ListSealed(ctx, kind, key, after, limit)
	if err == nil && len(rows) > 0 {
		b.then(rows)
	}
	return rows, err
}

// TestRewrapOverwritesNothing: what is refreshed, reconnected, disconnected or
// deleted between the reading and the writing of a batch stays so.
func TestRewrapOverwritesNothing(t *testing.T) {
	v := newRotation(t, 10)
	ctx := t.Context()
	once := sync.OnceFunc(func() {
		commit := store.CommitTokens{TenantID: rowTenant(1), ID: rowID(1), SeenGen: 1}
		var err error
		commit.AccessToken, commit.RefreshToken, commit.KeyID, err = token.SealGrant(v.mix, rowTenant(1), "slack", rowID(1), token.Grant{AccessToken: token.NewSecret("fresh")})
		require.NoError(t, err)
		stored, err := v.CommitTokens(ctx, commit)
		require.NoError(t, err)
		require.True(t, stored)
		changed, err := v.SetStatus(ctx, store.SetStatus{TenantID: rowTenant(2), ID: rowID(2), To: store.Disconnected, Wipe: true})
		require.NoError(t, err)
		require.True(t, changed)
		require.NoError(t, v.Delete(ctx, rowTenant(3), rowID(3)))
		metadata := []byte(`{"a":1}`)
		_, err = v.Update(ctx, store.Update{TenantID: rowTenant(4), ID: rowID(4), Version: 1, Scopes: &[]string{string(metadata)}})
		require.NoError(t, err)
	})
	got, err := integrations.Rewrap(ctx, between{v, v, func([]store.Sealed) { once() }}, v.mix, nil)
	require.NoError(t, err)
	require.Equal(t, integrations.RewrapResult{Moved: 7, Skipped: 3}, got)
	in, err := v.Get(ctx, rowTenant(1), rowID(1))
	require.NoError(t, err)
	access, _, err := token.OpenGrant(v.new, in)
	require.NoError(t, err)
	require.Equal(t, "fresh", access.Reveal())
	require.Equal(t, int64(2), in.TokenGen)
	in, err = v.Get(ctx, rowTenant(2), rowID(2))
	require.NoError(t, err)
	require.Nil(t, in.AccessToken)
	_, err = v.Get(ctx, rowTenant(3), rowID(3))
	require.ErrorIs(t, err, store.ErrNotFound)
	in, err = v.Get(ctx, rowTenant(4), rowID(4))
	require.NoError(t, err)
	require.Equal(t, int64(2), in.Version, "a change beside the tokens hinders nobody")
	require.Equal(t, "k2", in.KeyID)
	require.Equal(t, map[string]int64{"k2": 8}, v.byKey(t))
}

// TestK2RewrapLeavesWhatItCannotOpen: rows under a missing key and damaged rows
// are counted and stay, byte for byte; the others are moved.
func TestK2RewrapLeavesWhatItCannotOpen(t *testing.T) {
	v := newRotation(t, 10)
	k0, err := crypto.GenerateKey("k0")
	require.NoError(t, err)
	for i := 10; i < 15; i++ {
		v.connect(t, keyring(t, k0), i)
	}
	// One whose refresh token alone is under the missing key, and one with the
	// tokens of another row.
	commit := func(i int, access, refresh []byte) {
		stored, err := v.CommitTokens(t.Context(), store.CommitTokens{TenantID: rowTenant(i), ID: rowID(i), SeenGen: 1, AccessToken: access, RefreshToken: refresh, KeyID: "k1"})
		require.NoError(t, err)
		require.True(t, stored)
	}
	access, _, _, err := token.SealGrant(v.old, rowTenant(1), "slack", rowID(1), token.Grant{AccessToken: token.NewSecret("a")})
	require.NoError(t, err)
	_, refresh, _, err := token.SealGrant(keyring(t, k0), rowTenant(1), "slack", rowID(1), token.Grant{RefreshToken: token.NewSecret("r")})
	require.NoError(t, err)
	commit(1, access, refresh)
	commit(2, access, nil)

	read := func() []store.Integration {
		rows, err := v.ListAll(t.Context(), "", 100)
		require.NoError(t, err)
		for i := range rows {
			rows[i].ReadAt = time.Time{}
		}
		return rows
	}
	before := read()
	got, err := integrations.Rewrap(t.Context(), v, v.mix, nil)
	require.ErrorIs(t, err, integrations.ErrUnknownKey)
	require.ErrorIs(t, err, integrations.ErrSealed)
	require.ErrorContains(t, err, "6 rows are left under k0")
	require.ErrorContains(t, err, "1 rows do not open, the first are the tokens of "+rowID(2))
	require.Equal(t, integrations.RewrapResult{Moved: 8, Unknown: 6, Unreadable: 1}, got)
	after := read()
	for _, i := range []int{1, 2, 10, 11, 12, 13, 14} {
		require.Equal(t, before[i], after[i])
	}
	require.Equal(t, map[string]int64{"k0": 5, "k1": 2, "k2": 8}, v.byKey(t))

	got, err = integrations.Rewrap(t.Context(), v, keyring(t, v.k2, v.k1, k0), nil)
	require.ErrorIs(t, err, integrations.ErrSealed)
	require.NotErrorIs(t, err, integrations.ErrUnknownKey)
	require.Equal(t, integrations.RewrapResult{Moved: 6, Unreadable: 1}, got)
	v.opens(t, v.new, 12)
}

func TestRewrapEndsWithItsContextAndGoesOn(t *testing.T) {
	v := newRotation(t, 30)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got, err := integrations.Rewrap(ctx, v, v.mix, &integrations.RewrapOptions{BatchSize: 10, Progress: func(integrations.RewrapProgress) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, integrations.RewrapResult{Moved: 10}, got)
	require.Equal(t, map[string]int64{"k1": 20, "k2": 10}, v.byKey(t))
	got, err = integrations.Rewrap(t.Context(), v, v.mix, nil)
	require.NoError(t, err)
	require.Equal(t, integrations.RewrapResult{Moved: 20}, got)
	_, err = integrations.Rewrap(ctx, v, v.mix, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestRewrapKeepsToItsSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newRotation(t, 200)
		began := time.Now()
		var sizes []int64
		var last integrations.RewrapProgress
		got, err := integrations.Rewrap(t.Context(), v, v.mix, &integrations.RewrapOptions{RowsPerSecond: 40, Progress: func(p integrations.RewrapProgress) {
			sizes = append(sizes, p.Done-last.Done)
			if p.Done == 100 {
				require.Equal(t, 40.0, p.RowsPerSecond)
				require.Equal(t, 2500*time.Millisecond, p.Left)
			}
			last = p
		}})
		require.NoError(t, err)
		require.Equal(t, int64(200), got.Moved)
		require.Len(t, sizes, 100)
		for _, n := range sizes {
			require.Equal(t, int64(2), n, "a twentieth of a second")
		}
		require.Equal(t, 4950*time.Millisecond, time.Since(began), "200 rows, of which the last 2 are not waited for")

		ctx, cancel := context.WithTimeout(t.Context(), 59500*time.Millisecond)
		defer cancel()
		_, err = integrations.Rewrap(ctx, v, keyring(t, v.k1, v.k2), &integrations.RewrapOptions{RowsPerSecond: 1})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, map[string]int64{"k1": 60, "k2": 140}, v.byKey(t))
	})
}

func TestRewrapIsBoundUnlessTheHostLiftsIt(t *testing.T) {
	for speed, want := range map[int]time.Duration{0: 100 * time.Millisecond, -1: 0} {
		synctest.Test(t, func(t *testing.T) {
			v := newRotation(t, 250)
			began, batches := time.Now(), 0
			got, err := integrations.Rewrap(t.Context(), v, v.mix, &integrations.RewrapOptions{RowsPerSecond: speed, Progress: func(integrations.RewrapProgress) { batches++ }})
			require.NoError(t, err)
			require.Equal(t, int64(250), got.Moved)
			require.Equal(t, want, time.Since(began))
			require.Equal(t, map[int]int{0: 3, -1: 1}[speed], batches)
		})
	}
}

// TestRewrapAfterEveryFault: whichever call to the store fails, before or after
// its work, the next run completes what was begun.
func TestRewrapAfterEveryFault(t *testing.T) {
	full := errors.New("the disk is full")
	calls := 0
	for n := 0; n <= calls; n++ {
		for _, when := range []faultstore.When{faultstore.Before, faultstore.After} {
			v := newRotation(t, 12)
			v.endpoint(t, "e1")
			v.delivery(t, "d1", store.Pending)
			st := faultstore.New(v.Store)
			if n > 0 {
				st.FailNth(n, when, full)
			}
			opts := &integrations.RewrapOptions{BatchSize: 5}
			got, err := integrations.Rewrap(t.Context(), st, v.mix, opts)
			if n == 0 {
				require.NoError(t, err)
				calls = len(st.Calls())
				require.Greater(t, calls, 8)
			} else {
				require.ErrorIs(t, err, full, "call %d", n)
			}
			st.Reset()
			more, err := integrations.Rewrap(t.Context(), st, v.mix, opts)
			require.NoError(t, err)
			require.LessOrEqual(t, got.Moved+more.Moved, int64(14))
			require.Equal(t, map[string]int64{"k2": 14}, v.byKey(t))
			for i := range 12 {
				v.opens(t, v.new, i)
			}
		}
	}
}

func TestTwoRewrapsAtOnce(t *testing.T) {
	v := newRotation(t, 300)
	var wg sync.WaitGroup
	var results [3]integrations.RewrapResult
	var errs [3]error
	for i := range results {
		wg.Go(func() {
			results[i], errs[i] = integrations.Rewrap(t.Context(), v, v.mix, &integrations.RewrapOptions{BatchSize: 3 + i})
		})
	}
	wg.Wait()
	var moved int64
	for i, r := range results {
		require.NoError(t, errs[i])
		moved += r.Moved
	}
	require.Equal(t, int64(300), moved)
	for i := range 300 {
		v.opens(t, v.new, i)
	}
}

// brokenCipher is a keyring some of whose calls go wrong.
type brokenCipher struct {
	*crypto.Keyring
	seal func(sealed []byte) ([]byte, error)
}

func (b brokenCipher) Bind(tenant, provider string) crypto.Bound {
	return brokenBound{b.Keyring.Bind(tenant, provider), b.seal}
}

type brokenBound struct {
	crypto.Bound
	seal func(sealed []byte) ([]byte, error)
}

func (b brokenBound) Seal(dst, plain []byte, integration, field string) ([]byte, error) {
	sealed, err := b.Bound.Seal(dst, plain, integration, field)
	if err != nil {
		return nil, err
	}
	return b.seal(sealed)
}

func TestRewrapWritesNothingThatDoesNotOpen(t *testing.T) {
	v := newRotation(t, 3)
	away := fmt.Errorf("the key service is away: %w", crypto.ErrSealed)
	for name, seal := range map[string]func([]byte) ([]byte, error){
		"damaged": func(b []byte) ([]byte, error) { b[len(b)-1] ^= 1; return b, nil },
		"other key": func([]byte) ([]byte, error) {
			in, _ := v.Get(t.Context(), rowTenant(1), rowID(1))
			return in.AccessToken, nil
		},
		"error": func([]byte) ([]byte, error) { return nil, away },
		"panic": func([]byte) ([]byte, error) { panic("secret") },
	} {
		got, err := integrations.Rewrap(t.Context(), v, brokenCipher{v.mix, seal}, nil)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "secret")
		if name == "error" {
			require.ErrorIs(t, err, away)
		}
		require.Zero(t, got, name)
		require.Equal(t, map[string]int64{"k1": 3}, v.byKey(t), name)
	}
}

func TestRewrapNeedsAdminAndRing(t *testing.T) {
	v := newRotation(t, 1)
	_, err := integrations.Rewrap(t.Context(), struct{ store.Store }{v}, v.mix, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = integrations.Rewrap(t.Context(), v, struct{ crypto.Cipher }{v.mix}, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	got, err := integrations.Rewrap(t.Context(), v, v.old, nil)
	require.NoError(t, err)
	require.Zero(t, got)
}
