package hubspotapp

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

const (
	// apiHost serves all regions.
	apiHost = "api.hubapi.com"
	apiURL  = "https://" + apiHost
	// objectsURL is where records of the CRM are.
	objectsURL = apiURL + "/crm/objects/" + APIVersion + "/"
	detailsURL = apiURL + "/account-info/" + appVersion + "/details"
)

// adapter names this package in errors.
const adapter = "hubspotapp"

// api makes all calls of this package.
var api = providers.API{Adapter: adapter, Meaning: meaning}

// Request is one call of HubSpot's API, for [Do].
type Request struct {
	// Method defaults to GET.
	Method string
	// Path is absolute and escaped, without a query:
	// "/crm/owners/2026-09". Parts that come from users need url.PathEscape.
	Path  string
	Query url.Values
	// In is sent as JSON, or as it is when it is a []byte; nil sends no body.
	In any
	// Out gets the answer's JSON, or the body itself when it is a *[]byte; nil
	// drops it.
	Out any
}

// Do makes any call of HubSpot's API with the tenant's token. It is sent once,
// and once more only when HubSpot refused the token.
//
// The errors are those of all functions of this package: a
// *providers.CallError that is a *ratelimit.Error (429, and 477 while HubSpot
// moves an account), a *providers.MissingScopeError, or one of
// providers.ErrNotFound, ErrForbidden, ErrConflict, ErrInvalid (other 4xx, and
// arguments that were refused before anything was sent), ErrTransient (401, 423
// and 477 among others) and ErrProviderDown; or the connection's own error, such
// as ErrReconnectRequired, or the context's. CallError.Code is HubSpot's category.
func Do(ctx context.Context, conn *providers.Connection, r Request) error {
	u, err := url.Parse(apiURL + r.Path)
	if err != nil || !strings.HasPrefix(r.Path, "/") || u.Host != apiHost || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		slices.ContainsFunc(strings.Split(u.Path, "/"), isDots) {
		return invalid("bad_path")
	}
	return call(ctx, conn, r.Method, u.String(), r.Query, r.In, r.Out)
}

func call(ctx context.Context, conn *providers.Connection, method, to string, q url.Values, in, out any) error {
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	_, err := api.Do(ctx, conn.ClientFor(Key), providers.APICall{Method: method, URL: to, In: in, Out: out})
	return err
}

// collection is the URL of a type of record.
func collection(objectType string) (string, error) {
	if !isObjectType(objectType) {
		return "", invalid("bad_object_type")
	}
	return objectsURL + objectType, nil
}

// record is the URL of one record, by its id or by a unique value.
func record(objectType, id, idProperty string) (string, error) {
	to, err := collection(objectType)
	if err != nil {
		return "", err
	}
	if idProperty != "" && !isName(idProperty) {
		return "", invalid("bad_id_property")
	}
	if !isKey(id, idProperty) {
		return "", invalid("bad_id")
	}
	// A plus sign, of addresses, is a space to some.
	return to + "/" + strings.ReplaceAll(url.PathEscape(id), "+", "%2B"), nil
}

// isObjectType reports whether s has the form of a type of record: a name such as
// "contacts" or "p62515_cars", or an id such as "0-1" or "2-1234567".
func isObjectType(s string) bool {
	if before, after, ok := strings.Cut(s, "-"); ok {
		return isDigits(before) && isDigits(after)
	}
	return isName(s) && !isDigits(s)
}

// isName reports whether s has the form of a property's name.
func isName(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

func isDigits(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}

// isKey reports whether s can name a record: an id, or a value of a unique
// property, which is the tenant's text.
func isKey(s, idProperty string) bool {
	if idProperty == "" {
		return isDigits(s)
	}
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	return s != "" && len(s) <= 1000 && !isDots(s) && !strings.ContainsFunc(s, control)
}

// isDots reports whether a path's segment means another one: what sends a request
// may clean them away.
func isDots(segment string) bool { return segment == "." || segment == ".." }

// invalid is the error of arguments that are not sent.
func invalid(code string) error {
	return &providers.CallError{Adapter: adapter, Code: code, Kind: providers.ErrInvalid}
}

// badAnswer is the error of an answer that lacks what was asked for.
func badAnswer() error {
	return &providers.CallError{Adapter: adapter, Status: http.StatusOK, Code: "bad_answer", Kind: providers.ErrTransient}
}
