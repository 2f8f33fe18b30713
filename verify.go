package integrations

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/token"
)

const (
	// verifyEvery is the default of Config.VerifyEvery, verifyLeast the least it may
	// be. verifySpread is the part of it that is added or taken off at random.
	verifyEvery  = 24 * time.Hour
	verifyLeast  = time.Hour
	verifySpread = 10
	// lookEvery is how often grants that are to be verified are looked for, verifyAtOnce
	// how many are asked for at the same time, and verifyTimeout bounds one.
	lookEvery     = 5 * time.Minute
	verifyAtOnce  = 8
	verifyTimeout = 30 * time.Second
)

// verifyIn is when a fresh grant is verified for the first time: 0, which is never,
// when renewals ask for it anyway. It is spread, so that grants that were connected
// together are not verified together.
func (m *Manager) verifyIn(p *provider, g token.Grant, id string) time.Duration {
	if p.verifier == nil || g.RefreshIn(p.renewer, id) > 0 {
		return 0
	}
	every := max(m.cfg.VerifyEvery, verifyLeast)
	return every/2 + mathrand.N(every)
}

// verifyDue verifies the grants that it is time for. What providers answer is dealt
// with by the connections themselves; all else changes nothing.
func (m *Manager) verifyDue(ctx context.Context) error {
	if m.cfg.VerifyEvery < 0 {
		return nil
	}
	var faults []error
	for _, key := range m.keys {
		if p := m.providers[key]; p.verifier != nil {
			faults = append(faults, m.verifyProvider(ctx, p))
		}
	}
	return errors.Join(faults...)
}

// verifyProvider stops when its provider does not answer: what was not claimed is
// due the next time too.
func (m *Manager) verifyProvider(ctx context.Context, p *provider) error {
	for ctx.Err() == nil && !m.heldBack(p.info.Key) {
		every := m.cfg.VerifyEvery
		rows, err := m.cfg.Store.ClaimVerify(ctx, store.ClaimVerify{
			Limit: verifyAtOnce, Again: every - every/verifySpread + mathrand.N(2*every/verifySpread), Providers: []string{p.info.Key},
		})
		if err != nil {
			return fmt.Errorf("integrations: claim grants to verify: %w", err)
		}
		var unanswered atomic.Int64
		var work sync.WaitGroup
		for _, in := range rows {
			work.Go(func() {
				if !m.verify(ctx, p, in) {
					unanswered.Add(1)
				}
			})
		}
		work.Wait()
		if len(rows) < verifyAtOnce || 2*int(unanswered.Load()) > len(rows) {
			return nil
		}
	}
	return nil
}

// heldBack reports whether renewals of a provider are held back here.
func (m *Manager) heldBack(key string) bool {
	return slices.ContainsFunc(m.vault.HeldBack(), func(h token.HeldBack) bool { return h.Provider == key })
}

// verify asks for one grant. False means that the provider did not answer.
func (m *Manager) verify(ctx context.Context, p *provider, in store.Integration) bool {
	if !in.NextRefreshAt.IsZero() {
		return true // a renewal will tell
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	attrs := []any{"provider", in.Provider, "tenant", in.TenantID, "integration", in.ID}
	h, err := m.vault.HandleOf(in)
	if err != nil {
		m.log.WarnContext(ctx, "integrations: a grant could not be verified", append(attrs, "error", err)...)
		return true
	}
	err = verified(ctx, p.verifier, h.Attached().(*providers.Connection))
	switch {
	case err == nil, errors.Is(err, errors.ErrUnsupported):
		return true
	case errors.Is(err, ErrReconnectRequired):
		// Of the generation that was claimed, unless something renews it.
		_, _, err = h.Rejected(ctx, in.TokenGen, true)
		m.log.InfoContext(ctx, "integrations: a verification found that a grant is over", append(attrs, "error", usable(err))...)
		m.wake()
		return true
	}
	m.log.DebugContext(ctx, "integrations: a verification told nothing", append(attrs, "error", err)...)
	return !errors.Is(err, ErrTransient) && !errors.Is(err, ErrRateLimited) &&
		!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled)
}

// verified asks the adapter. A panic of it is an error: on a goroutine of ours it
// would end the process.
func verified(ctx context.Context, v providers.Verifier, conn *providers.Connection) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("integrations: verify: panic of type %T", p)
		}
	}()
	return v.Verify(ctx, conn)
}
