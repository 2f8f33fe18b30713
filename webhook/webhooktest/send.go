package webhooktest

import (
	"net/http"
	"net/http/httptest"
	"sync"
)

// Send gives requests to a handler, up to together of them at the same time, and
// returns the answers' statuses in the order of the requests. A request is sent
// once: its body is read.
func Send(h http.Handler, together int, requests ...*http.Request) []int {
	statuses := make([]int, len(requests))
	turns := make(chan struct{}, max(together, 1))
	var wg sync.WaitGroup
	for i, r := range requests {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			statuses[i] = w.Code
		})
	}
	wg.Wait()
	return statuses
}
