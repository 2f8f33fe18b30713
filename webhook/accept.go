package webhook

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/saas-integrations/integrations/store"
)

const (
	// maxID is the width of the store's columns for what a provider names.
	maxID = 191
	// maxHeader is the longest header value that is kept.
	maxHeader = 1024
	// rowOverhead is about what a row takes besides its body and headers.
	rowOverhead = 1024
)

// Faults of a Source.
var (
	errNotice = errors.New("integrations/webhook: source read a delivery id, type, account or order key that is missing, too long or not plain text")
	errReply  = errors.New("integrations/webhook: source replies with a status that does not exist")
	errCipher = errors.New("integrations/webhook: cipher sealed a body to nothing")
)

// accept does what a verified request asks for and answers it.
func (rc *Receiver) accept(ctx context.Context, req *Request, body *bodyBuffer) answer {
	receipt, err := rc.cfg.Source.Read(req)
	if err == nil {
		err = checkNotices(receipt.Notices)
	}
	if err != nil {
		rc.cfg.Logger.WarnContext(ctx, "verified webhook not readable", "provider", rc.cfg.Provider, "error", err)
		return refused(http.StatusBadRequest, err)
	}
	status := http.StatusOK
	if receipt.Reply != nil {
		if status = cmp.Or(receipt.Reply.Status, http.StatusOK); status < 200 || status > 599 {
			return unavailable(http.StatusInternalServerError, errReply)
		}
	}
	switch {
	case len(receipt.Notices) > 0:
	case receipt.Reply != nil:
		return answer{status: status, outcome: OutcomeReplied, reply: receipt.Reply}
	default:
		return answer{status: http.StatusOK, outcome: OutcomeIgnored}
	}

	// From here on the event is the provider's, whoever hangs up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	a, err := rc.store(ctx, req, body, receipt.Notices)
	if err != nil {
		args := []any{"provider", rc.cfg.Provider, "error", err}
		if p, ok := errors.AsType[*PanicError](err); ok {
			args = append(args, "stack", string(p.Stack))
		}
		rc.cfg.Logger.ErrorContext(ctx, "verified webhook not stored", args...)
		return unavailable(http.StatusServiceUnavailable, err)
	}
	rc.wake(ctx) // for duplicates too: one of a dead event revives it
	a.status, a.reply = status, receipt.Reply
	return a
}

// wake tells whoever waits for events. What comes of it is not the sender's.
func (rc *Receiver) wake(ctx context.Context) {
	if rc.cfg.Wake == nil {
		return
	}
	defer logPanic(ctx, rc.cfg.Logger, rc.cfg.Provider)
	rc.cfg.Wake()
}

// store inserts a row for each notice and target, all in one transaction. Once the
// rows are made the request's body is given up: they are what waits.
func (rc *Receiver) store(ctx context.Context, req *Request, body *bodyBuffer, notices []Notice) (answer, error) {
	rows, err := rc.rows(ctx, req, notices)
	if err != nil {
		return answer{}, err
	}
	var size int64
	for i := range rows {
		size += rowOverhead + int64(len(rows[i].Body)+len(rows[i].Headers))
	}
	if req.Body = nil; !body.exchange(size) {
		return answer{}, errBudget
	}
	isNew, err := rc.cfg.Inbox.InsertDeliveries(ctx, rows)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: http.StatusOK, outcome: OutcomeStored}
	for _, n := range isNew {
		if n {
			a.stored++
		}
	}
	a.duplicates = len(rows) - a.stored
	return a, nil
}

// rows makes the rows of a request, sorted so that two requests with the same
// deliveries lock them in the same order.
func (rc *Receiver) rows(ctx context.Context, req *Request, notices []Notice) ([]store.Delivery, error) {
	headers, err := rc.headers(req.Header)
	if err != nil {
		return nil, err
	}
	rows := make([]store.Delivery, 0, len(notices))
	routes := make(map[string][]Target, 1)
	for _, n := range notices {
		targets, err := rc.targets(ctx, req.Endpoint, n, routes)
		if err != nil {
			return nil, err
		}
		body := n.Body
		if body == nil {
			body = req.Body
		}
		var hash string
		if n.DedupBody {
			sum := sha256.Sum256(body)
			hash = hex.EncodeToString(sum[:])
		}
		plain := rc.cfg.Budget.packers.pack(body)
		for _, t := range targets {
			d := store.Delivery{
				ID: NewID(), Provider: rc.cfg.Provider, DeliveryID: n.DeliveryID, BodyHash: hash,
				TenantID: t.TenantID, IntegrationID: t.IntegrationID, ExternalID: n.Account,
				EventType: n.Type, OrderKey: n.OrderKey, Headers: headers, OccurredAt: n.OccurredAt,
			}
			if d.Body, err = rc.cfg.Cipher.Seal(nil, plain, BodyBinding(d)); err != nil {
				return nil, err
			}
			if len(d.Body) == 0 {
				return nil, errCipher
			}
			if d.KeyID, err = rc.cfg.Cipher.KeyID(d.Body); err != nil {
				return nil, err
			}
			rows = append(rows, d)
		}
	}
	slices.SortStableFunc(rows, func(a, b store.Delivery) int {
		return cmp.Or(cmp.Compare(a.DeliveryID, b.DeliveryID), cmp.Compare(a.IntegrationID, b.IntegrationID))
	})
	return rows, nil
}

// unrouted is the target of events of accounts that nobody connected.
var unrouted = []Target{{}}

// targets finds whom an account's events are for. A request to an endpoint is
// for the integration whose secret signed it, whatever account it names.
func (rc *Receiver) targets(ctx context.Context, e *Endpoint, n Notice, routes map[string][]Target) ([]Target, error) {
	if e != nil {
		return []Target{{TenantID: e.TenantID, IntegrationID: e.IntegrationID}}, nil
	}
	if n.Account == "" {
		return unrouted, nil
	}
	targets, ok := routes[n.Account]
	if !ok {
		var err error
		if targets, err = rc.cfg.Route(ctx, n.Account); err != nil {
			return nil, err
		}
		routes[n.Account] = targets
	}
	if len(n.Subscriptions) > 0 {
		var err error
		if targets, err = rc.subscribed(ctx, targets, n.Subscriptions); err != nil {
			return nil, err
		}
	}
	if len(targets) == 0 {
		targets = unrouted
	}
	return targets, nil
}

// subscribed keeps the targets that hold one of the provider's subscription ids.
func (rc *Receiver) subscribed(ctx context.Context, targets []Target, remoteIDs []string) ([]Target, error) {
	if rc.cfg.Subscribed == nil {
		return nil, nil
	}
	var kept []Target
	for _, t := range targets {
		yes, err := rc.cfg.Subscribed(ctx, t, remoteIDs)
		if err != nil {
			return nil, err
		}
		if yes {
			kept = append(kept, t)
		}
	}
	return kept, nil
}

// headers returns the headers to keep as JSON, nil when there are none.
func (rc *Receiver) headers(h http.Header) ([]byte, error) {
	kept := http.Header{}
	for _, name := range rc.keep {
		if v := h.Get(name); v != "" && len(v) <= maxHeader {
			kept[name] = []string{v}
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return json.Marshal(kept)
}

// checkNotices refuses what a store cannot hold. Some of it comes from headers
// that nobody signed.
func checkNotices(notices []Notice) error {
	for _, n := range notices {
		if n.DeliveryID == "" || n.Type == "" ||
			!plainID(n.DeliveryID) || !plainID(n.Type) || !plainID(n.Account) || !plainID(n.OrderKey) {
			return errNotice
		}
	}
	return nil
}

func plainID(s string) bool {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	return len(s) <= maxID && utf8.ValidString(s) && !strings.ContainsFunc(s, control)
}
