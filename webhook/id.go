package webhook

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// NewID returns an id for a row of the inbox: 26 characters that sort by the
// time they were made, to the nanosecond, of which the second half is 64 random
// bits. It looks like a ULID and uses its alphabet.
func NewID() string {
	var random [8]byte
	rand.Read(random[:]) // never fails
	var id [26]byte
	base32(id[:13], uint64(time.Now().UnixNano()))
	base32(id[13:], binary.LittleEndian.Uint64(random[:]))
	return string(id[:])
}

// base32 writes n in Crockford's alphabet, which sorts as its numbers do.
func base32(dst []byte, n uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[n&31]
		n >>= 5
	}
}
