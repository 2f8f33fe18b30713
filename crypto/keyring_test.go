package crypto_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/stretchr/testify/require"
)

var here = crypto.Binding{Tenant: "t1", Provider: "slack", Integration: "i1", Field: "access_token"}

func newKey(t testing.TB, id string) crypto.Key {
	t.Helper()
	k, err := crypto.GenerateKey(id)
	require.NoError(t, err)
	return k
}

func newRing(t testing.TB, primary crypto.Key, older ...crypto.Key) *crypto.Keyring {
	t.Helper()
	r, err := crypto.NewKeyring(primary, older...)
	require.NoError(t, err)
	return r
}

func TestSealOpensOnlyWhereItWasMade(t *testing.T) {
	ring := newRing(t, newKey(t, "k1"))
	for _, plain := range [][]byte{nil, {}, []byte("x"), bytes.Repeat([]byte("token"), 1000)} {
		sealed, err := ring.Seal([]byte("prefix"), plain, here)
		require.NoError(t, err)
		require.Equal(t, "prefix", string(sealed[:6]))
		require.LessOrEqual(t, len(sealed)-6, len(plain)+33)
		got, err := ring.Open([]byte("kept"), sealed[6:], here)
		require.NoError(t, err)
		require.Equal(t, "kept"+string(plain), string(got))
		id, err := ring.KeyID(sealed[6:])
		require.NoError(t, err)
		require.Equal(t, "k1", id)
	}
}

// TestS2SwapMatrix: no sealed value opens in another tenant, provider, row or
// field.
func TestS2SwapMatrix(t *testing.T) {
	ring := newRing(t, newKey(t, "k1"))
	var places []crypto.Binding
	for _, tenant := range []string{"a", "b", "ab", "", "a|slack"} {
		for _, provider := range []string{"slack", "github", "bslack"} {
			for _, id := range []string{"1", "11"} {
				for _, field := range []string{"access_token", "refresh_token"} {
					places = append(places, crypto.Binding{Tenant: tenant, Provider: provider, Integration: id, Field: field})
				}
			}
		}
	}
	for _, from := range places {
		sealed, err := ring.Seal(nil, []byte("secret"), from)
		require.NoError(t, err)
		bound := ring.Bind(from.Tenant, from.Provider)
		for _, to := range places {
			got, err := ring.Open(nil, sealed, to)
			if from == to {
				require.NoError(t, err)
				require.Equal(t, "secret", string(got))
				got, err = bound.Open(nil, sealed, to.Integration, to.Field)
				require.NoError(t, err)
				require.Equal(t, "secret", string(got))
				continue
			}
			require.ErrorIs(t, err, crypto.ErrSealed)
			require.Nil(t, got)
		}
	}
}

func TestDamageIsFoundAtEveryByteAndLength(t *testing.T) {
	ring := newRing(t, newKey(t, "key-1"), newKey(t, "key-2"))
	sealed, err := ring.Seal(nil, []byte("secret"), here)
	require.NoError(t, err)
	for i := range sealed {
		for _, bit := range []byte{1, 0x80} {
			bad := bytes.Clone(sealed)
			bad[i] ^= bit
			dst, err := ring.Open([]byte("dst"), bad, here)
			require.Error(t, err, i)
			require.True(t, errors.Is(err, crypto.ErrSealed) || errors.Is(err, crypto.ErrUnknownKey), i)
			require.Equal(t, "dst", string(dst))
		}
		_, err := ring.Open(nil, sealed[:i], here)
		require.ErrorIs(t, err, crypto.ErrSealed)
	}
	_, err = ring.Open(nil, append(bytes.Clone(sealed), 0), here)
	require.ErrorIs(t, err, crypto.ErrSealed)
}

func TestOlderKeysOpenAndMissingOnesAreNamed(t *testing.T) {
	one, two := newKey(t, "k1"), newKey(t, "k2")
	sealed, err := newRing(t, one).Seal(nil, []byte("secret"), here)
	require.NoError(t, err)
	both := newRing(t, two, one)
	require.Equal(t, "k2", both.PrimaryID())
	require.Equal(t, []string{"k1", "k2"}, both.KeyIDs())
	for _, open := range []func() ([]byte, error){
		func() ([]byte, error) { return both.Open(nil, sealed, here) },
		func() ([]byte, error) {
			return both.Bind(here.Tenant, here.Provider).Open(nil, sealed, here.Integration, here.Field)
		},
	} {
		got, err := open()
		require.NoError(t, err)
		require.Equal(t, "secret", string(got))
	}
	_, err = newRing(t, two).Open(nil, sealed, here)
	require.ErrorIs(t, err, crypto.ErrUnknownKey)
	require.ErrorContains(t, err, "k1")
	_, err = newRing(t, newKey(t, "k1")).Open(nil, sealed, here)
	require.ErrorIs(t, err, crypto.ErrSealed)
}

func TestRingsWithFaultsAreRefused(t *testing.T) {
	one := newKey(t, "k1")
	same, err := crypto.ParseKey("k2", one.Reveal())
	require.NoError(t, err)
	_, err = crypto.NewKeyring(one, newKey(t, "k1"), same, crypto.Key{})
	require.ErrorContains(t, err, `"k1" is used twice`)
	require.ErrorContains(t, err, "are the same")
	require.ErrorIs(t, err, crypto.ErrWeakKey)
}

func TestParseKey(t *testing.T) {
	k := newKey(t, "k1")
	raw := make([]byte, 32)
	_, err := fmt.Sscanf(k.Reveal(), "%x", &raw)
	require.NoError(t, err)
	for _, text := range []string{
		k.Reveal(), strings.ToUpper(k.Reveal()), " " + k.Reveal() + "\n", base64.StdEncoding.EncodeToString(raw),
		base64.RawStdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	} {
		got, err := crypto.ParseKey("k1", text)
		require.NoError(t, err)
		require.Equal(t, k.Reveal(), got.Reveal())
	}
	for name, text := range map[string]string{
		"empty": "", "short": k.Reveal()[:62], "long": k.Reveal() + "00", "zero": strings.Repeat("0", 64), "repeated": strings.Repeat("ab", 32),
		"counted": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "passphrase": "correct horse battery staple 1234",
		"passphrase in base64": base64.StdEncoding.EncodeToString([]byte("correct horse battery staple1234")), "not hex": strings.Repeat("zz", 32),
	} {
		_, err := crypto.ParseKey("k1", text)
		require.ErrorIs(t, err, crypto.ErrWeakKey, name)
		if text != "" {
			require.NotContains(t, err.Error(), text)
		}
	}
	for _, id := range []string{"", "K1", "a b", "ä", strings.Repeat("a", 33)} {
		_, err := crypto.ParseKey(id, k.Reveal())
		require.Error(t, err, id)
		_, err = crypto.GenerateKey(id)
		require.Error(t, err, id)
	}
}

// printed is v under every verb; methods of unexported fields are not called.
func printed(v any) string {
	return fmt.Sprintf("%v %+v %#v %s %q %x %X %d", v, v, v, v, v, v, v, v)
}

func TestKeysDoNotPrint(t *testing.T) {
	k := newKey(t, "k1")
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "key", k, "wrapped", struct{ k crypto.Key }{k})
	marshalled, err := json.Marshal(map[string]any{"key": k})
	require.NoError(t, err)
	ring := newRing(t, k)
	raw, err := hex.DecodeString(k.Reveal())
	require.NoError(t, err)
	decimal := strings.Trim(fmt.Sprint(raw[:8]), "[]")
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v %s %q %x %d", k, k, k, k, k, k, k), fmt.Sprintf("%v %+v %#v", &k, &k, []crypto.Key{k}), printed(struct{ k crypto.Key }{k}),
		printed(ring), printed(struct{ r *crypto.Keyring }{ring}), logged.String(), string(marshalled),
	} {
		require.NotContains(t, text, k.Reveal())
		require.NotContains(t, strings.ToLower(text), k.Reveal()[:16])
		require.NotContains(t, text, decimal)
	}
}

func TestInputIsNeverWritten(t *testing.T) {
	ring := newRing(t, newKey(t, "k1"))
	plain := bytes.Repeat([]byte("p"), 64)
	dst := make([]byte, 4, 512)
	copy(dst, "keep")
	sealed, err := ring.Seal(dst, plain, here)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("p", 64), string(plain))
	require.Equal(t, "keep", string(sealed[:4]))
	before := bytes.Clone(sealed[4:])
	_, err = ring.Open(make([]byte, 0, 512), sealed[4:], here)
	require.NoError(t, err)
	require.Equal(t, before, sealed[4:])
}

func TestNoAllocationsWithRoomInDst(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates: counted without it")
		return
	}
	ring := newRing(t, newKey(t, "k1"))
	bound := ring.Bind(here.Tenant, here.Provider)
	plain := bytes.Repeat([]byte("x"), 60)
	sealed, err := ring.Seal(nil, plain, here)
	require.NoError(t, err)
	dst := make([]byte, 0, 256)
	for name, fn := range map[string]func(){
		"seal":       func() { _, _ = ring.Seal(dst, plain, here) },
		"open":       func() { _, _ = ring.Open(dst, sealed, here) },
		"seal bound": func() { _, _ = bound.Seal(dst, plain, here.Integration, here.Field) },
		"open bound": func() { _, _ = bound.Open(dst, sealed, here.Integration, here.Field) },
	} {
		require.Zero(t, testing.AllocsPerRun(200, fn), name)
	}
}

func TestK3Nonces(t *testing.T) {
	n := 1 << 18
	if os.Getenv("INTEGRATIONS_SOAK") == "1" {
		n = 1 << 22
	}
	ring := newRing(t, newKey(t, "k1"))
	bound := ring.Bind("t", "p")
	seen := make(map[[12]byte]struct{}, n)
	var buf []byte
	for range n {
		var err error
		buf, err = bound.Seal(buf[:0], nil, "i", "f")
		require.NoError(t, err)
		seen[[12]byte(buf[4:16])] = struct{}{}
	}
	require.Len(t, seen, n)
}

func TestManyTenantsAtOnce(t *testing.T) {
	ring := newRing(t, newKey(t, "k1"))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				b := crypto.Binding{Tenant: fmt.Sprint(i % 700), Provider: fmt.Sprint(g), Integration: "i", Field: "f"}
				sealed, err := ring.Seal(nil, []byte(b.Tenant), b)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := ring.Open(nil, sealed, b); err != nil || string(got) != b.Tenant {
					t.Errorf("%q %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestUnwrapKey(t *testing.T) {
	k := newKey(t, "k1")
	raw := make([]byte, 32)
	_, err := fmt.Sscanf(k.Reveal(), "%x", &raw)
	require.NoError(t, err)
	plain := bytes.Clone(raw)
	got, err := crypto.UnwrapKey(t.Context(), crypto.UnwrapFunc(func(_ context.Context, blob []byte) ([]byte, error) {
		require.Equal(t, "wrapped", string(blob))
		return plain, nil
	}), "k1", []byte("wrapped"))
	require.NoError(t, err)
	require.Equal(t, k.Reveal(), got.Reveal())
	require.Equal(t, make([]byte, 32), plain, "the plaintext is zeroed")
	_, err = crypto.UnwrapKey(t.Context(), crypto.UnwrapFunc(func(context.Context, []byte) ([]byte, error) { return []byte("short"), nil }), "k1", nil)
	require.ErrorIs(t, err, crypto.ErrWeakKey)
	_, err = crypto.UnwrapKey(t.Context(), crypto.UnwrapFunc(func(context.Context, []byte) ([]byte, error) { return nil, context.Canceled }), "k1", nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestHexFormatReadsWhatNodeWrote(t *testing.T) {
	text, err := os.ReadFile("testdata/hexform.json")
	require.NoError(t, err)
	var file struct {
		Key     string
		Vectors []struct{ Plaintext, Sealed string }
	}
	require.NoError(t, json.Unmarshal(text, &file))
	require.GreaterOrEqual(t, len(file.Vectors), 16)
	key, err := crypto.ParseKey("legacy", file.Key)
	require.NoError(t, err)
	h, err := crypto.NewHexFormat(key)
	require.NoError(t, err)
	if fips140.Enforced() {
		_, err := h.Open(nil, file.Vectors[0].Sealed)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = h.Seal(nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		return
	}
	for _, v := range file.Vectors {
		got, err := h.Open([]byte("dst"), v.Sealed)
		require.NoError(t, err)
		require.Equal(t, "dst"+v.Plaintext, string(got))
		for _, bad := range []string{
			strings.ToUpper(v.Sealed), v.Sealed + ":", v.Sealed + ":00", " " + v.Sealed, v.Sealed + "\n", v.Sealed + "00",
			strings.Replace(v.Sealed, ":", "", 1), strings.Replace(v.Sealed, ":", "::", 1), v.Sealed[2:], "",
		} {
			if bad == v.Sealed { // a value without letters has no upper case
				continue
			}
			dst, err := h.Open([]byte("dst"), bad)
			require.ErrorIs(t, err, crypto.ErrSealed, bad)
			require.Equal(t, "dst", string(dst))
		}
	}
	sealed, err := h.Seal([]byte("round trip"))
	require.NoError(t, err)
	require.Len(t, strings.Split(sealed, ":")[0], 32)
	got, err := h.Open(nil, sealed)
	require.NoError(t, err)
	require.Equal(t, "round trip", string(got))
}

func FuzzF1Open(f *testing.F) {
	key, err := crypto.ParseKey("k1", "7478efc48024e7a9fc361ac87890532532248df7fd806d6c7f68eb0308e9a645")
	require.NoError(f, err)
	ring := newRing(f, key)
	// Sealed once and for all: the processes of a fuzz run must agree on it.
	good, err := hex.DecodeString("02026b31f0338defae0cff238f08928b6f18d2d6f55c8bcd44945c5728b5dd15f6b68b200ae8")
	require.NoError(f, err)
	f.Add(good, []byte("secret"))
	f.Add([]byte{2, 2, 'k', '1'}, []byte(""))
	f.Add([]byte{}, []byte("x"))
	f.Fuzz(func(t *testing.T, sealed, plain []byte) {
		got, err := ring.Open(nil, sealed, here)
		if err == nil {
			require.True(t, bytes.Equal(sealed, good), "opened what was not sealed")
			require.Equal(t, "secret", string(got))
		} else {
			require.True(t, errors.Is(err, crypto.ErrSealed) || errors.Is(err, crypto.ErrUnknownKey))
		}
		round, err := ring.Seal(nil, plain, here)
		require.NoError(t, err)
		got, err = ring.Open(nil, round, here)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, got))
	})
}

func ExampleNewKeyring() {
	key, err := crypto.ParseKey("k1", "7478efc48024e7a9fc361ac87890532532248df7fd806d6c7f68eb0308e9a645")
	if err != nil {
		fmt.Println(err)
		return
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	b := crypto.Binding{Tenant: "tenant-1", Provider: "slack", Integration: "42", Field: "access_token"}
	sealed, err := ring.Seal(nil, []byte("xoxb-1"), b)
	if err != nil {
		fmt.Println(err)
		return
	}
	plain, err := ring.Open(nil, sealed, b)
	fmt.Println(string(plain), err)
	b.Tenant = "tenant-2"
	_, err = ring.Open(nil, sealed, b)
	fmt.Println(errors.Is(err, crypto.ErrSealed))
	// Output:
	// xoxb-1 <nil>
	// true
}

func ExampleParseKey() {
	_, err := crypto.ParseKey("k1", "correct horse battery staple")
	fmt.Println(errors.Is(err, crypto.ErrWeakKey))
	// Output: true
}

func ExampleNewHexFormat() {
	key, err := crypto.GenerateKey("legacy")
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := crypto.NewHexFormat(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = h.Open(nil, "not of this form")
	fmt.Println(err != nil)
	// Output: true
}

func ExampleUnwrapKey() {
	kms := crypto.UnwrapFunc(func(ctx context.Context, wrapped []byte) ([]byte, error) {
		return nil, errors.New("the key service says no")
	})
	_, err := crypto.UnwrapKey(context.Background(), kms, "k1", []byte("from the configuration"))
	fmt.Println(err)
	// Output: integrations/crypto: unwrap key "k1": the key service says no
}

func ExampleGenerateKey() {
	key, err := crypto.GenerateKey("2026-11")
	fmt.Println(key, err)
	again, err := crypto.ParseKey(key.ID(), key.Reveal()) // what a secret manager keeps
	fmt.Println(again.Reveal() == key.Reveal(), err)
	// Output:
	// key 2026-11 <nil>
	// true <nil>
}
