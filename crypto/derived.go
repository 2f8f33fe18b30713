package crypto

import (
	"crypto/cipher"
	"sync"
	"sync/atomic"
)

// maxDerived bounds the cache of derived keys. Deriving one costs microseconds,
// so a miss is cheap compared with the store read before it.
const maxDerived = 4096

type derivedName struct{ kid, tenant, provider string }

// derivedKeys is a bounded cache with the CLOCK policy: a hit sets a bit and
// takes only a read lock; an insertion over the bound walks the ring and evicts
// the first entry whose bit it finds clear.
type derivedKeys struct {
	mu   sync.RWMutex
	byID map[derivedName]*derivedKey
	ring []*derivedKey
	hand int
	max  int
}

type derivedKey struct {
	name derivedName
	aead cipher.AEAD
	used atomic.Bool
}

func newDerivedKeys(limit int) *derivedKeys {
	return &derivedKeys{byID: make(map[derivedName]*derivedKey), max: limit}
}

func (d *derivedKeys) get(name derivedName) cipher.AEAD {
	d.mu.RLock()
	k := d.byID[name]
	d.mu.RUnlock()
	if k == nil {
		return nil
	}
	if !k.used.Load() { // a plain load keeps the cache line shared
		k.used.Store(true)
	}
	return k.aead
}

func (d *derivedKeys) put(name derivedName, aead cipher.AEAD) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byID[name] != nil {
		return
	}
	k := &derivedKey{name: name, aead: aead}
	d.byID[name] = k
	if len(d.ring) < d.max {
		d.ring = append(d.ring, k)
		return
	}
	for d.ring[d.hand].used.Swap(false) {
		d.hand = (d.hand + 1) % d.max
	}
	delete(d.byID, d.ring[d.hand].name)
	d.ring[d.hand] = k
	d.hand = (d.hand + 1) % d.max
}
