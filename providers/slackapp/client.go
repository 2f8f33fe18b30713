package slackapp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/saas-integrations/integrations/providers"
	"github.com/slack-go/slack"
)

// placeholder is what slack-go is told to be the token: some of its methods
// refuse an empty one. It never leaves the process.
const placeholder = "held-by-the-connection"

// maxRewrite bounds the bodies that are read to take the placeholder out.
const maxRewrite = 32 << 20

// Client returns a slack-go client that calls with the tenant's token. The token
// goes out in the Authorization header and nowhere else. A client is cheap: make
// one where it is needed. It is safe for concurrent use.
//
// Its calls return slack-go's errors; see [Classify]. On a connection of another
// provider every call fails with an error wrapping providers.ErrWrongProvider,
// and a form of over 32 MiB with one wrapping providers.ErrInvalid. Files are
// uploaded as a stream, which cannot be sent again: when Slack refuses the token
// of such a call, the call fails though the token was renewed.
func Client(conn *providers.Connection) *slack.Client {
	hc := *conn.ClientFor(Key)
	hc.Transport = bearerOnly{next: hc.Transport}
	return slack.New(placeholder, slack.OptionHTTPClient(&hc))
}

// bearerOnly takes slack-go's token out of queries and bodies: it puts one into
// nearly every form, where proxies and logs would see it.
type bearerOnly struct{ next http.RoundTripper }

func (b bearerOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	out := *r
	out.URL = withoutToken(r.URL)
	if err := rewrite(&out); err != nil {
		closeBody(r)
		return nil, err
	}
	return b.next.RoundTrip(&out)
}

func withoutToken(u *url.URL) *url.URL {
	if !strings.Contains(u.RawQuery, placeholder) {
		return u
	}
	clean := *u
	clean.RawQuery = string(cutPair([]byte(u.RawQuery)))
	return &clean
}

// rewrite takes the token out of a request's body, leaving all else as it is.
// Only forms of the Web API hold one: JSON calls use the header, and uploads to
// files.slack.com carry the file alone, so they stream through.
func rewrite(r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil
	}
	var cut func([]byte) ([]byte, error)
	switch {
	case kind == "application/x-www-form-urlencoded":
		cut = func(body []byte) ([]byte, error) { return cutPair(body), nil }
	case kind == "multipart/form-data" && strings.HasPrefix(r.URL.Path, "/api/"):
		cut = func(body []byte) ([]byte, error) { return cutPart(body, params["boundary"]) }
	default:
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRewrite+1))
	_ = r.Body.Close()
	if err != nil {
		return fmt.Errorf("integrations/slackapp: read request body: %w", err)
	}
	if len(body) > maxRewrite {
		return fmt.Errorf("%w: body of an API call is over %d MiB", providers.ErrInvalid, maxRewrite>>20)
	}
	if body, err = cut(body); err != nil {
		return err
	}
	r.GetBody = func() (io.ReadCloser, error) {
		if len(body) == 0 {
			return http.NoBody, nil // any other body of length 0 is sent in chunks
		}
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	r.Body, err = r.GetBody()
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	return err
}

// cutPair removes the one pair that is slack-go's token from a form. Text of a
// user that looks the same is encoded in another pair and stays.
func cutPair(form []byte) []byte {
	const pair = "token=" + placeholder
	pairs := bytes.Split(form, []byte("&"))
	pairs = slices.DeleteFunc(pairs, func(p []byte) bool { return string(p) == pair })
	return bytes.Join(pairs, []byte("&"))
}

// cutPart removes the part that is slack-go's token from a multipart body. Parts
// come in random order and may hold anything, so they are parsed, not searched.
func cutPart(body []byte, boundary string) ([]byte, error) {
	in := multipart.NewReader(bytes.NewReader(body), boundary)
	var buf bytes.Buffer
	out := multipart.NewWriter(&buf)
	if err := out.SetBoundary(boundary); err != nil {
		return nil, errMultipart
	}
	for {
		part, err := in.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errMultipart
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, errMultipart
		}
		if part.FormName() == "token" && string(content) == placeholder {
			continue
		}
		w, err := out.CreatePart(part.Header)
		if err != nil {
			return nil, errMultipart
		}
		if _, err := w.Write(content); err != nil {
			return nil, errMultipart
		}
	}
	if err := out.Close(); err != nil {
		return nil, errMultipart
	}
	return buf.Bytes(), nil
}

var errMultipart = fmt.Errorf("%w: malformed multipart body", providers.ErrInvalid)

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
