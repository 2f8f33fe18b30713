package webhook_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/saas-integrations/integrations/webhook"
)

func nested(open, end string, depth int) string {
	return strings.Repeat(open, depth) + strings.Repeat(end, depth)
}

func TestFieldsReportsTopLevelMembersInOrder(t *testing.T) {
	body := " {\"a\" : 1 ,\"b\":{\"a\":[true,{\"a\":null}]},\n\"\":\"x\\\"}\", \"a\":-0.5e+9}\t"
	var got []string
	err := webhook.Fields([]byte(body), func(key, raw []byte) bool {
		got = append(got, string(key)+"="+string(raw))
		return true
	})
	require.NoError(t, err)
	require.Equal(t, []string{`a=1`, `b={"a":[true,{"a":null}]}`, `="x\"}"`, `a=-0.5e+9`}, got)
}

func TestFieldsStopsWhenTold(t *testing.T) {
	calls := 0
	err := webhook.Fields([]byte(`{"a":1,"b":2,`), func(_, _ []byte) bool {
		calls++
		return calls < 2
	})
	require.NoError(t, err)
	require.Equal(t, 2, calls)
}

// malformed are no JSON objects, or nest deeper than 128.
var malformed = []string{
	``, ` `, `null`, `1`, `"a"`, `[]`, `[{"a":1}]`, `{`, `}`, `{]`, `{"a"`, `{"a":`, `{"a":}`, `{"a":1`, `{"a":1,`, `{"a":1,}`,
	`{,}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1}}`, `{"a":1}x`, `{} {}`, `{"a":1},`, `{a:1}`, `{'a':1}`, `{1:1}`,
	`{"a":tru}`, `{"a":True}`, `{"a":nul`, `{"a":nulll}`, `{"a":NaN}`, `{"a":undefined}`, `{"a":falsey}`,
	`{"a":01}`, `{"a":-}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":1e+}`, `{"a":0x1}`, `{"a":1_0}`, `{"a":--1}`, `{"a":1.e3}`,
	"{\"a\":\"\x00\"}", "{\"a\":\"\n\"}", "{\"a\":\"\x1f\"}", "{\"a\":\"12345678\x01\"}", "{\"a\n\":1}",
	`{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u123g"}`, `{"a":"\`, `{"a":"\"}`, `{"a":"`, `{"a":"12345678`, `{"a":"\u`,
	`{"a":[1,2}`, `{"a":{"b":1]}`, `{"a":[1 2]}`, `{"a":[,]}`, `{"a":[1,]}`, `{"a":{"b"}}`, `{"a":{"b":1,}}`, `{"a":{,}}`,
	"\ufeff{}", "{\u00a0}", "{\"a\":1}\x00", "{}\v", "{//x\n}", "{\"a\":/**/1}",
	`{"a":` + nested("[", "]", 128) + `}`,
	`{"a":` + strings.Repeat(`{"a":`, 128) + `1` + strings.Repeat("}", 129),
}

func TestFieldsRefusesMalformedBodies(t *testing.T) {
	for _, body := range malformed {
		require.Error(t, webhook.Fields([]byte(body), func(_, _ []byte) bool { return true }), "%q", body)
		_, err := webhook.Pick([]byte(body), "a")
		require.Error(t, err, "%q", body)
	}
	deepest := `{"a":` + nested("[", "]", 127) + `}`
	require.NoError(t, webhook.Fields([]byte(deepest), func(_, _ []byte) bool { return true }))
}

func TestFieldsErrorsQuoteNoBody(t *testing.T) {
	err := webhook.Fields([]byte(`{"secret-key":"secret-value"`), func(_, _ []byte) bool { return true })
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
	_, err = webhook.Pick([]byte(`{"secret-key":1,"secret-key":"secret-value"}`), "secret-key")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}

func TestPick(t *testing.T) {
	values, err := webhook.Pick([]byte(`{"x":{"id":1,"b":2},"b":"s","id":7,"Idx":1,"\u0069d2":1}`), "id", "b", "absent")
	require.NoError(t, err)
	require.Equal(t, `7`, string(values[0]))
	require.Equal(t, `"s"`, string(values[1]))
	require.Nil(t, values[2])

	many := strings.Split("a b c d e f g h i j k l", " ")
	values, err = webhook.Pick([]byte(`{"l":12,"a":1}`), many...)
	require.NoError(t, err)
	require.Len(t, values, 12)
	require.Equal(t, "12", string(values[11]))
}

func TestPickRefusesAmbiguousRoutingKeys(t *testing.T) {
	for name, body := range map[string]string{
		"duplicate":                 `{"team_id":"A","x":1,"team_id":"B"}`,
		"equal duplicate":           `{"team_id":"A","team_id":"A"}`,
		"upper case first":          `{"TEAM_ID":"A","team_id":"B"}`,
		"upper case after":          `{"team_id":"A","TEAM_ID":"B"}`,
		"other case alone":          `{"Team_id":"A"}`,
		"escaped":                   `{"\u0074eam_id":"A"}`,
		"escaped beside plain":      `{"team_id":"A","team\u005fid":"B"}`,
		"escaped and in other case": `{"\u0054eam_id":"A"}`,
		"null first":                `{"team_id":null,"team_id":"B"}`,
	} {
		_, err := webhook.Pick([]byte(body), "team_id", "x")
		require.Error(t, err, name)
	}
	// encoding/json folds these two letters to k and s.
	_, err := webhook.Pick([]byte("{\"\u212aey\":1}"), "key")
	require.Error(t, err)
	_, err = webhook.Pick([]byte("{\"\u017fender\":1}"), "sender")
	require.Error(t, err)
	// The same below the top level is content, not a route.
	_, err = webhook.Pick([]byte(`{"x":{"team_id":1,"team_id":2,"TEAM_ID":3},"team_id":"A"}`), "team_id")
	require.NoError(t, err)
}

func TestStringReadsJSONStrings(t *testing.T) {
	for raw, want := range map[string]string{
		`""`: "", `"T0001"`: "T0001", `"a\"b\\\/\n"`: "a\"b\\/\n", `"\u00e9\ud83d\ude00"`: "é😀", `"☕"`: "☕",
	} {
		got, ok := webhook.String([]byte(raw))
		require.True(t, ok, raw)
		require.Equal(t, want, got)
	}
	for _, raw := range []string{``, `"`, `1`, `null`, `{}`, `[""]`, "\"\xff\"", "\"\\n\xff\"", `"\x"`, "\"\\n\n\""} {
		got, ok := webhook.String([]byte(raw))
		require.Empty(t, got, "nothing for those who do not look")
		require.False(t, ok, "%q", raw)
	}
	_, ok := webhook.String(nil)
	require.False(t, ok)
}

func TestIntReadsIDs(t *testing.T) {
	for raw, want := range map[string]int64{"0": 0, "7": 7, "52416789": 52416789, "9223372036854775807": 1<<63 - 1} {
		got, ok := webhook.Int([]byte(raw))
		require.True(t, ok, raw)
		require.Equal(t, want, got)
	}
	for _, raw := range []string{``, `-1`, `+1`, `01`, `1.0`, `1e3`, `"1"`, `null`, `9223372036854775808`, `9999999999999999999`, `10000000000000000000`, ` 1`} {
		_, ok := webhook.Int([]byte(raw))
		require.False(t, ok, "%q", raw)
	}
}

func TestFieldsAndPickDoNotAllocate(t *testing.T) {
	body := githubBody(20 << 10)
	var id int64
	require.Zero(t, testing.AllocsPerRun(100, func() {
		values, err := webhook.Pick(body, "installation", "action")
		if err != nil {
			panic(err)
		}
		if values, err = webhook.Pick(values[0], "id"); err != nil {
			panic(err)
		}
		id, _ = webhook.Int(values[0])
	}))
	require.EqualValues(t, 52416789, id)
}

// member is one of an object as the reference reads it.
type member struct{ key, raw string }

// reference reads the members of an object with encoding/json alone.
func reference(t testing.TB, body []byte) ([]member, bool) {
	if !json.Valid(body) || depth(t, body) > 128 {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return nil, false
	}
	members := []member{}
	for d.More() {
		key, err := d.Token()
		require.NoError(t, err)
		var raw json.RawMessage
		require.NoError(t, d.Decode(&raw))
		members = append(members, member{key.(string), string(raw)})
	}
	return members, true
}

func depth(t testing.TB, body []byte) int {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	deepest, now := 0, 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return deepest
		}
		require.NoError(t, err)
		switch tok {
		case json.Delim('{'), json.Delim('['):
			now++
			deepest = max(deepest, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}

// FuzzF9Fields holds Fields and Pick against a reader that is strict about
// duplicates and built on encoding/json.
func FuzzF9Fields(f *testing.F) {
	for _, s := range malformed {
		f.Add([]byte(s))
	}
	for _, s := range []string{
		`{}`, `{"id":1}`, `{"id":1,"id":2}`, `{"ID":1}`, `{"\u0069d":1}`, `{"id":{"id":2},"x":[[{}],"\\\"",-1.5e-7,true,false,null]}`,
		"{\"\u0130d\":1,\"\xffid\":2}", `{"id":"\ud800"}`, `{"a":` + nested("[", "]", 127) + `}`, string(githubBody(1 << 10)),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want, ok := reference(t, body)
		var got []member
		err := webhook.Fields(body, func(key, raw []byte) bool {
			var k string
			require.NoError(t, json.Unmarshal(fmt.Appendf(nil, `"%s"`, key), &k))
			got = append(got, member{k, string(raw)})
			return true
		})
		require.Equal(t, ok, err == nil, "%q", body)

		const wanted = "id"
		exact, folded, value := 0, 0, ""
		for _, m := range want {
			if strings.EqualFold(m.key, wanted) {
				folded++
			}
			if m.key == wanted {
				exact, value = exact+1, m.raw
			}
		}
		if ok {
			require.ElementsMatch(t, want, got)
		}
		values, err := webhook.Pick(body, wanted)
		switch {
		case !ok || folded > 1 || folded != exact:
			require.Error(t, err, "%q", body)
		case bytes.Contains(body, []byte(`\`)) && err != nil:
			// The one key is written with escapes, which encoding/json hides.
			require.Equal(t, 1, exact)
		default:
			require.NoError(t, err, "%q", body)
			require.Equal(t, value, string(values[0]))
			if n, ok := webhook.Int(values[0]); ok {
				require.Equal(t, value, fmt.Sprint(n))
			}
			if s, ok := webhook.String(values[0]); ok {
				var w string
				require.NoError(t, json.Unmarshal(values[0], &w))
				require.Equal(t, w, s)
			}
		}
	})
}

func TestElementsReportsElementsInOrder(t *testing.T) {
	var got []string
	err := webhook.Elements([]byte(" [ {\"a\":[1,2]} ,\n-0.5e+9,\"],\",[[]],null ]\t"), func(raw []byte) bool {
		got = append(got, string(raw))
		return true
	})
	require.NoError(t, err)
	require.Equal(t, []string{`{"a":[1,2]}`, `-0.5e+9`, `"],"`, `[[]]`, `null`}, got)
	require.NoError(t, webhook.Elements([]byte(`[]`), func([]byte) bool { panic("no element") }))

	calls := 0
	err = webhook.Elements([]byte(`[1,2,`), func([]byte) bool {
		calls++
		return calls < 2
	})
	require.NoError(t, err)
	require.Equal(t, 2, calls)
}

// malformedArrays are no JSON arrays, or nest deeper than 128.
var malformedArrays = []string{
	``, ` `, `null`, `1`, `{}`, `[`, `]`, `[,]`, `[1,]`, `[,1]`, `[1 2]`, `[1,,2]`, `[1]]`, `[1]x`, `[] []`, `[1],`, `[1}`, `[{]`, `[01]`, `[tru]`,
	"[\"\n\"]", "\ufeff[]", "[]\x00", `[1`, `[{"a":1]`, nested("[", "]", 129),
}

func TestElementsRefusesMalformedBodies(t *testing.T) {
	for _, body := range malformedArrays {
		require.Error(t, webhook.Elements([]byte(body), func([]byte) bool { return true }), "%q", body)
	}
	require.NoError(t, webhook.Elements([]byte(nested("[", "]", 128)), func([]byte) bool { return true }))
	err := webhook.Elements([]byte(`["secret-value"`), func([]byte) bool { return true })
	require.NotContains(t, err.Error(), "secret")
}

func TestElementsDoesNotAllocate(t *testing.T) {
	body := []byte(`[{"id":1},{"id":2},{"id":3}]`)
	n := 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := webhook.Elements(body, func([]byte) bool { n++; return true }); err != nil {
			panic(err)
		}
	}))
	require.Equal(t, 3*101, n)
}

// FuzzF9Elements holds Elements against encoding/json.
func FuzzF9Elements(f *testing.F) {
	for _, s := range malformedArrays {
		f.Add([]byte(s))
	}
	for _, s := range []string{`[]`, `[{}]`, `[1,"a",[{}],{"a":[]},true,null]`, ` [ 1 , 2 ] `, `["\ud800","\\\""]`, nested("[", "]", 128)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got []string
		err := webhook.Elements(body, func(raw []byte) bool {
			got = append(got, string(raw))
			return true
		})
		var want []json.RawMessage
		isArray := bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("["))
		ok := isArray && json.Valid(body) && depth(t, body) <= 128
		require.Equal(t, ok, err == nil, "%q", body)
		if !ok {
			return
		}
		require.NoError(t, json.Unmarshal(body, &want))
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, string(want[i]), got[i])
		}
	})
}
