package slackapp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/webhook"
)

// Types of webhooks that are not inner events of the Events API.
const (
	// TypeSlashCommand is the type of every slash command; the body is its form,
	// see [ReadCommand].
	TypeSlashCommand = "slash_command"
	// TypeRateLimited says that Slack dropped events of a workspace
	// (docs.slack.dev/reference/events/app_rate_limited, checked 2026-11).
	TypeRateLimited = "app_rate_limited"

	typeUninstalled   = "app_uninstalled"
	typeTokensRevoked = "tokens_revoked"
)

// newVerifier is Slack's v0 scheme, with its five minutes
// (docs.slack.dev/authentication/verifying-requests-from-slack, checked 2026-11).
func newVerifier(secrets []string) (*webhook.HMAC, error) {
	return webhook.NewHMAC(webhook.HMACConfig{
		SignatureHeader: "X-Slack-Signature", Prefix: "v0=", Signed: "v0:{timestamp}:{body}",
		TimestampHeader: "X-Slack-Request-Timestamp", Secrets: secrets,
	})
}

// WebhookSource implements providers.WebhookReceiver: events, interactivity and
// slash commands come to one path, of at most 1 MiB each. Slack's challenges and
// probes are answered once they are verified.
//
// The type of an event is that of the inner event ("app_mention"), the type of
// an interaction is Slack's ("block_actions", "view_submission") and its body
// the payload's JSON, the type of a command is [TypeSlashCommand]. All are
// answered with an empty 200 before a handler runs: what wants its answer in the
// response itself, such as the options of a select menu or the errors of a
// submitted view, cannot be served this way.
//
// Without signing secrets the error wraps errors.ErrUnsupported.
func (a *App) WebhookSource() (webhook.Source, error) {
	if !a.signed {
		return webhook.Source{}, fmt.Errorf("integrations/slackapp: no SigningSecrets: %w", errors.ErrUnsupported)
	}
	if a.fault != nil {
		return webhook.Source{}, a.fault
	}
	return webhook.Source{
		Verifier: a.hmac, Read: read, MaxBody: 1 << 20,
		KeepHeaders: []string{"X-Slack-Retry-Num", "X-Slack-Retry-Reason"},
	}, nil
}

var errBody = errors.New("integrations/slackapp: body is not one Slack sends")

// read tells the kinds of request apart as Bolt does: JSON, a form with a JSON
// payload, or a plain form. The field "token" is deprecated and never read.
func read(r *webhook.Request) (webhook.Receipt, error) {
	body := bytes.TrimLeft(r.Body, " \t\r\n")
	if len(body) > 0 && body[0] == '{' {
		return readOuter(body)
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return webhook.Receipt{}, errBody
	}
	for _, name := range []string{"payload", "command", "trigger_id", "team_id", "enterprise_id", "is_enterprise_install"} {
		if len(form[name]) > 1 {
			return webhook.Receipt{}, errBody
		}
	}
	switch {
	case form.Has("payload"):
		return one(readInteraction([]byte(form.Get("payload"))))
	case form.Has("command"):
		return one(readCommand(form, r.Body), nil)
	case form.Get("ssl_check") == "1":
		return webhook.Receipt{Reply: &webhook.Reply{}}, nil
	}
	return webhook.Receipt{}, errBody
}

func one(n webhook.Notice, err error) (webhook.Receipt, error) {
	if err != nil {
		return webhook.Receipt{}, err
	}
	return webhook.Receipt{Notices: []webhook.Notice{n}}, nil
}

// readOuter reads what the Events API sends (docs.slack.dev/apis/events-api,
// checked 2026-11).
func readOuter(body []byte) (webhook.Receipt, error) {
	v, err := webhook.Pick(body, "type", "event_id", "event_time", "event", "authorizations", "team_id", "enterprise_id", "is_enterprise_install")
	if err != nil {
		return webhook.Receipt{}, err
	}
	var n webhook.Notice
	switch outer, _ := webhook.String(v[0]); outer {
	case "url_verification":
		return challenge(body)
	case TypeRateLimited:
		n.DeliveryID, n.Type = deliveryID(outer, "", body), outer
	case "event_callback":
		n.DeliveryID, _ = webhook.String(v[1])
		if n.Type, err = member(v[3], "type"); err != nil {
			return webhook.Receipt{}, err
		}
	}
	if n.Type == "" || n.DeliveryID == "" {
		return webhook.Receipt{}, errBody
	}
	if seconds, ok := webhook.Int(v[2]); ok && seconds > 0 {
		n.OccurredAt = time.Unix(seconds, 0)
	}
	n.Account, err = eventAccount(v[4], v[5], v[6], v[7])
	return one(n, err)
}

func challenge(body []byte) (webhook.Receipt, error) {
	v, err := webhook.Pick(body, "challenge")
	if err != nil {
		return webhook.Receipt{}, err
	}
	text, ok := webhook.String(v[0])
	if !ok || len(text) > 1024 {
		return webhook.Receipt{}, errBody
	}
	return webhook.Receipt{Reply: &webhook.Reply{ContentType: "text/plain; charset=utf-8", Body: []byte(text)}}, nil
}

// eventAccount is the workspace or organisation whose install gets the event. In
// shared channels team_id may be another company's: authorizations[0] is the
// install the event was sent for. Nothing in the inner event is looked at, which
// names the company of whoever caused it.
func eventAccount(authorizations, team, enterprise, org []byte) (string, error) {
	first, err := firstOf(authorizations)
	if err != nil {
		return "", err
	}
	if first != nil {
		v, err := webhook.Pick(first, "team_id", "enterprise_id", "is_enterprise_install")
		if err != nil {
			return "", err
		}
		team, enterprise, org = v[0], v[1], v[2]
	}
	t, err := optional(team)
	if err != nil {
		return "", err
	}
	e, err := optional(enterprise)
	if err != nil {
		return "", err
	}
	return account(t, e, isTrue(org)), nil
}

// firstOf returns the first element of a JSON array, nil for none.
func firstOf(array []byte) ([]byte, error) {
	if len(array) == 0 || string(array) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(array))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, errBody
	}
	if !d.More() {
		return nil, nil
	}
	var first json.RawMessage
	if d.Decode(&first) != nil {
		return nil, errBody
	}
	return first, nil
}

// account picks the id an install is stored under.
func account(team, enterprise string, orgInstall bool) string {
	if orgInstall || team == "" {
		return enterprise
	}
	return team
}

// readInteraction reads a payload of interactivity
// (docs.slack.dev/reference/interaction-payloads, checked 2026-11).
func readInteraction(payload []byte) (webhook.Notice, error) {
	v, err := webhook.Pick(payload, "type", "trigger_id", "action_ts", "team", "enterprise", "is_enterprise_install", "view", "user")
	if err != nil {
		return webhook.Notice{}, err
	}
	typ, _ := webhook.String(v[0])
	if typ == "" {
		return webhook.Notice{}, errBody
	}
	who, err := interactionAccount(v[3], v[4], v[6], v[7], isTrue(v[5]))
	if err != nil {
		return webhook.Notice{}, err
	}
	id, _ := webhook.String(v[1])
	if id == "" {
		id, _ = webhook.String(v[2])
	}
	return webhook.Notice{DeliveryID: deliveryID(typ, id, payload), Type: typ, Account: who, Body: payload}, nil
}

// interactionAccount follows Bolt's order: the organisation of an install on
// one, the install a view was opened by, the team, which is null for an install
// on an organisation, the team of the user or the view.
func interactionAccount(team, enterprise, view, user []byte, orgInstall bool) (string, error) {
	var ids [6]string
	for i, place := range []struct {
		object []byte
		key    string
	}{
		{enterprise, "id"}, {team, "enterprise_id"},
		{view, "app_installed_team_id"}, {team, "id"}, {user, "team_id"}, {view, "team_id"},
	} {
		var err error
		if ids[i], err = member(place.object, place.key); err != nil {
			return "", err
		}
	}
	return account(cmp.Or(ids[2:]...), cmp.Or(ids[:2]...), orgInstall), nil
}

// member reads a string of a nested object, "" if one of them is missing. A
// string in place of the object is its id.
func member(object []byte, key string) (string, error) {
	if len(object) == 0 || string(object) == "null" {
		return "", nil
	}
	if id, ok := webhook.String(object); ok && key == "id" {
		return id, nil
	} else if ok {
		return "", nil
	}
	v, err := webhook.Pick(object, key)
	if err != nil {
		return "", err
	}
	return optional(v[0])
}

// optional reads a string that may be missing or null. Anything else in its
// place is a fault, not a missing id: another id would decide then.
func optional(raw []byte) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	s, ok := webhook.String(raw)
	if !ok {
		return "", errBody
	}
	return s, nil
}

func isTrue(raw []byte) bool { return string(raw) == "true" || string(raw) == `"true"` }

// readCommand reads a slash command
// (docs.slack.dev/interactivity/implementing-slash-commands, checked 2026-11).
func readCommand(form url.Values, body []byte) webhook.Notice {
	return webhook.Notice{
		DeliveryID: deliveryID(TypeSlashCommand, form.Get("trigger_id"), body), Type: TypeSlashCommand,
		Account: account(form.Get("team_id"), form.Get("enterprise_id"), form.Get("is_enterprise_install") == "true"),
	}
}

// deliveryID tells repeats apart by the id Slack gives. Some kinds have none
// (view_closed, block_suggestion): for them the signed body stands in.
func deliveryID(kind, id string, body []byte) string {
	if id == "" {
		sum := sha256.Sum256(body)
		id = hex.EncodeToString(sum[:])
	}
	return kind + ":" + id
}

// LifecycleTypes implements providers.LifecycleReader.
func (a *App) LifecycleTypes() []string { return []string{typeUninstalled, typeTokensRevoked} }

// Lifecycle implements providers.LifecycleReader. The two events come in any
// order; tokens_revoked lists users, not tokens
// (docs.slack.dev/reference/events/tokens_revoked, checked 2026-11). A bot's
// registration ends when any bot token was revoked, a user's when the installing
// user's was.
func (a *App) Lifecycle(ev webhook.Event, in providers.Snapshot) (providers.Lifecycle, error) {
	gone := providers.Lifecycle{Kind: providers.Uninstalled, Reason: ev.Type}
	switch ev.Type {
	case typeUninstalled:
		return gone, nil
	case typeTokensRevoked:
	default:
		return providers.Lifecycle{}, nil
	}
	var body struct {
		Event struct {
			Tokens struct {
				OAuth []string `json:"oauth"`
				Bot   []string `json:"bot"`
			} `json:"tokens"`
		} `json:"event"`
	}
	if err := ev.Decode(&body); err != nil {
		return providers.Lifecycle{}, err
	}
	w, err := ReadWorkspace(in)
	if err != nil {
		return providers.Lifecycle{}, err
	}
	tokens := body.Event.Tokens
	if a.userOnly() && slices.Contains(tokens.OAuth, w.AuthedUserID) || !a.userOnly() && len(tokens.Bot) > 0 {
		return gone, nil
	}
	return providers.Lifecycle{}, nil
}

// On returns a handler of one type of webhook that decodes the inner event of the
// Events API, or the whole payload of an interaction, into a T: a struct of your
// own, or one of slack-go such as slackevents.AppMentionEvent and
// slack.InteractionCallback. Use Handler.For for a registration under another
// key.
func On[T any](eventType string, fn func(ctx context.Context, ev webhook.Event, event *T) error) webhook.Handler {
	return webhook.On(Key, eventType, func(ctx context.Context, ev webhook.Event) error {
		var envelope struct {
			Type  string          `json:"type"`
			Event json.RawMessage `json:"event"`
		}
		if err := ev.Decode(&envelope); err != nil {
			return err
		}
		inner := ev
		if envelope.Type == "event_callback" {
			inner.Body = envelope.Event
		}
		var event T
		if err := inner.Decode(&event); err != nil {
			return err
		}
		return fn(ctx, ev, &event)
	})
}

// ReadCommand reads the form of a slash command. The error wraps
// providers.ErrInvalid: ev is not one.
func ReadCommand(ev webhook.Event) (url.Values, error) {
	form, err := url.ParseQuery(string(ev.Body))
	if err != nil || ev.Type != TypeSlashCommand || form.Get("command") == "" {
		return nil, fmt.Errorf("%w: not a slash command", providers.ErrInvalid)
	}
	return form, nil
}
