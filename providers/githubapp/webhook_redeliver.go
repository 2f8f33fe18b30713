package githubapp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/saas-integrations/integrations/providers"
)

// GitHub repeats no webhook that failed. It keeps a log of an App's deliveries of
// three days, and sends one again when it is asked to, under the same
// X-GitHub-Delivery (docs.github.com, "Handling failed webhook deliveries",
// "Automatically redelivering failed deliveries for a GitHub App webhook" and
// "REST API endpoints for GitHub App webhooks", checked 2026-11; the three days are
// others' reports).
const (
	deliveriesPath   = "/app/hook/deliveries"
	deliveriesAtOnce = 100
	// redeliverHorizon is how far back is looked, a little less than the log reaches.
	redeliverHorizon = 3*24*time.Hour - 30*time.Minute
	// redeliverSettle is how old an attempt is before it counts as failed: one that
	// is under way has no answer yet.
	redeliverSettle = 2 * time.Minute
	// redeliverTries is how often one delivery is asked for, each time after an
	// attempt that failed: what this app refuses for good is not asked for in vain.
	redeliverTries = 3
	// redeliverPause keeps below the 180 requests a minute of this kind that GitHub
	// lets a client make (docs.github.com, "Rate limits for the REST API": 900 points,
	// 5 for each, checked 2026-11).
	redeliverPause = 400 * time.Millisecond
	// redeliverRead and redeliverAsk bound the two halves of one run; the next goes on
	// where it ended.
	redeliverRead = 90 * time.Second
	redeliverAsk  = 90 * time.Second
	// redeliverSave is after how many what was asked for is saved.
	redeliverSave = 100
)

// redeliveryState is how far the log was worked through.
type redeliveryState struct {
	// Since is the time of the oldest delivery to look at.
	Since time.Time `json:"since,omitzero"`
	// Gap is a part of the log before that, which there was no time to read.
	Gap *gap `json:"gap,omitempty"`
	// Asked are the deliveries that were asked for, by X-GitHub-Delivery.
	Asked map[string]askedFor `json:"asked,omitempty"`
}

// gap is read from Cursor back to Since.
type gap struct {
	Cursor string    `json:"cursor"`
	Since  time.Time `json:"since"`
}

type askedFor struct {
	// ID is the attempt that failed, Tries how often it was asked for, At when that
	// attempt was.
	ID    int64     `json:"id"`
	Tries int       `json:"tries"`
	At    time.Time `json:"at"`
}

// attempt is one of the log.
type attempt struct {
	ID          int64     `json:"id"`
	GUID        string    `json:"guid"`
	DeliveredAt time.Time `json:"delivered_at"`
	StatusCode  int       `json:"status_code"`
}

func (a attempt) arrived() bool { return a.StatusCode/100 == 2 }

// RedeliverMissed implements providers.Redeliverer: it has GitHub send again every
// delivery of which no attempt was answered 2xx, each once after each attempt that
// failed and three times at most. What arrives twice all the same is a duplicate.
//
// Only in ModeInstallation, whose key has the App's webhook URL. Otherwise, without
// webhook secrets and with Config.NoRecovery, the error wraps
// errors.ErrUnsupported.
func (a *App) RedeliverMissed(ctx context.Context, r providers.Redelivery) (int, error) {
	if a.cfg.NoRecovery || a.cfg.Mode != ModeInstallation || a.hmac == nil {
		return 0, fmt.Errorf("integrations/githubapp: missed webhooks are not asked for: %w", errors.ErrUnsupported)
	}
	header, err := a.appHeader()
	if err != nil {
		return 0, err
	}
	var state redeliveryState
	saved, err := r.Log.Load(ctx)
	if err != nil {
		return 0, err
	}
	_ = json.Unmarshal(saved, &state) // what cannot be read begins anew
	if state.Asked == nil {
		state.Asked = map[string]askedFor{}
	}
	d := redelivering{
		app: a, http: r.HTTP, header: header, state: state, log: r.Log, began: time.Now(),
		failed: map[string]attempt{}, arrived: map[string]bool{},
	}
	if err := d.read(ctx); err != nil {
		return 0, err
	}
	return d.ask(ctx, d.missed())
}

// redelivering is one look at the log.
type redelivering struct {
	app    *App
	http   *http.Client
	header http.Header
	state  redeliveryState
	log    *providers.Checkpoint
	began  time.Time
	// now is GitHub's time; since and until bound the attempts that count.
	now, since, until time.Time
	// failed are the last attempts of deliveries of which none arrived as far as the
	// log was read, arrived are those that did.
	failed  map[string]attempt
	arrived map[string]bool
}

// read reads the log, the newest first, back to where it was read before, and then
// in a gap that was left.
func (d *redelivering) read(ctx context.Context) error {
	rest, err := d.back(ctx, "")
	if err != nil {
		return err
	}
	old := d.state.Gap
	if rest != "" {
		if old == nil || d.since.Before(old.Since) {
			old = &gap{Since: d.since}
		}
		d.state.Gap = &gap{rest, old.Since}
		return nil
	}
	if old == nil {
		return nil
	}
	d.state.Gap, d.since = nil, latest(old.Since, d.now.Add(-redeliverHorizon))
	rest, err = d.back(ctx, old.Cursor)
	if errors.Is(err, providers.ErrInvalid) || errors.Is(err, providers.ErrNotFound) {
		return d.read(ctx) // the cursor has had its time: again from the top, as far back
	}
	if rest != "" {
		d.state.Gap = &gap{rest, old.Since}
	}
	return err
}

// back reads from a cursor back to d.since. It returns where to go on when there was
// not enough time.
func (d *redelivering) back(ctx context.Context, cursor string) (rest string, err error) {
	for {
		page, next, err := d.page(ctx, cursor)
		if err != nil {
			return "", err
		}
		for _, at := range page {
			if at.DeliveredAt.Before(d.since) {
				return "", nil
			}
			switch _, known := d.failed[at.GUID]; {
			case at.arrived():
				delete(d.failed, at.GUID)
				d.arrived[at.GUID] = true
			case !known && !d.arrived[at.GUID]:
				d.failed[at.GUID] = at
			}
		}
		if next == "" || next == cursor {
			return "", nil
		}
		if time.Since(d.began) > redeliverRead {
			return next, nil
		}
		cursor = next
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// missed are the last attempts of deliveries to ask for, the oldest first.
func (d *redelivering) missed() []attempt {
	var out []attempt
	for _, at := range d.failed {
		asked := d.state.Asked[at.GUID]
		if !at.DeliveredAt.After(d.until) && asked.ID != at.ID && asked.Tries < redeliverTries {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, func(a, b attempt) int {
		return cmp.Or(a.DeliveredAt.Compare(b.DeliveredAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// page reads one page of the log. The first one tells GitHub's time.
func (d *redelivering) page(ctx context.Context, cursor string) ([]attempt, string, error) {
	q := url.Values{"per_page": {strconv.Itoa(deliveriesAtOnce)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var page []attempt
	ans, err := api.Do(ctx, d.http, providers.APICall{
		URL: d.app.site.apiURL() + deliveriesPath + "?" + q.Encode(), Header: d.header, Out: &page, MaxBody: maxAnswer,
	})
	if err != nil {
		return nil, "", err
	}
	if d.now.IsZero() {
		if d.now, err = http.ParseTime(ans.Header.Get("Date")); err != nil {
			d.now = time.Now()
		}
		d.until = d.now.Add(-redeliverSettle)
		d.since = latest(d.state.Since, d.now.Add(-redeliverHorizon))
	}
	return page, nextCursor(ans.Header), nil
}

// nextCursor is the cursor of the page that follows, "" for none. Only it is taken
// from the address in the header.
func nextCursor(h http.Header) string {
	for link := range strings.SplitSeq(h.Get("Link"), ",") {
		address, rel, ok := strings.Cut(strings.TrimSpace(link), ">")
		if !ok || !strings.Contains(rel, `rel="next"`) {
			continue
		}
		u, err := url.Parse(strings.TrimPrefix(address, "<"))
		if err != nil {
			return ""
		}
		return u.Query().Get("cursor")
	}
	return ""
}

// ask has GitHub send each again. It stops when GitHub wants to be left alone, and
// when its time is over; the next look begins where it stopped.
func (d *redelivering) ask(ctx context.Context, missed []attempt) (int, error) {
	n := 0
	began := time.Now()
	for i, at := range missed {
		if time.Since(began) > redeliverAsk || ctx.Err() != nil {
			return n, d.save(ctx, at.DeliveredAt)
		}
		if i > 0 {
			pause(ctx, redeliverPause)
		}
		_, err := api.Do(ctx, d.http, providers.APICall{
			Method: http.MethodPost, URL: d.app.site.apiURL() + deliveriesPath + "/" + strconv.FormatInt(at.ID, 10) + "/attempts", Header: d.header,
		})
		gone := errors.Is(err, providers.ErrNotFound) || errors.Is(err, providers.ErrInvalid)
		if err != nil && !gone {
			return n, errors.Join(err, d.save(ctx, at.DeliveredAt))
		}
		asked := askedFor{ID: at.ID, Tries: d.state.Asked[at.GUID].Tries + 1, At: at.DeliveredAt}
		if gone { // too old, or no delivery of this App any more
			asked.Tries = redeliverTries
		} else {
			n++
		}
		d.state.Asked[at.GUID] = asked
		if i%redeliverSave == redeliverSave-1 {
			if err := d.save(ctx, d.state.Since); err != nil {
				return n, err
			}
		}
	}
	return n, d.save(ctx, d.until)
}

// save stores how far the log was worked through, also when ctx has ended.
func (d *redelivering) save(ctx context.Context, since time.Time) error {
	d.state.Since = since
	for guid, asked := range d.state.Asked {
		if d.now.Sub(asked.At) > redeliverHorizon {
			delete(d.state.Asked, guid)
		}
	}
	b, err := json.Marshal(d.state)
	if err != nil {
		return err
	}
	return d.log.Save(context.WithoutCancel(ctx), b)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
