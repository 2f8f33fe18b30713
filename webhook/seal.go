package webhook

import (
	"time"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/saas-integrations/integrations/store"
)

// BodyBinding is what the sealed body of an inbox row is bound to. What is sealed
// may be a shorter form of the body, which [OpenBody] knows: to move a row to
// another key, seal again what Cipher.Open returns.
func BodyBinding(d store.Delivery) crypto.Binding {
	return crypto.Binding{Tenant: d.TenantID, Provider: d.Provider, Integration: d.ID, Field: "inbox.body"}
}

// SealBody seals the body of an inbox row as it is. d needs its ID, TenantID and
// Provider, which must not change afterwards.
func SealBody(c crypto.Cipher, d store.Delivery, body []byte) ([]byte, error) {
	return c.Seal(nil, packPlain(body), BodyBinding(d))
}

// OpenBody opens the body of an inbox row: d.Body, sealed by a [Receiver] or by
// [SealBody].
func OpenBody(c crypto.Cipher, d store.Delivery) ([]byte, error) {
	plain, err := c.Open(nil, d.Body, BodyBinding(d))
	if err != nil {
		return nil, err
	}
	return unpack(plain)
}

// SecretBinding is what both sealed secrets of an endpoint are bound to. It is
// one for both, so that a secret becomes the previous one as it stands.
func SecretBinding(e store.Endpoint) crypto.Binding {
	return crypto.Binding{Tenant: e.TenantID, Provider: e.Provider, Integration: e.ID, Field: "endpoint.secret"}
}

// OpenSecrets opens the secrets of an endpoint that are accepted at the given
// time, the newest first.
func OpenSecrets(c crypto.Cipher, e store.Endpoint, now time.Time) ([][]byte, error) {
	secret, err := c.Open(nil, e.Secret, SecretBinding(e))
	if err != nil {
		return nil, err
	}
	secrets := [][]byte{secret}
	if e.PreviousSecret != nil && now.Before(e.PreviousUntil) {
		if secret, err = c.Open(nil, e.PreviousSecret, SecretBinding(e)); err != nil {
			return nil, err
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}
