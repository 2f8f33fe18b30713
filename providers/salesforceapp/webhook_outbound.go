package salesforceapp

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
)

// OutboundMessage is a notification of an outbound message, the body of its event.
type OutboundMessage[T any] struct {
	// OrganizationID is the org's long id, ActionID that of the message as an
	// administrator defined it.
	OrganizationID string `json:"organization_id"`
	ActionID       string `json:"action_id"`
	// NotificationID is the same when Salesforce sends again.
	NotificationID string `json:"notification_id"`
	// Object is the record's, "Contact".
	Object string `json:"object"`
	// Record has the fields the administrator chose, and Id.
	Record T `json:"record"`
}

// Namespaces of an outbound message (developer.salesforce.com, SOAP API developer
// guide, "Outbound Messaging", checked 2026-11).
const (
	nsSOAP     = "http://schemas.xmlsoap.org/soap/envelope/"
	nsOutbound = "http://soap.sforce.com/2005/09/outbound"
	nsObject   = "urn:sobject.enterprise.soap.sforce.com"
	nsXSI      = "http://www.w3.org/2001/XMLSchema-instance"
)

// acknowledgement tells Salesforce that a whole message is stored. Anything else
// makes it send again, for 24 hours.
const acknowledgement = `<?xml version="1.0" encoding="UTF-8"?>` +
	`<soapenv:Envelope xmlns:soapenv="` + nsSOAP + `"><soapenv:Body>` +
	`<notificationsResponse xmlns="` + nsOutbound + `"><Ack>true</Ack></notificationsResponse>` +
	`</soapenv:Body></soapenv:Envelope>`

// Bounds of a message.
const (
	maxNotifications = 100 // by the WSDL
	maxDepth         = 16
	maxElements      = 32 << 10
	maxAttributes    = 16
)

var errOutbound = errors.New("integrations/salesforceapp: body is not an outbound message")

// outbound is a message that was read.
type outbound struct {
	org           string
	notifications []notification
}

type notification struct {
	id, object string
	body       []byte
}

// element is a parsed element. Names are resolved.
type element struct {
	name     xml.Name
	typ      xml.Name // xsi:type
	null     bool     // xsi:nil
	text     []byte
	children []*element
}

// parseOutbound reads a message strictly: no document type, no processing
// instruction, no comment, no element twice where one is meant, nothing after the
// envelope.
func parseOutbound(body []byte) (outbound, error) {
	var m outbound
	root, err := parseXML(body)
	if err != nil {
		return m, err
	}
	if root.name != (xml.Name{Space: nsSOAP, Local: "Envelope"}) {
		return m, errOutbound
	}
	inner, err := root.one(nsSOAP, "Body")
	if err != nil {
		return m, err
	}
	message, err := inner.one(nsOutbound, "notifications")
	if err != nil {
		return m, err
	}
	var ok bool
	org, err := message.one(nsOutbound, "OrganizationId")
	if err != nil {
		return m, err
	}
	if m.org, ok = org.id(); !ok || !strings.HasPrefix(m.org, orgPrefix) {
		return m, errOutbound
	}
	action, err := message.one(nsOutbound, "ActionId")
	if err != nil {
		return m, err
	}
	actionID, ok := action.id()
	if !ok {
		return m, errOutbound
	}
	seen := map[string]bool{}
	for _, c := range message.children {
		if c.name != (xml.Name{Space: nsOutbound, Local: "Notification"}) {
			continue // SessionId among others: never looked at
		}
		n, err := c.notification(m.org, actionID)
		if err != nil {
			return m, err
		}
		if seen[n.id] || len(m.notifications) == maxNotifications {
			return m, errOutbound
		}
		seen[n.id] = true
		m.notifications = append(m.notifications, n)
	}
	if len(m.notifications) == 0 {
		return m, errOutbound
	}
	return m, nil
}

func (e *element) notification(org, action string) (notification, error) {
	var n notification
	id, err := e.one(nsOutbound, "Id")
	if err != nil {
		return n, err
	}
	record, err := e.one(nsOutbound, "sObject")
	if err != nil {
		return n, err
	}
	var ok bool
	if n.id, ok = id.id(); !ok || record.typ.Space != nsObject || !isName(record.typ.Local) {
		return n, errOutbound
	}
	n.object = record.typ.Local
	fields, err := record.fields()
	if err != nil {
		return n, err
	}
	if recordID, ok := fields["Id"].(string); !ok {
		return n, errOutbound
	} else if fields["Id"], ok = longID(recordID); !ok {
		return n, errOutbound
	}
	n.body, err = json.Marshal(OutboundMessage[map[string]any]{
		OrganizationID: org, ActionID: action, NotificationID: n.id, Object: n.object, Record: fields,
	})
	return n, err
}

// fields are a record's: text, null, or the fields of a nested record.
func (e *element) fields() (map[string]any, error) {
	out := make(map[string]any, len(e.children))
	for _, c := range e.children {
		if _, twice := out[c.name.Local]; twice || c.name.Space != nsObject || !isName(c.name.Local) {
			return nil, errOutbound
		}
		switch {
		case c.null:
			out[c.name.Local] = nil
		case len(c.children) == 0:
			out[c.name.Local] = string(c.text)
		default:
			nested, err := c.fields()
			if err != nil {
				return nil, err
			}
			out[c.name.Local] = nested
		}
	}
	return out, nil
}

// one returns the child of a name that occurs once.
func (e *element) one(space, local string) (*element, error) {
	var found *element
	for _, c := range e.children {
		if c.name.Local != local {
			continue
		}
		if found != nil || c.name.Space != space {
			return nil, errOutbound
		}
		found = c
	}
	if found == nil {
		return nil, errOutbound
	}
	return found, nil
}

// id is an element's text as a long id.
func (e *element) id() (string, bool) {
	if len(e.children) > 0 || e.null {
		return "", false
	}
	return longID(string(e.text))
}

// parseXML reads a whole document into memory. Go's decoder knows no entities but
// XML's own five and no encoding but UTF-8.
func parseXML(body []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	top := &element{}
	open := []*element{top}
	var scopes []scope
	elements := 0
	for first := true; ; first = false {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errOutbound // its text quotes the body
		}
		inner := open[len(open)-1]
		switch t := t.(type) {
		case xml.StartElement:
			elements++
			if elements > maxElements || len(open) > maxDepth || len(t.Attr) > maxAttributes || len(open) == 1 && len(top.children) > 0 {
				return nil, errOutbound
			}
			child, s, err := start(t, scopes)
			if err != nil {
				return nil, err
			}
			scopes = append(scopes, s)
			inner.children = append(inner.children, child)
			open = append(open, child)
		case xml.EndElement:
			// Blank text between elements means nothing, other text does.
			if len(inner.children) > 0 && len(bytes.TrimSpace(inner.text)) > 0 {
				return nil, errOutbound
			}
			open, scopes = open[:len(open)-1], scopes[:len(scopes)-1]
		case xml.CharData:
			inner.text = append(inner.text, t...)
		case xml.ProcInst:
			if !first || t.Target != "xml" {
				return nil, errOutbound
			}
		default: // a document type, or a comment, which would cut a value in two
			return nil, errOutbound
		}
	}
	if len(top.children) != 1 || len(bytes.TrimSpace(top.text)) > 0 {
		return nil, errOutbound
	}
	return top.children[0], nil
}

// scope holds the namespaces an element declares, by prefix.
type scope map[string]string

// start reads the attributes of an element. xsi:type holds a name, whose prefix
// the decoder does not resolve.
func start(t xml.StartElement, outer []scope) (*element, scope, error) {
	e := &element{name: t.Name}
	var declared scope
	typ := ""
	for i, a := range t.Attr {
		if slices.ContainsFunc(t.Attr[:i], func(other xml.Attr) bool { return other.Name == a.Name }) {
			return nil, nil, errOutbound
		}
		switch a.Name {
		case xml.Name{Space: nsXSI, Local: "type"}:
			typ = a.Value
		case xml.Name{Space: nsXSI, Local: "nil"}:
			e.null = a.Value == "true" || a.Value == "1"
		}
		if a.Name.Space == "xmlns" {
			if declared == nil {
				declared = scope{}
			}
			declared[a.Name.Local] = a.Value
		}
	}
	prefix, local, ok := strings.Cut(typ, ":")
	if !ok {
		return e, declared, nil
	}
	ns, known := declared[prefix]
	for i := len(outer) - 1; i >= 0 && !known; i-- {
		ns, known = outer[i][prefix]
	}
	if known {
		e.typ = xml.Name{Space: ns, Local: local}
	}
	return e, declared, nil
}
