package salesforceapp

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

// newAPI makes calls with a grant of some scopes.
func newAPI(granted []string) providers.API {
	return providers.API{Adapter: adapter, Meaning: func(a providers.APIAnswer) (string, error) {
		code, kind := meaning(a)
		if _, message := firstError(a.Body); a.Status == http.StatusUnauthorized && isNotForREST(message) && lacksAPI(granted) {
			kind = &providers.MissingScopeError{Need: []string{scopeAPI}}
		}
		return code, kind
	}}
}

// lacksAPI reports whether a grant has no scope for the REST API
// (help.salesforce.com, "OAuth Tokens and Scopes", checked 2026-11).
func lacksAPI(granted []string) bool {
	return granted != nil && !slices.Contains(granted, scopeAPI) && !slices.Contains(granted, scopeFull)
}

// Request is a call of [Do].
type Request struct {
	// Method defaults to GET.
	Method string
	// Path is a path at the org's instance, "/services/apexrest/orders/1", or, with
	// no slash in front, one below /services/data/VERSION/: "sobjects". It has no
	// query and no segments "." and "..", and is percent-encoded where a segment
	// has other characters than a path: see url.PathEscape.
	Path string
	// Query holds the parameters.
	Query url.Values
	// Header holds further headers.
	Header http.Header
	// In is sent as JSON, or as it is when it is a []byte; nil sends no body.
	In any
	// Out gets the answer's JSON, or the body itself when it is a *[]byte; nil
	// reads nothing into anything.
	Out any
	// MaxBody bounds the answer in bytes. Defaults to 32 MiB.
	MaxBody int64
}

// Do calls any path of the connected org's instance, and of no other host. The
// answer has the headers, see [ReadUsage]. A refused token is renewed and the call
// sent once more; nothing else is repeated.
//
// The error is a *providers.CallError, or the connection's own error, or the
// context's. For errors.Is it is one of providers.ErrNotFound, ErrForbidden (what
// the user may not do, and what the org does not allow), ErrConflict, ErrInvalid,
// ErrTransient, ErrProviderDown, or ratelimit.ErrRateLimited; a
// *providers.MissingScopeError where Salesforce refuses the REST API to a grant
// without the scope "api". Its Code is Salesforce's, such as
// "FIELD_CUSTOM_VALIDATION_EXCEPTION".
func Do(ctx context.Context, conn *providers.Connection, r Request) (providers.APIAnswer, error) {
	if err := conn.RequireKind(Key); err != nil {
		return providers.APIAnswer{}, err
	}
	s, err := conn.Snapshot(ctx)
	if err != nil {
		return providers.APIAnswer{}, err
	}
	o, err := ReadOrg(s)
	if err != nil {
		return providers.APIAnswer{}, err
	}
	u, err := o.at(r.Path, r.Query)
	if err != nil {
		return providers.APIAnswer{}, err
	}
	return newAPI(s.Scopes).Do(ctx, conn.ClientFor(Key), providers.APICall{
		Method: r.Method, URL: u, Header: r.Header, In: r.In, Out: r.Out, MaxBody: r.MaxBody,
	})
}

// at is the URL of a path at the instance.
func (o Org) at(path string, query url.Values) (string, error) {
	host, ok := instanceHost(o.InstanceURL)
	if !ok {
		return "", fmt.Errorf("%w: the integration has no instance_url", providers.ErrInvalid)
	}
	if path == "" {
		return "", errPath
	}
	if path[0] != '/' {
		path = dataPath + cmp.Or(o.APIVersion, defaultAPIVersion) + "/" + path
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || strings.ContainsAny(path, "?#\\") || strings.Contains(path, "//") || !plainText(path) || !plainText(decoded) {
		return "", errPath
	}
	for segment := range strings.SplitSeq(decoded, "/") {
		if segment == "." || segment == ".." {
			return "", errPath
		}
	}
	u := url.URL{Scheme: "https", Host: host, Path: decoded, RawPath: path, RawQuery: query.Encode()}
	return u.String(), nil
}

const dataPath = "/services/data/"

var errPath = fmt.Errorf("%w: not a plain path of the instance", providers.ErrInvalid)

// plainText reports whether s has no control characters.
func plainText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
