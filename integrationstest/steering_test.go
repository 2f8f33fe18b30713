package integrationstest_test

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/providers/hubspotapp"
	"github.com/saas-integrations/integrations/providers/jiraapp"
	"github.com/saas-integrations/integrations/providers/salesforceapp"
	"github.com/saas-integrations/integrations/providers/sheetsapp"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/stretchr/testify/require"
)

// What becomes of a webhook of the tenant acme in which somebody wrote the tenant
// beta's account wherever users can write.
const (
	acme    = "acme"    // it is acme's
	nobody  = ""        // it is stored for nobody
	refused = "refused" // it is not stored
)

// steer sends each body, signed as it stands, and requires that it goes where it
// has to: never to beta.
func steer(t *testing.T, key, to string, cases map[string][2]string, change ...func(*http.Request)) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			beta := w.endpoints[[2]string{key, "beta"}]
			body := strings.NewReplacer("{channel of beta}", beta.ID, "{token of beta}", beta.Secret.Reveal()).Replace(c[0])
			r := w.request(key, to, "push", "delivery", []byte(body))
			for _, fn := range change {
				fn(r)
			}
			code, stored := w.send(r)
			for _, row := range stored {
				require.Contains(t, []string{acme, nobody}, row[2])
				require.NotEqual(t, refused, c[1])
				require.Equal(t, c[1], row[2])
			}
			require.Equal(t, c[1] == refused, code >= 400, "answered %d", code)
			require.Equal(t, c[1] == refused, len(stored) == 0)
		})
	}
}

func TestSlackRoutingIsNotSteered(t *testing.T) {
	outer := func(rest string) string {
		return `{"type":"event_callback","event_id":"Ev` + fmt.Sprint(crc32.ChecksumIEEE([]byte(rest))) + `","event":{"type":"message","text":"x"},` + rest + `}`
	}
	auth := func(id string) string {
		return `"authorizations":[{"enterprise_id":null,"team_id":"` + id + `","is_enterprise_install":false}]`
	}
	const org = `"authorizations":[{"enterprise_id":"E0BETA001","team_id":null,"is_enterprise_install":true}]`
	form := func(payload string, more ...string) string {
		return "payload=" + url.QueryEscape(payload) + strings.Join(more, "")
	}
	steer(t, slackapp.Key, "app", map[string][2]string{
		"nested in the event":         {`{"type":"event_callback","event_id":"Ev1","event":{"type":"message","team":"E0BETA001",` + org + `,"team_id":"E0BETA001"},` + auth("T0ACME001") + `}`, acme},
		"in a text":                   {`{"type":"event_callback","event_id":"Ev2","event":{"type":"message","text":"\"},` + strings.ReplaceAll(org, `"`, `\"`) + `"},` + auth("T0ACME001") + `}`, acme},
		"team_id of the other side":   {outer(auth("T0ACME001") + `,"team_id":"E0BETA001","enterprise_id":"E0BETA001"`), acme},
		"authorizations twice":        {outer(auth("T0ACME001") + `,` + org), refused},
		"authorizations twice, later": {outer(org + `,` + auth("T0ACME001")), refused},
		"authorizations in capitals":  {outer(`"Authorizations":[{"enterprise_id":"E0BETA001","is_enterprise_install":true}],` + auth("T0ACME001")), refused},
		"authorizations escaped":      {outer(`"\u0061uthorizations":[{"enterprise_id":"E0BETA001","is_enterprise_install":true}],` + auth("T0ACME001")), refused},
		"team_id twice within":        {outer(`"authorizations":[{"team_id":"T0ACME001","team_id":"E0BETA001"}]`), refused},
		"team_id in capitals within":  {outer(`"authorizations":[{"Team_ID":"E0BETA001","team_id":"T0ACME001"}]`), refused},
		"a second authorization":      {outer(`"authorizations":[{"team_id":"T0ACME001"},{"enterprise_id":"E0BETA001","is_enterprise_install":true}]`), acme},
		"an object of authorizations": {outer(`"authorizations":{"team_id":"E0BETA001"},"team_id":"T0ACME001"`), refused},
		"a number for an id":          {outer(`"authorizations":[{"team_id":7,"enterprise_id":"E0BETA001"}]`), refused},
		"two documents":               {outer(auth("T0ACME001")) + outer(org), refused},
		"org install as a word":       {outer(`"authorizations":[{"team_id":"T0ACME001","enterprise_id":"E0BETA001","is_enterprise_install":"yes"}]`), acme},

		"payload twice":            {form(`{"type":"block_actions","trigger_id":"1","team":{"id":"T0ACME001"}}`, "&"+form(`{"type":"block_actions","trigger_id":"1","enterprise":{"id":"E0BETA001"}}`)), refused},
		"payload beside its form":  {form(`{"type":"block_actions","trigger_id":"2","team":{"id":"T0ACME001"}}`, "&team_id=E0BETA001&is_enterprise_install=true&enterprise_id=E0BETA001"), acme},
		"values of a view":         {form(`{"type":"view_submission","trigger_id":"3","team":{"id":"T0ACME001"},"view":{"app_installed_team_id":"T0ACME001","state":{"enterprise":{"id":"E0BETA001"}}}}`), acme},
		"team twice in a payload":  {form(`{"type":"block_actions","trigger_id":"4","team":{"id":"T0ACME001"},"team":{"id":"E0BETA001"}}`), refused},
		"id twice in a team":       {form(`{"type":"block_actions","trigger_id":"5","team":{"id":"T0ACME001","id":"E0BETA001"}}`), refused},
		"a command's id twice":     {"command=/x&trigger_id=6&team_id=T0ACME001&team_id=E0BETA001", refused},
		"a command's other case":   {"command=/x&trigger_id=7&team_id=T0ACME001&Team_Id=E0BETA001&IS_ENTERPRISE_INSTALL=true", acme},
		"a command's text":         {"command=/x&trigger_id=8&team_id=T0ACME001&text=%26team_id%3DE0BETA001%26enterprise_id%3DE0BETA001", acme},
		"a command that says both": {"command=/x&trigger_id=9&team_id=T0ACME001&enterprise_id=E0BETA001&is_enterprise_install=false", acme},
	})
}

func TestGitHubRoutingIsNotSteered(t *testing.T) {
	const own = `"installation":{"id":31000001}`
	push := func(n, rest string) string {
		return `{"ref":"r` + n + `","before":"0","after":"1","repository":{"id":1},` + rest + `}`
	}
	steer(t, githubapp.Key, "app", map[string][2]string{
		"nested":                   {push("1", `"client_payload":{"installation":{"id":31000002}},`+own), acme},
		"in a commit's message":    {push("2", `"commits":[{"message":"\",\"installation\":{\"id\":31000002}"}],`+own), acme},
		"in the repository":        {push("3", `"sender":{"installation":{"id":31000002},"id":31000002},`+own), acme},
		"twice":                    {push("4", own+`,"installation":{"id":31000002}`), refused},
		"twice, the other first":   {push("5", `"installation":{"id":31000002},`+own), refused},
		"in capitals":              {push("6", `"Installation":{"id":31000002},`+own), refused},
		"in capitals alone":        {push("7", `"INSTALLATION":{"id":31000002}`), refused},
		"escaped":                  {push("8", `"\u0069nstallation":{"id":31000002},`+own), refused},
		"id twice":                 {push("9", `"installation":{"id":31000001,"id":31000002}`), refused},
		"id in capitals":           {push("a", `"installation":{"ID":31000002,"id":31000001}`), refused},
		"id as text":               {push("b", `"installation":{"id":"31000002"}`), refused},
		"id as a float":            {push("c", `"installation":{"id":31000002.0}`), refused},
		"id with an exponent":      {push("d", `"installation":{"id":3.1000002e7}`), refused},
		"a list":                   {push("e", `"installation":[{"id":31000002}]`), refused},
		"null":                     {push("f", `"installation":null`), nobody},
		"two documents":            {push("g", own) + push("g", `"installation":{"id":31000002}`), refused},
		"a second payload":         {"payload=" + url.QueryEscape(push("h", own)) + "&payload=" + url.QueryEscape(push("h", `"installation":{"id":31000002}`)), refused},
		"a payload in a message":   {push("i", `"x":"&payload=`+url.QueryEscape(push("i", `"installation":{"id":31000002}`))+`",`+own), acme},
		"another event's body":     {`{"action":"deleted","installation":{"id":31000002,"app_id":4711},"repositories":[]}`, refused},
		"a form that is not first": {"x=1&payload=" + url.QueryEscape(push("j", `"installation":{"id":31000002}`)), refused},
	})
}

func TestJiraRoutingIsNotSteered(t *testing.T) {
	const self, other = `"self":"https://acme.atlassian.net/rest/api/2/issue/1"`, `"self":"https://beta.atlassian.net/rest/api/2/issue/1"`
	event := func(issue, rest string) string {
		return `{"webhookEvent":"jira:issue_updated","matchedWebhookIds":[1],"issue":{` + issue + `}` + rest + `}`
	}
	cases := map[string][2]string{
		"in a field":                 {event(self+`,"fields":{"summary":"x",`+other+`,"parent":{`+other+`}}`, ""), acme},
		"in a description":           {event(self+`,"fields":{"description":"\"},\"issue\":{`+strings.ReplaceAll(other, `"`, `\"`)+`"}`, ""), acme},
		"the user's":                 {event(self, `,"user":{`+other+`}`), acme},
		"a comment's author":         {event(self, `,"comment":{"author":{`+other+`}}`), acme},
		"the issue twice":            {event(self, `,"issue":{`+other+`}`), refused},
		"self twice":                 {event(self+`,`+other, ""), refused},
		"the issue in capitals":      {event(self, `,"Issue":{`+other+`}`), refused},
		"self in capitals":           {event(`"Self":"https://beta.atlassian.net/x",`+self, ""), refused},
		"self escaped":               {event(`"\u0073elf":"https://beta.atlassian.net/x",`+self, ""), refused},
		"another host's user":        {event(`"self":"https://acme.atlassian.net@beta.atlassian.net/rest"`, ""), refused},
		"a port":                     {event(`"self":"https://beta.atlassian.net:444/rest"`, ""), refused},
		"another scheme":             {event(`"self":"http://beta.atlassian.net/rest"`, ""), refused},
		"a host that only begins so": {event(`"self":"https://beta.atlassian.net.example.com/rest"`, ""), nobody},
		"self as an object":          {event(`"self":{"self":"https://beta.atlassian.net/x"}`, ""), refused},
		"an encoded cloud id":        {event(`"self":"https://api.atlassian.com/ex/jira/../jira/22222222-2222-4222-8222-222222222222/rest"`, ""), refused},
		"ids twice":                  {`{"webhookEvent":"jira:issue_updated","matchedWebhookIds":[9],"matchedWebhookIds":[1],"issue":{` + self + `}}`, refused},
		"ids nested":                 {`{"webhookEvent":"jira:issue_updated","matchedWebhookIds":[9],"issue":{` + self + `,"matchedWebhookIds":[1]}}`, nobody},
		"ids of another kind":        {`{"webhookEvent":"jira:issue_updated","matchedWebhookIds":["1"],"issue":{` + self + `}}`, refused},
		"two documents":              {event(self, "") + event(other, ""), refused},
	}
	steer(t, jiraapp.Key, "app", cases)

	// At an endpoint the body decides nothing at all.
	atEndpoint := map[string][2]string{"the other's site": {event(other, `,"cloudId":"22222222-2222-4222-8222-222222222222"`), acme}}
	steer(t, jiraapp.Key, "acme", atEndpoint)
}

func TestHubSpotRoutingIsNotSteered(t *testing.T) {
	event := func(n, rest string) string {
		return `{"eventId":` + n + `,"appId":54321,"occurredAt":1700000000000,"subscriptionType":"contact.creation","objectId":` + n + `,` + rest + `}`
	}
	const own = `"portalId":62515`
	steer(t, hubspotapp.Key, "app", map[string][2]string{
		"in a value":                 {`[` + event("1", own+`,"propertyValue":"{\"portalId\":62516}"`) + `]`, acme},
		"nested":                     {`[` + event("2", own+`,"origin":{"portalId":62516},"extra":[{"portalId":62516}]`) + `]`, acme},
		"twice":                      {`[` + event("3", own+`,"portalId":62516`) + `]`, refused},
		"twice, the other first":     {`[` + event("4", `"portalId":62516,`+own) + `]`, refused},
		"in capitals":                {`[` + event("5", `"PortalId":62516,"portalID":62516,`+own) + `]`, refused},
		"in capitals alone":          {`[` + event("6", `"portalid":62516`) + `]`, refused},
		"escaped":                    {`[` + event("7", `"\u0070ortalId":62516,`+own) + `]`, refused},
		"as text":                    {`[` + event("8", `"portalId":"62516"`) + `]`, refused},
		"as a float":                 {`[` + event("9", `"portalId":62516.0`) + `]`, refused},
		"a list around":              {`[[` + event("10", `"portalId":62516`) + `]]`, refused},
		"two documents":              {`[` + event("11", own) + `][` + event("12", `"portalId":62516`) + `]`, refused},
		"a workflow's origin":        {`[` + event("13", own+`,"callbackId":"x","origin":{"portalId":62516}`) + `]`, acme},
		"a callback of another kind": {`{"callbackId":"cb","origin":{"portalId":62515,"nested":{"portalId":62516}},"inputFields":{"portalId":62516}}`, acme},
	})
}

func TestSalesforceRoutingIsNotSteered(t *testing.T) {
	const own, other = "00D5e000000KQ2eEAG", "00D7Q000000ABcdUAG"
	soap := func(head, fields string) string {
		return `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>` +
			`<notifications xmlns="http://soap.sforce.com/2005/09/outbound">` + head + `<ActionId>04k5e000000CaRkAAK</ActionId>` +
			`<Notification><Id>04l5e00000Gx7QzAAJ</Id><sObject xsi:type="sf:Contact" xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>003ak00000IiFInAAN</sf:Id>` +
			fields + `</sObject></Notification></notifications></soapenv:Body></soapenv:Envelope>`
	}
	org := func(id string) string { return "<OrganizationId>" + id + "</OrganizationId>" }
	steer(t, salesforceapp.Key, "acme", map[string][2]string{
		"in a field":               {soap(org(own), "<sf:OrganizationId>"+other+"</sf:OrganizationId>"), acme},
		"the other org":            {soap(org(other), ""), refused},
		"two orgs":                 {soap(org(own)+org(other), ""), refused},
		"two orgs, the other once": {soap(org(other)+org(own), ""), refused},
		"of another namespace":     {soap(org(own)+`<x:OrganizationId xmlns:x="urn:x">`+other+`</x:OrganizationId>`, ""), refused},
		"in capitals":              {soap("<ORGANIZATIONID>"+other+"</ORGANIZATIONID>"+org(own), ""), acme},
		"cut by a comment":         {soap("<OrganizationId>"+other[:5]+"<!-- -->"+own[5:]+"</OrganizationId>", ""), refused},
		"a document type":          {`<!DOCTYPE x [<!ENTITY o "` + other + `">]>` + soap("<OrganizationId>&o;</OrganizationId>", ""), refused},
		"a callout's nested org":   {`{"record":{"organizationId":"` + other + `"},"organizationId":"` + own + `","id":"1"}`, acme},
		"a callout's other org":    {`{"organizationId":"` + other + `","id":"2"}`, refused},
		"a callout's org twice":    {`{"organizationId":"` + own + `","organizationId":"` + other + `","id":"3"}`, refused},
		"a callout's capitals":     {`{"OrganizationId":"` + other + `","id":"4"}`, refused},
		"a callout's escape":       {`{"\u006frganizationId":"` + other + `","id":"5"}`, refused},
		"a callout's type":         {`{"type":"outbound_message.Contact","id":"6"}`, refused},
		"a callout of two":         {`{"id":"7"}{"organizationId":"` + other + `"}`, refused},
	})
}

func TestGoogleRoutingIsNotSteered(t *testing.T) {
	const headers = "X-Goog-Resource-State: change\nX-Goog-Message-Number: 7\nX-Goog-Resource-Id: r\n"
	steer(t, sheetsapp.Key, "acme", map[string][2]string{
		"a resource of the other": {headers + "X-Goog-Resource-Uri: https://www.googleapis.com/drive/v3/files/of-beta?alt=json\nX-Account: 100000000000000000002\n", acme},
		"a state of one's own":    {strings.Replace(headers, "change", "change/../beta", 1), refused},
		"a number that is none":   {strings.Replace(headers, "7", "7;tenant=beta", 1), refused},
		"a token twice":           {headers + "X-Goog-Channel-Token: a\nX-Goog-Channel-Token: b\n", refused},
		"another channel":         {headers + "X-Goog-Channel-Id: {channel of beta}\n", refused},
		"another channel's token": {headers + "X-Goog-Channel-Token: {token of beta}\n", refused},
	})
	// What stands in the body or the query of the address is not looked at.
	steer(t, sheetsapp.Key, "acme", map[string][2]string{"a body and a query": {headers, acme}}, func(r *http.Request) {
		r.URL.RawQuery = "endpoint=x&tenant=beta"
	})
}
