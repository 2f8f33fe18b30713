package integrationstest

import (
	"bytes"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

// OutboundMessage delivers an outbound message about records of an object of an
// account's org to an endpoint. It returns the answer's status and whether the
// message was acknowledged; Salesforce would send it again otherwise.
func (s *Salesforce) OutboundMessage(endpointURL, account, object string, records ...map[string]string) (status int, acknowledged bool) {
	return s.DeliverOutbound(endpointURL, s.OutboundBody(account, object, records...))
}

// DeliverOutbound delivers the SOAP of an outbound message.
func (s *Salesforce) DeliverOutbound(endpointURL string, body []byte) (status int, acknowledged bool) {
	resp := s.kit.Send(s.OutboundRequest(endpointURL, body))
	answer, _ := io.ReadAll(resp.Body)
	var envelope struct {
		XMLName xml.Name `xml:"http://schemas.xmlsoap.org/soap/envelope/ Envelope"`
		Ack     string   `xml:"Body>notificationsResponse>Ack"`
	}
	return resp.StatusCode, xml.Unmarshal(answer, &envelope) == nil && envelope.Ack == "true" &&
		strings.HasPrefix(resp.Header.Get("Content-Type"), "text/xml")
}

// OutboundRequest is the request that delivers the SOAP of an outbound message.
func (s *Salesforce) OutboundRequest(endpointURL string, body []byte) *http.Request {
	return webhooktest.SalesforceOutbound(endpointURL, body)
}

// OutboundBody is the SOAP of an outbound message, with a session id as some orgs
// send it and ids of its own. Records without an Id get one.
func (s *Salesforce) OutboundBody(account, object string, records ...map[string]string) []byte {
	var b bytes.Buffer
	text := func(v string) string {
		var out bytes.Buffer
		_ = xml.EscapeText(&out, []byte(v)) // a buffer takes everything
		return out.String()
	}
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Body>
  <notifications xmlns="http://soap.sforce.com/2005/09/outbound">
   <OrganizationId>` + s.OrgID(account) + `</OrganizationId>
   <ActionId>` + salesforceIDOf("04k", object) + `</ActionId>
   <SessionId>` + s.OrgID(account)[:15] + "!" + randomHex() + `</SessionId>
   <EnterpriseUrl>https://` + s.MyDomain(account) + `/services/Soap/c/66.0/` + s.OrgID(account)[:15] + `</EnterpriseUrl>
   <PartnerUrl>https://` + s.MyDomain(account) + `/services/Soap/u/66.0/` + s.OrgID(account)[:15] + `</PartnerUrl>
`)
	for _, r := range records {
		id := r["Id"]
		if id == "" {
			id = salesforceIDOf(salesforcePrefix(object), randomHex())
		}
		b.WriteString("   <Notification>\n    <Id>" + salesforceIDOf("04l", randomHex()) + "</Id>\n    <sObject xsi:type=\"sf:" + object +
			"\" xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\">\n     <sf:Id>" + id + "</sf:Id>\n")
		for _, name := range slices.Sorted(maps.Keys(r)) {
			if name != "Id" {
				b.WriteString("     <sf:" + name + ">" + text(r[name]) + "</sf:" + name + ">\n")
			}
		}
		b.WriteString("    </sObject>\n   </Notification>\n")
	}
	b.WriteString("  </notifications>\n </soapenv:Body>\n</soapenv:Envelope>\n")
	return b.Bytes()
}

// Callout posts a body to an endpoint as the org's own code would, signed with the
// endpoint's secret, and returns the answer's status.
func (s *Salesforce) Callout(endpointURL, secret string, body []byte) int {
	return s.kit.deliver(s.CalloutRequest(endpointURL, secret, body, time.Now()))
}

// CalloutRequest is such a request, signed at a time.
func (s *Salesforce) CalloutRequest(endpointURL, secret string, body []byte, at time.Time) *http.Request {
	return webhooktest.SalesforceCallout(endpointURL, secret, body, at)
}
