package sheetsapp_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/stretchr/testify/require"
)

func TestParseRange(t *testing.T) {
	for a1, want := range map[string]sheetsapp.Range{
		"A1":                     {Cells: "A1"},
		"b2:zzz10000000":         {Cells: "b2:zzz10000000"},
		"A:C":                    {Cells: "A:C"},
		"2:5":                    {Cells: "2:5"},
		"A5:A":                   {Cells: "A5:A"},
		"A1:5":                   {Cells: "A1:5"},
		"Sheet1":                 {Sheet: "Sheet1"},
		"Sheet1!A1:B2":           {Sheet: "Sheet1", Cells: "A1:B2"},
		"My Custom Sheet!A:A":    {Sheet: "My Custom Sheet", Cells: "A:A"},
		"'A1'":                   {Sheet: "A1"},
		"'It''s'!A1:B2":          {Sheet: "It's", Cells: "A1:B2"},
		"''''":                   {Sheet: "'"},
		"'a!b'!A1":               {Sheet: "a!b", Cells: "A1"},
		"'''!A1'''!B2":           {Sheet: "'!A1'", Cells: "B2"},
		"'日本 / 100% :append'!A1": {Sheet: "日本 / 100% :append", Cells: "A1"},
	} {
		got, err := sheetsapp.ParseRange(a1)
		require.NoError(t, err, a1)
		require.Equal(t, want, got, a1)
		again, err := sheetsapp.ParseRange(got.String())
		require.NoError(t, err, a1)
		require.Equal(t, got, again, a1)
	}
	for _, a1 := range []string{
		"", "''", "'", "'a", "'a'b", "'a'!", "'a'A1", "'a''!A1", "!A1", "Sheet1!", "It's!A1", "It's", "Sheet1!A1!B2", "Sheet1!MyRange",
		"Sheet1!A1:append", "a\nb!A1", "Sheet1!'A1'",
	} {
		_, err := sheetsapp.ParseRange(a1)
		require.ErrorIs(t, err, providers.ErrInvalid, "%q", a1)
	}
}

// FuzzA1: a sheet's name keeps its meaning through quoting, whatever is in it, and
// what is parsed is parsed the same again.
func FuzzA1(f *testing.F) {
	for _, s := range [][2]string{
		{"Sheet1", "A1:B2"}, {"It's", "A:C"}, {"'", ""}, {"''!A1", "2:5"}, {"A1", "A1"}, {"a!b", "C3"}, {":append", "A1"}, {"日本", "ZZZ9"}, {"", "A1:"},
		{"a/../b?c#d", "A1"}, {"'It''s'!A1:B2", ""},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, sheet, cells string) {
		r := sheetsapp.Range{Sheet: sheet, Cells: cells}
		if r.Check() == nil {
			again, err := sheetsapp.ParseRange(r.String())
			require.NoError(t, err)
			require.Equal(t, r, again)
			// What goes into a URL is one segment with this text and no method's name.
			w := &wire{t: t, answers: []answer{ok("{}")}}
			_, err = sheetsapp.Read(t.Context(), connect(t, w, nil), sheetID, r, nil)
			require.NoError(t, err)
			u, err := url.Parse(w.sent[0].url)
			require.NoError(t, err)
			segment, found := strings.CutPrefix(u.EscapedPath(), "/v4/spreadsheets/"+sheetID+"/values/")
			require.True(t, found)
			require.NotContains(t, segment, "/")
			require.NotContains(t, segment, ":")
			plain, err := url.PathUnescape(segment)
			require.NoError(t, err)
			require.Equal(t, r.String(), plain)
		}
		for _, text := range []string{sheet, cells, sheet + "!" + cells} {
			if got, err := sheetsapp.ParseRange(text); err == nil {
				require.NoError(t, got.Check())
				again, err := sheetsapp.ParseRange(got.String())
				require.NoError(t, err)
				require.Equal(t, got, again)
			}
		}
	})
}
