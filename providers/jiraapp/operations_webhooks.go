package jiraapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/webhook"
)

// Dynamic webhooks (developer.atlassian.com/cloud/jira/platform/rest/v3,
// "Webhooks", and the OpenAPI description of it, checked 2026-11): they end 30
// days after they were made or refreshed. There are at most five of an app, a
// user and a site, all to one URL.
const (
	webhookPath  = "rest/api/3/webhook"
	webhookLife  = 30 * 24 * time.Hour
	webhookEarly = 5 * 24 * time.Hour
	// webhookLease is how long nobody else registers webhooks of an integration.
	webhookLease     = time.Minute
	webhookLeaseName = "jira_webhooks"
	expirationLayout = "2006-01-02T15:04:05.000-0700"
)

// Webhook is what a connection wants to hear of.
type Webhook struct {
	// Name is the host's name for it, unique in the integration, at most 191
	// bytes. Required.
	Name string `json:"-"`
	// Events are the types of events: "jira:issue_created", "comment_created".
	// Required. Worklogs, attachments and projects have no dynamic webhooks.
	Events []string `json:"events"`
	// JQL says of which issues, with the operators =, !=, IN and NOT IN and few
	// fields: "project = ACME". Required; "project != null" is all.
	JQL string `json:"jqlFilter"`
	// FieldIDs narrow jira:issue_updated to changes of these fields, PropertyKeys
	// the events of issue properties. Optional.
	FieldIDs     []string `json:"fieldIdsFilter,omitempty"`
	PropertyKeys []string `json:"issuePropertyKeysFilter,omitempty"`
}

func (w Webhook) check() error {
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' && r != ':' && r != '-' }
	isEvent := func(e string) bool { return e != "" && !strings.ContainsFunc(e, bad) }
	switch {
	case w.Name == "" || len(w.Name) > 191:
		return fmt.Errorf("%w: the name of a webhook has 1 to 191 bytes", providers.ErrInvalid)
	case len(w.Events) == 0 || slices.ContainsFunc(w.Events, func(e string) bool { return !isEvent(e) }):
		return fmt.Errorf("%w: webhook %q has no events, or one that is no event's type", providers.ErrInvalid, w.Name)
	case strings.TrimSpace(w.JQL) == "":
		return fmt.Errorf("%w: webhook %q has no JQL", providers.ErrInvalid, w.Name)
	}
	return nil
}

// registered is the Data of a subscription.
type registered struct {
	Webhook
	URL string `json:"url"`
	// Declared says that it is one of Config.Webhooks.
	Declared bool `json:"declared,omitempty"`
}

// readRegistered reads the Data of a subscription.
func readRegistered(s providers.Subscription) (registered, bool) {
	var r registered
	ok := json.Unmarshal(s.Data, &r) == nil && len(r.Events) > 0
	r.Name = s.Name
	return r, ok
}

// same reports whether a subscription is of exactly this, whoever asked for it. A
// store may have written its JSON anew.
func (r registered) same(s providers.Subscription) bool {
	old, ok := readRegistered(s)
	if !ok {
		return false
	}
	r.Declared, old.Declared = false, false
	a, errA := json.Marshal(r)
	b, errB := json.Marshal(old)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// webhookList names webhooks.
type webhookList struct {
	IDs []int64 `json:"webhookIds"`
}

func webhookIDs(subs []providers.Subscription) ([]int64, error) {
	ids := make([]int64, len(subs))
	for i, s := range subs {
		id, ok := webhook.Int([]byte(s.RemoteID))
		if !ok {
			return nil, fmt.Errorf("%w: subscription %q is no webhook of Jira's", providers.ErrInvalid, s.Name)
		}
		ids[i] = id
	}
	return ids, nil
}

// RegisterWebhooks sees to it that the connection hears of the given: one that
// is registered under its name as it is stays, so that a restart of the host
// registers nothing twice; one that is registered with other contents is
// replaced, the new one first; others stay. They are renewed before they end,
// by the Manager's Run, registered again when Jira has lost them, and deleted on
// disconnect. It returns the subscriptions in the order of hooks.
//
// It is for webhooks that are not the same for all tenants: those that are can be
// declared once, in Config.Webhooks. The two have names of their own.
//
// Jira judges each by itself: those it took are registered and stored whatever
// becomes of the others. Errors are joined: those of [Classify], ErrInvalid with
// Jira's words in a *jira.Error for each one refused. ErrConflict means that
// somebody else is registering webhooks of this integration now; an error
// wrapping errors.ErrUnsupported that there is no store for subscriptions or no
// public URL. Config.Scopes needs manage:jira-webhook and read:jira-work.
func RegisterWebhooks(ctx context.Context, conn *providers.Connection, hooks ...Webhook) ([]providers.Subscription, error) {
	names := map[string]bool{}
	for _, h := range hooks {
		if err := h.check(); err != nil {
			return nil, err
		}
		if names[h.Name] {
			return nil, fmt.Errorf("%w: webhook %q is given twice", providers.ErrInvalid, h.Name)
		}
		names[h.Name] = true
	}
	c, err := Client(ctx, conn)
	if err != nil {
		return nil, err
	}
	if conn.WebhookURL() == "" {
		return nil, errNoURL
	}
	release, err := alone(ctx, conn)
	if err != nil {
		return nil, err
	}
	defer release()
	have, err := conn.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	return register(ctx, conn, c, hooks, have)
}

// alone keeps others from registering webhooks of this integration until release is
// called.
func alone(ctx context.Context, conn *providers.Connection) (release func(), err error) {
	lease, ok, err := conn.TryLease(ctx, webhookLeaseName, webhookLease)
	switch {
	case errors.Is(err, errors.ErrUnsupported): // a store without leases is one replica's
		return func() {}, nil
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%w: webhooks of this integration are being registered", providers.ErrConflict)
	}
	return func() { _ = lease.Release(ctx) }, nil // it ends by itself
}

var errNoURL = fmt.Errorf("integrations/jiraapp: no webhooks are configured: %w", errors.ErrUnsupported)

func register(ctx context.Context, conn *providers.Connection, c *jira.Client, hooks []Webhook, have []providers.Subscription) ([]providers.Subscription, error) {
	out := make([]providers.Subscription, len(hooks))
	var wanted []registered
	var at []int // where each of wanted belongs in out
	var replaced []providers.Subscription
	for i, h := range hooks {
		j := slices.IndexFunc(have, func(s providers.Subscription) bool { return s.Name == h.Name })
		r := registered{Webhook: h, URL: conn.WebhookURL()}
		if j >= 0 && r.same(have[j]) && have[j].ExpiresAt.After(time.Now()) {
			out[i] = have[j]
			continue
		}
		wanted, at = append(wanted, r), append(at, i)
	}
	made, errs := createAndSave(ctx, conn, c, wanted)
	for k, s := range made {
		if s.RemoteID == "" {
			continue
		}
		out[at[k]] = s
		if j := slices.IndexFunc(have, func(old providers.Subscription) bool { return old.Name == s.Name }); j >= 0 {
			replaced = append(replaced, have[j])
		}
	}
	if len(replaced) > 0 {
		errs = append(errs, remove(ctx, c, replaced...))
	}
	out = slices.DeleteFunc(out, func(s providers.Subscription) bool { return s.RemoteID == "" })
	return out, errors.Join(errs...)
}

// createAndSave makes webhooks at Jira and stores them. It returns a subscription
// for each, without a RemoteID for those that are not there.
func createAndSave(ctx context.Context, conn *providers.Connection, c *jira.Client, wanted []registered) ([]providers.Subscription, []error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	made, errs := create(ctx, c, conn.WebhookURL(), wanted)
	for k, s := range made {
		if s.RemoteID == "" {
			continue
		}
		if err := keep(ctx, conn, s); err != nil {
			errs = append(errs, err, dropped(ctx, c, s)) // nobody would ever renew or delete it
			made[k].RemoteID = ""
		}
	}
	return made, errs
}

// create makes webhooks at Jira and returns a subscription for each, without a
// RemoteID for those that Jira refused.
func create(ctx context.Context, c *jira.Client, url string, wanted []registered) ([]providers.Subscription, []error) {
	hooks := make([]Webhook, len(wanted))
	for i, w := range wanted {
		hooks[i] = w.Webhook
	}
	var ans struct {
		Results []struct {
			ID     int64    `json:"createdWebhookId"`
			Errors []string `json:"errors"`
		} `json:"webhookRegistrationResult"`
	}
	body := map[string]any{"url": url, "webhooks": hooks}
	if err := call(ctx, c, http.MethodPost, webhookPath, body, &ans); err != nil {
		return nil, []error{err}
	}
	if len(ans.Results) != len(hooks) {
		return nil, []error{badAnswer(http.StatusOK, nil)}
	}
	out := make([]providers.Subscription, len(hooks))
	var errs []error
	for i, r := range ans.Results {
		if r.ID <= 0 {
			cause := &jira.Error{HTTPError: errors.New("webhook refused"), ErrorMessages: r.Errors}
			refused := &providers.CallError{Adapter: adapter, Status: http.StatusOK, Code: "webhook_refused", Kind: providers.ErrInvalid, Cause: cause}
			errs = append(errs, fmt.Errorf("webhook %q: %w", hooks[i].Name, refused))
			continue
		}
		data, err := json.Marshal(registered{hooks[i], url, wanted[i].Declared})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out[i] = lasting(providers.Subscription{Name: hooks[i].Name, RemoteID: strconv.FormatInt(r.ID, 10), Data: data}, time.Now().Add(webhookLife))
	}
	return out, errs
}

// lasting returns s with its end, and when it is to be renewed.
func lasting(s providers.Subscription, until time.Time) providers.Subscription {
	s.ExpiresAt, s.RenewAt = until, until.Add(-webhookEarly)
	return s
}

// keepTimeout bounds what must be done with a webhook that was made, though the
// caller has gone.
const keepTimeout = 10 * time.Second

func keep(ctx context.Context, conn *providers.Connection, s providers.Subscription) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	return conn.SaveSubscription(ctx, s)
}

func dropped(ctx context.Context, c *jira.Client, s providers.Subscription) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	return remove(ctx, c, s)
}

// remove deletes webhooks at Jira. Those that are gone are no error.
func remove(ctx context.Context, c *jira.Client, subs ...providers.Subscription) error {
	ids, err := webhookIDs(subs)
	if err != nil {
		return err
	}
	return gone(call(ctx, c, http.MethodDelete, webhookPath, webhookList{ids}, nil))
}

// DeleteWebhooks deletes webhooks by name, or all of the connection without
// names. Names that are not registered are no error. The errors are those of
// [Classify], or wrap errors.ErrUnsupported when there is no store for
// subscriptions.
func DeleteWebhooks(ctx context.Context, conn *providers.Connection, names ...string) error {
	c, err := Client(ctx, conn)
	if err != nil {
		return err
	}
	subs, err := conn.Subscriptions(ctx)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		subs = slices.DeleteFunc(subs, func(s providers.Subscription) bool { return !slices.Contains(names, s.Name) })
	}
	if len(subs) == 0 {
		return nil
	}
	if err := remove(ctx, c, subs...); err != nil {
		return err
	}
	var errs []error
	for _, s := range subs {
		errs = append(errs, conn.DeleteSubscription(ctx, s.Name))
	}
	return errors.Join(errs...)
}

// RenewSubscription implements providers.SubscriptionRenewer. A webhook that
// Jira does not know any more is registered again. While Jira refuses that too,
// the error wraps providers.ErrInvalid and the Manager tries again later: what a
// filter names may come back.
func (a *App) RenewSubscription(ctx context.Context, conn *providers.Connection, s providers.Subscription) (providers.Subscription, error) {
	c, err := Client(ctx, conn)
	if err != nil {
		return providers.Subscription{}, err
	}
	ids, err := webhookIDs([]providers.Subscription{s})
	if err != nil {
		return providers.Subscription{}, err
	}
	var ans struct {
		ExpirationDate string `json:"expirationDate"`
	}
	err = call(ctx, c, http.MethodPut, webhookPath+"/refresh", webhookList{ids}, &ans)
	if err == nil {
		until, err := time.Parse(expirationLayout, ans.ExpirationDate)
		if err != nil {
			until = time.Now().Add(webhookLife)
		}
		return lasting(s, until.UTC()), nil
	}
	if !isStatus(err, http.StatusBadRequest, http.StatusNotFound) {
		return providers.Subscription{}, err
	}
	if conn.WebhookURL() == "" {
		return providers.Subscription{}, errNoURL
	}
	old, ok := readRegistered(s)
	if !ok {
		return providers.Subscription{}, fmt.Errorf("%w: subscription %q is not of this adapter", providers.ErrNotFound, s.Name)
	}
	release, err := alone(ctx, conn)
	if err != nil {
		return providers.Subscription{}, err
	}
	defer release()
	made, errs := create(ctx, c, conn.WebhookURL(), []registered{old})
	if len(errs) > 0 {
		return providers.Subscription{}, errors.Join(errs...)
	}
	return made[0], nil
}

// AdminWebhook opens a webhook endpoint of the integration's own, for a webhook
// that an administrator of the site makes at Jira under "System", "WebHooks": it
// hears of all events and does not end. The administrator pastes URL and Secret
// there; both are known now and never again. What arrives is for this
// integration, of the types Jira sends. Close it with conn.CloseEndpoint.
//
// The error wraps providers.ErrWrongProvider, or errors.ErrUnsupported without a
// store that keeps endpoints.
func AdminWebhook(ctx context.Context, conn *providers.Connection) (providers.Endpoint, error) {
	if err := conn.RequireKind(Key); err != nil {
		return providers.Endpoint{}, err
	}
	return conn.OpenEndpoint(ctx)
}
