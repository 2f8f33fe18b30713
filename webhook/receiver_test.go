package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
	"github.com/saas-integrations/integrations/store/memstore"
	"github.com/saas-integrations/integrations/webhook"
	"github.com/saas-integrations/integrations/webhook/webhooktest"
	"github.com/stretchr/testify/require"
)

const (
	slackSecret    = "8f742231b10e8888abcd99yyyzzz85a5"
	githubSecret   = "It's a Secret to Everybody"
	standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwvPS7pQ8ZHvUe"
)

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		require.NoError(t, err)
		return v
	}
}

func slackHMAC(t testing.TB, secrets ...string) *webhook.HMAC {
	return must[*webhook.HMAC](t)(webhook.NewHMAC(webhook.HMACConfig{
		SignatureHeader: "X-Slack-Signature", Prefix: "v0=", Signed: "v0:{timestamp}:{body}", TimestampHeader: "X-Slack-Request-Timestamp", Secrets: secrets,
	}))
}

func githubHMAC(t testing.TB, secrets ...string) *webhook.HMAC {
	return must[*webhook.HMAC](t)(webhook.NewHMAC(webhook.HMACConfig{SignatureHeader: "X-Hub-Signature-256", Prefix: "sha256=", Secrets: secrets}))
}

// b1 is the body of Slack's published example.
const b1 = `token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c`

// s2 is the body that slack-go's tests of its verifier sign (v0.35.0,
// security_test.go).
const s2 = `{"token":"aF5ynEYQH0dFN9imlgcADxDB","team_id":"XXXXXXXXX","api_app_id":"YYYYYYYYY","event":{"type":"app_mention","user":"AAAAAAAAA","text":"<@EEEEEEEEE> hello world","client_msg_id":"477cc591-ch73-a14z-4db8-g0cd76321bec","ts":"1531431954.000073","channel":"TTTTTTTTT","event_ts":"1531431954.000073"},"type":"event_callback","event_id":"TvBP7LRED7","event_time":1531431954,"authed_users":["EEEEEEEEE"]}`

func TestPublishedVectors(t *testing.T) {
	for name, c := range map[string]struct {
		v      webhook.Verifier
		header http.Header
		body   string
		at     int64
	}{
		"S1": {slackHMAC(t, slackSecret), http.Header{"X-Slack-Signature": {"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"}, "X-Slack-Request-Timestamp": {"1531420618"}}, b1, 1531420618},
		"S2": {slackHMAC(t, "e6b19c573432dcc6b075501d51b51bb8"), http.Header{"X-Slack-Signature": {"v0=adada4ed31709aef585c2580ca3267678c6a8eaeb7e0c1aca3ee57b656886b2c"}, "X-Slack-Request-Timestamp": {"1531431954"}}, s2, 1531431954},
		"S3": {slackHMAC(t, "slack-signing-secret-0123456789ab"), http.Header{"X-Slack-Signature": {"v0=30e8eb737a8945a0d7c74e11a19e1c9921d79193e2686ccc2d4636010672a118"}, "X-Slack-Request-Timestamp": {"1700000000"}}, `{"type":"event_callback","team_id":"T0001","event_id":"Ev0001"}`, 1700000000},
		"G1": {githubHMAC(t, githubSecret), http.Header{"X-Hub-Signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}}, "Hello, World!", 0},
		"G2": {githubHMAC(t, githubSecret), http.Header{"X-Hub-Signature-256": {"sha256=65cf1e1aeb36f098c67ba0ea5421c7ce1f94fd30c73bb51911a847c2e3480f52"}}, `{"zen":"Design for failure.","hook_id":1}`, 0},
		"G3": {githubHMAC(t, githubSecret), http.Header{"X-Hub-Signature-256": {"sha256=832d83ba90c64de540bbcca87ee17f4394f10cdbc0cc16222cd69c3d9511b866"}}, "payload=%7B%22zen%22%3A%22Design+for+failure.%22%2C%22hook_id%22%3A1%7D", 0},
		"G4": {githubHMAC(t, githubSecret), http.Header{"X-Hub-Signature-256": {"sha256=374f7d5a92884bc9d33e402374fb0c16b2bb9087b7d036a723ff6104d450b360"}}, `{"title":"caf\u00e9 ☕"}`, 0},
		"J1": {must[*webhook.HMAC](t)(webhook.NewHMAC(webhook.HMACConfig{SignatureHeader: "X-Hub-Signature", Prefix: "sha256=", Secrets: []string{githubSecret}})), http.Header{"X-Hub-Signature": {"sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"}}, "Hello World!", 0},
	} {
		req := &webhook.Request{Header: c.header, Body: []byte(c.body), Now: time.Unix(c.at, 0)}
		require.NoError(t, c.v.Verify(req), name)
		req.Body = append(req.Body, ' ')
		require.ErrorIs(t, c.v.Verify(req), webhook.ErrBadSignature, name)
	}
	sha1Only := http.Header{"X-Hub-Signature": {"sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"}}
	require.ErrorIs(t, githubHMAC(t, githubSecret).Verify(&webhook.Request{Header: sha1Only, Body: []byte("Hello, World!")}), webhook.ErrNotSigned)
}

func TestSecretsThatProtectNothingAreRefused(t *testing.T) {
	for _, secrets := range [][]string{nil, {""}, {"fifteen bytes .", slackSecret}} {
		_, err := webhook.NewHMAC(webhook.HMACConfig{SignatureHeader: "X", Secrets: secrets})
		require.Error(t, err)
		_, err = webhook.NewStandardWebhooks(secrets...)
		require.Error(t, err)
	}
}

func TestSeveralSecretsAndTheTimestamp(t *testing.T) {
	v := slackHMAC(t, "the new secret of this app", slackSecret)
	now := time.Unix(1700000000, 0)
	for age, want := range map[time.Duration]error{0: nil, 300 * time.Second: nil, -300 * time.Second: nil, 301 * time.Second: webhook.ErrTooOld, -301 * time.Second: webhook.ErrTooNew} {
		for _, secret := range []string{slackSecret, "the new secret of this app"} {
			r := webhooktest.Slack("https://app/", secret, []byte("{}"), now.Add(-age))
			err := v.Verify(&webhook.Request{Header: r.Header, Body: []byte("{}"), Now: now})
			if want == nil {
				require.NoError(t, err, age)
			} else {
				require.ErrorIs(t, err, want, age)
			}
		}
	}
}

// scheme is one way to sign, with an independent check of it.
type scheme struct {
	name      string
	verifier  webhook.Verifier
	sign      func(body []byte, at time.Time) http.Header
	signature string // header of the signature
	reference func(h http.Header, body []byte, now time.Time) bool
}

func one(h http.Header, name string) string {
	if v := h[http.CanonicalHeaderKey(name)]; len(v) == 1 {
		return v[0]
	}
	return ""
}

func macIs(secret, message, want string, decode func(string) ([]byte, error)) bool {
	got, err := decode(want)
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(message))
	return err == nil && hmac.Equal(got, m.Sum(nil))
}

func fresh(text string, now time.Time) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	d := now.Unix() - n
	return err == nil && text != "" && text[0] != '+' && text[0] != '-' && d >= -300 && d <= 300
}

func schemes(t testing.TB) []scheme {
	generic := webhook.HMACConfig{SignatureHeader: "X-Signature", Encoding: webhook.Base64, Secrets: []string{"a generic secret of some length"}}
	std, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(standardSecret, "whsec_"))
	require.NoError(t, err)
	return []scheme{
		{"slack", slackHMAC(t, slackSecret), func(b []byte, at time.Time) http.Header {
			return webhooktest.Slack("https://a/", slackSecret, b, at).Header
		}, "X-Slack-Signature", func(h http.Header, b []byte, now time.Time) bool {
			ts := one(h, "X-Slack-Request-Timestamp")
			sig, ok := strings.CutPrefix(one(h, "X-Slack-Signature"), "v0=")
			return ok && fresh(ts, now) && macIs(slackSecret, "v0:"+ts+":"+string(b), sig, hex.DecodeString)
		}},
		{"github", githubHMAC(t, githubSecret), func(b []byte, _ time.Time) http.Header {
			return webhooktest.GitHub("https://a/", githubSecret, "push", "g", b).Header
		}, "X-Hub-Signature-256", func(h http.Header, b []byte, _ time.Time) bool {
			sig, ok := strings.CutPrefix(one(h, "X-Hub-Signature-256"), "sha256=")
			return ok && macIs(githubSecret, string(b), sig, hex.DecodeString)
		}},
		{"generic", must[*webhook.HMAC](t)(webhook.NewHMAC(generic)), func(b []byte, at time.Time) http.Header {
			return webhooktest.HMAC("https://a/", generic, b, at).Header
		}, "X-Signature", func(h http.Header, b []byte, _ time.Time) bool {
			return macIs(generic.Secrets[0], string(b), one(h, "X-Signature"), base64.StdEncoding.Strict().DecodeString)
		}},
		{"standard", must[*webhook.StandardWebhooks](t)(webhook.NewStandardWebhooks(standardSecret)), func(b []byte, at time.Time) http.Header {
			return webhooktest.StandardWebhooks("https://a/", standardSecret, "msg_1", b, at).Header
		}, "Webhook-Signature", func(h http.Header, b []byte, now time.Time) bool {
			id, ts := one(h, "webhook-id"), one(h, "webhook-timestamp")
			if id == "" || strings.Contains(id, ".") || !fresh(ts, now) {
				return false
			}
			for _, s := range strings.Fields(one(h, "webhook-signature")) {
				if sig, ok := strings.CutPrefix(s, "v1,"); ok && macIs(string(std), id+"."+ts+"."+string(b), sig, base64.StdEncoding.Strict().DecodeString) {
					return true
				}
			}
			return false
		}},
	}
}

// TestW1Forgery: no change of a valid request is accepted.
func TestW1Forgery(t *testing.T) {
	mutations := 50_000
	if os.Getenv("INTEGRATIONS_SOAK") == "1" {
		mutations = 1_000_000
	}
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1700000000, 0)
	all := schemes(t)
	tried := 0
	for tried < mutations {
		s := all[tried%len(all)]
		body := []byte(`{"type":"event","n":` + strconv.Itoa(rng.IntN(1000)) + `}`)
		h := s.sign(body, now)
		require.NoError(t, s.verifier.Verify(&webhook.Request{Header: h, Body: body, Now: now}), s.name)
		signature := h.Get(s.signature)
		at := now
		switch rng.IntN(9) {
		case 0: // a bit of the body
			body[rng.IntN(len(body))] ^= 1 << rng.IntN(8)
		case 1: // a longer or shorter body
			if rng.IntN(2) == 0 {
				body = append(body, byte(rng.IntN(256)))
			} else {
				body = body[:rng.IntN(len(body))]
			}
		case 2: // a character of the signature, to one that is not its other case
			b := []byte(signature)
			i := rng.IntN(len(b))
			c := byte(rng.IntN(256))
			if strings.EqualFold(string(b[i]), string(c)) || c == ' ' || c == '\t' {
				continue
			}
			b[i] = c
			h.Set(s.signature, string(b))
		case 3: // a shorter signature
			h.Set(s.signature, signature[:rng.IntN(len(signature))])
		case 4: // a longer one
			h.Set(s.signature, signature+"00")
		case 5: // the header twice, or gone
			if rng.IntN(2) == 0 {
				h.Add(s.signature, signature)
			} else {
				h.Del(s.signature)
			}
		case 6: // signed for another time
			if s.name == "github" || s.name == "generic" {
				continue
			}
			at = now.Add(time.Duration(301+rng.IntN(100_000)) * time.Second * time.Duration(1-2*rng.IntN(2)))
		case 7: // another secret
			other := []string{"another secret altogether", strings.ToUpper(slackSecret), githubSecret + " ", ""}[rng.IntN(4)]
			m := hmac.New(sha256.New, []byte(other))
			m.Write(body)
			h.Set(s.signature, map[string]string{"slack": "v0=", "github": "sha256=", "generic": "", "standard": "v1,"}[s.name]+
				map[bool]string{true: base64.StdEncoding.EncodeToString(m.Sum(nil)), false: hex.EncodeToString(m.Sum(nil))}[s.name == "generic" || s.name == "standard"])
		case 8: // another prefix, or none
			_, mac, ok := strings.Cut(signature, "=")
			if s.name == "generic" || s.name == "standard" || !ok {
				continue
			}
			h.Set(s.signature, []string{mac, "v1=" + mac, "sha1=" + mac, "SHA256=" + mac, " v0=" + mac + "x", "=" + mac}[rng.IntN(6)])
		}
		tried++
		err := s.verifier.Verify(&webhook.Request{Header: h, Body: body, Now: at})
		require.Error(t, err, "%s accepted %q with %v", s.name, body, h)
		require.True(t, errors.Is(err, webhook.ErrNotSigned) || errors.Is(err, webhook.ErrBadSignature) || errors.Is(err, webhook.ErrTooOld) || errors.Is(err, webhook.ErrTooNew), err)
	}
}

// FuzzF3Verify: a request is accepted exactly when an independent check accepts
// it.
func FuzzF3Verify(f *testing.F) {
	now := time.Unix(1700000000, 0)
	all := schemes(f)
	for i, s := range all {
		h := s.sign([]byte("{}"), now)
		f.Add(uint8(i), []byte("{}"), h.Get(s.signature), "1700000000", "msg_1")
		f.Add(uint8(i), []byte(""), "", "", "")
		f.Add(uint8(i), []byte("{}"), "v1,AAAA "+h.Get(s.signature), "+1700000000", "a.b")
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte, signature, timestamp, id string) {
		s := all[int(which)%len(all)]
		h := http.Header{}
		h.Set(s.signature, signature)
		h.Set("X-Slack-Request-Timestamp", timestamp)
		h.Set("Webhook-Timestamp", timestamp)
		h.Set("Webhook-Id", id)
		ours := s.verifier.Verify(&webhook.Request{Header: h, Body: body, Now: now}) == nil
		if theirs := s.reference(h, body, now); ours && !theirs {
			t.Fatalf("%s accepted what the reference does not", s.name)
		} else if theirs && !ours {
			t.Fatalf("%s refused what the reference accepts", s.name)
		}
	})
}

// counting is an inbox that counts and can be told to fail or to wait.
type counting struct {
	store.Inbox
	mu      sync.Mutex
	inserts int
	fail    error
	wait    chan struct{}
}

func (c *counting) InsertDeliveries(ctx context.Context, ds []store.Delivery) ([]bool, error) {
	c.mu.Lock()
	c.inserts++
	fail, wait := c.fail, c.wait
	c.mu.Unlock()
	if wait != nil {
		<-wait
	}
	if fail != nil {
		return nil, fail
	}
	return c.Inbox.InsertDeliveries(ctx, ds)
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inserts
}

func ring(t testing.TB) *crypto.Keyring {
	return must[*crypto.Keyring](t)(crypto.NewKeyring(must[crypto.Key](t)(crypto.GenerateKey("k1"))))
}

// readID is a Source.Read for bodies such as {"id":"1","account":"A"}.
func readID(r *webhook.Request) (webhook.Receipt, error) {
	v, err := webhook.Pick(r.Body, "id", "account", "challenge")
	if err != nil {
		return webhook.Receipt{}, err
	}
	if c, ok := webhook.String(v[2]); ok {
		return webhook.Receipt{Reply: &webhook.Reply{Body: []byte(c)}}, nil
	}
	id, _ := webhook.String(v[0])
	account, _ := webhook.String(v[1])
	return webhook.Receipt{Notices: []webhook.Notice{{DeliveryID: id, Type: "thing", Account: account, DedupBody: true}}}, nil
}

func receiver(t testing.TB, inbox store.Inbox, cipher crypto.Cipher, change ...func(*webhook.ReceiverConfig)) *webhook.Receiver {
	cfg := webhook.ReceiverConfig{
		Provider: "acme", Inbox: inbox, Cipher: cipher,
		Source: webhook.Source{Verifier: githubHMAC(t, githubSecret), Read: readID, MaxBody: 1 << 10},
		Route: func(_ context.Context, account string) ([]webhook.Target, error) {
			switch account {
			case "A":
				return []webhook.Target{{TenantID: "t1", IntegrationID: "i1"}}, nil
			case "BOTH":
				return []webhook.Target{{TenantID: "t1", IntegrationID: "i1"}, {TenantID: "t2", IntegrationID: "i2"}}, nil
			}
			return nil, nil
		},
	}
	for _, fn := range change {
		fn(&cfg)
	}
	return must[*webhook.Receiver](t)(webhook.NewReceiver(cfg))
}

func signed(body string) *http.Request {
	return webhooktest.GitHub("https://app.example/acme/webhook", githubSecret, "thing", "d", []byte(body))
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestReceiverAnswers(t *testing.T) {
	inbox := &counting{Inbox: memstore.New()}
	rc := receiver(t, inbox, ring(t))
	good := `{"id":"1","account":"A"}`
	forged := signed(good)
	forged.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
	unsigned := signed(good)
	unsigned.Header.Del("X-Hub-Signature-256")
	get := signed(good)
	get.Method = http.MethodGet
	zipped := signed(good)
	zipped.Header.Set("Content-Encoding", "gzip")
	long := signed(strings.Repeat("x", 1025))
	chunked := signed(strings.Repeat("x", 5000))
	chunked.ContentLength = -1
	understated := signed(strings.Repeat("x", 5000)) // as behind a middleware that unpacks
	understated.ContentLength = 10
	for name, c := range map[string]struct {
		r      *http.Request
		status int
	}{
		"GET": {get, 405}, "too long": {long, 413}, "too long, chunked": {chunked, 413}, "longer than declared": {understated, 413}, "compressed": {zipped, 415}, "forged": {forged, 401}, "unsigned": {unsigned, 401},
		"unreadable": {signed(`[1]`), 400}, "ambiguous": {signed(`{"id":"1","account":"A","account":"B"}`), 400},
	} {
		w := serve(rc, c.r)
		require.Equal(t, c.status, w.Code, name)
		require.NotContains(t, w.Body.String(), "account", name)
	}
	require.Zero(t, inbox.count(), "nothing reaches the store before it is verified and read")
	require.Equal(t, serve(rc, forgedCopy(forged)).Body.String(), serve(rc, forgedCopy(unsigned)).Body.String())
	w := serve(rc, signed(`{"challenge":"abc"}`))
	require.Equal(t, "200 abc", fmt.Sprint(w.Code, " ", w.Body.String()))
	require.Zero(t, inbox.count())
	w = serve(rc, signed(good))
	require.Equal(t, 200, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, 1, inbox.count())
	inbox.fail = errors.New("down")
	w = serve(rc, signed(`{"id":"2","account":"A"}`))
	require.Equal(t, 503, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
}

func forgedCopy(r *http.Request) *http.Request {
	c := r.Clone(context.Background())
	c.Body = io.NopCloser(strings.NewReader(`{"id":"1","account":"A"}`))
	return c
}

// TestABodyOverTheLimitIsRefusedUnread: its declared length is enough.
func TestABodyOverTheLimitIsRefusedUnread(t *testing.T) {
	rc := receiver(t, memstore.New(), ring(t))
	r := signed("x")
	r.ContentLength = 1 << 30
	r.Body = io.NopCloser(unreadable{t})
	require.Equal(t, 413, serve(rc, r).Code)
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestRowsForEachIntegrationAndRepeats(t *testing.T) {
	st := memstore.New()
	cipher := ring(t)
	rc := receiver(t, st, cipher)
	for range 3 {
		require.Equal(t, 200, serve(rc, signed(`{"id":"1","account":"BOTH"}`)).Code)
	}
	require.Equal(t, 200, serve(rc, signed(`{"id":"2","account":"NOBODY"}`)).Code)
	rows := must[[]store.Delivery](t)(st.ListDeliveries(t.Context(), store.DeliveryQuery{AllTenants: true}))
	got := map[string]int{}
	for _, d := range rows {
		got[d.TenantID+"/"+d.IntegrationID+"/"+d.DeliveryID+"/"+d.KeyID]++
		full := must[store.Delivery](t)(st.GetDelivery(t.Context(), d.TenantID, d.ID))
		require.NotContains(t, string(full.Body), "account", "sealed")
		plain := must[[]byte](t)(cipher.Open(nil, full.Body, webhook.BodyBinding(full)))
		require.Contains(t, string(plain), `"account"`)
	}
	require.Equal(t, map[string]int{"t1/i1/1/k1": 1, "t2/i2/1/k1": 1, "//2/k1": 1}, got)
}

func TestNoAnswerBeforeTheInsert(t *testing.T) {
	inbox := &counting{Inbox: memstore.New(), wait: make(chan struct{})}
	rc := receiver(t, inbox, ring(t))
	done := make(chan int, 1)
	go func() { done <- serve(rc, signed(`{"id":"1","account":"A"}`)).Code }()
	for inbox.count() == 0 {
		select {
		case code := <-done:
			t.Fatalf("answered %d before the insert", code)
		default:
		}
	}
	select {
	case code := <-done:
		t.Fatalf("answered %d during the insert", code)
	default:
	}
	close(inbox.wait)
	require.Equal(t, 200, <-done)
}

func TestABudgetThatIsSpentIs503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := &counting{Inbox: memstore.New(), wait: make(chan struct{})}
		rc := receiver(t, inbox, ring(t), func(cfg *webhook.ReceiverConfig) { cfg.Budget = webhook.NewBudget(8 << 10) })
		codes := make(chan int, 64)
		for i := range 64 {
			go func() {
				codes <- serve(rc, signed(fmt.Sprintf(`{"id":"%d","account":"A","x":"%s"}`, i, strings.Repeat("x", 900)))).Code
			}()
		}
		synctest.Wait() // all are refused or wait for the store
		refused := len(codes)
		require.Positive(t, refused)
		require.Less(t, refused, 64)
		for range refused {
			require.Equal(t, 503, <-codes)
		}
		require.Equal(t, 1, inbox.count())
		close(inbox.wait)
		for range 64 - refused {
			require.Equal(t, 200, <-codes)
		}
		require.Equal(t, 2, inbox.count(), "those that waited were stored together")
		require.Equal(t, 200, serve(rc, signed(`{"id":"again","account":"A"}`)).Code, "given back")
	})
}

// TestLargeBodiesAreStoredSmaller: and reach the handler as they came.
func TestLargeBodiesAreStoredSmaller(t *testing.T) {
	b := newBench(t)
	rc := receiver(t, b.store, b.cipher, func(cfg *webhook.ReceiverConfig) { cfg.Source.MaxBody = 1 << 20 })
	sent := map[string]string{}
	for i, size := range []int{100, 30_000, 900_000} {
		body := fmt.Sprintf(`{"id":"%d","account":"BOTH","x":[%s]}`, i, strings.Repeat(`{"login":"octocat","id":1},`, size/27)+"1")
		sent[fmt.Sprint(i)] = body
		require.Equal(t, 200, serve(rc, signed(body)).Code)
	}
	for _, d := range must[[]store.Delivery](t)(b.store.ListDeliveries(t.Context(), store.DeliveryQuery{AllTenants: true})) {
		full := must[store.Delivery](t)(b.store.GetDelivery(t.Context(), d.TenantID, d.ID))
		if size := len(sent[d.DeliveryID]); size > 10_000 {
			require.Less(t, len(full.Body), size/5)
		}
		require.Equal(t, sent[d.DeliveryID], string(must[[]byte](t)(webhook.OpenBody(b.cipher, full))))
		full.TenantID += "x"
		_, err := webhook.OpenBody(b.cipher, full)
		require.ErrorIs(t, err, crypto.ErrSealed)
	}
	var mu sync.Mutex
	handled := 0
	_, err := b.worker(t, handling(webhook.On("acme", "thing", func(_ context.Context, ev webhook.Event) error {
		mu.Lock()
		defer mu.Unlock()
		handled++
		require.Equal(t, sent[ev.DeliveryID], string(ev.Body))
		return nil
	}))).Drain(t.Context())
	require.NoError(t, err)
	require.Equal(t, 6, handled)
}

// TestLargeBodiesLeaveRoomForSmallOnes: requests that nobody has verified yet may
// fill the budget with large bodies, and small ones are received all the same.
func TestLargeBodiesLeaveRoomForSmallOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rc := receiver(t, memstore.New(), ring(t), func(cfg *webhook.ReceiverConfig) {
			cfg.Source.MaxBody, cfg.Budget = 1<<20, webhook.NewBudget(4<<20)
		})
		var senders sync.WaitGroup
		end := make(chan struct{})
		refused := make(chan int, 100)
		for range cap(refused) {
			r := signed("")
			r.ContentLength, r.Body = -1, io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("x", 300<<10)), waiting{end}))
			senders.Go(func() { refused <- serve(rc, r).Code })
		}
		synctest.Wait()
		require.Greater(t, len(refused), 90, "the budget is spent")
		for i := range 200 {
			require.Equal(t, 200, serve(rc, signed(fmt.Sprintf(`{"id":"%d","account":"A"}`, i))).Code)
		}
		close(end)
		senders.Wait()
		codes := map[int]int{}
		for range cap(refused) {
			codes[<-refused]++
		}
		require.Equal(t, 100, codes[503]+codes[401], "%v", codes)
		require.Positive(t, codes[401])
	})
}

// waiting is a body that goes on when the channel is closed, with nothing more.
type waiting struct{ end chan struct{} }

func (w waiting) Read([]byte) (int, error) {
	<-w.end
	return 0, io.EOF
}

// TestABudgetHoldsTheLargestBody: or the receiver is not made.
func TestABudgetHoldsTheLargestBody(t *testing.T) {
	for _, maxBody := range []int64{1, 4096, 4097, 65535, 65536, 65537, 1 << 20, 1<<20 + 1, 5 << 20} {
		body := `{"id":"1","account":"A","x":"` + strings.Repeat("x", int(maxBody)) + `"}`
		largest := int64(len(body))
		made := 0
		for limit := largest; limit < 4*largest+(256<<10); limit += largest/8 + 1000 {
			cfg := webhook.ReceiverConfig{
				Provider: "acme", Inbox: memstore.New(), Cipher: ring(t), Budget: webhook.NewBudget(limit),
				Source: webhook.Source{Verifier: githubHMAC(t, githubSecret), Read: readID, MaxBody: largest},
				Route:  func(context.Context, string) ([]webhook.Target, error) { return nil, nil },
			}
			rc, err := webhook.NewReceiver(cfg)
			if err != nil {
				require.ErrorContains(t, err, "MaxBody")
				require.Less(t, limit, 3*largest+(128<<10), "three times MaxBody, and 128 KiB, is enough")
				continue
			}
			made++
			for _, declared := range []int64{largest, -1} {
				r := signed(body)
				r.ContentLength = declared
				require.Equal(t, 200, serve(rc, r).Code, "%d of %d", largest, limit)
			}
		}
		require.Positive(t, made)
	}
}

// TestASlowSenderIsCutOff uses a real connection, on loopback.
func TestASlowSenderIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Log("takes the read timeout of ten seconds")
		return
	}
	t.Parallel()
	srv := httptest.NewServer(receiver(t, memstore.New(), ring(t)))
	defer srv.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\ndrip")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	start := time.Now()
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(answer, []byte("HTTP/1.1 408")), "%s", answer)
	require.InDelta(t, 10, time.Since(start).Seconds(), 3)
}

func TestPanicsOfASourceEndAs500(t *testing.T) {
	rc := receiver(t, memstore.New(), ring(t), func(cfg *webhook.ReceiverConfig) {
		cfg.Source.Read = func(*webhook.Request) (webhook.Receipt, error) { panic("boom") }
	})
	require.Equal(t, 500, serve(rc, signed(`{}`)).Code)
}

func TestReceiversWithFaultsAreRefused(t *testing.T) {
	_, err := webhook.NewReceiver(webhook.ReceiverConfig{})
	for _, part := range []string{"Provider", "Verifier", "Read", "Inbox", "Cipher", "Route"} {
		require.ErrorContains(t, err, part)
	}
}

// TestAnAcknowledgementFollowsTheEvents: a reply beside notices is given once they
// are stored, and not before.
func TestAnAcknowledgementFollowsTheEvents(t *testing.T) {
	acknowledged := func(cfg *webhook.ReceiverConfig) {
		cfg.Source.Read = func(r *webhook.Request) (webhook.Receipt, error) {
			receipt, err := readID(r)
			receipt.Reply = &webhook.Reply{ContentType: "text/xml", Body: []byte("<ack/>")}
			return receipt, err
		}
	}
	rc := receiver(t, memstore.New(), ring(t), acknowledged)
	for range 2 { // a duplicate is acknowledged too
		w := httptest.NewRecorder()
		rc.ServeHTTP(w, signed(`{"id":"1","account":"A"}`))
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "<ack/>", w.Body.String())
		require.Equal(t, "text/xml", w.Header().Get("Content-Type"))
	}
	w := httptest.NewRecorder()
	receiver(t, failingInbox{}, ring(t), acknowledged).ServeHTTP(w, signed(`{"id":"1","account":"A"}`))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotContains(t, w.Body.String(), "ack")
}

type failingInbox struct{ store.Inbox }

func (failingInbox) InsertDeliveries(context.Context, []store.Delivery) ([]bool, error) {
	return nil, errors.New("down")
}
