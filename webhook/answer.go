package webhook

import "net/http"

// answer is what a request is told and what an observer is told of it.
type answer struct {
	status             int
	outcome            Outcome
	err                error
	reply              *Reply // nil for an empty answer
	hangUp             bool   // there is more of the request, which nobody will read
	stored, duplicates int
}

func refused(status int, err error) answer {
	return answer{status: status, outcome: OutcomeRefused, err: err}
}

func unavailable(status int, err error) answer {
	return answer{status: status, outcome: OutcomeUnavailable, err: err}
}

func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	if a.reply != nil && a.err == nil {
		if h.Set("Content-Type", "text/plain; charset=utf-8"); a.reply.ContentType != "" {
			h.Set("Content-Type", a.reply.ContentType)
		}
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(a.status)
		_, _ = w.Write(a.reply.Body) // a sender that hung up sends again
		return
	}
	if a.err == nil {
		w.WriteHeader(a.status)
		return
	}
	if a.hangUp {
		h.Set("Connection", "close")
	}
	switch a.status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	http.Error(w, http.StatusText(a.status), a.status)
}
