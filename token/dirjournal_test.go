package token_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

func newDirJournal(t *testing.T, dir string) *token.DirJournal {
	t.Helper()
	j, err := token.NewDirJournal(dir)
	require.NoError(t, err)
	return j
}

// files are the names in a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestDirJournal(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "journal")
	j := newDirJournal(t, dir)
	require.Empty(t, files(t, dir), "nothing is left of the trial")
	a, err := j.Append(ctx, []byte("one"))
	require.NoError(t, err)
	b, err := j.Append(ctx, []byte("two"))
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	require.ElementsMatch(t, []string{a, b}, files(t, dir), "no temporary file stays")
	if runtime.GOOS != "windows" {
		for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, a): 0o600} {
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, mode, info.Mode().Perm(), path)
		}
	}

	list, err := newDirJournal(t, dir).List(ctx) // another process's
	require.NoError(t, err)
	require.ElementsMatch(t, []token.JournalRecord{{ID: a, Sealed: []byte("one")}, {ID: b, Sealed: []byte("two")}}, list)

	require.NoError(t, j.Remove(ctx, a))
	require.NoError(t, j.Remove(ctx, a), "twice is no error")
	list, err = j.List(ctx)
	require.NoError(t, err)
	require.Equal(t, []token.JournalRecord{{ID: b, Sealed: []byte("two")}}, list)

	_, err = j.Append(ctx, make([]byte, 2<<20))
	require.ErrorContains(t, err, "too large")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = j.Append(ended, []byte("three"))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{b}, files(t, dir))
}

func TestDirJournalLeavesAloneWhatIsNotItsOwn(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	j := newDirJournal(t, dir)
	good, err := j.Append(ctx, []byte("good"))
	require.NoError(t, err)
	whole, err := os.ReadFile(filepath.Join(dir, good))
	require.NoError(t, err)
	name := func(digit string) string { return strings.Repeat(digit, 32) + ".record" }
	flipped := slices.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	foreign := map[string][]byte{
		name("1"): whole[:len(whole)-2], name("2"): {}, name("3"): flipped, name("4"): append(slices.Clone(whole), 0),
		"README": []byte("not ours"), "short.record": whole, name("5") + ".bak": whole,
	}
	for n, text := range foreign {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), text, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, name("6")), 0o700))
	list, err := j.List(ctx)
	require.Equal(t, []token.JournalRecord{{ID: good, Sealed: []byte("good")}}, list)
	require.ErrorContains(t, err, name("6"))
	for n, text := range foreign {
		require.ErrorContains(t, err, n)
		now, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		require.Equal(t, text, now)
	}
	outside := filepath.Join(filepath.Dir(dir), name("7"))
	require.NoError(t, os.WriteFile(outside, whole, 0o600))
	for _, id := range []string{"", "README", "../" + name("7"), "..", name("1") + "/", name("1")[1:], dir} {
		require.Error(t, j.Remove(ctx, id), id)
	}
	require.FileExists(t, outside)
}

func TestNewDirJournalChecksTheDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, bad := range []string{file, filepath.Join(dir, "no", "parent")} {
		_, err := token.NewDirJournal(bad)
		require.Error(t, err, bad)
	}
	if runtime.GOOS != "windows" && os.Getuid() != 0 {
		closed := filepath.Join(dir, "closed")
		require.NoError(t, os.Mkdir(closed, 0o500))
		_, err := token.NewDirJournal(closed)
		require.Error(t, err)
	}
}

func TestDirJournalConcurrently(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	one, two := newDirJournal(t, dir), newDirJournal(t, dir)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			j := []*token.DirJournal{one, two}[i%2]
			for n := range 20 {
				id, err := j.Append(ctx, fmt.Append(nil, i, n))
				if err != nil {
					t.Error(err)
				}
				list, _ := one.List(ctx) // two's unfinished files may be in the error
				for _, r := range list {
					if len(r.Sealed) < 3 {
						t.Errorf("half a record: %q", r.Sealed)
					}
				}
				if n%2 == 0 {
					if err := j.Remove(ctx, id); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	list, err := one.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, 8*10)
}

func ExampleNewDirJournal() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	key, err := crypto.GenerateKey("k1")
	if err != nil {
		panic(err)
	}
	ring, err := crypto.NewKeyring(key)
	if err != nil {
		panic(err)
	}
	// With a Manager it goes into integrations.Config, and New and Run replay it.
	journal, err := token.NewDirJournal(filepath.Join(dir, "journal"))
	if err != nil {
		panic(err)
	}
	vault, err := token.NewVault(token.VaultConfig{
		Store: memstore.New(), Cipher: ring, Client: token.NewClient(token.ClientConfig{}),
		Renewer: func(string) token.Renewer { return nil }, Journal: journal,
	})
	if err != nil {
		panic(err)
	}
	done, err := vault.Replay(context.Background())
	fmt.Printf("%+v %v\n", done, err)
	// Output: {Stored:0 Overtaken:0 Kept:0} <nil>
}
