package integrationstest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
)

// githubLogFor is how long attempts are listed.
const githubLogFor = 3 * 24 * time.Hour

// githubDelivery is an attempt to deliver a webhook.
type githubDelivery struct {
	id          int64
	guid, event string
	body        []byte
	at          time.Time
	status      int // 0 when nobody was reached
	again       bool
}

// attempt delivers a webhook to the Manager and writes it to the log. Payloads are
// kept, as a redelivery is of the same bytes.
func (g *GitHub) attempt(d *githubDelivery) int {
	g.mu.Lock()
	offline := g.offline
	g.mu.Unlock()
	d.at = time.Now()
	if !offline {
		d.status = g.kit.deliver(webhooktest.GitHub(g.kit.webhookURL(githubapp.Key), g.webhookSecret, d.event, d.guid, d.body))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	d.again = slices.ContainsFunc(g.log, func(o *githubDelivery) bool { return o.guid == d.guid })
	g.nextDelivery++
	d.id = g.nextDelivery
	g.log = append(g.log, d)
	return d.status
}

// Offline keeps webhooks from reaching the Manager until it is called with false.
// They are in the log as failed: GitHub sends none again by itself.
func (g *GitHub) Offline(yes bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.offline = yes
}

// Redelivered are the ids (X-GitHub-Delivery) of the webhooks that GitHub was asked
// to send again, in that order.
func (g *GitHub) Redelivered() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.redelivered)
}

func (d *githubDelivery) json() map[string]any {
	status := http.StatusText(d.status)
	code := d.status
	if code == 0 {
		status, code = "failed to connect to host", http.StatusBadGateway
	}
	var body struct {
		Action       *string `json:"action"`
		Installation *struct {
			ID int64 `json:"id"`
		} `json:"installation"`
	}
	_ = json.Unmarshal(d.body, &body) // of a form: none of both
	m := map[string]any{
		"id": d.id, "guid": d.guid, "delivered_at": d.at.UTC().Format(time.RFC3339), "redelivery": d.again, "duration": 0.27,
		"status": status, "status_code": code, "event": d.event, "action": body.Action, "installation_id": nil, "repository_id": nil,
	}
	if body.Installation != nil {
		m["installation_id"] = body.Installation.ID
	}
	return m
}

// listDeliveries lists attempts, the newest first, from a cursor.
func (g *GitHub) listDeliveries(w http.ResponseWriter, r *http.Request) {
	if !g.app(w, r) {
		return
	}
	size, err := strconv.Atoi(r.URL.Query().Get("per_page"))
	if err != nil || size < 1 || size > 100 {
		size = 30
	}
	from, err := strconv.ParseInt(r.URL.Query().Get("cursor"), 10, 64)
	if r.URL.Query().Has("cursor") && err != nil {
		message(w, http.StatusUnprocessableEntity, "Invalid cursor")
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	page := []any{}
	for i := len(g.log) - 1; i >= 0; i-- {
		d := g.log[i]
		if from != 0 && d.id > from || time.Since(d.at) > githubLogFor {
			continue
		}
		if len(page) == size {
			w.Header().Set("Link", "<https://api.github.com/app/hook/deliveries?per_page="+strconv.Itoa(size)+"&cursor="+strconv.FormatInt(d.id, 10)+">; rel=\"next\"")
			break
		}
		page = append(page, d.json())
	}
	writeJSON(w, http.StatusOK, page)
}

// attemptDelivery sends a webhook again.
func (g *GitHub) attemptDelivery(w http.ResponseWriter, r *http.Request) {
	if !g.app(w, r) {
		return
	}
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	g.mu.Lock()
	i := slices.IndexFunc(g.log, func(d *githubDelivery) bool { return d.id == id && time.Since(d.at) <= githubLogFor })
	if i < 0 {
		g.mu.Unlock()
		message(w, http.StatusNotFound, "Not Found")
		return
	}
	again := &githubDelivery{guid: g.log[i].guid, event: g.log[i].event, body: g.log[i].body}
	g.redelivered = append(g.redelivered, again.guid)
	g.mu.Unlock()
	writeJSON(w, http.StatusAccepted, map[string]any{})
	g.attempt(again)
}
