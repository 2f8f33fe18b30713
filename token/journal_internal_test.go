package token

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// goodRecord is a record with everything in it.
func goodRecord() record {
	return record{
		Version: recordVersion, TenantID: "t", ID: "id", Provider: "p", SpentGen: 3,
		AccessToken: []byte{2, 1}, RefreshToken: []byte{2, 2}, KeyID: "k1", Scopes: []string{"read"}, ProviderData: []byte(`{"a":1}`),
		Answered: 1_700_000_000_000, ExpiresIn: time.Hour, RefreshIn: 54 * time.Minute, RefreshExpiresIn: 24 * time.Hour,
	}
}

// FuzzJournalRecord: whatever is in a file or in an opened record, it is refused
// or read as it was written, and no life of it is longer than it says or endless
// where it had an end.
func FuzzJournalRecord(f *testing.F) {
	good, err := json.Marshal(goodRecord())
	require.NoError(f, err)
	for _, seed := range [][]byte{
		nil, []byte("{}"), []byte("null"), good, good[:len(good)/2], frame(good), frame(nil), frame(good)[:frameLen+3],
		[]byte(recordMagic), []byte(`{"Version":1,"TenantID":"t","ID":"i","Provider":"p","SpentGen":1,"AccessToken":"AA==","ExpiresIn":9223372036854775807,"Answered":-9223372036854775808}`),
		[]byte(`{"Version":2}`), []byte(`{"Version":1,"ExpiresIn":-1}`),
	} {
		f.Add(seed)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text []byte) {
		if sealed, err := parseFrame(text); err == nil {
			require.Equal(t, text, frame(sealed))
		} else {
			require.Empty(t, sealed)
		}
		if len(text) <= maxRecord {
			back, err := parseFrame(frame(text))
			require.NoError(t, err)
			require.Equal(t, string(text), string(back))
			torn, err := parseFrame(frame(text)[:frameLen+len(text)-min(1, len(text))])
			require.True(t, err != nil || len(text) == 0 && len(torn) == 0)
		}
		r, err := parseRecord(text)
		if err != nil {
			require.Equal(t, errRecord, err)
			return
		}
		c := r.commit(now)
		require.Equal(t, r.SpentGen, c.SeenGen)
		for _, life := range [][2]time.Duration{{r.ExpiresIn, c.ExpiresIn}, {r.RefreshIn, c.RefreshIn}, {r.RefreshExpiresIn, c.RefreshExpiresIn}} {
			require.Equal(t, life[0] == 0, life[1] == 0)
			require.LessOrEqual(t, life[1], max(life[0], time.Millisecond))
		}
		again, err := json.Marshal(r)
		require.NoError(t, err)
		same, err := parseRecord(again)
		require.NoError(t, err)
		require.Equal(t, r, same)
	})
}

func TestARecordKeepsWhatIsNotSaid(t *testing.T) {
	// Nil scopes and provider data leave the row's alone, empty ones replace them.
	for _, r := range []record{goodRecord(), {Version: 1, TenantID: "t", ID: "i", Provider: "p", SpentGen: 1, AccessToken: []byte{1}},
		{Version: 1, TenantID: "t", ID: "i", Provider: "p", SpentGen: 1, AccessToken: []byte{1}, Scopes: []string{}}} {
		text, err := json.Marshal(r)
		require.NoError(t, err)
		back, err := parseRecord(text)
		require.NoError(t, err)
		require.Equal(t, r, back)
	}
}

func TestWhatARecordHasLeft(t *testing.T) {
	r := goodRecord()
	at := func(d time.Duration) time.Time { return time.UnixMilli(r.Answered).Add(d) }
	c := r.commit(at(10 * time.Minute))
	require.Equal(t, 50*time.Minute, c.ExpiresIn)
	require.Equal(t, 44*time.Minute, c.RefreshIn)
	require.False(t, c.KeepRefreshExpiry)
	require.Equal(t, 24*time.Hour-10*time.Minute, c.RefreshExpiresIn)
	c = r.commit(at(2 * time.Hour))
	require.Equal(t, time.Millisecond, c.ExpiresIn, "over, and not endless")
	c = r.commit(at(-2 * time.Hour))
	require.Equal(t, time.Hour, c.ExpiresIn, "a clock that was put back lengthens nothing")
	r.RefreshExpiresIn = 0
	require.True(t, r.commit(at(0)).KeepRefreshExpiry)
}

// TestAnUnfinishedFileIsNotListed: a file that is being written is neither a
// record nor a fault, but one whose writer is gone is one or the other.
func TestAnUnfinishedFileIsNotListed(t *testing.T) {
	j, err := NewDirJournal(t.TempDir())
	require.NoError(t, err)
	whole, torn := newOwner()+recordExt+tempExt, newOwner()+recordExt+tempExt
	require.NoError(t, os.WriteFile(j.path(whole), frame([]byte("whole")), 0o600))
	require.NoError(t, os.WriteFile(j.path(torn), frame([]byte("torn"))[:frameLen+2], 0o600))
	j.mark(whole, true)
	j.mark(torn, true)
	list, err := j.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)

	next, err := NewDirJournal(filepath.Dir(j.path(whole)))
	require.NoError(t, err)
	list, err = next.List(t.Context())
	require.ErrorContains(t, err, torn)
	require.Equal(t, []JournalRecord{{ID: whole, Sealed: []byte("whole")}}, list)
	require.NoError(t, next.Remove(t.Context(), whole))
	require.NoFileExists(t, j.path(whole))
	require.FileExists(t, j.path(torn))
}
