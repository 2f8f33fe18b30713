package integrations

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestR12ALifeDoesNotGrowWithAClock(t *testing.T) {
	require.Equal(t, time.Duration(0), rest(0, time.Hour))
	require.Equal(t, 40*time.Minute, rest(time.Hour, 20*time.Minute))
	require.Equal(t, time.Second, rest(time.Hour, 2*time.Hour))
}
