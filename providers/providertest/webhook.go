package providertest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/webhook"
)

func (s *suite) webhooks() {
	r, ok := s.Provider.(providers.WebhookReceiver)
	if !ok {
		s.check(len(s.Webhooks) == 0, "the service sends webhooks and the provider receives none")
		s.Skip("the provider receives no webhooks")
	}
	src, err := r.WebhookSource()
	if errors.Is(err, errors.ErrUnsupported) && len(s.Webhooks) == 0 {
		s.Skip("no webhooks are configured")
	}
	s.ok(err)
	s.check(src.Verifier != nil && src.Read != nil, "the source verifies or reads nothing")
	s.check(len(s.Webhooks) > 0, "the provider receives webhooks and the service sends none")
	for _, w := range s.Webhooks {
		s.Run(w.Name, func(t *testing.T) {
			one := *s
			one.T = t
			one.webhook(src, w)
		})
	}
}

// received is a request as a webhook.Receiver hands it to a source.
func (s *suite) received(w Webhook, r *http.Request, now time.Time) *webhook.Request {
	s.Helper()
	body, err := io.ReadAll(r.Body)
	s.ok(err)
	return &webhook.Request{Method: r.Method, URL: w.URL, Header: r.Header, Body: body, Now: now, Endpoint: w.Endpoint}
}

func (s *suite) webhook(src webhook.Source, w Webhook) {
	now := time.Now()
	fresh := func() *webhook.Request { return s.received(w, w.Request(now), now) }
	verify := src.Verifier.Verify

	req := fresh()
	s.ok(verify(req))
	receipt, err := src.Read(req)
	s.ok(err)
	if len(receipt.Notices) == 0 {
		s.Fatalf("an event is no notice")
	}
	n := receipt.Notices[0]
	s.check(n.Type == w.Type, "the type is %q, want %q", n.Type, w.Type)
	s.check(n.DeliveryID != "" && len(n.DeliveryID) <= 191, "the delivery id is %q", n.DeliveryID)
	if w.Endpoint == nil {
		a := s.connect()
		s.check(n.Account != "" && (n.Account == a.ExternalID || n.Account == a.Alias), "the event is for %q, want %q or %q", n.Account, a.ExternalID, a.Alias)
	}
	again, err := src.Read(fresh())
	s.ok(err)
	s.check(len(again.Notices) == len(receipt.Notices) && again.Notices[0].DeliveryID == n.DeliveryID, "the same request read twice has another delivery id")

	refused := func(what string, r *webhook.Request) {
		s.Helper()
		s.check(verify(r) != nil, "accepted: %s", what)
	}
	s.check(len(w.Signed) > 0 || w.Endpoint != nil, "Signed is empty: name the headers that prove the sender")
	for _, name := range w.Signed {
		name = http.CanonicalHeaderKey(name)
		value := fresh().Header.Get(name)
		if value == "" {
			s.Fatalf("the request has no %s", name)
		}
		r := fresh()
		r.Header.Del(name)
		refused("no "+name, r)
		r = fresh()
		r.Header.Set(name, "")
		refused("an empty "+name, r)
		r = fresh()
		r.Header.Add(name, value)
		refused(name+" twice", r)
		for i := range value {
			changed := []byte(value)
			changed[i] ^= 1
			r = fresh()
			r.Header.Set(name, string(changed))
			refused(name+" with one bit changed", r)
		}
	}
	if w.BodySigned {
		for i := range req.Body {
			r := fresh()
			r.Body = bytes.Clone(r.Body)
			r.Body[i] ^= 1
			refused("a body with one bit changed", r)
		}
		r := fresh()
		r.Body = append(bytes.Clone(r.Body), ' ')
		refused("a longer body", r)
	}
	if w.TimeSigned {
		for _, off := range []time.Duration{-time.Hour, time.Hour} {
			at := now.Add(off)
			refused("a request signed "+off.String()+" from now", s.received(w, w.Request(at), now))
		}
	}
	if w.Endpoint != nil {
		// Without an endpoint of one's own it proves nothing.
		r := fresh()
		r.Endpoint = nil
		if verify(r) == nil {
			receipt, err := src.Read(r)
			s.check(err != nil || len(receipt.Notices) == 0, "accepted: an endpoint's request without an endpoint")
		}
	}
}
