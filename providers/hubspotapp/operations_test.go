package hubspotapp_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/stretchr/testify/require"
)

const (
	base   = "https://api.hubapi.com/crm/objects/2026-09/"
	record = `{"id":"512","properties":{"email":"ada@example.com","phone":null},"createdAt":"2026-11-01T10:00:00.123Z","updatedAt":"2026-11-02T10:00:00Z","archived":false,"url":"https://x"}`
)

var recorded = hubspotapp.Object{
	ID: "512", Properties: map[string]string{"email": "ada@example.com", "phone": ""},
	CreatedAt: time.Date(2026, 11, 1, 10, 0, 0, 123e6, time.UTC), UpdatedAt: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC),
}

// call is an operation and the request it makes.
type call struct {
	do                func(ctx context.Context, conn *providers.Connection) (any, error)
	method, url, body string
	answer            answer
	want              any
}

func TestOperations(t *testing.T) {
	props := map[string]string{"email": "ada@example.com", "phone": ""}
	second := hubspotapp.Object{ID: "2"}
	for name, c := range map[string]call{
		"Get by id": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.Get(ctx, conn, "contacts", "512", nil)
		}, "GET", base + "contacts/512", "", answer{200, record}, recorded},
		"Get by a property": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.Get(ctx, conn, "2-1234567", "a/b+c@d?x=%#", &hubspotapp.ReadOptions{IDProperty: "sku", Properties: []string{"a", "b_c"}, Archived: true})
		}, "GET", base + "2-1234567/a%2Fb%2Bc@d%3Fx=%25%23?archived=true&idProperty=sku&properties=a%2Cb_c", "", answer{200, record}, recorded},
		"ContactByEmail": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.ContactByEmail(ctx, conn, "ada@example.com", "email", "phone")
		}, "GET", base + "contacts/ada@example.com?idProperty=email&properties=email%2Cphone", "", answer{200, record}, recorded},
		"Create": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.Create(ctx, conn, "companies", props)
		}, "POST", base + "companies", `{"properties":{"email":"ada@example.com","phone":""}}`, answer{201, record}, recorded},
		"Create nothing": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.Create(ctx, conn, "tickets", nil)
		}, "POST", base + "tickets", `{"properties":{}}`, answer{201, record}, recorded},
		"Update by id": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.Update(ctx, conn, "0-3", "512", "", props)
		}, "PATCH", base + "0-3/512", `{"properties":{"email":"ada@example.com","phone":""}}`, answer{200, record}, recorded},
		"Update by a property": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.Update(ctx, conn, "contacts", "ada@example.com", "email", props)
		}, "PATCH", base + "contacts/ada@example.com?idProperty=email", `{"properties":{"email":"ada@example.com","phone":""}}`, answer{200, record}, recorded},
		"Archive": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return nil, hubspotapp.Archive(ctx, conn, "p62515_cars", "512")
		}, "DELETE", base + "p62515_cars/512", "", answer{204, ""}, nil},
		"BatchRead": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.BatchRead(ctx, conn, "contacts", []string{"512", "2"}, &hubspotapp.ReadOptions{Properties: []string{"email"}})
		}, "POST", base + "contacts/batch/read", `{"inputs":[{"id":"512"},{"id":"2"}],"properties":["email"]}`,
			answer{200, `{"status":"COMPLETE","results":[` + record + `,{"id":"2"}]}`}, []hubspotapp.Object{recorded, second}},
		"BatchRead by a property": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.BatchRead(ctx, conn, "contacts", []string{"ada@example.com"}, &hubspotapp.ReadOptions{IDProperty: "email", Archived: true})
		}, "POST", base + "contacts/batch/read?archived=true", `{"inputs":[{"id":"ada@example.com"}],"idProperty":"email"}`,
			answer{200, `{"status":"COMPLETE","results":[` + record + `]}`}, []hubspotapp.Object{recorded}},
		"BatchCreate": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.BatchCreate(ctx, conn, "deals", []map[string]string{{"amount": hubspotapp.Number(1.5)}, nil})
		}, "POST", base + "deals/batch/create", `{"inputs":[{"properties":{"amount":"1.5"},"objectWriteTraceId":"0"},{"properties":{},"objectWriteTraceId":"1"}]}`,
			answer{201, `{"status":"COMPLETE","results":[` + record + `]}`}, []hubspotapp.Object{recorded}},
		"BatchUpdate": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.BatchUpdate(ctx, conn, "contacts", "", []hubspotapp.Input{{ID: "512", Properties: map[string]string{"phone": ""}}})
		}, "POST", base + "contacts/batch/update", `{"inputs":[{"id":"512","properties":{"phone":""}}]}`,
			answer{200, `{"status":"COMPLETE","results":[` + record + `]}`}, []hubspotapp.Object{recorded}},
		"BatchUpsert": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.BatchUpsert(ctx, conn, "contacts", "email", []hubspotapp.Input{{ID: "ada@example.com"}, {ID: "b@c.d", Properties: map[string]string{"x": "y"}}})
		}, "POST", base + "contacts/batch/upsert",
			`{"inputs":[{"id":"ada@example.com","idProperty":"email","properties":{}},{"id":"b@c.d","idProperty":"email","properties":{"x":"y"}}]}`,
			answer{200, `{"status":"COMPLETE","results":[` + strings.Replace(record, `"archived":false`, `"archived":false,"new":true`, 1) + `,{"id":"2","new":false}]}`},
			[]hubspotapp.Upserted{{Object: recorded, New: true}, {Object: second}}},
		"UpsertContact": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			o, created, err := hubspotapp.UpsertContact(ctx, conn, "ada@example.com", props)
			return []any{o, created}, err
		}, "POST", base + "contacts/batch/upsert",
			`{"inputs":[{"id":"ada@example.com","idProperty":"email","properties":{"email":"ada@example.com","phone":""}}]}`,
			answer{200, `{"status":"COMPLETE","results":[` + strings.Replace(record, `"archived":false`, `"archived":false,"new":true`, 1) + `]}`},
			[]any{recorded, true}},
		"AccountDetails": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			return hubspotapp.AccountDetails(ctx, conn)
		}, "GET", "https://api.hubapi.com/account-info/2026-03/details", "",
			answer{200, `{"portalId":62515,"accountType":"STANDARD","timeZone":"US/Eastern","companyCurrency":"USD","additionalCurrencies":[],"utcOffset":"-05:00","utcOffsetMilliseconds":-18000000,"uiDomain":"app.hubspot.com","dataHostingLocation":"na1"}`},
			hubspotapp.Details{PortalID: 62515, AccountType: "STANDARD", TimeZone: "US/Eastern", CompanyCurrency: "USD", UTCOffset: "-05:00", UIDomain: "app.hubspot.com", DataHostingLocation: "na1"}},
		"Do": {func(ctx context.Context, conn *providers.Connection) (any, error) {
			var out map[string]int
			err := hubspotapp.Do(ctx, conn, hubspotapp.Request{
				Method: "PUT", Path: "/crm/associations/2026-09/a%2Fb", Query: url.Values{"x": {"1 2"}}, In: map[string]int{"n": 1}, Out: &out,
			})
			return out, err
		}, "PUT", "https://api.hubapi.com/crm/associations/2026-09/a%2Fb?x=1+2", `{"n":1}`, answer{200, `{"n":2}`}, map[string]int{"n": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			rec := &recorder{answers: []answer{c.answer}}
			got, err := c.do(t.Context(), connect(rec))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			contentType := "application/json"
			if c.body == "" {
				contentType = ""
			}
			require.Equal(t, []sent{{c.method, c.url, "Bearer planted-access", contentType, c.body}}, rec.sent)

			// The same with a connection of another provider, and with one that is over.
			rec.sent = nil
			_, err = c.do(t.Context(), connect(rec, func(cfg *providers.ConnectionConfig) { cfg.Kind = "slack" }))
			require.ErrorIs(t, err, providers.ErrWrongProvider)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = c.do(ctx, connect(canceled{}))
			require.ErrorIs(t, err, context.Canceled)
			require.Empty(t, rec.sent)

			// A refusal, and no answer.
			_, err = c.do(t.Context(), connect(answering(404, `{"category":"OBJECT_NOT_FOUND","message":"planted"}`)))
			require.ErrorIs(t, err, providers.ErrNotFound)
			noSecrets(t, err, "ada@")
			down := answering(503, `<html>planted`)
			_, err = c.do(t.Context(), connect(down))
			require.ErrorIs(t, err, providers.ErrProviderDown)
			require.Len(t, down.sent, 1, "a failed call is not repeated")
			if c.want != nil {
				_, err = c.do(t.Context(), connect(answering(200, `{"half`)))
				require.ErrorIs(t, err, providers.ErrTransient)
			}
		})
	}
}

// canceled is a network that minds the context, as net/http's does.
type canceled struct{}

func (canceled) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, r.Context().Err()
}

func inputs(n int) (out []hubspotapp.Input) {
	for i := range n {
		out = append(out, hubspotapp.Input{ID: strconv.Itoa(i + 1)})
	}
	return out
}

func TestBadArgumentsAreNotSent(t *testing.T) {
	ctx := t.Context()
	long := strings.Repeat("x", 3000)
	one := func(conn *providers.Connection, objectType string, q hubspotapp.SearchQuery) error {
		for _, err := range hubspotapp.Search(ctx, conn, objectType, q) {
			return err
		}
		return nil
	}
	group := func(f hubspotapp.Filter) hubspotapp.SearchQuery {
		return hubspotapp.SearchQuery{Groups: [][]hubspotapp.Filter{{f}}}
	}
	cases := map[string]func(conn *providers.Connection) error{
		"bad_email no at": func(c *providers.Connection) error { _, err := hubspotapp.ContactByEmail(ctx, c, "ada"); return err },
		"bad_email empty": func(c *providers.Connection) error {
			_, _, err := hubspotapp.UpsertContact(ctx, c, "", nil)
			return err
		},
		"bad_email break": func(c *providers.Connection) error {
			_, err := hubspotapp.ContactByEmail(ctx, c, "a@b\n.c")
			return err
		},
		"bad_email end": func(c *providers.Connection) error {
			_, _, err := hubspotapp.UpsertContact(ctx, c, "a@", nil)
			return err
		},
		"no_properties": func(c *providers.Connection) error {
			_, err := hubspotapp.Update(ctx, c, "contacts", "1", "", nil)
			return err
		},
		"bad_id_property update": func(c *providers.Connection) error {
			_, err := hubspotapp.Update(ctx, c, "contacts", "1", "a-b", map[string]string{"x": "y"})
			return err
		},
		"bad_id_property get": func(c *providers.Connection) error {
			_, err := hubspotapp.Get(ctx, c, "contacts", "1", &hubspotapp.ReadOptions{IDProperty: "a&b=c"})
			return err
		},
		"bad_property get": func(c *providers.Connection) error {
			_, err := hubspotapp.Get(ctx, c, "contacts", "1", &hubspotapp.ReadOptions{Properties: []string{"a,b"}})
			return err
		},
		"bad_property batch": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchRead(ctx, c, "contacts", []string{"1"}, &hubspotapp.ReadOptions{Properties: []string{""}})
			return err
		},
		"bad_property list": func(c *providers.Connection) error {
			for _, err := range hubspotapp.List(ctx, c, "contacts", &hubspotapp.ReadOptions{Properties: []string{"a b"}}) {
				return err
			}
			return nil
		},
		"empty_batch read": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchRead(ctx, c, "contacts", nil, nil)
			return err
		},
		"empty_batch create": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchCreate(ctx, c, "contacts", nil)
			return err
		},
		"empty_batch update": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpdate(ctx, c, "contacts", "", nil)
			return err
		},
		"empty_batch upsert": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpsert(ctx, c, "contacts", "email", nil)
			return err
		},
		"batch_too_large read": func(c *providers.Connection) error {
			var keys []string
			for _, in := range inputs(101) {
				keys = append(keys, in.ID)
			}
			_, err := hubspotapp.BatchRead(ctx, c, "contacts", keys, nil)
			return err
		},
		"batch_too_large create": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchCreate(ctx, c, "contacts", make([]map[string]string, 101))
			return err
		},
		"batch_too_large update": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpdate(ctx, c, "contacts", "", inputs(101))
			return err
		},
		"batch_too_large upsert": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpsert(ctx, c, "contacts", "email", inputs(101))
			return err
		},
		"same_id_twice read": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchRead(ctx, c, "contacts", []string{"1", "2", "1"}, nil)
			return err
		},
		"same_id_twice update": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpdate(ctx, c, "contacts", "sku", append(inputs(2), inputs(1)...))
			return err
		},
		"same_id_twice upsert": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpsert(ctx, c, "contacts", "email", []hubspotapp.Input{{ID: "a@b.c"}, {ID: "A@B.c"}})
			return err
		},
		"bad_id_property upsert": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpsert(ctx, c, "contacts", "", inputs(1))
			return err
		},
		"bad_id_property upsert form": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpsert(ctx, c, "contacts", "e-mail", inputs(1))
			return err
		},
		"bad_id batch": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpdate(ctx, c, "contacts", "", []hubspotapp.Input{{ID: "ada"}})
			return err
		},
		"bad_id empty": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchUpsert(ctx, c, "contacts", "email", []hubspotapp.Input{{}})
			return err
		},
		"bad_object_type batch": func(c *providers.Connection) error {
			_, err := hubspotapp.BatchCreate(ctx, c, "../contacts", make([]map[string]string, 1))
			return err
		},
		"bad_object_type list": func(c *providers.Connection) error {
			for _, err := range hubspotapp.List(ctx, c, "", nil) {
				return err
			}
			return nil
		},
		"bad_object_type search": func(c *providers.Connection) error { return one(c, "contacts/1", hubspotapp.SearchQuery{}) },
		"bad_page_size big":      func(c *providers.Connection) error { return one(c, "contacts", hubspotapp.SearchQuery{PageSize: 201}) },
		"bad_page_size negative": func(c *providers.Connection) error { return one(c, "contacts", hubspotapp.SearchQuery{PageSize: -1}) },
		"too_many_sorts": func(c *providers.Connection) error {
			return one(c, "contacts", hubspotapp.SearchQuery{Sorts: []hubspotapp.Sort{{Property: "a"}, {Property: "b"}}})
		},
		"bad_property sort": func(c *providers.Connection) error {
			return one(c, "contacts", hubspotapp.SearchQuery{Sorts: []hubspotapp.Sort{{}}})
		},
		"bad_property search": func(c *providers.Connection) error {
			return one(c, "contacts", hubspotapp.SearchQuery{Properties: []string{"a b"}})
		},
		"empty_filter_group": func(c *providers.Connection) error {
			return one(c, "contacts", hubspotapp.SearchQuery{Groups: [][]hubspotapp.Filter{{}}})
		},
		"bad_filter property": func(c *providers.Connection) error {
			return one(c, "contacts", group(hubspotapp.Filter{Operator: "EQ"}))
		},
		"bad_filter association": func(c *providers.Connection) error {
			return one(c, "contacts", group(hubspotapp.Filter{Property: "associations.", Operator: "EQ"}))
		},
		"bad_filter path": func(c *providers.Connection) error {
			return one(c, "contacts", group(hubspotapp.Filter{Property: "companies.name", Operator: "EQ"}))
		},
		"bad_filter operator": func(c *providers.Connection) error {
			return one(c, "contacts", group(hubspotapp.Filter{Property: "x"}))
		},
		"search_too_long": func(c *providers.Connection) error {
			return one(c, "contacts", hubspotapp.SearchQuery{Text: long})
		},
	}
	for _, bad := range []string{"", "contacts/1", "../contacts", "con tacts", "contacts?x=1", "2-", "-2", "2-x", "0-1-2", "2", "é", "contacts%2F1", strings.Repeat("x", 101)} {
		cases["bad_object_type get "+bad] = func(c *providers.Connection) error {
			_, err := hubspotapp.Get(ctx, c, bad, "1", nil)
			return err
		}
		cases["bad_object_type create "+bad] = func(c *providers.Connection) error {
			_, err := hubspotapp.Create(ctx, c, bad, nil)
			return err
		}
	}
	for _, bad := range []string{"", "x", "1/2", "..", "1 ", "-1", "1?a", strings.Repeat("1", 21)} {
		cases["bad_id archive "+bad] = func(c *providers.Connection) error { return hubspotapp.Archive(ctx, c, "contacts", bad) }
		cases["bad_id update "+bad] = func(c *providers.Connection) error {
			_, err := hubspotapp.Update(ctx, c, "contacts", bad, "", map[string]string{"x": "y"})
			return err
		}
	}
	for _, bad := range []string{"", ".", "..", "a\nb", "a\x00", strings.Repeat("x", 1001)} {
		cases["bad_id get "+bad] = func(c *providers.Connection) error {
			_, err := hubspotapp.Get(ctx, c, "contacts", bad, &hubspotapp.ReadOptions{IDProperty: "sku"})
			return err
		}
	}
	for _, bad := range []string{
		"", "crm", "@evil.example/", ".evil.example/", ":8443/", "/a?b=1", "/a?", "/a#b", "/a/../b", "/a/%2e%2e/b", "/a/..%2Fb", "/.", "/a\n", "/%zz", "https://evil.example/",
	} {
		cases["bad_path "+bad] = func(c *providers.Connection) error { return hubspotapp.Do(ctx, c, hubspotapp.Request{Path: bad}) }
	}
	for name, fn := range cases {
		rec := answering(200, `{}`)
		err := fn(connect(rec))
		var e *providers.CallError
		require.ErrorAs(t, err, &e, name)
		require.ErrorIs(t, err, providers.ErrInvalid, name)
		require.Equal(t, strings.Fields(name)[0], e.Code, name)
		require.Empty(t, rec.sent, name)
	}
}

func TestAPartOfABatchFails(t *testing.T) {
	rec := answering(207, `{"status":"COMPLETE","results":[`+record+`],"numErrors":3,"errors":[
		{"status":"error","category":"OBJECT_NOT_FOUND","message":"planted","context":{"ids":["2","3"]}},
		{"status":"error","category":"VALIDATION_ERROR","message":"planted","context":{"objectWriteTraceId":["4"]},"subCategory":{"x":1}},
		{"status":"error","category":"MISSING_SCOPES","errors":[{"message":"planted","context":{"requiredGranularScopes":["tickets"]}}]},
		{"category":"INTERNAL_ERROR"}, {"category":"planted ://"}, 7]}`)
	got, err := hubspotapp.BatchRead(t.Context(), connect(rec), "contacts", []string{"512", "2", "3"}, nil)
	require.Equal(t, []hubspotapp.Object{recorded}, got, "what succeeded is kept")
	var failed *hubspotapp.BatchError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, []hubspotapp.BatchFailure{
		{Keys: []string{"2", "3"}, Code: "OBJECT_NOT_FOUND", Kind: providers.ErrNotFound},
		{Keys: []string{"4"}, Code: "VALIDATION_ERROR", Kind: providers.ErrInvalid},
		{Code: "MISSING_SCOPES", Kind: &providers.MissingScopeError{Need: []string{"tickets"}}},
		{Code: "INTERNAL_ERROR", Kind: providers.ErrTransient},
		{Kind: providers.ErrInvalid},
		{Kind: providers.ErrInvalid},
	}, failed.Failures)
	require.ErrorIs(t, err, providers.ErrNotFound)
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.ErrorIs(t, err, providers.ErrTransient)
	require.NotErrorIs(t, err, providers.ErrConflict)
	var scope *providers.MissingScopeError
	require.ErrorAs(t, err, &scope)
	require.Equal(t, "integrations/hubspotapp: part of the batch failed: OBJECT_NOT_FOUND, VALIDATION_ERROR, MISSING_SCOPES, INTERNAL_ERROR", err.Error())
	noSecrets(t, err)
}

func TestUpsertContactFails(t *testing.T) {
	_, _, err := hubspotapp.UpsertContact(t.Context(), connect(answering(207, `{"results":[],"errors":[{"category":"CONFLICT"}]}`)), "a@b.c", nil)
	require.ErrorIs(t, err, providers.ErrConflict)
	for _, body := range []string{`{}`, `{"results":[` + record + `,` + record + `]}`} {
		_, _, err = hubspotapp.UpsertContact(t.Context(), connect(answering(200, body)), "a@b.c", nil)
		require.ErrorIs(t, err, providers.ErrTransient)
	}
}

func TestList(t *testing.T) {
	rec := &recorder{answers: []answer{
		{200, `{"results":[` + record + `,{"id":"2"}],"paging":{"next":{"after":"NTI1Cg=","link":"https://evil.example"}}}`},
		{200, `{"results":[{"id":"3"}]}`},
	}}
	var ids []string
	for o, err := range hubspotapp.List(t.Context(), connect(rec), "contacts", &hubspotapp.ReadOptions{IDProperty: "email", Properties: []string{"email"}}) {
		require.NoError(t, err)
		ids = append(ids, o.ID)
	}
	require.Equal(t, []string{"512", "2", "3"}, ids)
	require.Equal(t, base+"contacts?limit=100&properties=email", rec.sent[0].url)
	require.Equal(t, base+"contacts?after=NTI1Cg%3D&limit=100&properties=email", rec.sent[1].url)

	// It stops when told to, after the first error, and where pages go in circles.
	rec = answering(200, `{"results":[{"id":"1"},{"id":"2"}],"paging":{"next":{"after":"1"}}}`)
	for range hubspotapp.List(t.Context(), connect(rec), "contacts", nil) {
		break
	}
	require.Len(t, rec.sent, 1)
	seen := 0
	for _, err := range hubspotapp.List(t.Context(), connect(rec), "contacts", nil) {
		require.NoError(t, err)
		seen++
	}
	require.Equal(t, 4, seen)
	rec = &recorder{answers: []answer{{200, `{"results":[{"id":"1"}],"paging":{"next":{"after":"1"}}}`}, {403, `{}`}}}
	var errs []error
	for _, err := range hubspotapp.List(t.Context(), connect(rec), "contacts", nil) {
		errs = append(errs, err)
	}
	require.Len(t, errs, 2)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], providers.ErrForbidden)
}

func TestSearch(t *testing.T) {
	rec := &recorder{answers: []answer{
		{200, `{"total":3,"results":[` + record + `,{"id":"600"}],"paging":{"next":{"after":"2"}}}`},
		{200, `{"total":3,"results":[{"id":"700"}]}`},
	}}
	q := hubspotapp.SearchQuery{
		Text: "ada",
		Groups: [][]hubspotapp.Filter{
			{{Property: "email", Operator: "CONTAINS_TOKEN", Value: "*@example.com"}, {Property: "age", Operator: "BETWEEN", Value: "1", HighValue: "9"}},
			{{Property: "city", Operator: "IN", Values: []string{"Paris"}}},
		},
		Sorts: []hubspotapp.Sort{{Property: "createdate", Descending: true}}, Properties: []string{"email"}, PageSize: 2,
	}
	var ids []string
	for o, err := range hubspotapp.Search(t.Context(), connect(rec), "contacts", q) {
		require.NoError(t, err)
		ids = append(ids, o.ID)
	}
	require.Equal(t, []string{"512", "600", "700"}, ids)
	const body = `{"filterGroups":[{"filters":[{"propertyName":"email","operator":"CONTAINS_TOKEN","value":"*@example.com"},{"propertyName":"age","operator":"BETWEEN","value":"1","highValue":"9"}]},{"filters":[{"propertyName":"city","operator":"IN","values":["Paris"]}]}],"sorts":[{"propertyName":"createdate","direction":"DESCENDING"}],"query":"ada","properties":["email"],"limit":2`
	require.Equal(t, []sent{
		{"POST", base + "contacts/search", "Bearer planted-access", "application/json", body + `}`},
		{"POST", base + "contacts/search", "Bearer planted-access", "application/json", body + `,"after":"2"}`},
	}, rec.sent)

	// By what records are associated with.
	rec = answering(200, `{"results":[]}`)
	for _, err := range hubspotapp.Search(t.Context(), connect(rec), "deals", hubspotapp.SearchQuery{Groups: [][]hubspotapp.Filter{
		{{Property: "associations.contact", Operator: "EQ", Value: "512"}, {Property: "associations.2-7", Operator: "HAS_PROPERTY"}},
	}}) {
		require.NoError(t, err)
	}
	require.Equal(t, []sent{{
		"POST", base + "deals/search", "Bearer planted-access", "application/json",
		`{"filterGroups":[{"filters":[{"propertyName":"associations.contact","operator":"EQ","value":"512"},{"propertyName":"associations.2-7","operator":"HAS_PROPERTY"}]}],"sorts":[{"propertyName":"hs_object_id","direction":"ASCENDING"}],"limit":100}`,
	}}, rec.sent)

	// Everything, in order of ids; it stops when told to.
	rec = answering(200, `{"results":[{"id":"1"},{"id":"2"}],"paging":{"next":{"after":"2"}}}`)
	for range hubspotapp.Search(t.Context(), connect(rec), "2-7", hubspotapp.SearchQuery{}) {
		break
	}
	require.Equal(t, []sent{{
		"POST", base + "2-7/search", "Bearer planted-access", "application/json", `{"sorts":[{"propertyName":"hs_object_id","direction":"ASCENDING"}],"limit":100}`,
	}}, rec.sent)

	// An empty page ends it, whatever it says; an error does.
	rec = answering(200, `{"results":[],"paging":{"next":{"after":"2"}}}`)
	for range hubspotapp.Search(t.Context(), connect(rec), "contacts", hubspotapp.SearchQuery{}) {
		t.Fatal("found something")
	}
	require.Len(t, rec.sent, 1)
	rec = answering(400, `{"category":"VALIDATION_ERROR","message":"planted"}`)
	for _, err := range hubspotapp.Search(t.Context(), connect(rec), "contacts", hubspotapp.SearchQuery{}) {
		require.ErrorIs(t, err, providers.ErrInvalid)
		noSecrets(t, err)
	}
	require.Len(t, rec.sent, 1)
}

// TestSearchBeyondTheWindow finds more than HubSpot gives for one search.
func TestSearchBeyondTheWindow(t *testing.T) {
	kit := integrationstest.New(t)
	kit.Connect("acme", hubspotapp.Key, account)
	conn, err := kit.Manager().Connection(t.Context(), "acme", hubspotapp.Key)
	require.NoError(t, err)
	const n = 10_250
	for i := range n {
		kit.HubSpot.Add(account, "contacts", map[string]string{"kind": fmt.Sprint(i % 2), "email": fmt.Sprint(i)})
	}
	count := func(q hubspotapp.SearchQuery) (int, error) {
		seen := map[string]bool{}
		q.PageSize = cmp.Or(q.PageSize, 200)
		for o, err := range hubspotapp.Search(t.Context(), conn, "contacts", q) {
			if err != nil {
				return len(seen), err
			}
			require.False(t, seen[o.ID], "%s came twice", o.ID)
			seen[o.ID] = true
		}
		return len(seen), nil
	}
	got, err := count(hubspotapp.SearchQuery{})
	require.NoError(t, err)
	require.Equal(t, n, got)

	// The condition goes on to hold, and pages that do not fit the window are cut.
	most := [][]hubspotapp.Filter{{{Property: "kind", Operator: "EQ", Value: "0"}}, {{Property: "kind", Operator: "EQ", Value: "1"}, {Property: "email", Operator: "NEQ", Value: "1"}}}
	got, err = count(hubspotapp.SearchQuery{Groups: most, PageSize: 190})
	require.NoError(t, err)
	require.Equal(t, n-1, got)

	// In another order there is no way on.
	byEmail := []hubspotapp.Sort{{Property: "email"}}
	got, err = count(hubspotapp.SearchQuery{Sorts: byEmail})
	require.Equal(t, 10_000, got)
	require.ErrorIs(t, err, providers.ErrInvalid)
	var e *providers.CallError
	require.ErrorAs(t, err, &e)
	require.Equal(t, "search_window", e.Code)

	// Exactly the window is no error.
	last := kit.HubSpot.Objects(account, "contacts")[n-10_000].ID
	got, err = count(hubspotapp.SearchQuery{Sorts: byEmail, Groups: [][]hubspotapp.Filter{{{Property: "hs_object_id", Operator: "GTE", Value: last}}}})
	require.NoError(t, err)
	require.Equal(t, 10_000, got)
}

// TestSearchDoesNotGoInCircles is for a server that ignores the id to go on from.
func TestSearchDoesNotGoInCircles(t *testing.T) {
	var results []string
	for range 200 {
		results = append(results, `{"id":"7"}`)
	}
	rec := answering(200, `{"results":[`+strings.Join(results, ",")+`],"paging":{"next":{"after":"x"}}}`)
	var last error
	for _, err := range hubspotapp.Search(t.Context(), connect(rec), "contacts", hubspotapp.SearchQuery{PageSize: 200}) {
		last = err
	}
	require.ErrorIs(t, last, providers.ErrTransient)
	require.Len(t, rec.sent, 100, "one window, and the one in which it is noticed")
	require.NotContains(t, rec.sent[49].body, `"GT"`)
	require.Contains(t, rec.sent[50].body, `"filterGroups":[{"filters":[{"propertyName":"hs_object_id","operator":"GT","value":"7"}]}]`)
	require.NotContains(t, rec.sent[50].body, `"after"`)
}

func TestValues(t *testing.T) {
	at := time.Date(2026, 11, 25, 23, 30, 1, 2_345_678, time.FixedZone("CET", 3600))
	require.Equal(t, "2026-11-25T22:30:01.002Z", hubspotapp.DateTime(at))
	require.Equal(t, "2026-11-25", hubspotapp.Date(at))
	require.Equal(t, []string{"1000000", "0.1", "-2"}, []string{hubspotapp.Number(1e6), hubspotapp.Number(0.1), hubspotapp.Number(-2)})
}

func TestErrorsOfAConnectionReachTheCaller(t *testing.T) {
	for _, want := range []error{providers.ErrDisconnected, providers.ErrReconnectRequired, providers.ErrAppMisconfigured} {
		conn := connect(answering(200, record), func(cfg *providers.ConnectionConfig) { cfg.Source = broken{want} })
		_, err := hubspotapp.Get(t.Context(), conn, "contacts", "1", nil)
		require.ErrorIs(t, err, want)
	}
	_, err := hubspotapp.Get(t.Context(), connect(lost{}), "contacts", "1", nil)
	require.ErrorIs(t, err, providers.ErrTransient)
	noSecrets(t, err)
}

type lost struct{}

func (lost) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("planted: dial tcp https://api.hubapi.com")
}
