package jiraapp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/providers"
)

const (
	// webhooksMost is how many dynamic webhooks an app may have for a user and a
	// site (developer.atlassian.com/cloud/jira/platform/webhooks, checked 2026-11).
	webhooksMost = 5
	// webhookYoung is for how long a webhook that nobody stored may be one that
	// another integration of the same site is about to store.
	webhookYoung = 10 * time.Minute
	// listPages bounds what is read of a list.
	listPages = 20
)

// DeclaredSubscriptions implements providers.SubscriptionKeeper.
func (a *App) DeclaredSubscriptions() string {
	type named struct {
		Name string `json:"name"`
		Webhook
	}
	all := make([]named, len(a.cfg.Webhooks))
	for i, w := range a.cfg.Webhooks {
		all[i] = named{w.Name, w}
	}
	b, err := json.Marshal(all)
	if err != nil {
		return "" // not possible: strings
	}
	return string(b)
}

// KeepSubscriptions implements providers.SubscriptionKeeper for Config.Webhooks and
// what RegisterWebhooks registered: what Jira has lost is registered again, what it
// has and nobody stored, because a process died or an answer was lost, is taken
// over or deleted. Without any webhooks it asks Jira nothing.
func (a *App) KeepSubscriptions(ctx context.Context, conn *providers.Connection) error {
	have, err := conn.Subscriptions(ctx)
	if err != nil || len(have)+len(a.cfg.Webhooks) == 0 {
		return err
	}
	c, err := Client(ctx, conn)
	if err != nil {
		return err
	}
	release, err := alone(ctx, conn)
	if err != nil {
		return err
	}
	defer release()
	k := keeping{conn: conn, c: c}
	if k.have, err = conn.Subscriptions(ctx); err != nil {
		return err
	}
	if k.present, err = listWebhooks(ctx, c); err != nil {
		return err
	}
	ids, others, err := conn.SubscriptionsOfOthers(ctx)
	if err != nil {
		return err
	}
	k.foreign, k.shared = ids, others > 0
	return k.keep(ctx, a.wishes(k.have, conn.WebhookURL()))
}

// wishes are the webhooks that an integration is to have: those declared, and
// those registered beside them. What was declared once is not among them.
func (a *App) wishes(have []providers.Subscription, url string) []registered {
	var out []registered
	for _, w := range a.cfg.Webhooks {
		out = append(out, registered{Webhook: w, URL: url, Declared: true})
	}
	for _, s := range have {
		r, ok := readRegistered(s)
		if ok && !r.Declared && !slices.ContainsFunc(out, func(o registered) bool { return o.Name == s.Name }) {
			r.URL = url
			out = append(out, r)
		}
	}
	return out
}

// listed is a webhook as Jira lists it.
type listed struct {
	ID int64 `json:"id"`
	Webhook
	URL     string          `json:"url"`
	Expires json.RawMessage `json:"expirationDate"`
}

func (l listed) remoteID() string { return strconv.FormatInt(l.ID, 10) }

// expires reads milliseconds since 1970 or a date: both have been seen.
func (l listed) expires() time.Time {
	var ms int64
	if json.Unmarshal(l.Expires, &ms) == nil && ms > 0 {
		return time.UnixMilli(ms).UTC()
	}
	var text string
	_ = json.Unmarshal(l.Expires, &text) // "" is no date
	at, err := time.Parse(expirationLayout, text)
	if err != nil {
		return time.Now().Add(webhookEarly) // renewed soon, whenever it ends
	}
	return at.UTC()
}

// listWebhooks reads the dynamic webhooks that this app registered for the user of
// the connection.
func listWebhooks(ctx context.Context, c *jira.Client) ([]listed, error) {
	var out []listed
	for range listPages {
		var page struct {
			IsLast bool     `json:"isLast"`
			Values []listed `json:"values"`
		}
		path := webhookPath + "?maxResults=100&startAt=" + strconv.Itoa(len(out))
		if err := call(ctx, c, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Values...)
		if page.IsLast || len(page.Values) == 0 {
			return out, nil
		}
	}
	return nil, badAnswer(http.StatusOK, nil) // far beyond what Jira lets an app have
}

// keeping compares what an integration is to have with what Jira has.
type keeping struct {
	conn    *providers.Connection
	c       *jira.Client
	have    []providers.Subscription
	present []listed
	// foreign are webhooks of other integrations of the site; shared says that there
	// are such integrations.
	foreign []string
	shared  bool
}

func (k *keeping) keep(ctx context.Context, wishes []registered) error {
	var errs []error
	var missing []registered
	var replaced, over []providers.Subscription
	replaceFirst := false
	for _, w := range wishes {
		s, stored := k.stored(w.Name)
		at, there := k.at(s.RemoteID)
		if stored && there && k.ours(at) && w.same(s) {
			if old, _ := readRegistered(s); old.Declared != w.Declared {
				errs = append(errs, k.save(ctx, w, at))
			}
			continue
		}
		if stored && there {
			replaced = append(replaced, s)
			replaceFirst = replaceFirst || !k.ours(at) // there may be one URL for all
		}
		if orphan, ok := k.orphan(w); ok {
			k.foreign = append(k.foreign, orphan.remoteID()) // it is somebody's now
			errs = append(errs, k.save(ctx, w, orphan))
			continue
		}
		missing = append(missing, w)
	}
	for _, s := range k.have {
		if r, ok := readRegistered(s); ok && r.Declared && !slices.ContainsFunc(wishes, func(w registered) bool { return w.Name == s.Name }) {
			over = append(over, s)
		}
	}
	errs = append(errs, k.drop(ctx, over))
	lost := k.orphans()
	if len(lost) > 0 {
		errs = append(errs, remove(ctx, k.c, lost...))
	}
	if room := webhooksMost - len(k.present) + len(over) + len(lost); len(missing) > room {
		replaceFirst = true
	}
	if replaceFirst && len(replaced) > 0 {
		errs = append(errs, remove(ctx, k.c, replaced...))
		replaced = nil
	}
	made, createErrs := createAndSave(ctx, k.conn, k.c, missing)
	errs = append(errs, createErrs...)
	// One whose successor was refused goes on until then.
	replaced = slices.DeleteFunc(replaced, func(s providers.Subscription) bool {
		return slices.ContainsFunc(missing, func(w registered) bool { return w.Name == s.Name }) &&
			!slices.ContainsFunc(made, func(m providers.Subscription) bool { return m.Name == s.Name && m.RemoteID != "" })
	})
	if len(replaced) > 0 {
		errs = append(errs, remove(ctx, k.c, replaced...))
	}
	return errors.Join(errs...)
}

func (k *keeping) stored(name string) (providers.Subscription, bool) {
	i := slices.IndexFunc(k.have, func(s providers.Subscription) bool { return s.Name == name })
	if i < 0 {
		return providers.Subscription{}, false
	}
	return k.have[i], true
}

func (k *keeping) at(remoteID string) (listed, bool) {
	i := slices.IndexFunc(k.present, func(l listed) bool { return l.remoteID() == remoteID })
	if i < 0 {
		return listed{}, false
	}
	return k.present[i], true
}

// ours reports whether a webhook leads here.
func (k *keeping) ours(l listed) bool { return l.URL == "" || l.URL == k.conn.WebhookURL() }

// lost reports whether a webhook leads here and is nobody's, or may be somebody's
// who is about to store it.
func (k *keeping) lost(l listed) bool {
	young := time.Until(l.expires()) > webhookLife-webhookYoung
	return k.ours(l) && !(k.shared && young) && !slices.Contains(k.foreign, l.remoteID()) &&
		!slices.ContainsFunc(k.have, func(s providers.Subscription) bool { return s.RemoteID == l.remoteID() })
}

// orphan is a lost webhook that is just what is wished for.
func (k *keeping) orphan(w registered) (listed, bool) {
	i := slices.IndexFunc(k.present, func(l listed) bool { return k.lost(l) && sameHook(l.Webhook, w.Webhook) })
	if i < 0 {
		return listed{}, false
	}
	return k.present[i], true
}

func (k *keeping) orphans() []providers.Subscription {
	var out []providers.Subscription
	for _, l := range k.present {
		if k.lost(l) {
			out = append(out, providers.Subscription{RemoteID: l.remoteID()})
		}
	}
	return out
}

// save stores a webhook that is at Jira.
func (k *keeping) save(ctx context.Context, w registered, l listed) error {
	data, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return k.conn.SaveSubscription(ctx, lasting(providers.Subscription{Name: w.Name, RemoteID: l.remoteID(), Data: data}, l.expires()))
}

// drop deletes webhooks at Jira, then here.
func (k *keeping) drop(ctx context.Context, subs []providers.Subscription) error {
	if len(subs) == 0 {
		return nil
	}
	if err := remove(ctx, k.c, subs...); err != nil {
		return err
	}
	var errs []error
	for _, s := range subs {
		errs = append(errs, k.conn.DeleteSubscription(ctx, s.Name))
	}
	return errors.Join(errs...)
}

// sameHook compares what two webhooks are of, in whatever order it stands.
func sameHook(a, b Webhook) bool {
	same := func(x, y []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(x)), slices.Sorted(slices.Values(y)))
	}
	return a.JQL == b.JQL && same(a.Events, b.Events) && same(a.FieldIDs, b.FieldIDs) && same(a.PropertyKeys, b.PropertyKeys)
}
