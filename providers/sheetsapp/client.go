package sheetsapp

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

// Hosts of the two APIs (google.golang.org/api v0.311.0, the discovery documents,
// checked 2026-11).
const (
	sheetsHost = "sheets.googleapis.com"
	driveHost  = "www.googleapis.com"
	sheetsURL  = "https://" + sheetsHost + "/v4/spreadsheets"
	driveURL   = "https://" + driveHost + "/drive/v3"
)

// api makes calls that need no scope of their own.
var api = newAPI(nil)

// Do makes any call of the Sheets API, the Drive API or another at
// sheets.googleapis.com or www.googleapis.com that the granted scopes allow. A URL
// elsewhere is refused with providers.ErrHostNotAllowed.
//
// The errors are those of all operations of this package: the connection's own, such
// as providers.ErrReconnectRequired, *ratelimit.Error, *providers.MissingScopeError,
// ErrForbidden, ErrNotFound, ErrConflict, ErrInvalid (other 4xx), ErrTransient (401
// among others), ErrProviderDown, and ErrAppMisconfigured when the API is not enabled in the
// app's project. They tell nothing of an answer but a code of Google's. A
// MissingScopeError of Do names no scope.
func Do(ctx context.Context, conn *providers.Connection, call providers.APICall) (providers.APIAnswer, error) {
	return api.Do(ctx, conn.ClientFor(Key), call)
}

// access is what an operation needs: one of some scopes.
type access struct {
	any []string
	// need is the scope to ask for when none of them was granted.
	need []string
}

// Scopes of the operations (google.golang.org/api v0.311.0, the discovery
// documents, checked 2026-11).
var (
	reading = access{
		any:  []string{ScopeSpreadsheets, ScopeSpreadsheetsReadonly, ScopeDriveFile, scopeDrive, scopeDriveReadonly},
		need: []string{ScopeSpreadsheetsReadonly},
	}
	writing = access{
		any:  []string{ScopeSpreadsheets, ScopeDriveFile, scopeDrive},
		need: []string{ScopeSpreadsheets},
	}
	watching = access{
		any:  []string{ScopeDriveFile, scopeDrive, scopeDriveReadonly, scopeDriveMetadata, ScopeDriveMetadataReadonly},
		need: []string{ScopeDriveFile},
	}
)

// allowed returns a *providers.MissingScopeError unless the integration has a scope
// for an operation. Scopes that nobody knows are not judged.
func allowed(ctx context.Context, conn *providers.Connection, a access) error {
	if err := conn.RequireKind(Key); err != nil {
		return err
	}
	s, err := conn.Snapshot(ctx)
	if err != nil {
		return err
	}
	granted := func(scope string) bool { return slices.Contains(s.Scopes, scope) }
	if len(s.Scopes) > 0 && !slices.ContainsFunc(a.any, granted) {
		return &providers.MissingScopeError{Need: slices.Clone(a.need)}
	}
	return nil
}

// call makes an operation's call if the integration has a scope for it.
func call(ctx context.Context, conn *providers.Connection, a access, c providers.APICall) error {
	if err := allowed(ctx, conn, a); err != nil {
		return err
	}
	_, err := newAPI(a.need).Do(ctx, conn.HTTPClient(), c)
	return err
}

// invalid is an error about what the caller gave.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", providers.ErrInvalid, fmt.Errorf(format, args...))
}

// checkID reports whether id has the form of a file's id, which is the only thing
// of a caller that goes into a path as it is.
func checkID(id string) error {
	if id == "" || len(id) > 128 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return invalid("not an id of a spreadsheet or file: letters, digits, - and _, at most 128")
	}
	return nil
}

// escape escapes all of s that could mean something in a path: a colon would
// begin a method's name.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
