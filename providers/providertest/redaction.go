package providertest

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

// watched are all texts that must not be printed: the service's, and every token
// and code that was seen on the wire.
func (s *suite) watched() []string {
	out := append([]string(nil), s.Secrets...)
	add := func(text string) {
		if len(text) >= 8 {
			out = append(out, text)
		}
	}
	for _, r := range s.wire.requests() {
		if _, bearer, ok := strings.Cut(r.authorization, " "); ok {
			add(bearer)
		}
		form, err := url.ParseQuery(r.body)
		if err != nil {
			continue
		}
		for _, name := range []string{"code", "client_secret", "refresh_token", "code_verifier", "token"} {
			add(form.Get(name))
		}
	}
	return out
}

// redaction prints everything that comes by and looks for secrets.
func (s *suite) redaction() {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	print := func(v any) {
		fmt.Fprintf(&out, "%v %+v %#v\n", v, v, v)
		log.Info("value", "v", v)
	}
	s.printProvider(&out)
	a := s.connect()
	conn := s.connection(a, nil)
	for _, v := range []any{s.Provider.Info(), a, a.Grant, conn} {
		print(v)
	}
	s.ok(s.Call(s.Context(), conn))
	if r, ok := s.Provider.(providers.Renewer); ok {
		for _, answer := range []Answer{s.DeadGrant, s.AppFault, {Status: 500, Body: "down"}} {
			// A service that echoes the request must not get it into an error.
			requests := s.wire.requests(tokenCalls)
			answer.Body += requests[len(requests)-1].body
			s.wire.script(tokenCalls, answer)
			g, err := r.Renew(s.Context(), s.renewal(a))
			print(g)
			print(err)
		}
	}
	for _, refusal := range s.Refusals {
		s.wire.script(apiCalls, refusal.Answer)
		print(s.Call(s.Context(), conn))
	}
	text := out.String()
	secrets := append(s.watched(), a.Grant.AccessToken.Reveal())
	if refresh := a.Grant.RefreshToken.Reveal(); refresh != "" {
		secrets = append(secrets, refresh)
	}
	s.check(len(secrets) > 2, "only %d secrets were seen: the test is broken", len(secrets))
	for i, secret := range secrets {
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]")} {
			s.check(!strings.Contains(text, form), "secret %d of %d was printed", i+1, len(secrets))
		}
	}
	if s.Failed() {
		s.Logf("printed:\n%s", text)
	}
}

// printProvider prints the provider under every verb and in logs: the pointer, what
// it points to, and both inside other values, where fmt calls no methods of theirs.
func (s *suite) printProvider(out *bytes.Buffer) {
	var value any = s.Provider
	if v := reflect.ValueOf(s.Provider); v.Kind() == reflect.Pointer {
		value = v.Elem().Interface()
	}
	type holder struct{ public, private any }
	h := holder{s.Provider, value}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{s.Provider, value, h, &h, []any{value}} {
			_, _ = fmt.Fprintf(out, verb+"\n", v)
		}
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(out, nil), slog.NewJSONHandler(out, nil)} {
		slog.New(handler).Info("provider", "provider", s.Provider, "value", value)
	}
}
