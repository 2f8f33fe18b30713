package token_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
	"github.com/stretchr/testify/require"
)

func TestReplayOverwritesNothingNewer(t *testing.T) {
	set := func(to store.Status, wipe bool) func(w *world) {
		return func(w *world) {
			_, err := w.st.SetStatus(w.t.Context(), store.SetStatus{TenantID: "t", ID: "id", To: to, Wipe: wipe})
			require.NoError(w.t, err)
		}
	}
	for name, c := range map[string]struct {
		meanwhile func(w *world)
		logged    string
	}{
		"renewed by another": {meanwhile: func(w *world) {
			g := token.Grant{AccessToken: token.NewSecret("theirs")}
			access, refresh, key, err := token.SealGrant(w.cipher, "t", "p", "id", g)
			require.NoError(w.t, err)
			stored, err := w.st.CommitTokens(w.t.Context(), store.CommitTokens{TenantID: "t", ID: "id", SeenGen: 1, AccessToken: access, RefreshToken: refresh, KeyID: key})
			require.NoError(w.t, err)
			require.True(w.t, stored)
		}},
		"dead":         {set(store.NeedsReconnect, false), "needs_reconnect"},
		"disconnected": {set(store.Disconnected, true), "disconnected"},
		"deleted":      {func(w *world) { require.NoError(w.t, w.st.Delete(w.t.Context(), "t", "id")) }, "deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 0)
				j := w.died()
				c.meanwhile(w)
				before, found := w.st.Get(t.Context(), "t", "id")
				var log bytes.Buffer
				done, err := w.process(j, slog.New(slog.NewTextHandler(&log, nil))).Replay(t.Context())
				require.NoError(t, err)
				require.Equal(t, token.Replayed{Overtaken: 1}, done)
				require.Zero(t, kept(t, j))
				after, err := w.st.Get(t.Context(), "t", "id")
				require.Equal(t, found, err)
				require.Equal(t, before, after)
				require.Equal(t, c.logged == "", log.Len() == 0, log.String())
				require.Contains(t, log.String(), c.logged)
			})
		})
	}
}

func TestASuspendedIntegrationGetsItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		j := w.died()
		to := func(s store.Status) {
			_, err := w.st.SetStatus(t.Context(), store.SetStatus{TenantID: "t", ID: "id", To: s})
			require.NoError(t, err)
		}
		to(store.Suspended)
		p := w.process(j, nil)
		done, err := p.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, token.Replayed{Stored: 1}, done)
		require.Zero(t, kept(t, j))
		in, err := w.st.Get(t.Context(), "t", "id")
		require.NoError(t, err)
		require.Equal(t, store.Suspended, in.Status)
		to(store.Active)
		_, err = p.token(t.Context())
		require.NoError(t, err)
		w.vaults = append(w.vaults, p.Vault)
		w.settled()
	})
}

func TestAReplayTellsThatARenewalRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		j := w.died()
		time.Sleep(time.Minute) // the lease of the dead
		lease := store.Lease{TenantID: "t", ID: "id", Owner: "o", SeenGen: 1, TTL: time.Minute}
		won, err := w.st.Lease(t.Context(), lease)
		require.NoError(t, err)
		require.True(t, won)
		_, err = w.st.FailRefresh(t.Context(), store.FailRefresh{TenantID: "t", ID: "id", Owner: "o", SeenGen: 1, Code: "x", Report: 1})
		require.NoError(t, err)
		var told []token.TurnKind
		p := w.process(j, nil, func(cfg *token.VaultConfig) {
			cfg.Change = func(_ store.Integration, turn token.Turn) (*store.Delivery, error) {
				told = append(told, turn.Kind)
				return nil, nil
			}
		})
		_, err = p.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, []token.TurnKind{token.TurnRecovered}, told)
	})
}

func TestAReplayGivesTheGrantOfOneThatIsOverAway(t *testing.T) {
	for name, end := range map[string]func(w *world) error{
		"disconnected": func(w *world) error {
			_, err := w.st.SetStatus(w.t.Context(), store.SetStatus{TenantID: "t", ID: "id", To: store.Disconnected, Wipe: true})
			return err
		},
		"removed": func(w *world) error { return w.st.Delete(w.t.Context(), "t", "id") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 0)
				j := w.died()
				row, err := w.st.Get(t.Context(), "t", "id")
				require.NoError(t, err)
				require.NotEmpty(t, row.ExternalID)
				require.NoError(t, end(w))
				var orphans []string
				p := w.process(j, nil, func(cfg *token.VaultConfig) {
					cfg.Orphan = func(_ context.Context, in store.Integration, g token.Grant) {
						orphans = append(orphans, in.TenantID+" "+in.ID+" "+in.Provider+" "+in.ExternalID+" "+g.RefreshToken.Reveal())
					}
				})
				done, err := p.Replay(t.Context())
				require.NoError(t, err)
				require.Equal(t, token.Replayed{Overtaken: 1}, done)
				require.Equal(t, []string{"t id p " + row.ExternalID + " " + w.p.current}, orphans)
			})
		})
	}
}

// TestNothingIsRenewedBeforeItsRecord: a store that was out at the replay and is
// back at the first use must not have a spent token renewed.
func TestNothingIsRenewedBeforeItsRecord(t *testing.T) {
	for _, ahead := range []bool{false, true} {
		t.Run(fmt.Sprint("ahead=", ahead), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				j := w.died()
				p := w.process(j, nil)
				p.cut("CommitTokens")
				done, err := p.Replay(t.Context())
				require.ErrorIs(t, err, errDisk)
				require.Equal(t, token.Replayed{Kept: 1}, done)
				require.Equal(t, 1, kept(t, j))
				time.Sleep(time.Minute) // the lease of the dead
				_, err = p.token(t.Context())
				require.ErrorIs(t, err, errDisk)
				p.st.Fail(nil)
				if ahead {
					_, err = p.RefreshDue(t.Context(), []string{"p"})
				} else {
					_, err = p.token(t.Context())
				}
				require.NoError(t, err)
				require.Equal(t, int64(1), w.p.calls.Load())
				require.Zero(t, kept(t, j))
				w.settled()
			})
		})
	}
}

func TestReplayBesideARenewalThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		j := newDirJournal(t, t.TempDir())
		p := w.process(j, nil)
		time.Sleep(2 * time.Hour)
		p.cut("CommitTokens")
		_, err := p.token(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * time.Minute) // it is in memory only, and nobody asks for it
		_, err = p.Replay(t.Context())
		require.ErrorIs(t, err, errDisk)
		p.st.Fail(nil)
		done, err := p.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, token.Replayed{Stored: 1}, done)
		_, refresh := w.row()
		require.Equal(t, "refresh-1", refresh)
		tok, err := p.token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "access-1", tok.Access.Reveal())
		require.Zero(t, kept(t, j))
		w.vaults = append(w.vaults, p.Vault)
		w.settled()
	})
}

func TestARecordThatCannotBeOpenedStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		j := w.died()
		_, err := j.Append(t.Context(), []byte("not sealed"))
		require.NoError(t, err)
		ours := w.cipher
		key, err := crypto.GenerateKey("other")
		require.NoError(t, err)
		w.cipher, err = crypto.NewKeyring(key)
		require.NoError(t, err)
		done, err := w.process(j, nil).Replay(t.Context())
		require.ErrorIs(t, err, crypto.ErrUnknownKey)
		require.ErrorIs(t, err, crypto.ErrSealed)
		require.Equal(t, token.Replayed{Kept: 2}, done)
		w.cipher = ours
		done, err = w.process(j, nil).Replay(t.Context())
		require.ErrorIs(t, err, crypto.ErrSealed)
		require.Equal(t, token.Replayed{Stored: 1, Kept: 1}, done)
		require.Equal(t, 1, kept(t, j))
		w.settled()
	})
}

// TestReplayByTwoAtOnce: two processes on one directory store each record once.
func TestReplayByTwoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		j := w.died()
		var mu sync.Mutex
		var stored int
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				done, err := w.process(j, nil).Replay(context.Background())
				mu.Lock()
				defer mu.Unlock()
				stored += done.Stored
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, stored)
		require.Zero(t, kept(t, j))
		w.settled()
	})
}

func TestReplayEndsWithItsContextAndWithTheVault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0)
		j := w.died()
		p := w.process(&counted{Journal: j}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := p.Replay(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, p.Shutdown(t.Context()))
		_, err = p.Replay(t.Context())
		var e *token.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "shutting_down", e.Code)
		require.Equal(t, 1, kept(t, j))
		done, err := w.vault().Replay(t.Context())
		require.NoError(t, err)
		require.Zero(t, done, "no journal")
	})
}
