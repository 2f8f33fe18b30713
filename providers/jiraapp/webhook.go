package jiraapp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/webhook"
)

// Types of events (developer.atlassian.com/cloud/jira/platform/webhooks, checked
// 2026-11). Any other type of Jira's can be handled too.
const (
	TypeIssueCreated   = "jira:issue_created"
	TypeIssueUpdated   = "jira:issue_updated"
	TypeIssueDeleted   = "jira:issue_deleted"
	TypeCommentCreated = "comment_created"
	TypeCommentUpdated = "comment_updated"
	TypeCommentDeleted = "comment_deleted"
)

const (
	// maxBody is this package's choice: no limit of Jira's is documented.
	maxBody = 4 << 20

	// identifierHeader is the same when Jira sends again, and unique within a site
	// (developer.atlassian.com/cloud/jira/platform/webhooks, checked 2026-11).
	identifierHeader = "X-Atlassian-Webhook-Identifier"
)

// WebhookSource implements providers.WebhookReceiver. Webhooks come in two ways:
//
//   - Dynamic ones, of [RegisterWebhooks], come to the provider's path and prove
//     by a JWT in the Authorization header that Atlassian sends them. The JWT does
//     not cover the body: TLS alone keeps it. An event is for the integrations of
//     the site that the addresses in it name and that hold one of the webhooks it
//     matched.
//   - Those an administrator made, see [AdminWebhook], come to an endpoint of one
//     integration and are signed with that endpoint's secret, body included.
//
// The type of an event is Jira's webhookEvent. With Config.NoWebhooks the error
// wraps errors.ErrUnsupported.
func (a *App) WebhookSource() (webhook.Source, error) {
	if a.cfg.NoWebhooks {
		return webhook.Source{}, fmt.Errorf("integrations/jiraapp: NoWebhooks is set: %w", errors.ErrUnsupported)
	}
	if a.fault != nil {
		return webhook.Source{}, a.fault
	}
	return webhook.Source{
		Verifier: a.verifier, Read: read, MaxBody: maxBody,
		KeepHeaders: []string{identifierHeader, "X-Atlassian-Webhook-Retry", "X-Atlassian-Webhook-Flow"},
	}, nil
}

// verifier takes a JWT at the provider's path and a signature of the body at an
// endpoint, and never the one in place of the other.
type verifier struct {
	jwt  *jwtVerifier
	hmac *webhook.HMAC
}

// newVerifier makes the verifier of an app with these client secrets.
func newVerifier(secrets []string) (webhook.Verifier, error) {
	j, err := newJWTVerifier(secrets)
	if err != nil {
		return nil, err
	}
	// Its own secrets are for nothing: an endpoint's are used instead. A sha1= or
	// any other method is refused (developer.atlassian.com/cloud/jira/platform/webhooks,
	// "Validating webhook deliveries", checked 2026-11).
	h, err := webhook.NewHMAC(webhook.HMACConfig{SignatureHeader: "X-Hub-Signature", Prefix: "sha256=", Secrets: secrets})
	if err != nil {
		return nil, err
	}
	return verifier{j, h}, nil
}

// Verify implements webhook.Verifier.
func (v verifier) Verify(r *webhook.Request) error {
	if r.Endpoint != nil {
		return v.hmac.Verify(r)
	}
	return v.jwt.Verify(r)
}

var (
	errHeader = errors.New("integrations/jiraapp: the webhook's identifier is missing or repeated")
	errBody   = errors.New("integrations/jiraapp: body is not one Jira sends")
)

// located are the members that may tell the site by their address, in the order
// in which they are believed: the issue that something happened to before the
// user who did it.
var located = []string{"issue", "comment", "project", "version", "sprint", "board", "worklog", "attachment", "user"}

// read takes the ids out of a request. Nothing nested is looked at but the
// addresses that Jira itself makes.
func read(r *webhook.Request) (webhook.Receipt, error) {
	id := r.Header[identifierHeader]
	if len(id) != 1 || id[0] == "" {
		return webhook.Receipt{}, errHeader
	}
	keys := append([]string{"webhookEvent", "timestamp", "matchedWebhookIds"}, located...)
	v, err := webhook.Pick(r.Body, keys...)
	if err != nil {
		return webhook.Receipt{}, err
	}
	var n webhook.Notice
	var ok bool
	if n.Type, ok = webhook.String(v[0]); !ok || n.Type == "" {
		return webhook.Receipt{}, errBody
	}
	if millis, ok := webhook.Int(v[1]); ok && millis > 0 && millis < 1<<47 {
		n.OccurredAt = time.UnixMilli(millis).UTC()
	}
	if r.Endpoint != nil {
		// The body's addresses are those of whoever knows the endpoint's secret. No
		// time is signed: an equal body is the same delivery.
		n.Account, n.DedupBody = r.Endpoint.ExternalID, true
	} else {
		if n.Account, err = site(v[3:]); err != nil {
			return webhook.Receipt{}, err
		}
		if n.Subscriptions, err = matched(v[2]); err != nil {
			return webhook.Receipt{}, err
		}
	}
	n.DeliveryID = n.Account + "/" + id[0]
	return webhook.Receipt{Notices: []webhook.Notice{n}}, nil
}

// site is the site that the first member with an address names: a host, which is
// an integration's alias, or a cloud id. It is "" when none has one.
func site(objects [][]byte) (string, error) {
	for _, o := range objects {
		if len(o) == 0 || o[0] != '{' {
			continue
		}
		v, err := webhook.Pick(o, "self")
		if err != nil {
			return "", err
		}
		if v[0] == nil || string(v[0]) == "null" {
			continue
		}
		address, ok := webhook.String(v[0])
		if !ok {
			return "", errBody
		}
		return siteOf(address)
	}
	return "", nil
}

// siteOf reads an address of Jira's API: https://HOST/rest/… or
// https://api.atlassian.com/ex/jira/CLOUDID/rest/….
func siteOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" {
		return "", errBody
	}
	if strings.EqualFold(u.Host, apiHost) {
		rest, ok := strings.CutPrefix(u.Path, "/ex/jira/")
		id, _, more := strings.Cut(rest, "/")
		if !ok || !more || !isCloudID(id) {
			return "", errBody
		}
		return id, nil
	}
	host := siteHost("https://" + u.Host)
	if host == "" {
		return "", errBody
	}
	return host, nil
}

// matched reads the ids of the dynamic webhooks an event matched.
func matched(raw []byte) ([]string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var ids []string
	numbers := true
	err := webhook.Elements(raw, func(e []byte) bool {
		var id int64
		id, numbers = webhook.Int(e)
		ids = append(ids, strconv.FormatInt(id, 10))
		return numbers
	})
	if err != nil || !numbers {
		return nil, errBody
	}
	return ids, nil
}

// IssueEvent is the body of an event about an issue or a comment. Its parts have
// the shapes of API v2.
type IssueEvent struct {
	// Timestamp is in milliseconds since 1970.
	Timestamp    int64  `json:"timestamp"`
	WebhookEvent string `json:"webhookEvent"`
	// IssueEventType tells more of jira:issue_updated: "issue_generic",
	// "issue_assigned", "issue_commented".
	IssueEventType string     `json:"issue_event_type_name"`
	User           *jira.User `json:"user"`
	// Issue is nil in events that are about something else.
	Issue *jira.Issue `json:"issue"`
	// Comment is nil but in events about one.
	Comment *jira.Comment `json:"comment"`
	// Changelog is nil but in updates.
	Changelog *Changelog `json:"changelog"`
	// MatchedWebhookIDs are of dynamic webhooks only.
	MatchedWebhookIDs []int64 `json:"matchedWebhookIds"`
}

// Changelog is what an update changed.
type Changelog struct {
	ID    string   `json:"id"`
	Items []Change `json:"items"`
}

// Change is the change of one field. From and To are ids, "" for none, the other
// two what users see.
type Change struct {
	Field      string `json:"field"`
	FieldID    string `json:"fieldId"`
	FieldType  string `json:"fieldtype"`
	From       string `json:"from"`
	FromString string `json:"fromString"`
	To         string `json:"to"`
	ToString   string `json:"toString"`
}

// On returns a handler of one type of event that decodes its body into a T. For
// an app under another key use Handler.For. fn may run for several events at a
// time.
func On[T any](eventType string, fn func(ctx context.Context, ev webhook.Event, body *T) error) webhook.Handler {
	return webhook.OnJSON(Key, eventType, fn)
}

// OnIssue is [On] for events about issues and comments.
func OnIssue(eventType string, fn func(ctx context.Context, ev webhook.Event, e *IssueEvent) error) webhook.Handler {
	return On(eventType, fn)
}
