package integrationstest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/saas-integrations/integrations/providers/jiraapp"
)

// jiraFailedFor is how long Jira lists what it could not deliver.
const jiraFailedFor = 72 * time.Hour

type jiraFailure struct {
	identifier, body, url string
	person                string
	at                    time.Time
}

// GiveUp is a dynamic webhook of a site that Jira could not deliver in all of its
// attempts: it is sent no more, and listed for three days under its identifier,
// which is returned.
func (j *Jira) GiveUp(cloudID string, body []byte) string {
	id := j.identifier()
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.site(cloudID); s != nil {
		s.failed = append(s.failed, jiraFailure{id, string(body), j.kit.webhookURL(jiraapp.Key), s.persons[0], time.Now()})
	}
	return id
}

// RefuseFailed makes a site refuse to list what it could not deliver, as Jira may
// do for apps that are no Connect apps.
func (j *Jira) RefuseFailed(cloudID string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.site(cloudID); s != nil {
		s.refusesFailed = true
	}
}

// failedHooks lists failures, the oldest first. Those of one millisecond are not
// cut apart.
func (c *jiraCall) failedHooks() {
	if c.site.refusesFailed {
		c.fail(http.StatusForbidden, "Only Connect apps can use this operation.")
		return
	}
	q := c.r.URL.Query()
	after, _ := strconv.ParseInt(q.Get("after"), 10, 64)
	most, err := strconv.Atoi(q.Get("maxResults"))
	if err != nil || most < 1 || most > 100 {
		most = 100
	}
	values := []any{}
	last := int64(0)
	for _, f := range c.site.failed {
		at := f.at.UnixMilli()
		if f.person != c.person || at <= after || time.Since(f.at) > jiraFailedFor {
			continue
		}
		if len(values) >= most && at != last {
			break
		}
		last = at
		values = append(values, map[string]any{"id": f.identifier, "body": f.body, "url": f.url, "failureTime": at})
	}
	answer := map[string]any{"values": values, "maxResults": most}
	if len(values) > 0 {
		answer["next"] = "https://" + c.site.host + "/rest/api/3/webhook/failed?after=" + strconv.FormatInt(last, 10) + "&maxResults=" + strconv.Itoa(most)
	}
	writeJSON(c.w, http.StatusOK, answer)
}
