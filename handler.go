package integrations

import (
	"net/http"
	"strings"
)

// Handler serves everything: GET and POST {key}/connect, GET {key}/callback and
// POST {key}/webhook[/{endpoint}] below Config.BaseURL's path. Mount it there.
// The path is removed if it is there, so http.StripPrefix is harmless and not
// needed.
func (m *Manager) Handler() http.Handler { return m.mux(true, true) }

// UserHandler serves only connect and callback, to be put behind the host's
// login and CSRF middleware.
func (m *Manager) UserHandler() http.Handler { return m.mux(true, false) }

// WebhooksHandler serves only the webhook paths, which providers call and no
// session exists for.
func (m *Manager) WebhooksHandler() http.Handler { return m.mux(false, true) }

// WebhookHandler receives the webhooks of one provider, at any path. A segment
// after {key}/webhook names an integration's own endpoint. It answers 404 where the
// provider has no webhooks configured, and panics for a key that no provider
// has.
func (m *Manager) WebhookHandler(key string) http.Handler {
	p := m.mustProvider(key)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, action, endpoint := m.route(r.URL.Path)
		if action != "webhook" {
			endpoint = "" // of a path of the host's own
		}
		m.serveWebhook(w, r, p, endpoint)
	})
}

func (m *Manager) serveWebhook(w http.ResponseWriter, r *http.Request, p *provider, endpoint string) {
	if p.receiver == nil {
		http.NotFound(w, r)
		return
	}
	p.receiver.ServeEndpoint(w, r, endpoint)
}

func (m *Manager) mux(user, webhooks bool) http.Handler {
	type handlers struct{ connect, callback http.Handler }
	byKey := make(map[string]handlers, len(m.keys))
	for _, key := range m.keys {
		byKey[key] = handlers{m.ConnectHandler(key), m.CallbackHandler(key)}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, action, endpoint := m.route(r.URL.Path)
		h, ok := byKey[key]
		switch {
		case ok && user && action == "connect" && endpoint == "":
			h.connect.ServeHTTP(w, r)
		case ok && user && action == "callback" && endpoint == "":
			h.callback.ServeHTTP(w, r)
		case ok && webhooks && action == "webhook":
			m.serveWebhook(w, r, m.providers[key], endpoint)
		default:
			http.NotFound(w, r)
		}
	})
}

// route splits a path into key, action and endpoint, all "" for a path of
// another form.
func (m *Manager) route(path string) (key, action, endpoint string) {
	if rest, ok := strings.CutPrefix(path, m.base.Path+"/"); ok && m.base.Path != "" {
		path = rest
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch len(parts) {
	case 2:
		return parts[0], parts[1], ""
	case 3:
		if parts[2] == "" {
			return "", "", ""
		}
		return parts[0], parts[1], parts[2]
	default:
		return "", "", ""
	}
}

// mustProvider panics for an unknown key: it is a fault of the program, found
// when the handler is mounted.
func (m *Manager) mustProvider(key string) *provider {
	p := m.providers[key]
	if p == nil {
		panic("integrations: no provider with key " + key)
	}
	return p
}
