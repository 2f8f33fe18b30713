package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// Errors of reading a body. They name no content of it.
var (
	errNotObject = errors.New("integrations/webhook: body is not a JSON object of at most 128 levels")
	errNotArray  = errors.New("integrations/webhook: body is not a JSON array of at most 128 levels")
	errAmbiguous = errors.New("integrations/webhook: routing field occurs twice, escaped or in another case")
)

// Fields calls fn for each member of a JSON object in order, with its key as it
// stands between the quotes and its value as it stands, both slices of object.
// It stops, and returns nil, when fn returns false.
//
// Only the top level is reported, so user content that is nested in a body
// cannot pass for a field of the provider. Fields accepts what RFC 8259 calls
// an object, nested at most 128 levels: whatever is malformed, and anything
// after the object, is an error, in which case members before the fault have
// been reported. It allocates nothing.
//
// To route by a field use [Pick]: Fields reports keys in any case, escaped keys
// and repeated keys as they come.
func Fields(object []byte, fn func(key, raw []byte) bool) error {
	i := skipSpace(object, 0)
	if i >= len(object) || object[i] != '{' {
		return errNotObject
	}
	i = skipSpace(object, i+1)
	if i < len(object) && object[i] == '}' {
		return atEnd(object, i+1)
	}
	for {
		if i >= len(object) || object[i] != '"' {
			return errNotObject
		}
		end := skipString(object, i+1)
		if end < 0 {
			return errNotObject
		}
		key := object[i+1 : end-1]
		if i = skipSpace(object, end); i >= len(object) || object[i] != ':' {
			return errNotObject
		}
		start := skipSpace(object, i+1)
		if i = skipValue(object, start, 1); i < 0 {
			return errNotObject
		}
		if !fn(key, object[start:i:i]) {
			return nil
		}
		if i = skipSpace(object, i); i >= len(object) {
			return errNotObject
		}
		switch object[i] {
		case ',':
			i = skipSpace(object, i+1)
		case '}':
			return atEnd(object, i+1)
		default:
			return errNotObject
		}
	}
}

func atEnd(object []byte, i int) error {
	if skipSpace(object, i) != len(object) {
		return errNotObject
	}
	return nil
}

// Elements calls fn for each element of a JSON array in order, with its value as
// it stands, a slice of array, for bodies that hold several events. It stops, and
// returns nil, when fn returns false. It is as strict as [Fields]: elements before
// a fault have been reported. It allocates nothing.
func Elements(array []byte, fn func(raw []byte) bool) error {
	i := skipSpace(array, 0)
	if i >= len(array) || array[i] != '[' {
		return errNotArray
	}
	i = skipSpace(array, i+1)
	if i < len(array) && array[i] == ']' {
		i++
	} else {
		for more := true; more; {
			start := skipSpace(array, i)
			if i = skipValue(array, start, 1); i < 0 {
				return errNotArray
			}
			if !fn(array[start:i:i]) {
				return nil
			}
			if i = skipSpace(array, i); i >= len(array) || array[i] != ',' && array[i] != ']' {
				return errNotArray
			}
			more = array[i] == ','
			i++
		}
	}
	if skipSpace(array, i) != len(array) {
		return errNotArray
	}
	return nil
}

// Pick returns the values of the given top-level keys of a JSON object, in the
// order of keys and nil for those that are absent. The values are slices of
// object; read them with [String], [Int] or Pick again.
//
// It is for fields that decide whose event this is, where two readers must not
// come to two answers. It is an error when one of the keys occurs twice, occurs
// in another case ("Installation": encoding/json would take it) or is written
// with escapes, and when the object is malformed anywhere, as with [Fields].
// The whole object is always read.
func Pick(object []byte, keys ...string) ([][]byte, error) {
	// Small enough to be inlined, so that the result stays on the caller's stack.
	return pick(make([][]byte, 0, 8), object, keys)
}

func pick(values [][]byte, object []byte, keys []string) ([][]byte, error) {
	for range keys {
		values = append(values, nil)
	}
	ambiguous := false
	err := Fields(object, func(key, raw []byte) bool {
		for i, want := range keys {
			switch {
			case string(key) == want:
				ambiguous = ambiguous || values[i] != nil
				values[i] = raw
			case sameButForm(key, want):
				ambiguous = true
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if ambiguous {
		return nil, errAmbiguous
	}
	return values, nil
}

// sameButForm reports whether some reader could take key, which is not want,
// for want: because of its case or because of escapes.
func sameButForm(key []byte, want string) bool {
	if len(key) < len(want) {
		return false // folding and escapes of ASCII only make longer
	}
	if bytes.IndexByte(key, '\\') < 0 {
		// A letter has at most three bytes in another case.
		return len(key) <= 3*len(want) && strings.EqualFold(string(key), want)
	}
	s, ok := unescape(key)
	return ok && strings.EqualFold(s, want)
}

// String reads a raw value of [Fields] or [Pick] that is a JSON string of valid
// UTF-8. It is "" and false for nil and for every other value.
func String(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", false
	}
	s := raw[1 : len(raw)-1]
	if bytes.IndexByte(s, '\\') >= 0 {
		return unescape(s)
	}
	if !utf8.Valid(s) {
		return "", false
	}
	return string(s), true
}

// unescape reads what stands between the quotes of a JSON string.
func unescape(s []byte) (string, bool) {
	quoted := make([]byte, 0, len(s)+2)
	quoted = append(append(append(quoted, '"'), s...), '"')
	var out string
	if !utf8.Valid(s) || json.Unmarshal(quoted, &out) != nil {
		return "", false
	}
	return out, true
}

// Int reads a raw value of [Fields] or [Pick] that is an id: a whole number
// from 0 to 2⁶³-1 written in digits alone. It reports false for nil and for
// every other value, a number in quotes among them.
func Int(raw []byte) (int64, bool) {
	if len(raw) == 0 || len(raw) > 19 || raw[0] == '0' && len(raw) > 1 {
		return 0, false
	}
	var n uint64 // 19 digits fit
	for _, c := range raw {
		if !digit[c] {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return int64(n), n <= 1<<63-1
}
