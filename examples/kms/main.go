// Kms keeps the library's key wrapped by a key management service: the wrapped
// key stands in the configuration, the service unwraps it when the program starts,
// and replicas that run need no service.
//
// It shows Go Cloud, which is given a URL of the service (awskms, gcpkms,
// azurekeyvault, hashivault), and Tink, which is given a client of it. It is a
// module of its own because of what they link, and needs no account: keys in this
// process stand for the service.
package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/saas-integrations/integrations/crypto"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/localsecrets" // a real one: _ "gocloud.dev/secrets/awskms"
)

// fromKeeper unwraps with Go Cloud: a Keeper's Decrypt is what is asked for.
func fromKeeper(k *secrets.Keeper) crypto.Unwrapper { return crypto.UnwrapFunc(k.Decrypt) }

// fromTink unwraps with Tink. The associated data must be that of the wrapping; it
// keeps a wrapped key from being taken for one with another id.
func fromTink(a tink.AEAD, associated []byte) crypto.Unwrapper {
	return crypto.UnwrapFunc(func(_ context.Context, wrapped []byte) ([]byte, error) {
		return a.Decrypt(wrapped, associated)
	})
}

// wrapped makes a key and returns it wrapped, to be put into the configuration: an
// operator does it once for each key.
func wrapped(id string, wrap func(plain []byte) ([]byte, error)) (string, error) {
	key, err := crypto.GenerateKey(id)
	if err != nil {
		return "", err
	}
	plain, err := hex.DecodeString(key.Reveal())
	if err != nil {
		return "", err
	}
	defer clear(plain)
	blob, err := wrap(plain)
	return base64.StdEncoding.EncodeToString(blob), err
}

// unwrapped is what a program does when it starts.
func unwrapped(ctx context.Context, u crypto.Unwrapper, id, text string) (crypto.Key, error) {
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return crypto.Key{}, err
	}
	return crypto.UnwrapKey(ctx, u, id, blob)
}

func run(ctx context.Context) error {
	// Go Cloud. A real URL: "awskms://alias/integrations?region=eu-central-1".
	keeper, err := secrets.OpenKeeper(ctx, "base64key://")
	if err != nil {
		return err
	}
	defer func() { _ = keeper.Close() }()
	k1, err := wrapped("k1", func(plain []byte) ([]byte, error) { return keeper.Encrypt(ctx, plain) })
	if err != nil {
		return err
	}
	fmt.Printf("- INTEGRATIONS_KEY_K1=%s… (%d characters)\n", k1[:12], len(k1))

	// Tink. A real one: GetAEAD of the service's registry.KMSClient.
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	service, err := aead.New(handle)
	if err != nil {
		return err
	}
	k2, err := wrapped("k2", func(plain []byte) ([]byte, error) { return service.Encrypt(plain, []byte("k2")) })
	if err != nil {
		return err
	}
	fmt.Printf("- INTEGRATIONS_KEY_K2=%s… (%d characters)\n", k2[:12], len(k2))

	// When the program starts: k2 seals, k1 still opens.
	older, err := unwrapped(ctx, fromKeeper(keeper), "k1", k1)
	if err != nil {
		return err
	}
	primary, err := unwrapped(ctx, fromTink(service, []byte("k2")), "k2", k2)
	if err != nil {
		return err
	}
	ring, err := crypto.NewKeyring(primary, older) // Config.Cipher
	if err != nil {
		return err
	}
	fmt.Printf("- the keyring seals with %s and opens with %v\n", ring.PrimaryID(), ring.KeyIDs())
	return nil
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "kms:", err)
		os.Exit(1)
	}
}
