package salesforceapp

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

// Contact is a person, with the standard fields of the object Contact. In a write
// empty fields are left alone; use [Update] with a map to empty one.
type Contact struct {
	// ID and SystemModstamp are Salesforce's and never written.
	ID             string   `json:"Id,omitempty"`
	SystemModstamp DateTime `json:"SystemModstamp,omitzero"`

	AccountID   string `json:"AccountId,omitempty"`
	FirstName   string `json:"FirstName,omitempty"`
	LastName    string `json:"LastName,omitempty"`
	Email       string `json:"Email,omitempty"`
	Phone       string `json:"Phone,omitempty"`
	MobilePhone string `json:"MobilePhone,omitempty"`
	Title       string `json:"Title,omitempty"`
	Department  string `json:"Department,omitempty"`
}

const contactObject = "Contact"

const selectContact = "SELECT Id, SystemModstamp, AccountId, FirstName, LastName, Email, Phone, MobilePhone, Title, Department FROM Contact"

// writable is c without what Salesforce sets.
func (c Contact) writable() Contact {
	c.ID, c.SystemModstamp = "", DateTime{}
	return c
}

// CreateContact makes a contact and returns its id. LastName is required. See
// [Create].
func CreateContact(ctx context.Context, conn *providers.Connection, c Contact) (string, error) {
	if c.LastName == "" {
		return "", fmt.Errorf("%w: a contact needs a LastName", providers.ErrInvalid)
	}
	return Create(ctx, conn, contactObject, c.writable())
}

// UpdateContact changes the fields of a contact that are not empty in c. See
// [Update].
func UpdateContact(ctx context.Context, conn *providers.Connection, id string, c Contact) error {
	return Update(ctx, conn, contactObject, id, c.writable())
}

// UpsertContact changes the contact whose external id has a value, or makes one,
// which needs a LastName. See [Upsert].
func UpsertContact(ctx context.Context, conn *providers.Connection, field, value string, c Contact) (Upserted, error) {
	return Upsert(ctx, conn, contactObject, field, value, c.writable())
}

// FindContactByEmail returns the contact with an e-mail address, whatever its
// case; of several the one changed last. None is providers.ErrNotFound.
func FindContactByEmail(ctx context.Context, conn *providers.Connection, email string) (Contact, error) {
	if email == "" {
		return Contact{}, fmt.Errorf("%w: e-mail address is empty", providers.ErrInvalid)
	}
	for c, err := range Query[Contact](ctx, conn, selectContact+" WHERE Email = ? ORDER BY SystemModstamp DESC LIMIT 1", email) {
		return c, err
	}
	return Contact{}, fmt.Errorf("%w: no contact with this e-mail address", providers.ErrNotFound)
}

// ContactsChangedSince yields the contacts that changed at a time or later, in
// order of the change. Go on from the SystemModstamp of the last one: contacts
// changed in that very second come again. Deleted ones are left out.
func ContactsChangedSince(ctx context.Context, conn *providers.Connection, since time.Time) iter.Seq2[Contact, error] {
	return Query[Contact](ctx, conn, selectContact+" WHERE SystemModstamp >= ? ORDER BY SystemModstamp, Id", since)
}

// DateTime is a time as the REST API writes it, 2026-11-25T12:00:00.000+0000,
// which time.Time does not read. The zero DateTime is null.
type DateTime struct{ time.Time }

const dateTimeForm = "2006-01-02T15:04:05.000Z0700"

// UnmarshalJSON reads the API's form and RFC 3339.
func (d *DateTime) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("%w: a time is not text", providers.ErrInvalid)
	}
	if text == nil || *text == "" {
		*d = DateTime{}
		return nil
	}
	form := dateTimeForm
	if strings.HasSuffix(*text, "Z") || len(*text) > 6 && (*text)[len(*text)-3] == ':' {
		form = time.RFC3339
	}
	t, err := time.Parse(form, *text)
	if err != nil {
		return fmt.Errorf("%w: a time is not one of Salesforce's", providers.ErrInvalid)
	}
	d.Time = t.UTC()
	return nil
}

// MarshalJSON writes UTC with milliseconds, null for the zero DateTime.
func (d DateTime) MarshalJSON() ([]byte, error) {
	if d.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(d.UTC().Format(dateTimeForm))
}

// Date is a day, as the API writes it: 2026-11-25. In SOQL it is a date, not a
// time.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf is the day of t where t is.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

func (d Date) valid() bool {
	return inRange(d.Year) && DateOf(time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC)) == d
}

// inRange reports whether a year is one that Salesforce has dates of.
func inRange(year int) bool { return year >= 1700 && year <= 4000 }

// MarshalText implements encoding.TextMarshaler. The zero Date is "".
func (d Date) MarshalText() ([]byte, error) {
	if d == (Date{}) {
		return nil, nil
	}
	if !d.valid() {
		return nil, fmt.Errorf("%w: not a day", providers.ErrInvalid)
	}
	return []byte(d.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Date) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = Date{}
		return nil
	}
	t, err := time.Parse(time.DateOnly, string(b))
	if err != nil {
		return fmt.Errorf("%w: a day is not one of Salesforce's", providers.ErrInvalid)
	}
	*d = DateOf(t)
	return nil
}
