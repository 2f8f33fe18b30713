package integrationstest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/saas-integrations/integrations/providers/jiraapp"
)

const (
	jiraAuthHost = "auth.atlassian.com"
	jiraAPIHost  = "api.atlassian.com"
)

// Jira is an Atlassian with Jira Cloud sites that lives in this process, with
// real answer shapes. The account of a browser is a person, who has a site of
// their own unless [Jira.AddSite] gave them others; a site's cloud id stands for
// its first person, who then picks that site.
type Jira struct {
	// Tokens issues and counts its tokens, whose subjects are persons. Access
	// tokens last an hour; refresh tokens are replaced, with ten minutes' leeway.
	Tokens *TokenServer

	kit                    *Kit
	clientID, clientSecret string

	mu      sync.Mutex
	sites   []*jiraSite
	granted map[string][]string // scopes by person
	quota   int
	nextID  int64
}

type jiraSite struct {
	id, name, host string
	persons        []string
	noJira         bool
	projects       []string
	issues         []*jiraIssue
	hooks          []*jiraHook
	failed         []jiraFailure
	refusesFailed  bool
}

// JiraIssue is an issue of the fake.
type JiraIssue struct {
	Site, ID, Key string
	// Status is the name of the status: "To Do", "In Progress" or "Done".
	Status string
	// Assignee is an account id, "" for nobody.
	Assignee string
	// Fields are as they were written, Comments the bodies of the comments.
	Fields   map[string]any
	Comments []string
}

type jiraIssue struct{ JiraIssue }

func newJira(k *Kit) *Jira {
	j := &Jira{
		Tokens: newTokenServer("eyJ"), kit: k, clientID: "jira-" + randomHex(), clientSecret: "ATOA" + randomHex() + randomHex(),
		granted: map[string][]string{}, quota: 65000, nextID: 10000,
	}
	j.Tokens.SetLife(time.Hour)
	j.Tokens.SetRotation(Leeway, 10*time.Minute)
	auth := http.NewServeMux()
	auth.HandleFunc("GET /authorize", j.authorizePage)
	auth.HandleFunc("POST /oauth/token", j.token)
	k.Network.Handle(jiraAuthHost, auth)
	api := http.NewServeMux()
	api.HandleFunc("GET /oauth/token/accessible-resources", j.resources)
	api.Handle("/ex/jira/{cloud}/", j.api())
	k.Network.Handle(jiraAPIHost, api)
	return j
}

// App is the 3LO app registered at this fake.
func (j *Jira) App() jiraapp.Config {
	return jiraapp.Config{
		ClientID: j.clientID, ClientSecret: j.clientSecret,
		Scopes: []string{"read:jira-work", "write:jira-work", "read:jira-user", "manage:jira-webhook"},
	}
}

// ClientSecret signs this fake's dynamic webhooks.
func (j *Jira) ClientSecret() string { return j.clientSecret }

// AddSite makes a site with the projects "ACME" and "OPS", or the given ones,
// that a person may use, and returns its cloud id. Its host is
// NAME.atlassian.net.
func (j *Jira) AddSite(person, name string, projects ...string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.addSite(person, name, projects).id
}

func (j *Jira) addSite(person, name string, projects []string) *jiraSite {
	if len(projects) == 0 {
		projects = []string{"ACME", "OPS"}
	}
	s := &jiraSite{id: newUUID(), name: name, host: strings.ToLower(name) + ".atlassian.net", persons: []string{person}, projects: projects}
	j.sites = append(j.sites, s)
	return s
}

// AddPerson lets one more person use a site.
func (j *Jira) AddPerson(cloudID, person string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.site(cloudID); s != nil {
		s.persons = append(s.persons, person)
	}
}

// WithoutJira makes a site one of Confluence alone.
func (j *Jira) WithoutJira(cloudID string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.site(cloudID); s != nil {
		s.noJira = true
	}
}

// Site is the cloud id of a person's first site, "" for none.
func (j *Jira) Site(person string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.sites {
		if slices.Contains(s.persons, person) {
			return s.id
		}
	}
	return ""
}

// Host is the host name of a site.
func (j *Jira) Host(cloudID string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.site(cloudID); s != nil {
		return s.host
	}
	return ""
}

// Issues are the issues of a site, in the order in which they were created.
func (j *Jira) Issues(cloudID string) []JiraIssue {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []JiraIssue
	if s := j.site(cloudID); s != nil {
		for _, i := range s.issues {
			c := i.JiraIssue
			c.Comments = slices.Clone(c.Comments)
			out = append(out, c)
		}
	}
	return out
}

// AddIssue creates an issue without a call and returns its key.
func (j *Jira) AddIssue(cloudID, project, summary string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.site(cloudID)
	if s == nil {
		j.kit.t.Fatalf("integrationstest: no site %s", cloudID)
		return ""
	}
	return j.addIssue(s, project, map[string]any{
		"project": map[string]any{"key": project}, "issuetype": map[string]any{"name": "Task"}, "summary": summary,
	}).Key
}

func (j *Jira) addIssue(s *jiraSite, project string, fields map[string]any) *jiraIssue {
	number := 1
	for _, i := range s.issues {
		if strings.HasPrefix(i.Key, project+"-") {
			number++
		}
	}
	j.nextID++
	i := &jiraIssue{JiraIssue{
		Site: s.id, ID: strconv.FormatInt(j.nextID, 10), Key: project + "-" + strconv.Itoa(number), Status: "To Do", Fields: fields,
	}}
	s.issues = append(s.issues, i)
	return i
}

// SetQuota sets how many more API requests of the app are answered.
func (j *Jira) SetQuota(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.quota = n
}

// site must be called with j.mu held.
func (j *Jira) site(cloudID string) *jiraSite {
	for _, s := range j.sites {
		if s.id == cloudID {
			return s
		}
	}
	return nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (j *Jira) authorizePage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != j.clientID || q.Get("audience") != jiraAPIHost || q.Get("prompt") != "consent" || q.Get("response_type") != "code" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	person := accountOf(r)
	j.mu.Lock()
	if s := j.site(person); s != nil {
		person = s.persons[0]
	}
	j.granted[person] = strings.Fields(q.Get("scope"))
	if !slices.ContainsFunc(j.sites, func(s *jiraSite) bool { return slices.Contains(s.persons, person) }) {
		j.addSite(person, person, nil)
	}
	j.mu.Unlock()
	back(w, r, j.Tokens, j.clientID, q.Get("redirect_uri"), person, nil)
}

// token is oauth/token, with a form or JSON.
func (j *Jira) token(w http.ResponseWriter, r *http.Request) {
	in := map[string]string{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		_ = decodeBody(r, &in)
	} else {
		_ = r.ParseForm()
		for k := range r.PostForm {
			in[k] = r.PostForm.Get(k)
		}
	}
	no := func(status int, code, description string) {
		writeJSON(w, status, map[string]any{"error": code, "error_description": description})
	}
	if in["client_id"] != j.clientID || in["client_secret"] != j.clientSecret {
		no(http.StatusUnauthorized, "access_denied", "Unauthorized")
		return
	}
	var out issued
	var ok bool
	switch in["grant_type"] {
	case "authorization_code":
		if out, ok = j.Tokens.exchange(in["code"], j.clientID, in["redirect_uri"], in["code_verifier"]); !ok {
			no(http.StatusForbidden, "invalid_grant", "Invalid authorization code")
			return
		}
	case "refresh_token":
		if out, ok = j.Tokens.renew(in["refresh_token"]); !ok {
			no(http.StatusForbidden, "invalid_grant", "Unknown or invalid refresh token.")
			return
		}
	default:
		no(http.StatusBadRequest, "unsupported_grant_type", "")
		return
	}
	scopes := j.scopes(out.subject)
	answer := map[string]any{
		"access_token": out.access, "expires_in": int(out.life.Seconds()), "scope": strings.Join(scopes, " "), "token_type": "Bearer",
	}
	if slices.Contains(scopes, "offline_access") && out.refresh != "" {
		answer["refresh_token"] = out.refresh
	}
	writeJSON(w, http.StatusOK, answer)
}

func (j *Jira) scopes(person string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.granted[person])
}

// resources is accessible-resources.
func (j *Jira) resources(w http.ResponseWriter, r *http.Request) {
	person, _, ok := j.Tokens.authorize(bearer(r))
	if !ok {
		jiraGateway(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	scopes := j.scopes(person)
	j.mu.Lock()
	defer j.mu.Unlock()
	list := []any{}
	for _, s := range j.sites {
		if !slices.Contains(s.persons, person) {
			continue
		}
		product := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == "offline_access" })
		if s.noJira {
			product = []string{"read:confluence-content.all"}
		}
		list = append(list, map[string]any{
			"id": s.id, "name": s.name, "url": "https://" + s.host, "scopes": product, "avatarUrl": "https://site-admin-avatar-cdn.example/240/site.png",
		})
	}
	writeJSON(w, http.StatusOK, list)
}

// jiraGateway is a refusal of the gateway in front of Jira.
func jiraGateway(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"code": status, "message": message})
}
