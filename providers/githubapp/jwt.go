package githubapp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strconv"
	"time"
)

var (
	errNoKey  = errors.New("is empty")
	errBadKey = errors.New("is no RSA key of at least 2048 bits in PKCS #1 or PKCS #8")
)

// privateKey hides the key from fmt, which would print a *rsa.PrivateKey.
type privateKey struct {
	sign func(message string) ([]byte, error) // RS256
}

// parsePrivateKey reads the App's key as GitHub hands it out (PKCS #1) or as key
// services convert it (PKCS #8). The error is about Config.PrivateKeyPEM.
func parsePrivateKey(text string) (*privateKey, error) {
	if text == "" {
		return nil, errNoKey
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errBadKey
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		other, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errBadKey
		}
		var ok bool
		if key, ok = other.(*rsa.PrivateKey); !ok {
			return nil, errBadKey
		}
	}
	if key.N.BitLen() < 2048 {
		return nil, errBadKey
	}
	return &privateKey{sign: func(message string) ([]byte, error) {
		sum := sha256.Sum256([]byte(message))
		return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}}, nil
}

// A JWT of an App may last ten minutes from its iat; a minute before now and
// nine after leave room for a clock that is off
// (docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App", checked
// 2026-11).
const (
	jwtBefore = time.Minute
	jwtAfter  = 9 * time.Minute
)

// jwt makes the token that the App itself authenticates with.
func (a *App) jwt(now time.Time) (string, error) {
	if a.key == nil {
		return "", a.keyErr
	}
	enc := base64.RawURLEncoding
	claims := `{"iat":` + strconv.FormatInt(now.Add(-jwtBefore).Unix(), 10) +
		`,"exp":` + strconv.FormatInt(now.Add(jwtAfter).Unix(), 10) +
		`,"iss":"` + strconv.FormatInt(a.cfg.AppID, 10) + `"}`
	message := enc.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + enc.EncodeToString([]byte(claims))
	signature, err := a.key.sign(message)
	if err != nil {
		return "", err
	}
	return message + "." + enc.EncodeToString(signature), nil
}
