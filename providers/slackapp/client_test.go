package slackapp_test

import (
	"bytes"
	"context"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/saas-integrations/integrations/providers/slackapp"
	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
)

// placeholder is what slack-go holds for a token. Users may write it too.
const placeholder = "held-by-the-connection"

// sent is a request as the last transport sees it.
type sent struct {
	*http.Request
	body string
}

// form reads a form, of either kind, as a server would.
func (s sent) form(t *testing.T) url.Values {
	t.Helper()
	kind, params, err := mime.ParseMediaType(s.Header.Get("Content-Type"))
	require.NoError(t, err)
	if kind == "multipart/form-data" {
		form, err := multipart.NewReader(strings.NewReader(s.body), params["boundary"]).ReadForm(1 << 20)
		require.NoError(t, err)
		for name, files := range form.File {
			f, err := files[0].Open()
			require.NoError(t, err)
			content, err := io.ReadAll(f)
			require.NoError(t, err)
			form.Value[name] = []string{files[0].Filename + ": " + string(content)}
		}
		return form.Value
	}
	require.Equal(t, "application/x-www-form-urlencoded", kind)
	values, err := url.ParseQuery(s.body)
	require.NoError(t, err)
	return values
}

// recorder checks what holds for every request and keeps them all. Bodies that
// are no stream must say their exact length and be readable again.
type recorder struct {
	t      *testing.T
	answer string
	sent   []sent
}

func (rec *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	t := rec.t
	require.Equal(t, []string{"Bearer xoxb-real"}, r.Header["Authorization"])
	require.Equal(t, "https", r.URL.Scheme)
	require.NotContains(t, r.URL.String(), placeholder)
	for name, values := range r.Header {
		require.NotContains(t, strings.Join(values, "\n"), placeholder, name)
	}
	require.Empty(t, r.TransferEncoding)
	s := sent{Request: r}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		s.body = string(body)
	}
	switch {
	case r.GetBody != nil:
		require.Equal(t, int64(len(s.body)), r.ContentLength)
		for range 2 {
			again, err := r.GetBody()
			require.NoError(t, err)
			text, err := io.ReadAll(again)
			require.NoError(t, err)
			require.Equal(t, s.body, string(text))
		}
		if s.body == "" {
			require.Equal(t, http.NoBody, r.Body, "an empty body must not be sent in chunks")
		}
	case r.Host == "files.slack.com" && r.Method == http.MethodPost:
		require.Zero(t, r.ContentLength, "a stream has no length")
	default:
		require.Nil(t, r.Body)
	}
	rec.sent = append(rec.sent, s)
	return answer(rec.answer)(r)
}

// TestTheTokenIsInTheHeaderOnly makes calls of every kind slack-go knows.
func TestTheTokenIsInTheHeaderOnly(t *testing.T) {
	picture := filepath.Join(t.TempDir(), "me.png")
	require.NoError(t, os.WriteFile(picture, []byte("token="+placeholder), 0o600))
	type expect struct{ host, path, body string }
	for name, c := range map[string]struct {
		call func(ctx context.Context, api *slack.Client) error
		want []expect                     // body "" is not compared
		form func(t *testing.T, s []sent) // further checks
	}{
		"form": {
			call: func(ctx context.Context, api *slack.Client) error {
				_, _, err := api.PostMessageContext(ctx, "C1", slack.MsgOptionText("my token="+placeholder+"&x", false), slack.MsgOptionUsername(placeholder))
				return err
			},
			want: []expect{{"slack.com", "/api/chat.postMessage", ""}},
			form: func(t *testing.T, s []sent) {
				require.Equal(t, url.Values{"channel": {"C1"}, "text": {"my token=" + placeholder + "&x"}, "username": {placeholder}}, s[0].form(t))
			},
		},
		"form with nothing else": {
			call: func(ctx context.Context, api *slack.Client) error { _, err := api.AuthTestContext(ctx); return err },
			want: []expect{{"slack.com", "/api/auth.test", ""}},
			form: func(t *testing.T, s []sent) { require.Empty(t, s[0].body) },
		},
		"form, the token last": {
			call: func(ctx context.Context, api *slack.Client) error {
				_, _, err := api.GetConversationsContext(ctx, &slack.GetConversationsParameters{Limit: 5})
				return err
			},
			want: []expect{{"slack.com", "/api/conversations.list", "limit=5"}},
		},
		"JSON": {
			call: func(ctx context.Context, api *slack.Client) error {
				_, err := api.OpenViewContext(ctx, "trigger", slack.ModalViewRequest{Type: "modal", PrivateMetadata: placeholder})
				return err
			},
			want: []expect{{"slack.com", "/api/views.open", ""}},
			form: func(t *testing.T, s []sent) {
				require.Equal(t, "application/json", s[0].Header.Get("Content-Type"))
				require.Contains(t, s[0].body, `"private_metadata":"`+placeholder+`"`)
				require.NotContains(t, s[0].body, "token")
			},
		},
		"JSON to a response URL": {
			call: func(ctx context.Context, api *slack.Client) error {
				_, _, err := api.PostMessageContext(ctx, "C1", slack.MsgOptionText("x", false), slack.MsgOptionResponseURL("https://hooks.slack.com/actions/T/1/x", slack.ResponseTypeEphemeral))
				return err
			},
			want: []expect{{"hooks.slack.com", "/actions/T/1/x", ""}},
			form: func(t *testing.T, s []sent) { require.Contains(t, s[0].body, `"text":"x"`) },
		},
		"GET": {
			call: func(ctx context.Context, api *slack.Client) error {
				_, err := api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: "C1", Ts: "1.1"})
				return err
			},
			want: []expect{{"slack.com", "/api/chat.getPermalink", ""}},
			form: func(t *testing.T, s []sent) { require.Equal(t, "channel=C1&message_ts=1.1", s[0].URL.RawQuery) },
		},
		"file download": {
			call: func(ctx context.Context, api *slack.Client) error {
				return api.GetFileContext(ctx, "https://files.slack.com/files-pri/T1-F1/x.txt", io.Discard)
			},
			want: []expect{{"files.slack.com", "/files-pri/T1-F1/x.txt", ""}},
		},
		"multipart with the token as a part": {
			call: func(ctx context.Context, api *slack.Client) error {
				_, err := api.AddRemoteFileContext(ctx, slack.RemoteFileParameters{
					ExternalID: placeholder, ExternalURL: "https://x", Title: "token", PreviewImageReader: strings.NewReader(placeholder), PreviewImageName: placeholder,
				})
				return err
			},
			want: []expect{{"slack.com", "/api/files.remote.add", ""}},
			form: func(t *testing.T, s []sent) {
				require.Equal(t, url.Values{
					"external_id": {placeholder}, "external_url": {"https://x"}, "title": {"token"}, "preview_image": {placeholder + ": " + placeholder},
				}, s[0].form(t))
			},
		},
		"multipart with the token in the header": {
			call: func(ctx context.Context, api *slack.Client) error {
				return api.SetUserPhotoContext(ctx, picture, slack.NewUserSetPhotoParams())
			},
			want: []expect{{"slack.com", "/api/users.setPhoto", ""}},
			form: func(t *testing.T, s []sent) {
				require.Equal(t, url.Values{"image": {"me.png: token=" + placeholder}}, s[0].form(t))
			},
		},
		"upload in three calls": {
			call: func(ctx context.Context, api *slack.Client) error {
				_, err := api.UploadFileContext(ctx, slack.UploadFileParameters{
					Filename: "x.txt", FileSize: len(placeholder), Reader: strings.NewReader(placeholder), Channel: "C1", Title: "t",
				})
				return err
			},
			want: []expect{
				{"slack.com", "/api/files.getUploadURLExternal", "filename=x.txt&length=22"},
				{"files.slack.com", "/upload/v1/abc", ""},
				{"slack.com", "/api/files.completeUploadExternal", ""},
			},
			form: func(t *testing.T, s []sent) {
				require.Nil(t, s[1].GetBody)
				require.Equal(t, url.Values{"file": {"x.txt: " + placeholder}}, s[1].form(t))
				require.Equal(t, url.Values{"channel_id": {"C1"}, "files": {`[{"id":"F1","title":"t"}]`}}, s[2].form(t))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rec := &recorder{t: t, answer: `{"ok":true,"upload_url":"https://files.slack.com/upload/v1/abc","file_id":"F1","files":[{"id":"F1","title":"t"}]}`}
			conn := connection(rec.RoundTrip, "{}")
			require.NoError(t, c.call(t.Context(), slackapp.Client(conn)))
			require.Len(t, rec.sent, len(c.want))
			for i, want := range c.want {
				require.Equal(t, want.host+want.path, rec.sent[i].URL.Host+rec.sent[i].URL.Path)
				if want.body != "" {
					require.Equal(t, want.body, rec.sent[i].body)
				}
			}
			if c.form != nil {
				c.form(t, rec.sent)
			}
		})
	}
}

// TestAnEmptyFormIsSentWithALength goes over a real connection: net/http sends a
// body of unknown length in chunks.
func TestAnEmptyFormIsSentWithALength(t *testing.T) {
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	defer srv.Close()
	conn := connection(func(r *http.Request) (*http.Response, error) {
		to, err := url.Parse(srv.URL + r.URL.Path)
		if err != nil {
			return nil, err
		}
		out := *r
		out.URL = to
		return srv.Client().Transport.RoundTrip(&out)
	}, "{}")
	_, err := slackapp.Client(conn).AuthTestContext(t.Context())
	require.NoError(t, err)
	require.Empty(t, got.TransferEncoding)
	require.Zero(t, got.ContentLength)
}

// paced gives out its second half only after the first has arrived.
type paced struct {
	t       *testing.T
	arrived *atomic.Bool
	left    int
	half    int
}

func (p *paced) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if p.left <= p.half {
		require.True(p.t, p.arrived.Load(), "the upload was collected before it was sent")
	}
	n := min(len(b), p.left, 64<<10)
	p.left -= n
	return n, nil
}

// TestUploadsStream sends more than any body that is rewritten may hold.
func TestUploadsStream(t *testing.T) {
	const size = 40 << 20
	var arrived atomic.Bool
	var total int64
	conn := connection(func(r *http.Request) (*http.Response, error) {
		require.Equal(t, []string{"Bearer xoxb-real"}, r.Header["Authorization"])
		require.Nil(t, r.GetBody)
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(buf)
			arrived.Store(true)
			if total += int64(n); err == io.EOF {
				return answer(`{"ok":true}`)(r)
			} else if err != nil {
				return nil, err
			}
		}
	}, "{}")
	err := slackapp.Client(conn).UploadToURL(t.Context(), slack.UploadToURLParameters{
		UploadURL: "https://files.slack.com/upload/v1/abc", Filename: "big", Reader: &paced{t: t, arrived: &arrived, left: size, half: size / 2},
	})
	require.NoError(t, err)
	require.Greater(t, total, int64(size))
}

func TestTooLargeAFormIsNotSent(t *testing.T) {
	conn := connection(func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, io.EOF
	}, "{}")
	_, _, err := slackapp.Client(conn).PostMessageContext(t.Context(), "C1", slack.MsgOptionText(strings.Repeat("x", 33<<20), false))
	require.ErrorIs(t, err, providers.ErrInvalid)
	require.Less(t, len(err.Error()), 200)
}

// TestReplay: Slack reports an ended token with HTTP 200. The call is sent again
// with the next token and the very same body, unless it is a stream.
func TestReplay(t *testing.T) {
	var bearers, bodies []string
	refuse := func(code string) transport {
		return func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			bearers, bodies = append(bearers, r.Header.Get("Authorization")), append(bodies, string(body))
			if len(bearers) == 1 {
				return answer(`{"ok":false,"error":"` + code + `"}`)(r)
			}
			return answer(`{"ok":true,"channel":"C1","ts":"1.1"}`)(r)
		}
	}
	for code, dead := range map[string]bool{"token_expired": false, "invalid_auth": false, "token_revoked": true, "account_inactive": true} {
		bearers, bodies = nil, nil
		src := &rotating{}
		posted, err := slackapp.Notify(t.Context(), connect(t, src, refuse(code)), slackapp.Message{Text: "x", Channel: "C1"})
		require.NoError(t, err, code)
		require.Equal(t, "1.1", posted.Timestamp)
		require.Equal(t, []string{"Bearer xoxb-real", "Bearer xoxb-next"}, bearers)
		require.Equal(t, bodies[0], bodies[1])
		require.Equal(t, []bool{dead}, src.rejected)
	}
	bearers, bodies = nil, nil
	src := &rotating{}
	err := slackapp.Client(connect(t, src, refuse("token_expired"))).UploadToURL(t.Context(), slack.UploadToURLParameters{
		UploadURL: "https://files.slack.com/upload/v1/abc", Filename: "f", Reader: bytes.NewReader([]byte("content")),
	})
	require.NoError(t, err, "slack-go does not look at the answer of an upload")
	require.Len(t, bearers, 1)
	require.Equal(t, []bool{false}, src.rejected)
}

// TestN3ForeignHosts: no token goes elsewhere, whatever URL slack-go is given.
func TestN3ForeignHosts(t *testing.T) {
	conn := connection(func(r *http.Request) (*http.Response, error) {
		t.Error("sent to " + r.URL.Host)
		return nil, io.EOF
	}, "{}")
	api := slackapp.Client(conn)
	_, _, err := api.PostMessageContext(t.Context(), "C1", slack.MsgOptionText("x", false), slack.MsgOptionResponseURL("https://hooks.slack.com.attacker.example/x", ""))
	require.ErrorIs(t, err, providers.ErrHostNotAllowed)
	require.ErrorIs(t, slackapp.Classify(err), providers.ErrHostNotAllowed)
	require.Error(t, api.GetFileContext(t.Context(), "https://attacker.example/x", io.Discard))
	require.Error(t, api.UploadToURL(t.Context(), slack.UploadToURLParameters{UploadURL: "http://files.slack.com/x", Content: "x"}))
}

func TestWrongProvider(t *testing.T) {
	hosts, err := providers.NewHosts("slack.com")
	require.NoError(t, err)
	conn, err := providers.NewConnection(providers.ConnectionConfig{Retries: -1,
		Provider: "slack", Kind: "github", Hosts: hosts, Source: fixed{}, Transport: transport(func(*http.Request) (*http.Response, error) {
			t.Error("sent")
			return nil, io.EOF
		}),
	})
	require.NoError(t, err)
	_, err = slackapp.Notify(t.Context(), conn, slackapp.Message{Text: "x"})
	require.ErrorIs(t, err, providers.ErrWrongProvider)
	_, err = slackapp.Client(conn).AuthTestContext(t.Context())
	require.ErrorIs(t, err, providers.ErrWrongProvider)
}
