package salesforceapp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

// sample is an outbound message with the shapes of ids of a real one.
const sample = `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>00D5e000000KQ2eEAG</OrganizationId><ActionId>04k5e000000CaRkAAK</ActionId><SessionId xsi:nil="true"/><EnterpriseUrl>https://acme.my.salesforce.com/services/Soap/c/66.0/00D5e000000KQ2e</EnterpriseUrl><PartnerUrl>https://acme.my.salesforce.com/services/Soap/u/66.0/00D5e000000KQ2e</PartnerUrl><Notification><Id>04l5e00000Gx7QzAAJ</Id><sObject xsi:type="sf:Contact" xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>003ak00000IiFInAAN</sf:Id><sf:Email>a@b.c</sf:Email></sObject></Notification></notifications></soapenv:Body></soapenv:Envelope>`

const endpointSecret = "an endpoint's secret, 32 bytes long"

func endpoint() *webhook.Endpoint {
	return &webhook.Endpoint{
		ID: "e", TenantID: "tenant-1", IntegrationID: "i", ExternalID: "00D5e000000KQ2eEAG",
		Secrets: [][]byte{[]byte("a newer secret of this endpoint, too"), []byte(endpointSecret)},
	}
}

func soap(body string) *webhook.Request {
	return &webhook.Request{
		Method: http.MethodPost, Header: http.Header{"Content-Type": {"text/xml; charset=utf-8"}}, Body: []byte(body), Now: time.Now(), Endpoint: endpoint(),
	}
}

// receive verifies and reads a request.
func receive(t testing.TB, r *webhook.Request) (webhook.Receipt, error) {
	t.Helper()
	src, err := app().WebhookSource()
	require.NoError(t, err)
	if err := src.Verifier.Verify(r); err != nil {
		return webhook.Receipt{}, err
	}
	return src.Read(r)
}

func TestOutboundMessage(t *testing.T) {
	receipt, err := receive(t, soap(sample))
	require.NoError(t, err)
	require.Len(t, receipt.Notices, 1)
	n := receipt.Notices[0]
	require.Equal(t, "04l5e00000Gx7QzAAJ", n.DeliveryID)
	require.Equal(t, "outbound_message.Contact", n.Type)
	require.Equal(t, "00D5e000000KQ2eEAG", n.Account)
	require.JSONEq(t, `{"organization_id":"00D5e000000KQ2eEAG","action_id":"04k5e000000CaRkAAK","notification_id":"04l5e00000Gx7QzAAJ",
		"object":"Contact","record":{"Id":"003ak00000IiFInAAN","Email":"a@b.c"}}`, string(n.Body))

	require.Equal(t, "text/xml; charset=utf-8", receipt.Reply.ContentType)
	require.Zero(t, receipt.Reply.Status)
	var ack struct {
		XMLName xml.Name
		Ack     []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		} `xml:"Body>notificationsResponse>Ack"`
	}
	require.NoError(t, xml.Unmarshal(receipt.Reply.Body, &ack))
	require.Equal(t, xml.Name{Space: "http://schemas.xmlsoap.org/soap/envelope/", Local: "Envelope"}, ack.XMLName)
	require.Len(t, ack.Ack, 1)
	require.Equal(t, "http://soap.sforce.com/2005/09/outbound", ack.Ack[0].XMLName.Space)
	require.Equal(t, "true", ack.Ack[0].Text)

	// Short ids become long ones; values keep their text; what is nil is null.
	r := strings.NewReplacer(
		"00D5e000000KQ2eEAG<", "00D5e000000KQ2e<", "04l5e00000Gx7QzAAJ", "04l5e00000Gx7Qz", "003ak00000IiFInAAN", "003ak00000IiFIn",
		`<SessionId xsi:nil="true"/>`, `<SessionId>00D5e000000KQ2e!AQ.planted-session</SessionId>`,
		"<sf:Email>a@b.c</sf:Email>", `<sf:Name> a &lt;b&gt; &#233; <![CDATA[<c>]]> </sf:Name><sf:Phone xsi:nil="true"/><sf:Blank></sf:Blank>
			<sf:Owner xsi:type="sf:User"> <sf:Alias>x</sf:Alias> </sf:Owner>`,
	).Replace(sample)
	receipt, err = receive(t, soap(r))
	require.NoError(t, err)
	require.Equal(t, "04l5e00000Gx7QzAAJ", receipt.Notices[0].DeliveryID)
	require.JSONEq(t, `{"organization_id":"00D5e000000KQ2eEAG","action_id":"04k5e000000CaRkAAK","notification_id":"04l5e00000Gx7QzAAJ",
		"object":"Contact","record":{"Id":"003ak00000IiFInAAN","Name":" a <b> é <c> ","Phone":null,"Blank":"","Owner":{"Alias":"x"}}}`, string(receipt.Notices[0].Body))
	require.NotContains(t, string(receipt.Notices[0].Body), "planted-session")
}

// notifications are n of them, each with an id of its own.
func notifications(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `<Notification><Id>04l5e%010d</Id><sObject xsi:type="sf:Contact" xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>003ak00000IiFInAAN</sf:Id></sObject></Notification>`, i)
	}
	return b.String()
}

func TestAMessageHoldsUpToAHundred(t *testing.T) {
	at := strings.Index(sample, "<Notification>")
	end := strings.Index(sample, "</notifications>")
	for n, fine := range map[int]bool{0: false, 1: true, 100: true, 101: false} {
		receipt, err := receive(t, soap(sample[:at]+notifications(n)+sample[end:]))
		if !fine {
			require.ErrorIs(t, err, webhook.ErrNotSigned, n)
			continue
		}
		require.NoError(t, err)
		require.Len(t, receipt.Notices, n)
		seen := map[string]bool{}
		for _, notice := range receipt.Notices {
			seen[notice.DeliveryID] = true
			require.NotNil(t, notice.Body)
		}
		require.Len(t, seen, n)
	}
}

// badMessages are changes after which a message proves nothing.
var badMessages = map[string][2]string{
	"another org":                    {"00D5e000000KQ2eEAG<", "00D5e000000KQ2fEAG<"},
	"an org with a wrong checksum":   {"00D5e000000KQ2eEAG<", "00D5e000000KQ2eEAA<"},
	"an org in another case":         {"00D5e000000KQ2eEAG<", "00d5e000000KQ2eCAG<"},
	"no org":                         {"<OrganizationId>00D5e000000KQ2eEAG</OrganizationId>", ""},
	"two orgs":                       {"<OrganizationId>", "<OrganizationId>00D5e000000KQ2eEAG</OrganizationId><OrganizationId>"},
	"two orgs, one elsewhere":        {"<OrganizationId>", `<x:OrganizationId xmlns:x="urn:x">00D000000000000</x:OrganizationId><OrganizationId>`},
	"an org that is a user":          {"00D5e000000KQ2eEAG<", "005x00000012Q9PAAU<"},
	"an org cut by a comment":        {"00D5e000000KQ2eEAG<", "00D5e<!-- x -->000000KQ2eEAG<"},
	"an org that holds elements":     {"00D5e000000KQ2eEAG<", "<a/>00D5e000000KQ2eEAG<"},
	"an org that is nil":             {"<OrganizationId>", `<OrganizationId xsi:nil="true">`},
	"a document type":                {"<soapenv:Envelope", "<!DOCTYPE x><soapenv:Envelope"},
	"an entity":                      {`<soapenv:Envelope`, `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><soapenv:Envelope`},
	"an unknown entity":              {"a@b.c", "&e;"},
	"a processing instruction":       {"<soapenv:Body>", "<?php x?><soapenv:Body>"},
	"a declaration in the middle":    {"<soapenv:Body>", `<?xml version="1.0"?><soapenv:Body>`},
	"another encoding":               {`encoding="UTF-8"`, `encoding="ISO-8859-1"`},
	"another envelope":               {"http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"},
	"another message":                {"http://soap.sforce.com/2005/09/outbound", "urn:x"},
	"another kind of object":         {"urn:sobject.enterprise.soap.sforce.com", "urn:sobject.partner.soap.sforce.com"},
	"no type":                        {`xsi:type="sf:Contact" `, ""},
	"a type without a namespace":     {`"sf:Contact"`, `"Contact"`},
	"a type of an unknown namespace": {`"sf:Contact"`, `"x:Contact"`},
	"a type that is no name":         {`"sf:Contact"`, `"sf:Con.tact"`},
	"two types":                      {`xsi:type="sf:Contact"`, `xsi:type="sf:Contact" xsi:type="sf:Contact"`},
	"no action":                      {"<ActionId>04k5e000000CaRkAAK</ActionId>", ""},
	"no notification id":             {"<Id>04l5e00000Gx7QzAAJ</Id>", ""},
	"two notification ids":           {"<Id>04l5e00000Gx7QzAAJ</Id>", "<Id>04l5e00000Gx7QzAAJ</Id><Id>04l5e00000Gx7QzAAJ</Id>"},
	"a bad notification id":          {"04l5e00000Gx7QzAAJ", "04l5e00000Gx7QzAAA"},
	"no record":                      {"<sf:Id>003ak00000IiFInAAN</sf:Id>", ""},
	"a field twice":                  {"<sf:Email>", "<sf:Email>x</sf:Email><sf:Email>"},
	"a field of another namespace":   {"<sf:Email>", "<Email>x</Email><sf:Email>"},
	"text between":                   {"<Notification>", "text<Notification>"},
	"text after":                     {"</soapenv:Envelope>", "</soapenv:Envelope>x"},
	"two envelopes":                  {"</soapenv:Envelope>", `</soapenv:Envelope><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"/>`},
	"no end":                         {"</soapenv:Envelope>", ""},
	"a wrong end":                    {"</sObject>", "</sobject>"},
	"a control character":            {"a@b.c", "a\x01"},
	"not UTF-8":                      {"a@b.c", "a\xff"},
	"depth":                          {"a@b.c", strings.Repeat("<sf:A>", 20) + strings.Repeat("</sf:A>", 20)},
	"attributes": {"<sf:Email>", "<sf:Email" + func() (s string) {
		for i := range 20 {
			s += fmt.Sprintf(" a%d=''", i)
		}
		return s
	}() + ">"},
}

func TestMessagesThatProveNothing(t *testing.T) {
	for name, change := range badMessages {
		require.Contains(t, sample, change[0], name)
		body := strings.ReplaceAll(sample, change[0], change[1])
		_, err := receive(t, soap(body))
		require.Error(t, err, name)
		require.True(t, errors.Is(err, webhook.ErrNotSigned) || errors.Is(err, webhook.ErrBadSignature), "%s: %v", name, err)
		require.NotContains(t, err.Error(), "a@b.c")
	}
	_, err := receive(t, soap(strings.ReplaceAll(sample, "00D5e000000KQ2eEAG<", "00D5e000000KQ2fEAG<")))
	require.ErrorIs(t, err, webhook.ErrBadSignature)
	body := sample[:strings.Index(sample, "<Notification>")]
	twice := body + strings.Repeat(notifications(1), 2) + sample[strings.Index(sample, "</notifications>"):]
	_, err = receive(t, soap(twice))
	require.ErrorIs(t, err, webhook.ErrNotSigned, "two notifications with one id")
}

func TestRequestsWithoutProof(t *testing.T) {
	src, err := app().WebhookSource()
	require.NoError(t, err)
	refused := func(what string, want error, change func(r *webhook.Request)) {
		t.Helper()
		r := soap(sample)
		change(r)
		require.ErrorIs(t, src.Verifier.Verify(r), want, what)
	}
	require.NoError(t, src.Verifier.Verify(soap(sample)))
	refused("no endpoint", webhook.ErrNotSigned, func(r *webhook.Request) { r.Endpoint = nil })
	refused("an unknown endpoint", webhook.ErrBadSignature, func(r *webhook.Request) { r.Endpoint = &webhook.Endpoint{Secrets: r.Endpoint.Secrets} })
	refused("another org's endpoint", webhook.ErrBadSignature, func(r *webhook.Request) { r.Endpoint.ExternalID = "00D5e000000KQ2fEAG" })
	refused("JSON without a signature", webhook.ErrNotSigned, func(r *webhook.Request) {
		r.Header.Set("Content-Type", "application/json")
		r.Body = []byte(`{"type":"x"}`)
	})
	for _, kind := range []string{"application/json", "application/xml", "text/plain", "text/xml; charset=iso-8859-1", "text/xml, text/xml", ""} {
		refused(kind, webhook.ErrNotSigned, func(r *webhook.Request) { r.Header.Set("Content-Type", kind) })
	}
	refused("no content type", webhook.ErrNotSigned, func(r *webhook.Request) { r.Header.Del("Content-Type") })
	refused("two content types", webhook.ErrNotSigned, func(r *webhook.Request) { r.Header.Add("Content-Type", "text/xml") })
	refused("a message that says it is signed", webhook.ErrNotSigned, func(r *webhook.Request) { r.Header.Set("X-Signature", "sha256=00") })
	_, err = src.Read(&webhook.Request{Body: []byte(sample), Header: http.Header{}})
	require.Error(t, err)

	_, err = app(func(c *salesforceapp.Config) { c.NoWebhooks = true }).WebhookSource()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func callout(secret, body string, at time.Time) *webhook.Request {
	r := webhooktest.HMAC("https://app.example.com/w", webhook.HMACConfig{
		SignatureHeader: "X-Signature", Prefix: "sha256=", Signed: "{timestamp}.{body}", TimestampHeader: "X-Timestamp", Secrets: []string{secret},
	}, []byte(body), at)
	return &webhook.Request{Method: http.MethodPost, Header: r.Header, Body: []byte(body), Now: time.Now(), Endpoint: endpoint()}
}

// TestCalloutVector: the signature that the documentation shows, made with openssl.
func TestCalloutVector(t *testing.T) {
	at := time.Unix(1764072000, 0)
	r := callout("0123456789abcdef0123456789abcdef", `{"type":"contact.changed","id":"1"}`, at)
	r.Now, r.Endpoint.Secrets = at, [][]byte{[]byte("0123456789abcdef0123456789abcdef")}
	require.Equal(t, "sha256=cd7ba078947a63d64c1da44aff194e47483566ad451e66954a0214f9bb0eb580", r.Header.Get("X-Signature"))
	_, err := receive(t, r)
	require.NoError(t, err)
}

func TestCallout(t *testing.T) {
	now := time.Now()
	for body, want := range map[string]webhook.Notice{
		`{"type":"contact.changed","id":"e-1","organizationId":"00D5e000000KQ2e","recordId":"x"}`: {DeliveryID: "callout:e-1", Type: "contact.changed", Account: "00D5e000000KQ2eEAG"},
		`{"id":"e-1","organizationId":"00D5e000000KQ2eEAG","type":null}`:                          {DeliveryID: "callout:e-1", Type: "callout", Account: "00D5e000000KQ2eEAG"},
	} {
		receipt, err := receive(t, callout(endpointSecret, body, now))
		require.NoError(t, err)
		require.Equal(t, webhook.Receipt{Notices: []webhook.Notice{want}}, receipt)
	}
	// Without an id the signed time and the body are one.
	id := func(at time.Time, body string) string {
		receipt, err := receive(t, callout(endpointSecret, body, at))
		require.NoError(t, err)
		return receipt.Notices[0].DeliveryID
	}
	require.Equal(t, id(now, `{}`), id(now, `{}`))
	require.NotEqual(t, id(now, `{}`), id(now.Add(-2*time.Second), `{}`))
	require.NotEqual(t, id(now, `{}`), id(now, `{"a":1}`))

	for _, body := range []string{
		``, `[]`, `x`, `{"id":"1"`, `{"id":""}`, `{"id":7}`, `{"type":""}`, `{"type":{}}`, `{"type":"outbound_message.Contact"}`,
		`{"organizationId":"00D5e000000KQ2fEAG"}`, `{"organizationId":"x"}`, `{"organizationId":7}`, `{"id":"1","id":"2"}`, `{"Type":"x"}`, `{"\u0069d":"1"}`,
	} {
		_, err := receive(t, callout(endpointSecret, body, now))
		require.Error(t, err, body)
	}
	_, err := receive(t, callout("another secret of at least 16 bytes", `{}`, now))
	require.ErrorIs(t, err, webhook.ErrBadSignature)
	_, err = receive(t, callout(endpointSecret, `{}`, now.Add(-6*time.Minute)))
	require.ErrorIs(t, err, webhook.ErrTooOld)
	_, err = receive(t, callout(endpointSecret, `{}`, now.Add(6*time.Minute)))
	require.ErrorIs(t, err, webhook.ErrTooNew)
	r := callout(endpointSecret, `{}`, now)
	r.Endpoint = nil
	_, err = receive(t, r)
	require.ErrorIs(t, err, webhook.ErrNotSigned)
	r = callout(endpointSecret, sample, now)
	r.Header.Set("Content-Type", "text/xml")
	_, err = receive(t, r)
	require.Error(t, err, "a signed message is no callout")
}

// FuzzF9OutboundMessage: no body makes the parser panic, what it accepts names the
// org that a reader which collects every occurrence finds, and no session id gets
// into an event.
func FuzzF9OutboundMessage(f *testing.F) {
	f.Add([]byte(sample))
	for _, change := range badMessages {
		f.Add([]byte(strings.ReplaceAll(sample, change[0], change[1])))
	}
	f.Add([]byte(`<a b="c">&amp;</a>`))
	f.Add([]byte("\xef\xbb\xbf" + sample))
	f.Fuzz(func(t *testing.T, body []byte) {
		body = bytes.ReplaceAll(body, []byte(`<SessionId xsi:nil="true"/>`), []byte(`<SessionId>planted-session</SessionId>`))
		receipt, err := receive(t, soap(string(body)))
		if err != nil {
			return
		}
		var every struct {
			Orgs          []string `xml:"Body>notifications>OrganizationId"`
			Notifications []struct {
				IDs []string `xml:"Id"`
			} `xml:"Body>notifications>Notification"`
		}
		require.NoError(t, xml.Unmarshal(body, &every))
		require.Len(t, every.Orgs, 1)
		org, err := salesforceapp.LongID(every.Orgs[0])
		require.NoError(t, err)
		require.Len(t, receipt.Notices, len(every.Notifications))
		for i, n := range receipt.Notices {
			require.Equal(t, org, n.Account)
			require.Equal(t, "00D5e000000KQ2eEAG", n.Account)
			require.Len(t, every.Notifications[i].IDs, 1)
			id, err := salesforceapp.LongID(every.Notifications[i].IDs[0])
			require.NoError(t, err)
			require.Equal(t, id, n.DeliveryID)
			var m salesforceapp.OutboundMessage[map[string]any]
			require.NoError(t, json.Unmarshal(n.Body, &m))
			require.Equal(t, "outbound_message."+m.Object, n.Type)
			require.NotContains(t, string(n.Body), "planted-session")
		}
	})
}

func TestHandlersDecode(t *testing.T) {
	receipt, err := receive(t, soap(sample))
	require.NoError(t, err)
	var got *salesforceapp.OutboundMessage[salesforceapp.Contact]
	h := salesforceapp.OnOutboundMessage("Contact", func(_ context.Context, _ webhook.Event, m *salesforceapp.OutboundMessage[salesforceapp.Contact]) error {
		got = m
		return nil
	})
	require.Equal(t, receipt.Notices[0].Type, h.Type)
	require.Equal(t, salesforceapp.Key, h.Provider)
	require.NoError(t, h.Func(t.Context(), webhook.Event{Body: receipt.Notices[0].Body}))
	require.Equal(t, salesforceapp.Contact{ID: "003ak00000IiFInAAN", Email: "a@b.c"}, got.Record)
	require.Equal(t, "04k5e000000CaRkAAK", got.ActionID)
	require.Error(t, h.Func(t.Context(), webhook.Event{Body: []byte(`{"record":7}`)}))

	type changed struct{ ID string }
	var id string
	on := salesforceapp.On("contact.changed", func(_ context.Context, _ webhook.Event, c *changed) error {
		id = c.ID
		return nil
	})
	require.Equal(t, "contact.changed", on.Type)
	require.NoError(t, on.Func(t.Context(), webhook.Event{Body: []byte(`{"id":"e-1"}`)}))
	require.Equal(t, "e-1", id)
}
