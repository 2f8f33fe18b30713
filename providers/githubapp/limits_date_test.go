package githubapp

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestParseDateIsHTTPs: of dates and of what is nearly one.
func TestParseDateIsHTTPs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	same := func(s string) {
		want, wantErr := http.ParseTime(s)
		got, err := parseDate(s)
		require.Equal(t, wantErr, err, "%q", s)
		require.Equal(t, want, got, "%q", s)
	}
	for range 2000 {
		at := time.Unix(random.Int64N(1<<34), 0).UTC()
		s := at.Format(http.TimeFormat)
		same(s)
		got, err := parseDate(s)
		require.NoError(t, err)
		require.True(t, at.Equal(got), "%q", s)
		wrong := []byte(s)
		wrong[random.IntN(len(wrong))] = "0193 :,aGJ"[random.IntN(10)]
		same(string(wrong))
	}
	for _, s := range []string{"", "0", "Mon, 30 Feb 2026 00:00:00 GMT", "Wed, 00 Nov 2026 19:52:33 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"} {
		same(s)
	}
}
