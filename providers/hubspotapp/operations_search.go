package hubspotapp

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/saas-integrations/integrations/providers"
)

// Bounds of the search (developers.hubspot.com, "CRM search", as read in copies,
// 2026-11).
const (
	maxPage       = 200
	defaultPage   = 100
	maxWindow     = 10_000
	maxSearchBody = 3_000
)

// idOrder is the property that HubSpot's ids are a value of.
const idOrder = "hs_object_id"

// SearchQuery says what to look for. The zero value finds everything.
type SearchQuery struct {
	// Text is looked for in the default text properties of the type.
	Text string
	// Groups are alternatives: a record is found when all filters of one group
	// apply. HubSpot takes at most 5 groups, 6 filters in each and 18 in all.
	Groups [][]Filter
	// Sorts is the order, at most one rule. Without one records come in order of
	// their ids.
	Sorts []Sort
	// Properties are the properties to read. None means the type's default ones.
	Properties []string
	// PageSize is how many records are asked for at a time, at most 200. Defaults
	// to 100.
	PageSize int
}

// Filter is a condition on a property.
type Filter struct {
	// Property is a property, or "associations." and a type of record, whose Value
	// is the id of a record that those to be found are associated with:
	// "associations.contact".
	Property string `json:"propertyName"`
	// Operator is "EQ", "NEQ", "LT", "LTE", "GT", "GTE", "BETWEEN", "IN",
	// "NOT_IN", "HAS_PROPERTY", "NOT_HAS_PROPERTY", "CONTAINS_TOKEN" or
	// "NOT_CONTAINS_TOKEN".
	Operator string `json:"operator"`
	// Value is the value of most operators, the lower bound of BETWEEN.
	Value string `json:"value,omitempty"`
	// HighValue is the upper bound of BETWEEN, Values the values of IN and NOT_IN.
	HighValue string   `json:"highValue,omitempty"`
	Values    []string `json:"values,omitempty"`
}

// Sort is a rule of order.
type Sort struct {
	Property   string
	Descending bool
}

// MarshalJSON writes the rule as HubSpot reads it.
func (s Sort) MarshalJSON() ([]byte, error) {
	direction := "ASCENDING"
	if s.Descending {
		direction = "DESCENDING"
	}
	return json.Marshal(struct {
		Property  string `json:"propertyName"`
		Direction string `json:"direction"`
	}{s.Property, direction})
}

type filterGroup struct {
	Filters []Filter `json:"filters"`
}

type searchBody struct {
	Groups     []filterGroup `json:"filterGroups,omitempty"`
	Sorts      []Sort        `json:"sorts,omitempty"`
	Query      string        `json:"query,omitempty"`
	Properties []string      `json:"properties,omitempty"`
	Limit      int           `json:"limit"`
	After      string        `json:"after,omitempty"`
}

// Search yields the records that are found, page by page as they are consumed. It
// ends after the first error, which is one of [Do].
//
// HubSpot gives at most 10,000 results for one search. Without Sorts that is no
// bound: the search goes on behind the last id. With Sorts it ends there with an
// error that is providers.ErrInvalid and has the code "search_window", unless
// there is nothing more. Results lag some seconds behind writes, and HubSpot
// takes five searches in a second for each account, from all of an app's calls. A
// search of more than 3,000 characters is refused before it is sent.
func Search(ctx context.Context, conn *providers.Connection, objectType string, q SearchQuery) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		s, err := newSearch(objectType, q)
		for more := err == nil; more; {
			var p page
			if p, err = s.page(ctx, conn); err != nil {
				break
			}
			for _, o := range p.Results {
				if !yield(o, nil) {
					return
				}
			}
			more, err = s.next(p)
		}
		if err != nil {
			yield(Object{}, err)
		}
	}
}

// search is a search on its way.
type search struct {
	url   string
	query SearchQuery
	byID  bool
	body  searchBody
	seen  int    // of this window
	last  string // id behind which this window begins
}

func newSearch(objectType string, q SearchQuery) (*search, error) {
	to, err := collection(objectType)
	if err != nil {
		return nil, err
	}
	if q.PageSize == 0 {
		q.PageSize = defaultPage
	}
	switch {
	case q.PageSize < 0 || q.PageSize > maxPage:
		return nil, invalid("bad_page_size")
	case len(q.Sorts) > 1:
		return nil, invalid("too_many_sorts")
	case slices.ContainsFunc(q.Sorts, func(s Sort) bool { return !isName(s.Property) }),
		slices.ContainsFunc(q.Properties, func(p string) bool { return !isName(p) }):
		return nil, invalid("bad_property")
	}
	for _, g := range q.Groups {
		if len(g) == 0 {
			return nil, invalid("empty_filter_group")
		}
		if slices.ContainsFunc(g, func(f Filter) bool { return !isFilterProperty(f.Property) || providers.PlainCode(f.Operator) == "" }) {
			return nil, invalid("bad_filter")
		}
	}
	s := &search{url: to + "/search", query: q, byID: len(q.Sorts) == 0}
	s.window("")
	return s, nil
}

// associations begins what stands for a property in a filter by association.
const associations = "associations."

func isFilterProperty(s string) bool {
	objectType, ok := strings.CutPrefix(s, associations)
	return ok && isObjectType(objectType) || isName(s)
}

// window begins a window behind an id, at the first record for "".
func (s *search) window(last string) {
	s.last, s.seen = last, 0
	s.body = searchBody{Sorts: s.query.Sorts, Query: s.query.Text, Properties: s.query.Properties}
	if s.byID {
		s.body.Sorts = []Sort{{Property: idOrder}}
	}
	for _, g := range s.query.Groups {
		s.body.Groups = append(s.body.Groups, filterGroup{slices.Clone(g)})
	}
	if last == "" {
		return
	}
	if s.body.Groups == nil {
		s.body.Groups = []filterGroup{{}}
	}
	for i := range s.body.Groups {
		g := &s.body.Groups[i]
		g.Filters = append(g.Filters, Filter{Property: idOrder, Operator: "GT", Value: last})
	}
}

func (s *search) page(ctx context.Context, conn *providers.Connection) (page, error) {
	s.body.Limit = min(s.query.PageSize, maxWindow-s.seen)
	raw, err := json.Marshal(s.body)
	if err != nil {
		return page{}, invalid("not_json")
	}
	if utf8.RuneCount(raw) > maxSearchBody {
		return page{}, invalid("search_too_long")
	}
	var p page
	err = call(ctx, conn, http.MethodPost, s.url, nil, json.RawMessage(raw), &p)
	return p, err
}

// next moves on behind a page and reports whether there may be more.
func (s *search) next(p page) (bool, error) {
	after := p.Paging.Next.After
	s.seen += len(p.Results)
	switch {
	case after == "" || len(p.Results) == 0:
		return false, nil
	case s.seen < maxWindow:
		s.body.After = after
		return true, nil
	case !s.byID:
		return false, invalid("search_window")
	}
	last := p.Results[len(p.Results)-1].ID
	if !isDigits(last) || last == s.last {
		return false, badAnswer() // it would go round in circles
	}
	s.window(last)
	return true, nil
}
