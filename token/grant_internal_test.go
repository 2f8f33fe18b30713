package token

import (
	"testing"
	"time"

	"github.com/saas-integrations/integrations/store"
	"github.com/stretchr/testify/require"
)

// TestGrantEnd: what renewals do to the end of a grant, by the rules of providers.
func TestGrantEnd(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		connected, refreshed, left, life time.Duration // ago, ago, of the row, of the answer
		want                             store.GrantEnd
	}{
		"no end":                            {connected: day, life: 30 * day, want: store.EndUnknown},
		"an idle limit":                     {connected: day, refreshed: time.Hour, left: 90*day - time.Hour, life: 90 * day, want: store.EndMoves},
		"an idle limit, little use":         {connected: 16 * day, left: 14 * day, life: 30 * day, want: store.EndMoves},
		"the rest of a year":                {connected: 300 * day, refreshed: time.Hour, left: 65 * day, life: 65*day - 3*time.Second, want: store.EndStays},
		"the rest of a year, clock ahead":   {connected: 300 * day, refreshed: time.Hour, left: 65 * day, life: 65*day + 3*time.Second, want: store.EndStays},
		"where the idle limit meets a year": {connected: 275 * day, refreshed: 12 * time.Hour, left: 90*day - 12*time.Hour, life: 90*day - 11*time.Hour, want: store.EndStays},
		"an answer without a word":          {connected: day, refreshed: time.Hour, left: 90 * day, want: store.EndStays},
		"too soon to tell":                  {connected: day, refreshed: 20 * time.Second, left: 90 * day, life: 90 * day, want: store.EndUnknown},
		"connected again after a renewal":   {connected: 20 * time.Second, refreshed: day, left: 90 * day, life: 90 * day, want: store.EndUnknown},
	} {
		in := store.Integration{ReadAt: now, ConnectedAt: now.Add(-c.connected)}
		if c.refreshed > 0 {
			in.LastRefreshAt = now.Add(-c.refreshed)
		}
		if c.left > 0 {
			in.RefreshExpiresAt = now.Add(c.left)
		}
		require.Equal(t, c.want, grantEnd(in, c.life), name)
	}
}
