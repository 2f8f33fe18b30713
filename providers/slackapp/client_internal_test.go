package slackapp

import (
	"bytes"
	"mime/multipart"
	"net/url"
	"testing"

	"github.com/saas-integrations/integrations/providers"
	"github.com/stretchr/testify/require"
)

func TestCutPair(t *testing.T) {
	const pair = "token=" + placeholder
	for in, want := range map[string]string{
		"": "", pair: "", "a=1": "a=1", "a=1&" + pair: "a=1", pair + "&a=1": "a=1", "a=1&" + pair + "&b=2": "a=1&b=2",
		// Nothing of the user's is touched.
		"xtoken=" + placeholder: "xtoken=" + placeholder, pair + "x": pair + "x", "token=mine": "token=mine",
		"text=token%3D" + placeholder: "text=token%3D" + placeholder, "TOKEN=" + placeholder: "TOKEN=" + placeholder,
	} {
		require.Equal(t, want, string(cutPair([]byte(in))), in)
	}
}

// TestQuery: slack-go puts no token into a query today.
func TestQuery(t *testing.T) {
	u, err := url.Parse("https://slack.com/api/x?a=1&token=" + placeholder + "&b=%26token")
	require.NoError(t, err)
	before := *u
	require.Equal(t, "https://slack.com/api/x?a=1&b=%26token", withoutToken(u).String())
	require.Equal(t, before, *u, "the caller's URL stays")
}

func TestCutPart(t *testing.T) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, part := range [][2]string{{"token", placeholder}, {"title", placeholder}, {"token", "mine"}} {
		require.NoError(t, w.WriteField(part[0], part[1]))
	}
	f, err := w.CreateFormFile("file", "x\"\n.png")
	require.NoError(t, err)
	_, err = f.Write([]byte("--" + w.Boundary()[:10] + "\r\n\x00token"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	full := bytes.Clone(body.Bytes())
	got, err := cutPart(full, w.Boundary())
	require.NoError(t, err)

	first := "--" + w.Boundary() + "\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n" + placeholder + "\r\n"
	require.Equal(t, string(full[len(first):]), string(got), "all else is what it was")

	for name, c := range map[string]struct{ body, boundary string }{
		"cut off":      {string(full[:len(full)-20]), w.Boundary()},
		"no boundary":  {string(full), ""},
		"bad boundary": {string(full), "a\nb"},
	} {
		_, err := cutPart([]byte(c.body), c.boundary)
		require.ErrorIs(t, err, providers.ErrInvalid, name)
		require.NotContains(t, err.Error(), placeholder)
	}
}
