package providers

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/saas-integrations/integrations/webhook"
)

// OAuth2Webhook receives the webhooks of a provider made by [NewOAuth2].
type OAuth2Webhook struct {
	// Verifier checks the signature, for example webhook.NewHMAC or
	// webhook.NewStandardWebhooks. Required.
	Verifier webhook.Verifier
	// Account is the path of the account's id in the JSON body, as
	// OAuth2Config.AccountID. Required.
	Account string
	// TypeHeader or Type, a path in the body, gives the event's type. One is
	// required.
	TypeHeader, Type string
	// IDHeader or ID, a path in the body, gives the delivery's id. One is
	// required.
	IDHeader, ID string
	// TimestampSigned says that the signature covers a time or the delivery's
	// id. Otherwise an equal body is taken for the same delivery.
	TimestampSigned bool
	// MaxBody is the largest body in bytes. Defaults to 1 MiB.
	MaxBody int64
}

func (w *OAuth2Webhook) validate() error {
	var faults []error
	if w.Verifier == nil {
		faults = append(faults, errors.New("the Verifier is nil"))
	}
	if w.Account == "" {
		faults = append(faults, errors.New("the Account path is empty"))
	}
	if (w.TypeHeader == "") == (w.Type == "") {
		faults = append(faults, errors.New("set one of TypeHeader and Type"))
	}
	if (w.IDHeader == "") == (w.ID == "") {
		faults = append(faults, errors.New("set one of IDHeader and ID"))
	}
	return errors.Join(faults...)
}

func (w *OAuth2Webhook) source() webhook.Source {
	s := webhook.Source{Verifier: w.Verifier, Read: w.read, MaxBody: w.MaxBody}
	for _, h := range []string{w.TypeHeader, w.IDHeader} {
		if h != "" {
			s.KeepHeaders = append(s.KeepHeaders, h)
		}
	}
	return s
}

func (w *OAuth2Webhook) read(r *webhook.Request) (webhook.Receipt, error) {
	typ, err := fromHeaderOrBody(r, w.TypeHeader, w.Type)
	if err != nil {
		return webhook.Receipt{}, err
	}
	id, err := fromHeaderOrBody(r, w.IDHeader, w.ID)
	if err != nil {
		return webhook.Receipt{}, err
	}
	account, ok := jsonPath(r.Body, w.Account)
	if !ok {
		return webhook.Receipt{}, errors.New("integrations/providers: body has no account")
	}
	return webhook.Receipt{Notices: []webhook.Notice{{
		DeliveryID: id, Type: typ, Account: account, DedupBody: !w.TimestampSigned,
	}}}, nil
}

func fromHeaderOrBody(r *webhook.Request, header, path string) (string, error) {
	if header != "" {
		if v := r.Header[http.CanonicalHeaderKey(header)]; len(v) == 1 && v[0] != "" {
			return v[0], nil
		}
		return "", errors.New("integrations/providers: header " + header + " is missing or repeated")
	}
	if v, ok := jsonPath(r.Body, path); ok {
		return v, nil
	}
	return "", errors.New("integrations/providers: body has no " + path)
}

// jsonPath reads a string or a number at a path of object members joined by
// dots. Two parsers cannot disagree on it: see [webhook.Pick].
func jsonPath(body []byte, path string) (string, bool) {
	raw := body
	for member := range strings.SplitSeq(path, ".") {
		v, err := webhook.Pick(raw, member)
		if err != nil || member == "" {
			return "", false
		}
		raw = v[0]
	}
	if text, ok := webhook.String(raw); ok {
		return text, text != ""
	}
	// Written as it stands: an id of 20 digits is not a float.
	var n json.Number
	if len(raw) == 0 || raw[0] == '"' || json.Unmarshal(raw, &n) != nil {
		return "", false
	}
	return n.String(), n != ""
}
