package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// ErrUnreadable means that a delivery is not one the provider sends.
var ErrUnreadable = errors.New("integrations/webhook: delivery cannot be read")

// StoreMissed stores a delivery that was read at the provider instead of being
// received, under the ids it would have been received with: if it comes in the
// other way too that is a duplicate. Nothing is verified: what was read over the
// integration's own connection needs no other proof.
//
// The delivery can only be for t: notices of other accounts than those given, and
// those of subscriptions that t does not keep, are left out. It returns how many
// were stored. An error wraps [ErrUnreadable] or is the store's.
func (rc *Receiver) StoreMissed(ctx context.Context, t Target, accounts []string, header http.Header, body []byte) (int, error) {
	req := &Request{Method: http.MethodPost, URL: rc.cfg.URL, Header: header, Body: body, Now: time.Now()}
	if int64(len(body)) > rc.cfg.Source.MaxBody {
		return 0, fmt.Errorf("%w: %w", ErrUnreadable, ErrTooLarge)
	}
	receipt, err := rc.cfg.Source.Read(req)
	if err == nil {
		err = checkNotices(receipt.Notices)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	var mine []Notice
	for _, n := range receipt.Notices {
		if n.Account == "" || !slices.Contains(accounts, n.Account) {
			continue
		}
		if len(n.Subscriptions) > 0 {
			kept, err := rc.subscribed(ctx, []Target{t}, n.Subscriptions)
			if err != nil {
				return 0, err
			}
			if len(kept) == 0 {
				continue
			}
		}
		mine = append(mine, n)
	}
	if len(mine) == 0 {
		return 0, nil
	}
	req.Endpoint = &Endpoint{TenantID: t.TenantID, IntegrationID: t.IntegrationID} // whose all of it is
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var held bodyBuffer
	defer held.release()
	if !held.open(rc.cfg.Budget) {
		return 0, errBudget
	}
	a, err := rc.store(ctx, req, &held, mine)
	if err != nil {
		return 0, err
	}
	if rc.cfg.Wake != nil {
		rc.cfg.Wake()
	}
	return a.stored, nil
}
