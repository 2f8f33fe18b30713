package hubspotapp

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

// maxBatch is how many records a batch call takes
// (github.com/HubSpot/hubspot-api-nodejs v14, checked 2026-11).
const maxBatch = 100

// Input is a record of a batch to write.
type Input struct {
	// ID is HubSpot's id, or a value of the property that the batch names records
	// by.
	ID string
	// Properties are those to set; "" clears one.
	Properties map[string]string
}

// Upserted is a record that was updated or made.
type Upserted struct {
	Object
	// New says that it was made.
	New bool `json:"new"`
}

// BatchError says which records of a batch failed. What succeeded is returned
// beside it. It is, for errors.Is and errors.As, all of the kinds of its
// failures.
type BatchError struct {
	Failures []BatchFailure
}

// BatchFailure is one fault of a batch, of one or several records.
type BatchFailure struct {
	// Keys are the records it is about, as they were named; for [BatchCreate] their
	// places in the list, from "0". None means that HubSpot does not say.
	Keys []string
	// Code is HubSpot's category, for example "OBJECT_NOT_FOUND".
	Code string
	// Kind is what it means: one of the errors of package providers.
	Kind error
}

// Error names the categories and no record: their names are the tenant's data.
func (e *BatchError) Error() string {
	var codes []string
	for _, f := range e.Failures {
		if f.Code != "" && !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	return "integrations/hubspotapp: part of the batch failed: " + strings.Join(codes, ", ")
}

// Unwrap gives errors.Is and errors.As the kinds of the failures.
func (e *BatchError) Unwrap() []error {
	kinds := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		kinds[i] = f.Kind
	}
	return kinds
}

type batchInput struct {
	ID         string            `json:"id,omitempty"`
	IDProperty string            `json:"idProperty,omitempty"`
	Properties map[string]string `json:"properties,omitzero"`
	// Trace is sent back with a failure. With one for each input HubSpot creates
	// what it can, and answers 207; without, a batch is created whole or not at all.
	Trace string `json:"objectWriteTraceId,omitempty"`
}

type batchBody struct {
	Inputs     []batchInput `json:"inputs"`
	IDProperty string       `json:"idProperty,omitempty"`
	Properties []string     `json:"properties,omitempty"`
}

// BatchRead reads up to 100 records by their ids, or by values of
// opts.IDProperty. They come in any order. What was not found is a [*BatchError]
// beside the records that were. The other errors are those of [Do]; none, more
// than 100 or the same twice is providers.ErrInvalid, and nothing is sent.
func BatchRead(ctx context.Context, conn *providers.Connection, objectType string, keys []string, opts *ReadOptions) ([]Object, error) {
	o := opts.orDefault()
	if _, err := o.query(); err != nil {
		return nil, err
	}
	inputs := make([]batchInput, len(keys))
	for i, k := range keys {
		inputs[i].ID = k
	}
	if err := checkKeys(inputs, o.IDProperty); err != nil {
		return nil, err
	}
	to := "/batch/read"
	if o.Archived {
		to += "?archived=true"
	}
	return batch[Object](ctx, conn, objectType, to, batchBody{Inputs: inputs, IDProperty: o.IDProperty, Properties: o.Properties})
}

// BatchCreate makes up to 100 records. Those that failed are a [*BatchError]
// beside the records that were made, which come in any order. It is not repeated
// when an answer is lost, and the records may exist then. The other errors are
// those of [Do]; none or more than 100 is providers.ErrInvalid, and nothing is
// sent.
func BatchCreate(ctx context.Context, conn *providers.Connection, objectType string, list []map[string]string) ([]Object, error) {
	inputs := make([]batchInput, len(list))
	for i, properties := range list {
		inputs[i] = batchInput{Properties: notNil(properties), Trace: strconv.Itoa(i)}
	}
	if err := checkLength(inputs); err != nil {
		return nil, err
	}
	return batch[Object](ctx, conn, objectType, "/batch/create", batchBody{Inputs: inputs})
}

// BatchUpdate changes up to 100 records, named by their ids when idProperty is ""
// and else by a value of it. Those that failed are a [*BatchError] beside the
// records that were changed, which come in any order. The other errors are those
// of [Do]; none, more than 100 or the same twice is providers.ErrInvalid, and
// nothing is sent.
func BatchUpdate(ctx context.Context, conn *providers.Connection, objectType, idProperty string, list []Input) ([]Object, error) {
	inputs, err := inputsOf(list, idProperty)
	if err != nil {
		return nil, err
	}
	return batch[Object](ctx, conn, objectType, "/batch/update", batchBody{Inputs: inputs})
}

// BatchUpsert updates or makes up to 100 records, named by a value of idProperty,
// a property with unique values: "email" of contacts, or one made for the
// purpose. It may be repeated when an answer was lost. Those that failed are a
// [*BatchError] beside the records that were written, which come in any order;
// with "email" HubSpot writes all or none. The other errors are those of [Do];
// none, more than 100 or the same twice is providers.ErrInvalid, and nothing is
// sent. Addresses that differ in case alone are the same.
func BatchUpsert(ctx context.Context, conn *providers.Connection, objectType, idProperty string, list []Input) ([]Upserted, error) {
	if idProperty == "" {
		return nil, invalid("bad_id_property")
	}
	inputs, err := inputsOf(list, idProperty)
	if err != nil {
		return nil, err
	}
	return batch[Upserted](ctx, conn, objectType, "/batch/upsert", batchBody{Inputs: inputs})
}

func inputsOf(list []Input, idProperty string) ([]batchInput, error) {
	inputs := make([]batchInput, len(list))
	for i, in := range list {
		inputs[i] = batchInput{ID: in.ID, IDProperty: idProperty, Properties: notNil(in.Properties)}
	}
	return inputs, checkKeys(inputs, idProperty)
}

func checkLength(inputs []batchInput) error {
	switch {
	case len(inputs) == 0:
		return invalid("empty_batch")
	case len(inputs) > maxBatch:
		return invalid("batch_too_large")
	}
	return nil
}

func checkKeys(inputs []batchInput, idProperty string) error {
	if err := checkLength(inputs); err != nil {
		return err
	}
	if idProperty != "" && !isName(idProperty) {
		return invalid("bad_id_property")
	}
	seen := make(map[string]bool, len(inputs))
	for _, in := range inputs {
		if !isKey(in.ID, idProperty) {
			return invalid("bad_id")
		}
		key := in.ID
		if idProperty == email {
			key = strings.ToLower(key)
		}
		if seen[key] {
			return invalid("same_id_twice")
		}
		seen[key] = true
	}
	return nil
}

// batch makes a batch call. 207 is a success in part.
func batch[T any](ctx context.Context, conn *providers.Connection, objectType, path string, body batchBody) ([]T, error) {
	to, err := collection(objectType)
	if err != nil {
		return nil, err
	}
	var out struct {
		Results []T               `json:"results"`
		Errors  []json.RawMessage `json:"errors"`
	}
	if err := call(ctx, conn, http.MethodPost, to+path, nil, body, &out); err != nil {
		return nil, err
	}
	if len(out.Errors) == 0 {
		return out.Results, nil
	}
	failed := &BatchError{}
	for _, raw := range out.Errors {
		failed.Failures = append(failed.Failures, failureOf(raw))
	}
	return out.Results, failed
}

func failureOf(raw json.RawMessage) BatchFailure {
	e := readError(raw)
	f := BatchFailure{Code: providers.PlainCode(e.category), Kind: meaningOf(e)}
	if f.Kind == nil {
		f.Kind = providers.ErrInvalid
		if strings.HasPrefix(e.category, "INTERNAL") || strings.HasPrefix(e.category, "RATE_LIMIT") {
			f.Kind = providers.ErrTransient
		}
	}
	var about struct {
		Context map[string]json.RawMessage `json:"context"`
	}
	_ = json.Unmarshal(raw, &about)
	for _, name := range []string{"ids", "id", "objectWriteTraceId"} {
		if json.Unmarshal(about.Context[name], &f.Keys) == nil && len(f.Keys) > 0 {
			break
		}
	}
	return f
}
