package githubapp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/webhook"
)

const (
	// maxBody is what GitHub caps payloads at (docs.github.com, "Webhook events and
	// payloads", checked 2026-11).
	maxBody = 25 << 20

	eventHeader    = "X-Github-Event"
	deliveryHeader = "X-Github-Delivery"

	eventPing          = "ping"
	eventInstallation  = "installation"
	eventRepositories  = "installation_repositories"
	eventAuthorization = "github_app_authorization"
)

// newVerifier is X-Hub-Signature-256 (docs.github.com, "Validating webhook
// deliveries", checked 2026-11). The SHA-1 header is never looked at.
func newVerifier(secrets []string) (*webhook.HMAC, error) {
	return webhook.NewHMAC(webhook.HMACConfig{SignatureHeader: "X-Hub-Signature-256", Prefix: "sha256=", Secrets: secrets})
}

// WebhookSource implements providers.WebhookReceiver: JSON and form deliveries.
//
// In ModeInstallation an event is for the installation it names. In ModeUser
// only github_app_authorization is for anybody, the user who revoked: what a
// user did in some organisation is not for every tenant that knows the user.
func (a *App) WebhookSource() (webhook.Source, error) {
	if a.hmacErr != nil {
		return webhook.Source{}, fmt.Errorf("integrations/githubapp: WebhookSecrets: %w", a.hmacErr)
	}
	if a.hmac == nil {
		return webhook.Source{}, fmt.Errorf("integrations/githubapp: no WebhookSecrets: %w", errors.ErrUnsupported)
	}
	return webhook.Source{
		Verifier: a.hmac, Read: a.read, MaxBody: maxBody,
		KeepHeaders: []string{eventHeader, deliveryHeader},
	}, nil
}

var (
	errHeaders = errors.New("integrations/githubapp: event or delivery header is missing or repeated")
	errForm    = errors.New("integrations/githubapp: form has no single payload")
	errShape   = errors.New("integrations/githubapp: body is not of the event's shape")
)

// shape is what the bodies of one event look like. The event's name stands in a
// header that is not signed: a signed body of one event must not pass for
// another.
type shape struct {
	// keys are the members to look at: accountKeys, then those that must be there,
	// then those that must not.
	keys   []string
	absent int // where the last group starts
	// at are the member and its member that hold the time of the event.
	at [2]string
}

// accountKeys are the members an account is read from.
var accountKeys = []string{"installation", "sender"}

func shapeOf(has, hasNot string, at ...string) shape {
	s := shape{keys: append(slices.Clone(accountKeys), strings.Fields(has)...)}
	s.absent = len(s.keys)
	s.keys = append(s.keys, strings.Fields(hasNot)...)
	copy(s.at[:], at)
	return s
}

// anyShape is that of an event nothing is known of.
var anyShape = shapeOf("", "")

// shapes are from docs.github.com, "Webhook events and payloads", and the OpenAPI
// description in github/rest-api-description, checked 2026-11.
var shapes = map[string]shape{
	"push":   shapeOf("ref before after repository", "", "repository", "pushed_at"),
	"create": shapeOf("ref ref_type master_branch repository", ""),
	"delete": shapeOf("ref ref_type repository", "master_branch"),

	"issues":                      shapeOf("action issue", "comment", "issue", "updated_at"),
	"issue_comment":               shapeOf("action issue comment", "", "comment", "updated_at"),
	"pull_request":                shapeOf("action pull_request", "comment review thread", "pull_request", "updated_at"),
	"pull_request_review":         shapeOf("action pull_request review", "", "review", "submitted_at"),
	"pull_request_review_comment": shapeOf("action pull_request comment", "", "comment", "updated_at"),
	"release":                     shapeOf("action release", ""),
	"check_run":                   shapeOf("action check_run", ""),
	"check_suite":                 shapeOf("action check_suite", ""),
	"workflow_job":                shapeOf("action workflow_job", ""),
	"workflow_run":                shapeOf("action workflow_run", "", "workflow_run", "updated_at"),

	// A suspension has a time, nothing else that happens to an installation has.
	eventInstallation: shapeOf("action installation", "repositories_added", "installation", "suspended_at"),
	eventRepositories: shapeOf("action installation repositories_added repositories_removed", ""),
	// secret_scanning_alert is "revoked" too.
	eventAuthorization: shapeOf("action sender", "repository"),
}

// read takes the ids out of a delivery. Its id and type stand in headers, the
// account at the body's top level.
func (a *App) read(r *webhook.Request) (webhook.Receipt, error) {
	event, delivery := r.Header[eventHeader], r.Header[deliveryHeader]
	if len(event) != 1 || len(delivery) != 1 || event[0] == "" || delivery[0] == "" {
		return webhook.Receipt{}, errHeaders
	}
	body, fromForm, err := payload(r.Body)
	if err != nil {
		return webhook.Receipt{}, err
	}
	s, known := shapes[event[0]]
	if !known {
		s = anyShape
	}
	v, err := webhook.Pick(body, s.keys...)
	if err != nil {
		return webhook.Receipt{}, err
	}
	if event[0] == eventPing {
		return webhook.Receipt{Reply: &webhook.Reply{}}, nil
	}
	n := webhook.Notice{DeliveryID: delivery[0], Type: event[0], DedupBody: true}
	if n.OccurredAt, err = s.check(v); err != nil {
		return webhook.Receipt{}, err
	}
	if n.Account, err = a.account(n.Type, v[0], v[1]); err != nil {
		return webhook.Receipt{}, err
	}
	if fromForm {
		n.Body = body
	}
	return webhook.Receipt{Notices: []webhook.Notice{n}}, nil
}

// payload is the JSON of a delivery, which may come in a form. The body tells
// which, not the Content-Type: that is not signed, and JSON read as a form could
// yield a payload that somebody wrote into a commit message.
func payload(body []byte) (decoded []byte, fromForm bool, err error) {
	encoded, ok := bytes.CutPrefix(body, []byte("payload="))
	if !ok {
		return body, false, nil
	}
	text, err := url.QueryUnescape(string(encoded))
	if err != nil || bytes.IndexByte(encoded, '&') >= 0 {
		return nil, false, errForm
	}
	return []byte(text), true, nil
}

// present reports whether a member has a value.
func present(raw []byte) bool { return raw != nil && string(raw) != "null" }

// check refuses values of s.keys that cannot be of the event, and returns the
// event's time, zero when it has none.
func (s shape) check(values [][]byte) (time.Time, error) {
	var at time.Time
	for i, raw := range values[len(accountKeys):] {
		i += len(accountKeys)
		if present(raw) != (i < s.absent) {
			return time.Time{}, errShape
		}
		if s.keys[i] == s.at[0] {
			at = moment(raw, s.at[1])
		}
	}
	return at, nil
}

// moment reads a time, in RFC 3339 or in seconds since 1970, out of an object. It
// is zero when there is none.
func moment(object []byte, member string) time.Time {
	v, err := webhook.Pick(object, member)
	if err != nil {
		return time.Time{}
	}
	if seconds, ok := webhook.Int(v[0]); ok {
		return time.Unix(seconds, 0).UTC()
	}
	text, _ := webhook.String(v[0])
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// account is whom an event is for, "" for nobody.
func (a *App) account(event string, installation, sender []byte) (string, error) {
	object := installation
	switch {
	case a.cfg.Mode == ModeInstallation:
	case a.cfg.Mode == ModeUser && event == eventAuthorization:
		object = sender
	default:
		return "", nil
	}
	if !present(object) {
		return "", nil
	}
	v, err := webhook.Pick(object, "id", "app_id")
	if err != nil {
		return "", err
	}
	id, ok := webhook.Int(v[0])
	if !ok || id == 0 {
		return "", errShape
	}
	if event == eventInstallation {
		// Most events name the installation, and many know an action "deleted": only
		// those about the installation itself describe it in full.
		if app, ok := webhook.Int(v[1]); !ok || app != a.cfg.AppID {
			return "", errShape
		}
	}
	return strconv.FormatInt(id, 10), nil
}

// LifecycleTypes implements providers.LifecycleReader. An OAuth App hears of
// nothing.
func (a *App) LifecycleTypes() []string {
	switch a.cfg.Mode {
	case ModeInstallation:
		return []string{eventInstallation, eventRepositories}
	case ModeUser:
		return []string{eventAuthorization}
	}
	return nil
}

// Lifecycle implements providers.LifecycleReader. A created installation binds
// nothing: only a user's callback does. Events come in any order, and days late when
// they were missed: one that describes an older state of the installation than what
// is known means nothing. The end of one is never old: each has its own id.
func (a *App) Lifecycle(ev webhook.Event, in providers.Snapshot) (providers.Lifecycle, error) {
	var body struct {
		Action       string       `json:"action"`
		Installation installation `json:"installation"`
	}
	if err := ev.Decode(&body); err != nil {
		return providers.Lifecycle{}, err
	}
	l := providers.Lifecycle{Reason: ev.Type + "_" + body.Action}
	switch ev.Type + " " + body.Action {
	case "installation deleted", "github_app_authorization revoked":
		l.Kind = providers.Uninstalled
		return l, nil
	case "installation suspend":
		l.Kind = providers.Suspended
	case "installation unsuspend":
		l.Kind = providers.Resumed
	case "installation new_permissions_accepted", "installation_repositories added", "installation_repositories removed":
		l.Kind = providers.Regranted
	default:
		return providers.Lifecycle{}, nil
	}
	known, err := ReadAccount(in)
	if err != nil {
		return providers.Lifecycle{}, err
	}
	if at := body.Installation.UpdatedAt.Time; !at.IsZero() && at.Before(known.UpdatedAt) {
		return providers.Lifecycle{}, nil
	}
	if body.Installation.AppID != a.cfg.AppID {
		return l, nil // not described in full
	}
	// A token was made with the permissions of its time.
	l.Scopes, l.Renew = permissionScopes(body.Installation.Permissions), body.Action == "new_permissions_accepted"
	l.ProviderData, err = a.providerData(body.Installation)
	return l, err
}

// On returns a handler of one event that decodes its body into a T, for example
// a github.IssuesEvent. For an App under another key use Handler.For. fn may run
// for several events at a time.
func On[T any](event string, fn func(ctx context.Context, ev webhook.Event, body *T) error) webhook.Handler {
	return webhook.OnJSON(Key, event, fn)
}

// Push returns a handler of pushes.
func Push(fn func(ctx context.Context, ev webhook.Event, p *github.PushEvent) error) webhook.Handler {
	return On("push", fn)
}

// Installation returns a handler of the events of an installation itself.
// The library has changed the integration's status before it runs.
func Installation(fn func(ctx context.Context, ev webhook.Event, p *github.InstallationEvent) error) webhook.Handler {
	return On(eventInstallation, fn)
}
