package token_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/store/faultstore"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

// process is a vault with a journal, on a way to the store of its own that can
// end: what is left then is what a process that died leaves.
type process struct {
	*token.Vault
	st *faultstore.Store
}

func (w *world) process(j token.Journal, log *slog.Logger, change ...func(*token.VaultConfig)) process {
	w.t.Helper()
	st := faultstore.New(w.st)
	cfg := token.VaultConfig{
		Store: st, Cipher: w.cipher, Client: token.NewClient(token.ClientConfig{}), Renewer: func(string) token.Renewer { return w.p },
		Journal: j, Logger: log,
	}
	for _, fn := range change {
		fn(&cfg)
	}
	v, err := token.NewVault(cfg)
	require.NoError(w.t, err)
	return process{v, st}
}

// cut lets no call of a method reach the store.
func (p process) cut(method string) {
	p.st.Fail(func(_ int, m string) (faultstore.When, error) {
		if m == method || method == "" {
			return faultstore.Before, errDisk
		}
		return faultstore.Before, nil
	})
}

func (p process) token(ctx context.Context) (*token.Token, error) {
	h, err := p.Lookup(ctx, "t", "p", "")
	if err != nil {
		return nil, err
	}
	return h.Token(ctx)
}

// died is a journal that a process left which died between the provider's answer
// and the commit. The token had ended.
func (w *world) died() *token.DirJournal { return w.diedAfter(2 * time.Hour) }

func (w *world) diedAfter(wait time.Duration) *token.DirJournal {
	w.t.Helper()
	j := newDirJournal(w.t, w.t.TempDir())
	time.Sleep(wait)
	p := w.process(j, nil)
	p.cut("CommitTokens")
	_, err := p.token(w.t.Context())
	require.NoError(w.t, err)
	synctest.Wait() // for a renewal ahead
	p.cut("")
	w.t.Cleanup(func() { time.Sleep(2 * time.Minute) }) // it goes on trying in vain
	list, err := j.List(w.t.Context())
	require.NoError(w.t, err)
	require.Len(w.t, list, 1)
	in, refresh := w.row()
	require.Equal(w.t, int64(1), in.TokenGen)
	require.Equal(w.t, "refresh-0", refresh, "the row has the spent token")
	return j
}

// kept is how many records a journal has.
func kept(t *testing.T, j token.Journal) int {
	t.Helper()
	list, err := j.List(t.Context())
	require.NoError(t, err)
	return len(list)
}

func TestACrashBetweenAnswerAndCommitLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		j := w.died()
		time.Sleep(20 * time.Minute)
		p := w.process(j, nil)
		done, err := p.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, token.Replayed{Stored: 1}, done)
		require.Zero(t, kept(t, j))
		in, refresh := w.row()
		require.Equal(t, int64(2), in.TokenGen)
		require.Equal(t, "refresh-1", refresh)
		require.Equal(t, 40*time.Minute, in.TokenExpiresAt.Sub(in.ReadAt).Round(time.Second), "what is left of its hour")
		require.Less(t, in.NextRefreshAt.Sub(in.ReadAt), 40*time.Minute)
		require.True(t, in.LeaseUntil.IsZero(), "the dead holder's lease is over")
		tok, err := p.token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "access-1", tok.Access.Reveal())
		require.Equal(t, int64(1), w.p.calls.Load())
		p.st.Reset()
		time.Sleep(2 * time.Hour)
		_, err = p.token(t.Context())
		require.NoError(t, err)
		calls := slices.DeleteFunc(p.st.Calls(), func(m string) bool { return m != "CommitTokens" })
		require.Len(t, calls, 1, "the record is forgotten")
		w.settled()
	})
}

func TestAReplayedTokenIsNotUsedPastItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		j := w.died()
		time.Sleep(3 * time.Hour)
		p := w.process(j, nil)
		_, err := p.Replay(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Second)
		tok, err := p.token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "access-2", tok.Access.Reveal(), "renewed with the replayed refresh token")
		w.settled()
	})
}

func TestAReplayedTokenReplacesWhatIsCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		j := w.diedAfter(56 * time.Minute)
		p := w.process(j, nil)
		h, err := p.Lookup(t.Context(), "t", "p", "")
		require.NoError(t, err)
		require.NoError(t, h.Usable(t.Context()), "the old token still lasts")
		_, err = p.Replay(t.Context())
		require.NoError(t, err)
		tok, err := p.token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "access-1", tok.Access.Reveal())
	})
}

// TestJournalEveryCrashPoint lets a process die at each of its calls to the store,
// before the call's work and after it; another one comes back with its journal.
func TestJournalEveryCrashPoint(t *testing.T) {
	for n := 1; ; n++ {
		reached := false
		for _, when := range []faultstore.When{faultstore.Before, faultstore.After} {
			t.Run(fmt.Sprint(n, when), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1)
					dir := t.TempDir()
					p := w.process(newDirJournal(t, dir), nil)
					time.Sleep(2 * time.Hour)
					p.st.Fail(func(i int, _ string) (faultstore.When, error) {
						switch {
						case i < n:
							return faultstore.Before, nil
						case i == n:
							reached = true
							return when, errDisk
						default:
							return faultstore.Before, errDisk
						}
					})
					_, _ = p.token(t.Context())
					synctest.Wait()
					again := w.process(newDirJournal(t, dir), nil)
					_, err := again.Replay(t.Context())
					require.NoError(t, err)
					time.Sleep(time.Minute) // the lease
					_, err = again.token(t.Context())
					require.NoError(t, err)
					require.Empty(t, files(t, dir))
					w.settled()
				})
			})
		}
		if !reached {
			require.Greater(t, n, 5)
			return
		}
	}
}

func TestTheJournalIsEmptyWhenAllIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		j := &counted{Journal: newDirJournal(t, t.TempDir())}
		p := w.process(j, nil)
		for range 5 {
			time.Sleep(2 * time.Hour)
			_, err := p.token(t.Context())
			require.NoError(t, err)
			require.Zero(t, kept(t, j))
		}
		require.Equal(t, 5, j.appended())
	})
}

func TestARefreshTokenThatStaysNeedsNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		j := &counted{Journal: newDirJournal(t, t.TempDir())}
		v, err := token.NewVault(token.VaultConfig{
			Store: w.st, Cipher: w.cipher, Client: token.NewClient(token.ClientConfig{}), Renewer: func(string) token.Renewer { return staying{} }, Journal: j,
		})
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		tok, err := process{v, w.st}.token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "access-new", tok.Access.Reveal())
		require.Zero(t, j.appended())
	})
}

// staying is a provider whose refresh token stays as it is.
type staying struct{}

func (staying) Renew(context.Context, token.Renewal) (token.Grant, error) {
	return token.Grant{AccessToken: token.NewSecret("access-new"), ExpiresIn: time.Hour}, nil
}

// counted counts appends, and lets some calls fail.
type counted struct {
	token.Journal
	mu             sync.Mutex
	n              int
	before, after  error // of Append
	remove, listed error
	panics         bool
}

func (c *counted) appended() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *counted) Append(ctx context.Context, record []byte) (string, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	if c.panics {
		panic("refresh-1")
	}
	if c.before != nil {
		return "", c.before
	}
	id, err := c.Journal.Append(ctx, record)
	if c.after != nil {
		return "", c.after
	}
	return id, err
}

func (c *counted) Remove(ctx context.Context, id string) error {
	if c.remove != nil {
		return c.remove
	}
	return c.Journal.Remove(ctx, id)
}

func (c *counted) List(ctx context.Context) ([]token.JournalRecord, error) {
	if c.listed != nil {
		return nil, c.listed
	}
	return c.Journal.List(ctx)
}

func TestAJournalThatFailsStopsNoCommit(t *testing.T) {
	for name, c := range map[string]*counted{
		"append": {before: errDisk}, "append, and the record is there": {after: errDisk}, "remove": {remove: errDisk}, "panic": {panics: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				dir := newDirJournal(t, t.TempDir())
				j := &counted{Journal: dir, before: c.before, after: c.after, remove: c.remove, panics: c.panics}
				var log bytes.Buffer
				p := w.process(j, slog.New(slog.NewTextHandler(&log, nil)))
				time.Sleep(2 * time.Hour)
				tok, err := p.token(t.Context())
				require.NoError(t, err)
				require.Equal(t, "access-1", tok.Access.Reveal())
				in, _ := w.row()
				require.Equal(t, int64(2), in.TokenGen)
				require.Contains(t, log.String(), "journal")
				require.NotContains(t, log.String(), "refresh-1")
				// What stayed is overtaken, and a journal that cannot be read is told of.
				j.remove, j.listed = nil, errDisk
				_, err = p.Replay(t.Context())
				require.ErrorIs(t, err, errDisk)
				j.listed = nil
				left := kept(t, dir)
				done, err := p.Replay(t.Context())
				require.NoError(t, err)
				require.Equal(t, token.Replayed{Overtaken: left}, done)
				require.Zero(t, kept(t, dir))
				w.settled()
			})
		})
	}
}

// TestL1NoSecretInTheJournal: neither tokens nor provider data nor tenants can be
// read in the files, nor in what errors say.
func TestL1NoSecretInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		dir := t.TempDir()
		p := w.process(newDirJournal(t, dir), nil)
		r := revealing{w.p}
		v, err := token.NewVault(token.VaultConfig{
			Store: p.st, Cipher: w.cipher, Client: token.NewClient(token.ClientConfig{}), Renewer: func(string) token.Renewer { return r }, Journal: newDirJournal(t, dir),
		})
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		p.cut("CommitTokens")
		_, err = process{v, p.st}.token(t.Context())
		require.NoError(t, err)
		names := files(t, dir)
		require.Len(t, names, 1)
		text, err := os.ReadFile(filepath.Join(dir, names[0]))
		require.NoError(t, err)
		_, err = p.Replay(t.Context())
		require.ErrorIs(t, err, errDisk)
		for _, secret := range []string{"access-1", "refresh-1", "refresh-0", "hush-data", "hush-scope", "TenantID", "YWNjZXNz", "cmVmcmVzaC"} {
			require.NotContains(t, string(text), secret)
			require.NotContains(t, err.Error(), secret)
		}
		p.cut("")
		time.Sleep(2 * time.Minute)
	})
}

// revealing is a provider whose answers have everything in them.
type revealing struct{ *rotating }

func (r revealing) Renew(ctx context.Context, in token.Renewal) (token.Grant, error) {
	g, err := r.rotating.Renew(ctx, in)
	g.ProviderData, g.Scopes, g.RefreshExpiresIn = []byte(`{"x":"hush-data"}`), []string{"hush-scope"}, time.Hour
	return g, err
}
