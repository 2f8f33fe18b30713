package salesforceapp

import (
	"context"
	"fmt"
	"iter"
	"math"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/saas-integrations/integrations/providers"
)

// Query yields the records a SOQL query finds, each decoded into a T, page by page
// as they are consumed. It ends after the first error.
//
// Each ? outside of string literals stands for one of args, in order, and is
// written so that nothing of it can be read as SOQL:
//
//	Query[Contact](ctx, conn, "SELECT Id FROM Contact WHERE LastName = ? AND AccountId IN ?", name, ids)
//
// An arg is a string, bool, integer, float, time.Time, [Date], [DateTime],
// [Pattern], nil (null), a pointer to one of them, or a slice of them for IN,
// which must not be empty. Names of objects and fields cannot be args. What does
// not fit is providers.ErrInvalid before anything is sent; so is a query that
// Salesforce does not understand. When a page is read too late, Salesforce has
// forgotten the query: providers.ErrNotFound with the code
// "INVALID_QUERY_LOCATOR"; start it again.
func Query[T any](ctx context.Context, conn *providers.Connection, soql string, args ...any) iter.Seq2[T, error] {
	return records[T](ctx, conn, "query", soql, args)
}

// QueryAll is [Query] that finds deleted and archived records too. The field
// IsDeleted tells them.
func QueryAll[T any](ctx context.Context, conn *providers.Connection, soql string, args ...any) iter.Seq2[T, error] {
	return records[T](ctx, conn, "queryAll", soql, args)
}

func records[T any](ctx context.Context, conn *providers.Connection, resource, soql string, args []any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		text, err := bind(soql, args)
		if err != nil {
			yield(none, err)
			return
		}
		next := Request{Path: resource, Query: url.Values{"q": {text}}}
		for {
			var page struct {
				Done           bool   `json:"done"`
				NextRecordsURL string `json:"nextRecordsUrl"`
				Records        []T    `json:"records"`
			}
			next.Out = &page
			ans, err := Do(ctx, conn, next)
			if err != nil {
				yield(none, err)
				return
			}
			for _, r := range page.Records {
				if !yield(r, nil) {
					return
				}
			}
			if page.Done {
				return
			}
			// A path from the host's root: it is joined to the instance and leads
			// nowhere else.
			if !strings.HasPrefix(page.NextRecordsURL, dataPath) || page.NextRecordsURL == next.Path {
				yield(none, badAnswer(ans.Status))
				return
			}
			next = Request{Path: page.NextRecordsURL}
		}
	}
}

// Pattern is an arg for LIKE whose text stands for itself.
type Pattern struct{ literal string }

// StartsWith, EndsWith and Contains make patterns: % and _ in text have no
// meaning. In a plain string that is bound to LIKE they have.
func StartsWith(text string) Pattern { return Pattern{"'" + escapeLike(text) + "%'"} }

// EndsWith is the pattern of what ends with text.
func EndsWith(text string) Pattern { return Pattern{"'%" + escapeLike(text) + "'"} }

// Contains is the pattern of what contains text.
func Contains(text string) Pattern { return Pattern{"'%" + escapeLike(text) + "%'"} }

func escapeLike(text string) string {
	return strings.NewReplacer("%", `\%`, "_", `\_`).Replace(escapeSOQL(text))
}

// soqlEscapes are the characters that a literal has in another form
// (developer.salesforce.com, SOQL and SOSL reference, "Quoted String Escape
// Sequences", checked 2026-11).
var soqlEscapes = strings.NewReplacer(
	`\`, `\\`, `'`, `\'`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\b", `\b`, "\f", `\f`,
)

func escapeSOQL(text string) string { return soqlEscapes.Replace(text) }

func badArg(i int, why string) error {
	return fmt.Errorf("%w: query argument %d %s", providers.ErrInvalid, i+1, why)
}

// bind puts args in the place of the question marks outside of literals.
func bind(soql string, args []any) (string, error) {
	var b strings.Builder
	used := 0
	quoted := false
	for i := 0; i < len(soql); i++ {
		switch c := soql[i]; {
		case quoted && c == '\\' && i+1 < len(soql):
			b.WriteString(soql[i : i+2])
			i++
		case c == '\'':
			quoted = !quoted
			b.WriteByte(c)
		case c == '?' && !quoted:
			if used < len(args) {
				text, err := literal(used, args[used])
				if err != nil {
					return "", err
				}
				b.WriteString(text)
			}
			used++
		default:
			b.WriteByte(c)
		}
	}
	switch {
	case quoted:
		return "", fmt.Errorf("%w: query has a string without an end", providers.ErrInvalid)
	case used != len(args):
		return "", fmt.Errorf("%w: query has %d placeholders and %d arguments", providers.ErrInvalid, used, len(args))
	case strings.TrimSpace(soql) == "":
		return "", fmt.Errorf("%w: query is empty", providers.ErrInvalid)
	}
	return b.String(), nil
}

// literal writes an argument as SOQL.
func literal(i int, arg any) (string, error) {
	switch v := arg.(type) {
	case nil:
		return "null", nil
	case Pattern:
		// The escapes are made: only the rules of text are left.
		if v.literal == "" || !isText(v.literal) {
			return "", badArg(i, "is not plain text")
		}
		return v.literal, nil
	case DateTime:
		return literal(i, v.Time)
	case time.Time:
		if v = v.UTC(); !inRange(v.Year()) {
			return "", badArg(i, "is not a time between the years 1700 and 4000")
		}
		return v.Format("2006-01-02T15:04:05.000Z"), nil
	case Date:
		if !v.valid() {
			return "", badArg(i, "is not a day between the years 1700 and 4000")
		}
		return v.String(), nil
	}
	switch v := reflect.ValueOf(arg); v.Kind() {
	case reflect.String:
		text := escapeSOQL(v.String())
		if !isText(text) {
			return "", badArg(i, "is not plain text")
		}
		return "'" + text + "'", nil
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), nil
	case reflect.Float32, reflect.Float64:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return "", badArg(i, "is not a number")
		}
		return strconv.FormatFloat(f, 'f', -1, v.Type().Bits()), nil
	case reflect.Pointer:
		if v.IsNil() {
			return "null", nil
		}
		if v.Elem().Kind() == reflect.Pointer {
			break
		}
		return literal(i, v.Elem().Interface())
	case reflect.Slice, reflect.Array:
		return list(i, v)
	}
	return "", badArg(i, "has a type that SOQL has no literal for")
}

// list writes the right side of IN.
func list(i int, v reflect.Value) (string, error) {
	if v.Len() == 0 {
		return "", badArg(i, "is an empty list, which SOQL does not allow")
	}
	parts := make([]string, v.Len())
	for j := range parts {
		elem := v.Index(j).Interface()
		if k := reflect.ValueOf(elem).Kind(); k == reflect.Slice || k == reflect.Array || k == reflect.Uint8 {
			return "", badArg(i, "is not a list of values")
		}
		var err error
		if parts[j], err = literal(i, elem); err != nil {
			return "", err
		}
	}
	return "(" + strings.Join(parts, ", ") + ")", nil
}

// isText reports whether an escaped text is UTF-8 without control characters.
func isText(s string) bool { return utf8.ValidString(s) && plainText(s) }
