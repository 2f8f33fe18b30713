package salesforceapp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/stretchr/testify/require"
)

const (
	base      = "https://acme.my.salesforce.com/services/data/v66.0/"
	contactID = "003ak00000IiFInAAN"
)

// TestRequests: each operation is one request of exactly this form.
func TestRequests(t *testing.T) {
	ctx := t.Context()
	contact := salesforceapp.Contact{ID: "ignored", LastName: "Lovelace", Email: "ada@example.com", SystemModstamp: salesforceapp.DateTime{Time: time.Now()}}
	for name, row := range map[string]struct {
		answer      answer
		op          func(conn *providers.Connection) (any, error)
		method, url string
		body        string
		want        any
	}{
		"Do": {
			answer{status: 200, body: `{"a":1}`},
			func(conn *providers.Connection) (any, error) {
				var out map[string]int
				_, err := salesforceapp.Do(ctx, conn, salesforceapp.Request{
					Method: "PUT", Path: "/services/apexrest/a%20b/c", Query: url.Values{"q": {"x y"}}, In: map[string]string{"k": "v"}, Out: &out,
				})
				return out, err
			},
			"PUT", "https://acme.my.salesforce.com/services/apexrest/a%20b/c?q=x+y", `{"k":"v"}`, map[string]int{"a": 1},
		},
		"Do below the version": {
			answer{status: 200, body: `[]`},
			func(conn *providers.Connection) (any, error) {
				_, err := salesforceapp.Do(ctx, conn, salesforceapp.Request{Path: "sobjects/Contact/updated"})
				return nil, err
			},
			"GET", base + "sobjects/Contact/updated", ``, nil,
		},
		"Get": {
			answer{status: 200, body: `{"attributes":{"type":"Contact"},"Id":"003ak00000IiFInAAN","LastName":"Lovelace","SystemModstamp":"2026-11-25T12:00:00.000+0000"}`},
			func(conn *providers.Connection) (any, error) {
				return salesforceapp.Get[salesforceapp.Contact](ctx, conn, "Contact", contactID, "Id", "LastName", "Ext_Id__c")
			},
			"GET", base + "sobjects/Contact/003ak00000IiFInAAN?fields=Id%2CLastName%2CExt_Id__c", ``,
			salesforceapp.Contact{ID: contactID, LastName: "Lovelace", SystemModstamp: salesforceapp.DateTime{Time: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}},
		},
		"Get all fields by a short id": {
			answer{status: 200, body: `{"Id":"003ak00000IiFInAAN"}`},
			func(conn *providers.Connection) (any, error) {
				return salesforceapp.Get[map[string]any](ctx, conn, "Contact", contactID[:15])
			},
			"GET", base + "sobjects/Contact/003ak00000IiFIn", ``, map[string]any{"Id": contactID},
		},
		"Create": {
			answer{status: 201, body: `{"id":"003ak00000IiFInAAN","success":true,"errors":[]}`},
			func(conn *providers.Connection) (any, error) {
				return salesforceapp.Create(ctx, conn, "Order__c", map[string]any{"Amount__c": 12.5})
			},
			"POST", base + "sobjects/Order__c", `{"Amount__c":12.5}`, contactID,
		},
		"CreateContact": {
			answer{status: 201, body: `{"id":"003ak00000IiFInAAN","success":true,"errors":[]}`},
			func(conn *providers.Connection) (any, error) { return salesforceapp.CreateContact(ctx, conn, contact) },
			"POST", base + "sobjects/Contact", `{"LastName":"Lovelace","Email":"ada@example.com"}`, contactID,
		},
		"Update": {
			answer{status: 204},
			func(conn *providers.Connection) (any, error) {
				return nil, salesforceapp.Update(ctx, conn, "Contact", contactID, map[string]any{"Phone": nil})
			},
			"PATCH", base + "sobjects/Contact/003ak00000IiFInAAN", `{"Phone":null}`, nil,
		},
		"UpdateContact": {
			answer{status: 204},
			func(conn *providers.Connection) (any, error) {
				return nil, salesforceapp.UpdateContact(ctx, conn, contactID, contact)
			},
			"PATCH", base + "sobjects/Contact/003ak00000IiFInAAN", `{"LastName":"Lovelace","Email":"ada@example.com"}`, nil,
		},
		"Upsert that creates": {
			answer{status: 201, body: `{"id":"003ak00000IiFInAAN","success":true,"errors":[],"created":true}`},
			func(conn *providers.Connection) (any, error) {
				return salesforceapp.Upsert(ctx, conn, "Contact", "Ext_Id__c", "a/b c?#", map[string]any{"LastName": "x"})
			},
			"PATCH", base + "sobjects/Contact/Ext_Id__c/a%2Fb%20c%3F%23", `{"LastName":"x"}`, salesforceapp.Upserted{ID: contactID, Created: true},
		},
		"Upsert that updates": {
			answer{status: 200, body: `{"id":"003ak00000IiFIn","success":true,"errors":[],"created":false}`},
			func(conn *providers.Connection) (any, error) {
				return salesforceapp.UpsertContact(ctx, conn, "Ext_Id__c", "42", contact)
			},
			"PATCH", base + "sobjects/Contact/Ext_Id__c/42", `{"LastName":"Lovelace","Email":"ada@example.com"}`, salesforceapp.Upserted{ID: contactID},
		},
		"Upsert of an old version": {
			answer{status: 204},
			func(conn *providers.Connection) (any, error) {
				return salesforceapp.Upsert(ctx, conn, "Contact", "Ext_Id__c", "42", struct{}{})
			},
			"PATCH", base + "sobjects/Contact/Ext_Id__c/42", `{}`, salesforceapp.Upserted{},
		},
		"Delete": {
			answer{status: 204},
			func(conn *providers.Connection) (any, error) {
				return nil, salesforceapp.Delete(ctx, conn, "Contact", contactID)
			},
			"DELETE", base + "sobjects/Contact/003ak00000IiFInAAN", ``, nil,
		},
		"Describe": {
			answer{status: 200, body: `{"name":"Contact","label":"Contact","keyPrefix":"003","queryable":true,"fields":[{"name":"AccountId","type":"reference","length":18,"nillable":true,"referenceTo":["Account"],"picklistValues":[]},{"name":"LeadSource","type":"picklist","picklistValues":[{"value":"Web","label":"Web","active":true}]}]}`},
			func(conn *providers.Connection) (any, error) { return salesforceapp.Describe(ctx, conn, "Contact") },
			"GET", base + "sobjects/Contact/describe", ``,
			salesforceapp.Description{Name: "Contact", Label: "Contact", KeyPrefix: "003", Queryable: true, Fields: []salesforceapp.Field{
				{Name: "AccountId", Type: "reference", Length: 18, Nillable: true, ReferenceTo: []string{"Account"}, PicklistValues: []salesforceapp.Picklist{}},
				{Name: "LeadSource", Type: "picklist", PicklistValues: []salesforceapp.Picklist{{Value: "Web", Label: "Web", Active: true}}},
			}},
		},
		"Limits": {
			answer{status: 200, body: `{"DailyApiRequests":{"Max":15000,"Remaining":14998},"DataStorageMB":{"Max":5,"Remaining":5}}`},
			func(conn *providers.Connection) (any, error) { return salesforceapp.Limits(ctx, conn) },
			"GET", base + "limits", ``,
			map[string]salesforceapp.Limit{"DailyApiRequests": {Max: 15000, Remaining: 14998}, "DataStorageMB": {Max: 5, Remaining: 5}},
		},
		"FindContactByEmail": {
			answer{status: 200, body: `{"totalSize":1,"done":true,"records":[{"Id":"003ak00000IiFInAAN","Email":"o'hara@example.com"}]}`},
			func(conn *providers.Connection) (any, error) {
				return salesforceapp.FindContactByEmail(ctx, conn, "o'hara@example.com")
			},
			"GET", base + "query?q=" + url.QueryEscape(`SELECT Id, SystemModstamp, AccountId, FirstName, LastName, Email, Phone, MobilePhone, Title, Department FROM Contact WHERE Email = 'o\'hara@example.com' ORDER BY SystemModstamp DESC LIMIT 1`), ``,
			salesforceapp.Contact{ID: contactID, Email: "o'hara@example.com"},
		},
		"ContactsChangedSince": {
			answer{status: 200, body: `{"totalSize":1,"done":true,"records":[{"Id":"003ak00000IiFInAAN"}]}`},
			func(conn *providers.Connection) (any, error) {
				for c, err := range salesforceapp.ContactsChangedSince(ctx, conn, time.Date(2026, 11, 25, 12, 0, 0, 0, time.FixedZone("", 3600))) {
					return c, err
				}
				return nil, nil
			},
			"GET", base + "query?q=" + url.QueryEscape(`SELECT Id, SystemModstamp, AccountId, FirstName, LastName, Email, Phone, MobilePhone, Title, Department FROM Contact WHERE SystemModstamp >= 2026-11-25T11:00:00.000Z ORDER BY SystemModstamp, Id`), ``,
			salesforceapp.Contact{ID: contactID},
		},
		"QueryAll": {
			answer{status: 200, body: `{"totalSize":1,"done":true,"records":[{"Id":"003ak00000IiFInAAN","IsDeleted":true}]}`},
			func(conn *providers.Connection) (any, error) {
				for r, err := range salesforceapp.QueryAll[map[string]any](ctx, conn, "SELECT Id, IsDeleted FROM Contact") {
					return r["IsDeleted"], err
				}
				return nil, nil
			},
			"GET", base + "queryAll?q=SELECT+Id%2C+IsDeleted+FROM+Contact", ``, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rec := answers(row.answer)
			got, err := row.op(connect(t, rec))
			require.NoError(t, err)
			require.Equal(t, row.want, got)
			require.Len(t, rec.sent, 1)
			s := rec.sent[0]
			require.Equal(t, row.method, s.method)
			require.Equal(t, row.url, s.url)
			require.Equal(t, "Bearer first-token", s.header.Get("Authorization"))
			require.Equal(t, "application/json", s.header.Get("Accept"))
			if row.body == "" {
				require.Empty(t, s.body)
				require.Empty(t, s.header.Get("Content-Type"))
				return
			}
			require.JSONEq(t, row.body, s.body)
			require.Equal(t, "application/json", s.header.Get("Content-Type"))
		})
	}
}

// TestBadInputSendsNothing: what could change the meaning of a path or a query is
// refused before anything goes out.
func TestBadInputSendsNothing(t *testing.T) {
	ctx := t.Context()
	rec := answers()
	conn := connect(t, rec)
	invalid := func(err error, what ...any) {
		t.Helper()
		require.ErrorIs(t, err, providers.ErrInvalid, what...)
		require.Empty(t, rec.sent, what...)
	}
	for _, name := range []string{"", "1a", "_a", "a/b", "a b", "a'", "a.b", "Contact?x", "Ä", "a\n", "..", "a%2f", string(make([]byte, 100))} {
		_, err := salesforceapp.Get[map[string]any](ctx, conn, name, contactID)
		invalid(err, name)
		_, err = salesforceapp.Get[map[string]any](ctx, conn, "Contact", contactID, "Id", name)
		invalid(err, name)
		_, err = salesforceapp.Create(ctx, conn, name, struct{}{})
		invalid(err, name)
		invalid(salesforceapp.Update(ctx, conn, name, contactID, struct{}{}), name)
		_, err = salesforceapp.Upsert(ctx, conn, name, "Ext__c", "1", struct{}{})
		invalid(err, name)
		_, err = salesforceapp.Upsert(ctx, conn, "Contact", name, "1", struct{}{})
		invalid(err, name)
		invalid(salesforceapp.Delete(ctx, conn, name, contactID), name)
		_, err = salesforceapp.Describe(ctx, conn, name)
		invalid(err, name)
	}
	for _, id := range []string{"", "1", "003ak00000IiFInAAA", "003ak00000IiFI/", "../../003ak000", "003ak00000IiFInAAN/../x", "003ak00000IiFIn?"} {
		_, err := salesforceapp.Get[map[string]any](ctx, conn, "Contact", id)
		invalid(err, id)
		invalid(salesforceapp.Update(ctx, conn, "Contact", id, struct{}{}), id)
		invalid(salesforceapp.Delete(ctx, conn, "Contact", id), id)
	}
	for _, value := range []string{"", ".", "..", "a\x00", "a\nb", "x/../y"} {
		_, err := salesforceapp.Upsert(ctx, conn, "Contact", "Ext__c", value, struct{}{})
		invalid(err, value)
	}
	for _, record := range []any{nil, "text", 7, []string{"a"}, func() {}, json.RawMessage(`[1]`), map[string]any{"a": make(chan int)}} {
		_, err := salesforceapp.Create(ctx, conn, "Contact", record)
		invalid(err, "record")
		invalid(salesforceapp.Update(ctx, conn, "Contact", contactID, record), "record")
		_, err = salesforceapp.Upsert(ctx, conn, "Contact", "Ext__c", "1", record)
		invalid(err, "record")
	}
	for _, path := range []string{
		"", "//evil.example/x", "https://evil.example/x", "/a//b", "/a/../b", "../x", "/a/./b", "/a/%2e%2e/b", "/a%2f..%2fb", "a?b=c", "/a#b", "/a\\b", "/a\nb", "/a%0ab", "/%zz", "https://evil.example/\x00",
	} {
		_, err := salesforceapp.Do(ctx, conn, salesforceapp.Request{Path: path})
		invalid(err, path)
	}
	_, err := salesforceapp.CreateContact(ctx, conn, salesforceapp.Contact{FirstName: "Ada"})
	invalid(err)
	_, err = salesforceapp.FindContactByEmail(ctx, conn, "")
	invalid(err)
}

// TestNoOtherHost: no spelling of a path leads to another host.
func TestNoOtherHost(t *testing.T) {
	for _, path := range []string{"https:evil.example/x", "evil.example", "/@evil.example", "@evil.example/x", "/;evil.example"} {
		rec := answers(answer{status: 200, body: `{}`})
		_, err := salesforceapp.Do(t.Context(), connect(t, rec), salesforceapp.Request{Path: path})
		if err != nil {
			require.ErrorIs(t, err, providers.ErrInvalid)
			require.Empty(t, rec.sent)
			continue
		}
		u, err := url.Parse(rec.sent[0].url)
		require.NoError(t, err)
		require.Equal(t, "acme.my.salesforce.com", u.Host, path)
	}
}

func TestTheVersionIsKeptWithTheIntegration(t *testing.T) {
	rec := answers(answer{status: 200, body: `{}`})
	_, err := salesforceapp.Limits(t.Context(), connect(t, rec, withData(`{"instance_url":"https://acme.my.salesforce.com","api_version":"v67.0"}`)))
	require.NoError(t, err)
	require.Equal(t, "https://acme.my.salesforce.com/services/data/v67.0/limits", rec.sent[0].url)
}

func TestTheInstanceIsCheckedAtEveryCall(t *testing.T) {
	for _, data := range []string{``, `{}`, `{"instance_url":"https://evil.example"}`, `{"instance_url":"https://acme.my.salesforce.com:8443"}`, `x`} {
		rec := answers()
		_, err := salesforceapp.Limits(t.Context(), connect(t, rec, withData(data)))
		require.ErrorIs(t, err, providers.ErrInvalid, data)
		require.Empty(t, rec.sent)
	}
}

func TestAnotherProvidersConnection(t *testing.T) {
	other := func(_ *source, cfg *providers.ConnectionConfig) { cfg.Provider, cfg.Kind = "slack", "slack" }
	rec := answers()
	conn := connect(t, rec, other)
	_, err := salesforceapp.Limits(t.Context(), conn)
	require.ErrorIs(t, err, providers.ErrWrongProvider)
	_, err = salesforceapp.OpenWebhook(t.Context(), conn)
	require.ErrorIs(t, err, providers.ErrWrongProvider)
	require.ErrorIs(t, salesforceapp.CloseWebhook(t.Context(), conn, "x"), providers.ErrWrongProvider)
	for _, err := range salesforceapp.Query[map[string]any](t.Context(), conn, "SELECT Id FROM Contact") {
		require.ErrorIs(t, err, providers.ErrWrongProvider)
	}
	require.Empty(t, rec.sent)
}

func TestAnswersThatAreNone(t *testing.T) {
	ctx := t.Context()
	for _, body := range []string{``, `{`, `{}`, `{"id":"x"}`, `{"id":"003ak00000IiFInAAA","success":true}`, `<html>`} {
		_, err := salesforceapp.Create(ctx, connect(t, answers(answer{status: 201, body: body})), "Contact", struct{}{})
		require.ErrorIs(t, err, providers.ErrTransient, body)
		_, err = salesforceapp.Upsert(ctx, connect(t, answers(answer{status: 200, body: body})), "Contact", "E__c", "1", struct{}{})
		require.ErrorIs(t, err, providers.ErrTransient, body)
	}
	_, err := salesforceapp.FindContactByEmail(ctx, connect(t, answers(answer{status: 200, body: `{"totalSize":0,"done":true,"records":[]}`})), "a@example.com")
	require.ErrorIs(t, err, providers.ErrNotFound)
}

// TestAPostIsNotRepeated: nobody knows whether a lost answer made a record.
func TestAPostIsNotRepeated(t *testing.T) {
	for _, a := range []answer{{status: 503}, {status: 500, body: `[{"errorCode":"UNKNOWN_EXCEPTION"}]`}, {status: 400, body: `[{"errorCode":"UNABLE_TO_LOCK_ROW"}]`}} {
		rec := answers(a)
		_, err := salesforceapp.Create(t.Context(), connect(t, rec), "Contact", struct{}{})
		require.ErrorIs(t, err, providers.ErrTransient)
		require.Len(t, rec.sent, 1)
	}
}

func TestContextsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	conn := connect(t, transport(func(r *http.Request) (*http.Response, error) { return nil, r.Context().Err() }))
	_, err := salesforceapp.Limits(ctx, conn)
	require.ErrorIs(t, err, context.Canceled)
	for _, err := range salesforceapp.Query[map[string]any](ctx, conn, "SELECT Id FROM Contact") {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestTimes(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 120e6, time.UTC)
	for text, want := range map[string]time.Time{
		`"2026-11-25T12:00:00.120+0000"`:  at,
		`"2026-11-25T13:00:00.120+0100"`:  at,
		`"2026-11-25T12:00:00.120Z"`:      at,
		`"2026-11-25T13:00:00.120+01:00"`: at,
		`null`:                            {},
		`""`:                              {},
	} {
		var d salesforceapp.DateTime
		require.NoError(t, json.Unmarshal([]byte(text), &d), text)
		require.True(t, want.Equal(d.Time), text)
	}
	for _, text := range []string{`"x"`, `7`, `"2026-11-25"`, `{}`} {
		var d salesforceapp.DateTime
		require.ErrorIs(t, json.Unmarshal([]byte(text), &d), providers.ErrInvalid, text)
	}
	b, err := json.Marshal([]salesforceapp.DateTime{{Time: at}, {}})
	require.NoError(t, err)
	require.JSONEq(t, `["2026-11-25T12:00:00.120Z",null]`, string(b))

	d := salesforceapp.DateOf(at)
	require.Equal(t, "2026-11-25", d.String())
	b, err = json.Marshal(map[string]salesforceapp.Date{"Birthdate": d})
	require.NoError(t, err)
	require.JSONEq(t, `{"Birthdate":"2026-11-25"}`, string(b))
	var back map[string]salesforceapp.Date
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, d, back["Birthdate"])
	require.Error(t, json.Unmarshal([]byte(`{"Birthdate":"25.11.2026"}`), &back))
	_, err = json.Marshal(salesforceapp.Date{Year: 2026, Month: 2, Day: 30})
	require.Error(t, err)
}
