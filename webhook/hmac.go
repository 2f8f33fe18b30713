package webhook

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Encoding is how a MAC is written in a header.
type Encoding int8

const (
	// Hex is base 16 in either case.
	Hex Encoding = iota
	// Base64 is the standard alphabet with padding.
	Base64
)

// HMACConfig describes a scheme that signs with HMAC-SHA256.
type HMACConfig struct {
	// SignatureHeader carries the MAC. Required.
	SignatureHeader string
	// Prefix stands before the MAC in the header, for example "sha256=".
	Prefix string
	// Encoding of the MAC. Defaults to Hex.
	Encoding Encoding
	// Signed is what the MAC covers: text in which {body}, {timestamp}, {method}
	// and {url} stand for the raw body, the timestamp header as sent, the method
	// and Request.URL, for example "v0:{timestamp}:{body}". Defaults to
	// "{body}".
	Signed string
	// TimestampHeader carries the signed time as digits: seconds since 1970, or
	// milliseconds with TimestampMillis. Needed when, and only when, Signed has
	// {timestamp}.
	TimestampHeader string
	TimestampMillis bool
	// Tolerance is how far the signed time may be from now, in the past and in
	// the future. Defaults to 5 minutes.
	Tolerance time.Duration
	// Secrets are those accepted now, in any order: add the new one, change it at
	// the provider, then remove the old one. At least one, each of at least 16
	// bytes, used as the bytes they are.
	Secrets []string
}

// HMAC is a [Verifier] of a scheme that signs with HMAC-SHA256 (RFC 2104). It is
// safe for concurrent use.
type HMAC struct {
	signature, timestamp string // header names
	prefix               string
	encoding             Encoding
	parts                []part
	millis               bool
	tolerance            time.Duration
	keys                 []*macKey
}

// NewHMAC returns a verifier, or an error that joins all faults of cfg.
//
//   - Slack (docs.slack.dev, "Verifying requests from Slack"): X-Slack-Signature,
//     Prefix "v0=", Signed "v0:{timestamp}:{body}", TimestampHeader
//     X-Slack-Request-Timestamp.
//   - GitHub (docs.github.com, "Validating webhook deliveries"):
//     X-Hub-Signature-256, Prefix "sha256=". X-Hub-Signature, which is SHA-1, is
//     never looked at.
//
// A request to an endpoint of an integration's own must be signed with one of
// Request.Endpoint.Secrets instead of the configured secrets.
func NewHMAC(cfg HMACConfig) (*HMAC, error) {
	v := &HMAC{
		signature: http.CanonicalHeaderKey(cfg.SignatureHeader),
		timestamp: http.CanonicalHeaderKey(cfg.TimestampHeader),
		prefix:    cfg.Prefix,
		encoding:  cfg.Encoding,
		millis:    cfg.TimestampMillis,
		tolerance: cfg.Tolerance,
	}
	if v.tolerance == 0 {
		v.tolerance = defaultTolerance
	}
	signed := cfg.Signed
	if signed == "" {
		signed = "{body}"
	}

	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("integrations/webhook: HMAC: "+format, args...))
	}
	if v.signature == "" {
		fault("SignatureHeader is empty")
	}
	if v.encoding != Hex && v.encoding != Base64 {
		fault("Encoding is neither Hex nor Base64")
	}
	if v.tolerance < 0 {
		fault("Tolerance is negative")
	}
	var err error
	if v.parts, err = parseSigned(signed); err != nil {
		fault("Signed %w", err)
	}
	if strings.Contains(signed, "{timestamp}") != (v.timestamp != "") {
		fault("TimestampHeader and {timestamp} in Signed need each other")
	}
	if len(cfg.Secrets) == 0 {
		fault("Secrets is empty: an unsigned webhook is never accepted")
	}
	for i, s := range cfg.Secrets {
		if len(s) < minSecret {
			fault("secret %d of %d has %d bytes, want at least %d", i+1, len(cfg.Secrets), len(s), minSecret)
			continue
		}
		v.keys = append(v.keys, newMACKey([]byte(s)))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return v, nil
}

// Verify implements [Verifier].
func (v *HMAC) Verify(r *Request) error {
	var mac [sha256.Size]byte
	header, ok := single(r.Header, v.signature)
	if !ok || !v.decode(&mac, header) {
		return ErrNotSigned
	}
	var timestamp string
	var signed time.Time
	if v.timestamp != "" {
		if timestamp, ok = single(r.Header, v.timestamp); !ok {
			return ErrNotSigned
		}
		if signed, ok = parseTime(timestamp, v.millis); !ok {
			return ErrNotSigned
		}
	}

	// Every secret is tried, whatever the first says, and the time is judged
	// last: the answer takes as long for an old request as for a forged one.
	valid := false
	for _, k := range v.keysFor(r.Endpoint) {
		s := k.get()
		v.hash(s, r, timestamp)
		s.finish()
		valid = s.equal(&mac) || valid
		k.put(s)
	}
	if !valid {
		return ErrBadSignature
	}
	if v.timestamp == "" {
		return nil
	}
	return checkTime(r.Now, signed, v.tolerance)
}

func (v *HMAC) keysFor(e *Endpoint) []*macKey {
	if e == nil {
		return v.keys
	}
	keys := make([]*macKey, 0, len(e.Secrets))
	for _, s := range e.Secrets {
		if len(s) >= minSecret {
			keys = append(keys, newMACKey(s))
		}
	}
	return keys
}

func (v *HMAC) hash(s *macState, r *Request, timestamp string) {
	for _, p := range v.parts {
		switch p.kind {
		case partBody:
			s.Write(r.Body)
		case partTimestamp:
			s.writeString(timestamp)
		case partMethod:
			s.writeString(r.Method)
		case partURL:
			s.writeString(r.URL)
		default:
			s.writeString(p.text)
		}
	}
}

// decode reads the header into mac. It takes exactly one encoded SHA-256.
func (v *HMAC) decode(mac *[sha256.Size]byte, header string) bool {
	encoded, ok := strings.CutPrefix(header, v.prefix)
	if !ok {
		return false
	}
	if v.encoding == Base64 {
		return decodeBase64(mac, encoded)
	}
	if len(encoded) != 2*len(mac) {
		return false
	}
	var bad byte // encoding/hex takes four times as long
	for i := range mac {
		hi, lo := nibble[encoded[2*i]], nibble[encoded[2*i+1]]
		bad |= hi | lo
		mac[i] = hi<<4 | lo&0xf
	}
	return bad < 16
}

// strictBase64 refuses a second spelling of the same bytes.
var strictBase64 = base64.StdEncoding.Strict()

// decodeBase64 takes exactly one SHA-256. The decoder skips line breaks, so the
// length of what it made counts, not only that of what it read.
func decodeBase64(mac *[sha256.Size]byte, encoded string) bool {
	var src [44]byte
	if len(encoded) != len(src) {
		return false
	}
	copy(src[:], encoded)
	var dst [33]byte
	n, err := strictBase64.Decode(dst[:], src[:])
	copy(mac[:], dst[:])
	return err == nil && n == len(mac)
}

// part is a piece of what a MAC covers.
type part struct {
	kind partKind
	text string
}

type partKind int8

const (
	partText partKind = iota
	partBody
	partTimestamp
	partMethod
	partURL
)

var partKinds = map[string]partKind{
	"body": partBody, "timestamp": partTimestamp, "method": partMethod, "url": partURL,
}

// parseSigned reads HMACConfig.Signed. A MAC that does not cover the body, or
// covers a text in which a piece could be moved from one place to the other by
// standing there twice, is refused.
func parseSigned(signed string) ([]part, error) {
	var parts []part
	seen := map[partKind]bool{}
	for rest := signed; rest != ""; {
		text, after, braced := strings.Cut(rest, "{")
		if text != "" {
			parts = append(parts, part{text: text})
		}
		if !braced {
			break
		}
		name, after, closed := strings.Cut(after, "}")
		kind, known := partKinds[name]
		if !closed || !known || seen[kind] {
			return nil, errors.New("must be text with {body}, {timestamp}, {method} and {url} at most once each")
		}
		seen[kind] = true
		parts = append(parts, part{kind: kind})
		rest = after
	}
	if !seen[partBody] {
		return nil, errors.New("must contain {body}")
	}
	return parts, nil
}

// single returns the value of a header that must occur exactly once.
func single(h http.Header, canonical string) (string, bool) {
	if v := h[canonical]; len(v) == 1 && v[0] != "" {
		return v[0], true
	}
	return "", false
}
