package githubapp

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/saas-integrations/integrations/providers"
)

var _ providers.ETagPredictor = (*App)(nil)

// PredictETag implements providers.ETagPredictor with Config.PortableETags; without
// it, it returns "".
//
// GitHub documents no way to compute an ETag; its support confirms only that ETags
// belong to a token (eclipse-csi/otterdog#201). That one is the SHA-256 of the values
// of Accept, Authorization and Cookie, each followed by a colon, and of the body was
// observed from outside in February 2025 (the README of
// bored-engineer/github-conditional-http-transport) and not tried here against GitHub.
func (a *App) PredictETag(header http.Header, body []byte) string {
	if !a.cfg.PortableETags {
		return ""
	}
	h := sha256.New()
	for _, name := range []string{"Accept", "Authorization", "Cookie"} {
		for _, value := range header[name] {
			_, _ = h.Write([]byte(value)) // never fails
			_, _ = h.Write([]byte{':'})
		}
	}
	_, _ = h.Write(body)
	return `"` + hex.EncodeToString(h.Sum(nil)) + `"`
}
