package integrations

import (
	"context"
	"fmt"
	"time"

	"github.com/saas-integrations/integrations/store"
)

const (
	// endsEvery is how often grants that are about to end are looked for, endsAtOnce
	// how many are told of in one transaction.
	endsEvery  = 10 * time.Minute
	endsAtOnce = 100
)

// reportEnds tells of each grant that ends within endsSoon and that renewals do not
// prolong. The row remembers it, so each end is told once.
func (m *Manager) reportEnds(ctx context.Context) error {
	if m.inbox == nil {
		return nil // nobody could hear it
	}
	for {
		rows, err := m.cfg.Store.ListEnding(ctx, store.ListEnding{Within: endsSoon, Limit: endsAtOnce})
		if err != nil {
			return fmt.Errorf("integrations: grants that end: %w", err)
		}
		reports := make([]store.ReportEnd, len(rows))
		for i, in := range rows {
			change, err := m.changeTo(in, Change{Kind: ChangeGrantEnding, EndsAt: in.RefreshExpiresAt})
			if err != nil {
				return err
			}
			reports[i] = store.ReportEnd{TenantID: in.TenantID, ID: in.ID, SeenGen: in.TokenGen, Change: change}
		}
		n, err := m.cfg.Store.ReportEnds(ctx, reports)
		if err != nil {
			return fmt.Errorf("integrations: grants that end: %w", err)
		}
		if n > 0 {
			m.wake()
		}
		// Where somebody else told of all of these, the rest is theirs too.
		if len(rows) < endsAtOnce || n == 0 {
			return nil
		}
	}
}
