package hubspotapp

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

// Object is a record of the CRM: a contact, a company, a deal, or any other.
type Object struct {
	// ID is HubSpot's id.
	ID string `json:"id"`
	// Properties are those that were asked for, or the type's default ones. A
	// property without a value is "". See [DateTime], [Date] and [Number].
	Properties map[string]string `json:"properties"`
	CreatedAt  time.Time         `json:"createdAt"`
	UpdatedAt  time.Time         `json:"updatedAt"`
	Archived   bool              `json:"archived"`
}

// ReadOptions say which record to read and what of it.
type ReadOptions struct {
	// IDProperty is a property with unique values, such as "email" of contacts:
	// records are then named by a value of it. "" means that they are named by
	// their ids. [List] has no use for it.
	IDProperty string
	// Properties are the properties to read. None means the type's default ones.
	Properties []string
	// Archived reads archived records instead of the others.
	Archived bool
}

func (o *ReadOptions) orDefault() ReadOptions {
	if o == nil {
		return ReadOptions{}
	}
	return *o
}

// query is the part of a read that stands in its URL.
func (o ReadOptions) query() (url.Values, error) {
	if !slices.ContainsFunc(o.Properties, func(p string) bool { return !isName(p) }) {
		q := url.Values{}
		if len(o.Properties) > 0 {
			q.Set("properties", strings.Join(o.Properties, ","))
		}
		if o.IDProperty != "" {
			q.Set("idProperty", o.IDProperty)
		}
		if o.Archived {
			q.Set("archived", "true")
		}
		return q, nil
	}
	return nil, invalid("bad_property")
}

// Get reads one record. objectType is a name ("contacts", "companies", "deals",
// "tickets", a custom type's name) or an id ("0-1", "2-1234567"). The errors are
// those of [Do]; a record that does not exist is providers.ErrNotFound.
func Get(ctx context.Context, conn *providers.Connection, objectType, id string, opts *ReadOptions) (Object, error) {
	o := opts.orDefault()
	to, err := record(objectType, id, o.IDProperty)
	if err != nil {
		return Object{}, err
	}
	q, err := o.query()
	if err != nil {
		return Object{}, err
	}
	var out Object
	err = call(ctx, conn, http.MethodGet, to, q, nil, &out)
	return out, err
}

// page is a page of records.
type page struct {
	Results []Object `json:"results"`
	Paging  struct {
		Next struct {
			After string `json:"after"`
		} `json:"next"`
	} `json:"paging"`
}

// List yields all records of a type, page by page as they are consumed, each of
// 100. It ends after the first error, which is one of [Do]. For records that
// changed use [Search]; it lags some seconds behind and has a limit of its own,
// List has neither.
func List(ctx context.Context, conn *providers.Connection, objectType string, opts *ReadOptions) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		to, err := collection(objectType)
		if err != nil {
			yield(Object{}, err)
			return
		}
		o := opts.orDefault()
		o.IDProperty = ""
		q, err := o.query()
		if err != nil {
			yield(Object{}, err)
			return
		}
		q.Set("limit", "100")
		for {
			var p page
			if err := call(ctx, conn, http.MethodGet, to, q, nil, &p); err != nil {
				yield(Object{}, err)
				return
			}
			for _, o := range p.Results {
				if !yield(o, nil) {
					return
				}
			}
			after := p.Paging.Next.After
			if after == "" || after == q.Get("after") {
				return
			}
			q.Set("after", after)
		}
	}
}

// written is the body of a write.
type written struct {
	Properties map[string]string `json:"properties"`
}

// notNil makes a map that is sent as an object and not as null.
func notNil(properties map[string]string) map[string]string {
	if properties == nil {
		return map[string]string{}
	}
	return properties
}

// Create makes a record. It is not repeated when an answer is lost, and the
// record may exist then: use [UpsertContact] or [BatchUpsert] where a property
// tells records apart. The errors are those of [Do]; a unique value that another
// record has is providers.ErrConflict.
func Create(ctx context.Context, conn *providers.Connection, objectType string, properties map[string]string) (Object, error) {
	to, err := collection(objectType)
	if err != nil {
		return Object{}, err
	}
	var out Object
	err = call(ctx, conn, http.MethodPost, to, nil, written{notNil(properties)}, &out)
	return out, err
}

// Update changes properties of a record; those not named stay as they are, and ""
// clears one. idProperty is "" when id is HubSpot's id, else a property with
// unique values that id is a value of. The errors are those of [Do].
func Update(ctx context.Context, conn *providers.Connection, objectType, id, idProperty string, properties map[string]string) (Object, error) {
	to, err := record(objectType, id, idProperty)
	if err != nil {
		return Object{}, err
	}
	if len(properties) == 0 {
		return Object{}, invalid("no_properties")
	}
	q := url.Values{}
	if idProperty != "" {
		q.Set("idProperty", idProperty)
	}
	var out Object
	err = call(ctx, conn, http.MethodPatch, to, q, written{notNil(properties)}, &out)
	return out, err
}

// Archive moves a record to the recycling bin. The errors are those of [Do].
func Archive(ctx context.Context, conn *providers.Connection, objectType, id string) error {
	to, err := record(objectType, id, "")
	if err != nil {
		return err
	}
	return call(ctx, conn, http.MethodDelete, to, nil, nil, nil)
}

// contacts is the type of contacts, which HubSpot tells apart by email.
const (
	contacts = "contacts"
	email    = "email"
)

// ContactByEmail reads the contact with an e-mail address, with the given
// properties or the default ones. The errors are those of [Do]; without such a
// contact it is providers.ErrNotFound.
func ContactByEmail(ctx context.Context, conn *providers.Connection, address string, properties ...string) (Object, error) {
	if !isEmail(address) {
		return Object{}, invalid("bad_email")
	}
	return Get(ctx, conn, contacts, address, &ReadOptions{IDProperty: email, Properties: properties})
}

// UpsertContact updates the contact with an e-mail address, or makes one, and
// tells which. It may be repeated when an answer was lost. The errors are those
// of [BatchUpsert].
func UpsertContact(ctx context.Context, conn *providers.Connection, address string, properties map[string]string) (contact Object, created bool, err error) {
	if !isEmail(address) {
		return Object{}, false, invalid("bad_email")
	}
	out, err := BatchUpsert(ctx, conn, contacts, email, []Input{{ID: address, Properties: properties}})
	switch {
	case err != nil:
		return Object{}, false, err
	case len(out) != 1:
		return Object{}, false, badAnswer()
	}
	return out[0].Object, out[0].New, nil
}

// isEmail reports whether s looks like an address. HubSpot judges the rest.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1 && !strings.ContainsAny(s, " \t\r\n") && isKey(s, email)
}

// Details are what HubSpot tells about an account.
type Details struct {
	// PortalID is the account's id.
	PortalID int64 `json:"portalId"`
	// AccountType is for example "STANDARD" or "DEVELOPER_TEST".
	AccountType string `json:"accountType"`
	// TimeZone is a name of the IANA database.
	TimeZone        string `json:"timeZone"`
	CompanyCurrency string `json:"companyCurrency"`
	// UTCOffset is of the time zone now, for example "-05:00".
	UTCOffset string `json:"utcOffset"`
	// UIDomain is where the account's users work: "app.hubspot.com",
	// "app-eu1.hubspot.com".
	UIDomain string `json:"uiDomain"`
	// DataHostingLocation is for example "na1" or "eu1".
	DataHostingLocation string `json:"dataHostingLocation"`
}

// AccountDetails reads the connected account
// (github.com/HubSpot/HubSpot-public-api-spec-collection, Account Info 2026-03,
// checked 2026-11). It is a cheap way to see whether a connection works. The
// errors are those of [Do].
func AccountDetails(ctx context.Context, conn *providers.Connection) (Details, error) {
	var out Details
	err := call(ctx, conn, http.MethodGet, detailsURL, nil, nil, &out)
	return out, err
}

// DateTime writes a time as the value of a property of that kind: UTC, with
// milliseconds.
func DateTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Date writes the day of t, in its own time zone, as the value of a date
// property.
func Date(t time.Time) string { return t.Format(time.DateOnly) }

// Number writes a number as the value of a property.
func Number(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
