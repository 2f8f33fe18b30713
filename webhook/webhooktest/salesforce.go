package webhooktest

import (
	"net/http"
	"time"

	"github.com/saas-integrations/integrations/webhook"
)

// SalesforceCallout returns a request as code of an org signs it with the secret of
// an endpoint: see package salesforceapp.
func SalesforceCallout(url, secret string, body []byte, at time.Time) *http.Request {
	return HMAC(url, webhook.HMACConfig{
		SignatureHeader: "X-Signature", Prefix: "sha256=", Signed: "{timestamp}.{body}", TimestampHeader: "X-Timestamp", Secrets: []string{secret},
	}, body, at)
}

// SalesforceOutbound returns a request as Salesforce sends an outbound message, SOAP
// that nothing signs: the URL, which is an endpoint's, is what proves the sender.
func SalesforceOutbound(url string, body []byte) *http.Request {
	r := post(url, body)
	r.Header.Set("Content-Type", "text/xml; charset=utf-8")
	r.Header.Set("SOAPAction", `""`)
	return r
}
