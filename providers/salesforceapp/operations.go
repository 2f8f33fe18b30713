package salesforceapp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

// Get reads one record into a T, a struct with JSON names of fields or a map. With
// fields only those are read; a record that does not exist is
// providers.ErrNotFound.
func Get[T any](ctx context.Context, conn *providers.Connection, object, id string, fields ...string) (T, error) {
	var out T
	path, err := recordPath(object, id)
	if err != nil {
		return out, err
	}
	var q url.Values
	if len(fields) > 0 {
		if err := checkNames(fields...); err != nil {
			return out, err
		}
		q = url.Values{"fields": {strings.Join(fields, ",")}}
	}
	_, err = Do(ctx, conn, Request{Path: path, Query: q, Out: &out})
	return out, err
}

// saved is Salesforce's answer to a write.
type saved struct {
	ID      string `json:"id"`
	Created bool   `json:"created"`
}

// Create makes a record and returns its id. record is encoded as a JSON object of
// fields. It is not repeated: when the answer is lost, the record may be there.
// [Upsert] is safe to repeat.
func Create(ctx context.Context, conn *providers.Connection, object string, record any) (string, error) {
	if err := checkNames(object); err != nil {
		return "", err
	}
	body, err := fieldsOf(record)
	if err != nil {
		return "", err
	}
	var s saved
	ans, err := Do(ctx, conn, Request{Method: http.MethodPost, Path: "sobjects/" + object, Header: jsonBody, In: body, Out: &s})
	if err != nil {
		return "", err
	}
	return s.id(ans.Status)
}

// Update changes fields of a record. A record that does not exist is
// providers.ErrNotFound.
func Update(ctx context.Context, conn *providers.Connection, object, id string, record any) error {
	path, err := recordPath(object, id)
	if err != nil {
		return err
	}
	body, err := fieldsOf(record)
	if err != nil {
		return err
	}
	_, err = Do(ctx, conn, Request{Method: http.MethodPatch, Path: path, Header: jsonBody, In: body})
	return err
}

// Upserted is what [Upsert] did.
type Upserted struct {
	// ID is the record's id, "" when an older version of the API does not tell that
	// of an updated one.
	ID string
	// Created says that the record is new.
	Created bool
}

// Upsert changes the record whose external id, a field marked as such, has a
// value, or makes one. record has neither that field nor Id. Several records with
// one value are providers.ErrConflict.
func Upsert(ctx context.Context, conn *providers.Connection, object, field, value string, record any) (Upserted, error) {
	if err := checkNames(object, field); err != nil {
		return Upserted{}, err
	}
	if value == "" || value == "." || value == ".." || !plainText(value) {
		return Upserted{}, fmt.Errorf("%w: external id is empty or not plain text", providers.ErrInvalid)
	}
	body, err := fieldsOf(record)
	if err != nil {
		return Upserted{}, err
	}
	var raw []byte // 204 has none
	ans, err := Do(ctx, conn, Request{
		Method: http.MethodPatch, Path: "sobjects/" + object + "/" + field + "/" + url.PathEscape(value), Header: jsonBody, In: body, Out: &raw,
	})
	if err != nil {
		return Upserted{}, err
	}
	var s saved
	if ans.Status == http.StatusNoContent {
		return Upserted{}, nil
	}
	if json.Unmarshal(raw, &s) != nil {
		return Upserted{}, badAnswer(ans.Status)
	}
	id, err := s.id(ans.Status)
	return Upserted{ID: id, Created: s.Created || ans.Status == http.StatusCreated}, err
}

// Delete moves a record to the recycle bin. A record that does not exist is
// providers.ErrNotFound.
func Delete(ctx context.Context, conn *providers.Connection, object, id string) error {
	path, err := recordPath(object, id)
	if err != nil {
		return err
	}
	_, err = Do(ctx, conn, Request{Method: http.MethodDelete, Path: path})
	return err
}

// Description is what an object is made of.
type Description struct {
	Name       string  `json:"name"`
	Label      string  `json:"label"`
	KeyPrefix  string  `json:"keyPrefix"`
	Custom     bool    `json:"custom"`
	Createable bool    `json:"createable"`
	Updateable bool    `json:"updateable"`
	Deletable  bool    `json:"deletable"`
	Queryable  bool    `json:"queryable"`
	Fields     []Field `json:"fields"`
}

// Field is a field of an object.
type Field struct {
	Name       string `json:"name"`
	Label      string `json:"label"`
	Type       string `json:"type"` // "string", "reference", "picklist", …
	Length     int    `json:"length"`
	Custom     bool   `json:"custom"`
	Nillable   bool   `json:"nillable"`
	Createable bool   `json:"createable"`
	Updateable bool   `json:"updateable"`
	ExternalID bool   `json:"externalId"`
	Unique     bool   `json:"unique"`
	// ReferenceTo are the objects a reference may lead to.
	ReferenceTo    []string   `json:"referenceTo"`
	PicklistValues []Picklist `json:"picklistValues"`
}

// Picklist is a value of a picklist field.
type Picklist struct {
	Value  string `json:"value"`
	Label  string `json:"label"`
	Active bool   `json:"active"`
}

// Describe returns the fields of an object as the connected user sees them.
func Describe(ctx context.Context, conn *providers.Connection, object string) (Description, error) {
	var d Description
	if err := checkNames(object); err != nil {
		return d, err
	}
	_, err := Do(ctx, conn, Request{Path: "sobjects/" + object + "/describe", Out: &d})
	return d, err
}

var jsonBody = http.Header{"Content-Type": {"application/json"}}

// maxName is more than the longest API name with its namespace.
const maxName = 80

// checkNames refuses what is not the API name of an object or field: they become
// part of paths.
func checkNames(names ...string) error {
	for _, n := range names {
		if !isName(n) {
			return fmt.Errorf("%w: name of an object or field must match [A-Za-z][A-Za-z0-9_]*", providers.ErrInvalid)
		}
	}
	return nil
}

func isName(n string) bool {
	if n == "" || len(n) > maxName {
		return false
	}
	for i := range len(n) {
		c := n[i]
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

func recordPath(object, id string) (string, error) {
	if err := checkNames(object); err != nil {
		return "", err
	}
	if _, err := LongID(id); err != nil {
		return "", err
	}
	return "sobjects/" + object + "/" + id, nil
}

// fieldsOf encodes a record, which must become a JSON object.
func fieldsOf(record any) ([]byte, error) {
	b, err := json.Marshal(record)
	if err != nil || !bytes.HasPrefix(b, []byte("{")) {
		return nil, fmt.Errorf("%w: record is not a JSON object", providers.ErrInvalid)
	}
	return b, nil
}

func badAnswer(status int) error {
	return &providers.CallError{Adapter: adapter, Status: status, Code: "bad_answer", Kind: providers.ErrTransient}
}

func (s saved) id(status int) (string, error) {
	id, ok := longID(s.ID)
	if !ok {
		return "", badAnswer(status)
	}
	return id, nil
}
