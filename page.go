package integrations

import (
	"html/template"
	"net/http"
	"net/url"
)

// pages are the few words a user can get to see. They hold no script, no style
// and nothing that came in with the request but what is named here.
var pages = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title>{{if .Reload}}<meta http-equiv="refresh" content="0">{{end}}</head>
<body><h1>{{.Title}}</h1>{{if .Text}}<p>{{.Text}}</p>{{end}}{{if .Code}}<p>Code: {{.Code}}</p>{{end}}{{if .Action}}<form method="post" action="{{.Action}}">{{range $k, $v := .Fields}}<input type="hidden" name="{{$k}}" value="{{$v}}">{{end}}{{range .Options}}<p><label><input type="radio" name="account" value="{{.Value}}" required> {{.Name}}</label></p>{{end}}<button type="submit">{{.Button}}</button></form>{{end}}</body></html>
`))

type page struct {
	Title, Text, Code string
	// Reload makes the browser ask again at once.
	Reload bool
	// Action, when not "", is where a button posts Fields.
	Action, Button string
	Fields         map[string]string
	// Options are what to pick one of.
	Options []option
}

type option struct{ Value, Name string }

// secureHeaders keep an answer out of caches, frames and Referer headers
// (security considerations of RFC 9700 section 4.2).
func secureHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
}

func writePage(w http.ResponseWriter, status int, p page) {
	secureHeaders(w)
	if p.Action != "" {
		// Under no-referrer a browser posts the form with "Origin: null", which
		// looks like another site's. Other sites still get no Referer.
		w.Header().Set("Referrer-Policy", "same-origin")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pages.Execute(w, p) // the browser went away, or got the page
}

// redirect sends the browser on by GET and, unlike http.Redirect, writes no body
// that repeats the URL.
func redirect(w http.ResponseWriter, to string) {
	secureHeaders(w)
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

func writeError(w http.ResponseWriter, status int, code string) {
	writePage(w, status, page{Title: "This did not work", Text: messages[code], Code: code})
}

// messages are plain words for the codes a page can show.
var messages = map[string]string{
	codeState:           "This link is not valid any more, or was opened in another browser. Start again from the settings page.",
	codeUnauthenticated: "Sign in first, then start again from the settings page.",
	codeForbidden:       "You may not manage integrations.",
	codeOtherUser:       "This connection was started by another user. Start again from the settings page.",
	codeInvalid:         "The request is not valid.",
	codeTooMany:         "Too many connections were started. Wait a minute.",
	codeInternal:        "Something went wrong here. Try again later.",
}

// connectButton is the page that asks for a click before a flow starts, because
// the request may come from another site.
func (m *Manager) connectButton(w http.ResponseWriter, p *provider, q url.Values) {
	fields := map[string]string{}
	for _, name := range []string{"return_to", "label", "scopes", "scope", "site"} {
		if v := q.Get(name); v != "" {
			fields[name] = v
		}
	}
	writePage(w, http.StatusOK, page{
		Title: "Connect " + p.info.Name, Button: "Connect",
		Action: m.base.Path + "/" + p.info.Key + "/connect", Fields: fields,
	})
}
