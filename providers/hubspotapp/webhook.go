package hubspotapp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/webhook"
)

// TypeWorkflowAction is the type of every custom workflow action; its body is the
// whole request. Only Config.AllowLegacySignatures lets them in.
const TypeWorkflowAction = "workflow_action"

// maxEvents bounds a request. HubSpot sends at most 100 events in one
// (developers.hubspot.com, "Webhooks", read in copies, 2026-11); what it signs is
// not lost if that grows.
const maxEvents = 1000

// WebhookSource implements providers.WebhookReceiver. All accounts share one
// target URL, and one request holds up to 100 events of several accounts: each
// becomes an event of its own, for the account it names, whose Body is that
// element. The type is the subscription's: "contact.creation",
// "contact.propertyChange", "object.creation" and so on.
//
// HubSpot delivers in any order, more than once, and sends again what was not
// answered with 2xx within 5 seconds, up to 10 times in 24 hours
// (developers.hubspot.com, "Webhooks", read in copies, 2026-11). It has no webhook
// for an app that was uninstalled: the next refresh finds out.
//
// With Config.NoWebhooks the error wraps errors.ErrUnsupported.
func (a *App) WebhookSource() (webhook.Source, error) {
	switch {
	case a.cfg.NoWebhooks:
		return webhook.Source{}, fmt.Errorf("integrations/hubspotapp: NoWebhooks is set: %w", errors.ErrUnsupported)
	case a.fault != nil:
		return webhook.Source{}, a.fault
	case a.verifier == nil:
		return webhook.Source{}, fmt.Errorf("integrations/hubspotapp: no ClientSecret: %w", errors.ErrUnsupported)
	}
	return webhook.Source{Verifier: a.verifier, Read: a.read, MaxBody: 1 << 20}, nil
}

var (
	errBody   = errors.New("integrations/hubspotapp: body is not one HubSpot sends")
	errEvents = fmt.Errorf("integrations/hubspotapp: more than %d events in one request", maxEvents)
)

// TypeUnreadable is the type of an element of a batch that is no event this
// package can read. It is stored for nobody, beside the others: refusing the batch
// would lose them, once HubSpot stops to send it again.
const TypeUnreadable = "unreadable"

// read splits a request into its events. One that holds no event that can be read
// is refused.
func (a *App) read(r *webhook.Request) (webhook.Receipt, error) {
	var out webhook.Receipt
	var fault error
	elements, readable := 0, 0
	add := func(raw []byte) bool {
		if elements++; elements > maxEvents {
			fault, readable = errEvents, 0
			return false
		}
		n, wanted, err := a.notice(raw)
		if err != nil {
			fault, n, wanted = err, unreadable(raw), true
		} else {
			readable++
		}
		if wanted {
			out.Notices = append(out.Notices, n)
		}
		return true
	}
	body := bytes.TrimLeft(r.Body, " \t\r\n")
	if len(body) > 0 && body[0] == '{' {
		add(body)
	} else if err := webhook.Elements(body, add); err != nil {
		return webhook.Receipt{}, err
	}
	if fault != nil && readable == 0 {
		return webhook.Receipt{}, fault
	}
	return out, nil
}

func unreadable(raw []byte) webhook.Notice {
	sum := sha256.Sum256(raw)
	return webhook.Notice{DeliveryID: TypeUnreadable + "|" + hex.EncodeToString(sum[:]), Type: TypeUnreadable, Body: raw}
}

// eventKeys are the members of an event that are looked at. Events about
// associations, merges and conversations have ids of their own beside objectId or
// in its place: the last ones, from extra on.
var eventKeys = []string{
	"portalId", "appId", "subscriptionType", "objectId", "eventId", "occurredAt", "propertyName", "changeSource", "callbackId", "origin",
	"objectTypeId", "fromObjectId", "toObjectId", "associationType", "associationRemoved", "primaryObjectId", "newObjectId", "messageId",
}

const extra = 10

// notice reads one event. It reports false for one that is not wanted.
func (a *App) notice(raw []byte) (webhook.Notice, bool, error) {
	v, err := webhook.Pick(raw, eventKeys...)
	if err != nil {
		return webhook.Notice{}, false, err
	}
	if v[2] == nil && v[8] != nil {
		n, err := workflowAction(raw, v[8], v[9])
		return n, true, err
	}
	n := webhook.Notice{Body: raw}
	if n.Account, err = portal(v[0]); err != nil {
		return webhook.Notice{}, false, err
	}
	var ok bool
	if n.Type, ok = webhook.String(v[2]); !ok || n.Type == "" {
		return webhook.Notice{}, false, errBody
	}
	if ms, ok := webhook.Int(v[5]); ok && ms <= latest {
		n.OccurredAt = time.UnixMilli(ms).UTC()
	}
	if n.DeliveryID, err = eventID(n.Account, n.Type, raw, v); err != nil {
		return webhook.Notice{}, false, err
	}
	source, _ := webhook.String(v[7])
	app, _ := webhook.Int(v[1])
	return n, (a.cfg.AppID == 0 || app == a.cfg.AppID) && !(a.cfg.SkipImports && source == "IMPORT"), nil
}

// latest is the last millisecond of the year 9999: there is no text for later
// ones.
const latest = 253402300799999

// portal reads the id of an account.
func portal(raw []byte) (string, error) {
	id, ok := webhook.Int(raw)
	if !ok || id == 0 {
		return "", errBody
	}
	return strconv.FormatInt(id, 10), nil
}

// eventID tells repeats of an event apart from others: eventId alone is not
// unique. How often it was tried is left out.
func eventID(account, typ string, raw []byte, v [][]byte) (string, error) {
	parts := []string{account, typ}
	for _, i := range []int{3, 4, 5, 6} { // objectId, eventId, occurredAt, propertyName
		s, err := scalar(v[i])
		if err != nil {
			return "", err
		}
		parts = append(parts, s)
	}
	for i := extra; i < len(v); i++ {
		if eventKeys[i] == "objectTypeId" && !strings.HasPrefix(typ, "object.") {
			continue // the type names it
		}
		s, err := scalar(v[i])
		if err != nil {
			return "", err
		}
		if s != "" {
			parts = append(parts, eventKeys[i]+"="+s)
		}
	}
	if parts[3] == "" && parts[4] == "" { // nothing tells two events apart
		sum := sha256.Sum256(raw)
		parts = append(parts, "body="+hex.EncodeToString(sum[:]))
	}
	return joined(parts), nil
}

// maxID is the longest id an inbox keeps.
const maxID = 191

// joined makes one id of several parts, and a hash of them where they are too long
// or could be cut otherwise.
func joined(parts []string) string {
	id := strings.Join(parts, "|")
	unsafe := func(r rune) bool { return r < ' ' || r > '~' }
	if len(id) <= maxID && strings.Count(id, "|") == len(parts)-1 && !strings.ContainsFunc(id, unsafe) {
		return id
	}
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// scalar reads a value that is part of an id: a string's text, "" for null and
// for one that is missing, anything else as it stands.
func scalar(raw []byte) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	switch raw[0] {
	case '{', '[':
		return "", errBody
	case '"':
		s, ok := webhook.String(raw)
		if !ok {
			return "", errBody
		}
		return s, nil
	}
	return string(raw), nil
}

// workflowAction reads a request of a custom workflow action, which HubSpot signs
// with v2 (developers.hubspot.com, "Custom workflow actions", checked 2026-11).
func workflowAction(raw, callback, origin []byte) (webhook.Notice, error) {
	id, ok := webhook.String(callback)
	if !ok || id == "" {
		return webhook.Notice{}, errBody
	}
	v, err := webhook.Pick(origin, "portalId")
	if err != nil {
		return webhook.Notice{}, err
	}
	account, err := portal(v[0])
	if err != nil {
		return webhook.Notice{}, err
	}
	return webhook.Notice{DeliveryID: joined([]string{account, TypeWorkflowAction, id}), Type: TypeWorkflowAction, Account: account, Body: raw}, nil
}

// Notification is the body of an event. Which members are set depends on its
// type.
type Notification struct {
	// EventID is not unique: use webhook.Event.ID.
	EventID        int64 `json:"eventId"`
	SubscriptionID int64 `json:"subscriptionId"`
	PortalID       int64 `json:"portalId"`
	AppID          int64 `json:"appId"`
	// OccurredAt is in milliseconds since 1970. Order events by it.
	OccurredAt       int64  `json:"occurredAt"`
	SubscriptionType string `json:"subscriptionType"`
	// AttemptNumber counts from 0.
	AttemptNumber int `json:"attemptNumber"`
	// ObjectID is the record's id; ObjectTypeID its type, such as "0-1", in events
	// of type "object.…".
	ObjectID     int64  `json:"objectId"`
	ObjectTypeID string `json:"objectTypeId"`
	// ChangeSource is what changed it: "CRM_UI", "API", "IMPORT" and so on.
	ChangeSource string `json:"changeSource"`
	ChangeFlag   string `json:"changeFlag"`
	SourceID     string `json:"sourceId"`
	// PropertyName and PropertyValue are of a property that changed.
	PropertyName  string `json:"propertyName"`
	PropertyValue string `json:"propertyValue"`
	// PrimaryObjectID, MergedObjectIDs and NewObjectID are of a merge.
	PrimaryObjectID int64   `json:"primaryObjectId"`
	MergedObjectIDs []int64 `json:"mergedObjectIds"`
	NewObjectID     int64   `json:"newObjectId"`
	// AssociationType, FromObjectID, ToObjectID, AssociationRemoved and
	// IsPrimaryAssociation are of an association that changed.
	AssociationType      string `json:"associationType"`
	FromObjectID         int64  `json:"fromObjectId"`
	ToObjectID           int64  `json:"toObjectId"`
	AssociationRemoved   bool   `json:"associationRemoved"`
	IsPrimaryAssociation bool   `json:"isPrimaryAssociation"`
	// MessageID and MessageType are of a conversation's message.
	MessageID   string `json:"messageId"`
	MessageType string `json:"messageType"`
}

// On returns a handler of one type of event that decodes its body into a T:
// usually a [Notification], for [TypeWorkflowAction] a struct of your own. For an
// app under another key use Handler.For.
//
// "contact.privacyDeletion" asks you to delete what you hold about a contact.
func On[T any](subscriptionType string, fn func(ctx context.Context, ev webhook.Event, body *T) error) webhook.Handler {
	return webhook.OnJSON(Key, subscriptionType, fn)
}
