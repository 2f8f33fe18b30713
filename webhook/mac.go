package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// minSecret is the least length of a secret in bytes: 128 bits, as ASVS 5.0
// 11.5.1 asks, and above the 112 bits that HMAC needs in Go's FIPS-only mode.
const minSecret = 16

// macKey is one secret with its hash states. Setting up an HMAC costs as much as
// hashing a small body, so states are kept; a reset one restarts from its saved
// key block.
type macKey struct {
	states sync.Pool // of *macState
}

// macState is one HMAC-SHA256 (RFC 2104) on its way. The buffers are here and
// not on the stack because what goes through an interface is allocated.
type macState struct {
	hash.Hash
	scratch []byte
	sum     [sha256.Size]byte
}

func newMACKey(secret []byte) *macKey {
	k := &macKey{}
	k.states.New = func() any {
		s := &macState{Hash: hmac.New(sha256.New, secret), scratch: make([]byte, 0, 128)}
		s.Reset() // saves the key block's state
		return s
	}
	return k
}

func (k *macKey) get() *macState {
	return k.states.Get().(*macState)
}

func (k *macKey) put(s *macState) {
	s.Reset()
	k.states.Put(s)
}

// writeString hashes s without handing a converted copy to an interface.
func (s *macState) writeString(v string) {
	s.scratch = append(s.scratch[:0], v...)
	s.Write(s.scratch)
}

// finish computes the MAC of what was written.
func (s *macState) finish() { s.Sum(s.sum[:0]) }

// equal compares the finished MAC in constant time.
func (s *macState) equal(mac *[sha256.Size]byte) bool {
	return hmac.Equal(s.sum[:], mac[:])
}
