package salesforceapp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/webhook"
)

const (
	// TypeCallout is the type of a callout that names none.
	TypeCallout = "callout"
	// outboundPrefix begins the types of outbound messages; that of the object
	// follows. No callout has such a type: it is signed and they are not.
	outboundPrefix = "outbound_message."

	signatureHeader = "X-Signature"
	timestampHeader = "X-Timestamp"

	// maxBody is more than a hundred notifications take.
	maxBody = 1 << 20
)

// WebhookSource implements providers.WebhookReceiver. Salesforce signs nothing, so
// everything comes to an endpoint of the integration's own, see [OpenWebhook], and
// is one of two:
//
//   - an outbound message, which Salesforce sends by itself: SOAP whose
//     OrganizationId is the connected org's. What proves the sender is the secret
//     in the endpoint's URL. Each of its notifications, 100 at most, is an event of
//     the type "outbound_message.OBJECT" whose body is JSON, see [OutboundMessage];
//     a session id in it is not kept. It is acknowledged once all are stored.
//   - a callout of Apex code of the org: a JSON object signed with the endpoint's
//     secret, the header X-Signature holding "sha256=" and the HMAC in hex of the
//     header X-Timestamp (seconds since 1970), a dot and the body. Its members
//     "type" and "id" are the event's type and delivery id, "organizationId" must
//     be the connected org's; all three may be missing. Its type never begins with
//     "outbound_message.".
//
// Bodies are at most 1 MiB. With Config.NoWebhooks the error wraps
// errors.ErrUnsupported.
func (a *App) WebhookSource() (webhook.Source, error) {
	if a.cfg.NoWebhooks {
		return webhook.Source{}, fmt.Errorf("integrations/salesforceapp: NoWebhooks is set: %w", errors.ErrUnsupported)
	}
	return webhook.Source{Verifier: verifier{a.callout}, Read: read, MaxBody: maxBody}, nil
}

// newCalloutVerifier is the scheme of callouts. Only an endpoint's secrets count:
// the configured one is nobody's.
func newCalloutVerifier() *webhook.HMAC {
	v, _ := webhook.NewHMAC(webhook.HMACConfig{ // constants: never fails
		SignatureHeader: signatureHeader, Prefix: "sha256=", Signed: "{timestamp}.{body}", TimestampHeader: timestampHeader,
		Secrets: []string{rand.Text()},
	})
	return v
}

// verifier tells the two kinds of request apart.
type verifier struct{ callout *webhook.HMAC }

// Verify implements webhook.Verifier. What is neither kind, or not sent to an
// endpoint, is refused.
func (v verifier) Verify(r *webhook.Request) error {
	switch {
	case r.Endpoint == nil:
		return webhook.ErrNotSigned
	case isCallout(r):
		return v.callout.Verify(r)
	case !isSOAP(r):
		return webhook.ErrNotSigned
	case r.Endpoint.ExternalID == "":
		return webhook.ErrBadSignature // an unknown path: not worth reading XML for
	}
	m, err := parseOutbound(r.Body)
	if err != nil {
		return webhook.ErrNotSigned
	}
	if !sameOrg(m.org, r.Endpoint) {
		return webhook.ErrBadSignature
	}
	return nil
}

func isCallout(r *webhook.Request) bool { return len(r.Header[signatureHeader]) > 0 }

// isSOAP reports whether a request says that it is SOAP 1.1 in UTF-8.
func isSOAP(r *webhook.Request) bool {
	if len(r.Header["Content-Type"]) != 1 {
		return false
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, given := params["charset"]
	return err == nil && kind == "text/xml" && (!given || strings.EqualFold(charset, "utf-8"))
}

// sameOrg reports whether org, a long id, is the endpoint's account.
func sameOrg(org string, e *webhook.Endpoint) bool {
	return subtle.ConstantTimeCompare([]byte(org), []byte(e.ExternalID)) == 1
}

var errBody = errors.New("integrations/salesforceapp: body is neither an outbound message nor a callout")

func read(r *webhook.Request) (webhook.Receipt, error) {
	if r.Endpoint == nil {
		return webhook.Receipt{}, errBody
	}
	if isCallout(r) {
		return readCallout(r)
	}
	m, err := parseOutbound(r.Body)
	if err != nil {
		return webhook.Receipt{}, err
	}
	receipt := webhook.Receipt{Reply: &webhook.Reply{ContentType: "text/xml; charset=utf-8", Body: []byte(acknowledgement)}}
	for _, n := range m.notifications {
		receipt.Notices = append(receipt.Notices, webhook.Notice{
			DeliveryID: n.id, Type: outboundPrefix + n.object, Account: m.org, Body: n.body,
		})
	}
	return receipt, nil
}

// readCallout reads what an org's own code posts.
func readCallout(r *webhook.Request) (webhook.Receipt, error) {
	v, err := webhook.Pick(r.Body, "type", "id", "organizationId")
	if err != nil {
		return webhook.Receipt{}, err
	}
	typ, id, org := TypeCallout, "", r.Endpoint.ExternalID
	for i, into := range []*string{&typ, &id, &org} {
		if v[i] == nil || string(v[i]) == "null" {
			continue
		}
		text, ok := webhook.String(v[i])
		if !ok || text == "" {
			return webhook.Receipt{}, errBody
		}
		*into = text
	}
	// A sandbox is a copy of the org that has the secret too.
	long, ok := longID(org)
	if !ok || !sameOrg(long, r.Endpoint) || strings.HasPrefix(typ, outboundPrefix) {
		return webhook.Receipt{}, errBody
	}
	if id == "" {
		// The signed time tells two equal events apart.
		h := sha256.New()
		h.Write([]byte(r.Header.Get(timestampHeader) + "."))
		h.Write(r.Body)
		id = hex.EncodeToString(h.Sum(nil))
	}
	return webhook.Receipt{Notices: []webhook.Notice{{DeliveryID: TypeCallout + ":" + id, Type: typ, Account: long}}}, nil
}

// OpenWebhook makes a webhook endpoint of this integration's own. Its URL and its
// Secret are known now and never again: the URL goes into an outbound message or
// a named credential of the org, the Secret into the code that signs callouts.
// Without a store that keeps endpoints the error wraps errors.ErrUnsupported.
func OpenWebhook(ctx context.Context, conn *providers.Connection) (providers.Endpoint, error) {
	if err := conn.RequireKind(Key); err != nil {
		return providers.Endpoint{}, err
	}
	return conn.OpenEndpoint(ctx)
}

// CloseWebhook removes an endpoint by its ID: what arrives there is refused from
// now on.
func CloseWebhook(ctx context.Context, conn *providers.Connection, id string) error {
	if err := conn.RequireKind(Key); err != nil {
		return err
	}
	return conn.CloseEndpoint(ctx, id)
}

// OnOutboundMessage returns a handler of the outbound messages about one object.
// Messages come at least once, in any order, and hold the record as it is when
// they are sent, not when it changed. All values are text: T's fields are strings
// or read themselves from one, as those of [Contact] do. Use Handler.For for a
// registration under another key.
func OnOutboundMessage[T any](object string, fn func(ctx context.Context, ev webhook.Event, m *OutboundMessage[T]) error) webhook.Handler {
	return webhook.OnJSON(Key, outboundPrefix+object, fn)
}

// On returns a handler of one type of callout that decodes its body into a T. Use
// Handler.For for a registration under another key.
func On[T any](eventType string, fn func(ctx context.Context, ev webhook.Event, body *T) error) webhook.Handler {
	return webhook.OnJSON(Key, eventType, fn)
}
