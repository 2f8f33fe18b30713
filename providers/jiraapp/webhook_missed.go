package jiraapp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

const (
	failedPath = webhookPath + "/failed"
	// failedAtOnce is how many are asked for at a time; bodies may be large.
	failedAtOnce = 50
	// failedRefused is how long Jira is not asked again after it refused.
	failedRefused = 7 * 24 * time.Hour
	// failedName is the checkpoint's name.
	failedName = "jira_webhooks_failed"
)

// failedCursor is how far the failed webhooks were read.
type failedCursor struct {
	// After is the time of the last failure that was read, in milliseconds.
	After int64 `json:"after,omitempty"`
	// RefusedAt is when Jira refused to list them.
	RefusedAt time.Time `json:"refused_at,omitzero"`
}

// ReadMissed implements providers.MissedDeliveries: webhooks that Jira could not
// deliver, after all of its attempts, of the last 72 hours
// (developer.atlassian.com/cloud/jira/platform/rest/v3, "Get failed webhooks",
// read in copies, 2026-11). The page says that only Connect apps can ask for
// them. Where Jira refuses an OAuth app nothing is read, that is no error, and it
// is asked again a week later.
//
// With Config.NoRecovery, or without any webhooks, it asks Jira nothing.
func (a *App) ReadMissed(ctx context.Context, conn *providers.Connection, accept func(context.Context, providers.MissedDelivery) error) error {
	if a.cfg.NoRecovery || conn.WebhookURL() == "" {
		return nil
	}
	subs, err := conn.Subscriptions(ctx)
	if err != nil || len(subs) == 0 {
		return err
	}
	c, err := Client(ctx, conn)
	if err != nil {
		return err
	}
	point := conn.Checkpoint(failedName)
	var at failedCursor
	saved, err := point.Load(ctx)
	keeps := !errors.Is(err, errors.ErrUnsupported) // without: all of it each time, which is a duplicate
	if err != nil && keeps {
		return err
	}
	_ = json.Unmarshal(saved, &at) // what cannot be read begins anew
	if !at.RefusedAt.IsZero() && time.Since(at.RefusedAt) < failedRefused {
		return nil
	}
	save := func() error {
		b, err := json.Marshal(at)
		if err != nil || !keeps {
			return err
		}
		return point.Save(ctx, b)
	}
	for {
		q := url.Values{"maxResults": {strconv.Itoa(failedAtOnce)}}
		if at.After > 0 {
			q.Set("after", strconv.FormatInt(at.After, 10))
		}
		var page failedPage
		if err := call(ctx, c, http.MethodGet, failedPath+"?"+q.Encode(), nil, &page); err != nil {
			if !isStatus(err, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound) && !errors.Is(err, providers.ErrForbidden) {
				return err
			}
			at.RefusedAt = time.Now()
			return save()
		}
		at.RefusedAt = time.Time{}
		before := at.After
		for _, f := range page.Values {
			at.After = max(at.After, f.FailureTime)
			if f.URL != conn.WebhookURL() || f.ID == "" || f.Body == "" {
				continue
			}
			d := providers.MissedDelivery{Header: http.Header{identifierHeader: {f.ID}}, Body: []byte(f.Body)}
			if err := accept(ctx, d); err != nil {
				return err
			}
		}
		if at.After == before {
			return nil
		}
		if err := save(); err != nil {
			return err
		}
		if len(page.Values) < max(page.MaxResults, 1) {
			return nil
		}
	}
}

// failedPage lists failures, the oldest first. Those of one moment are on one
// page.
type failedPage struct {
	MaxResults int `json:"maxResults"`
	Values     []struct {
		ID          string `json:"id"`
		Body        string `json:"body"`
		URL         string `json:"url"`
		FailureTime int64  `json:"failureTime"`
	} `json:"values"`
}
