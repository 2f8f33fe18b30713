package providers

import (
	"cmp"
	"container/list"
	"context"
	"sync"
	"time"
)

// MemoryCacheConfig says how much a [MemoryCache] keeps.
type MemoryCacheConfig struct {
	// MaxBytes bounds all that is kept, the cache's own bookkeeping included.
	// Defaults to 64 MiB.
	MaxBytes int
	// MaxEntryBytes bounds one response; bigger ones are not kept. Defaults to an
	// eighth of MaxBytes. Bodies over 4 MiB are not offered to any cache.
	MaxEntryBytes int
	// MaxIdle is how long a response is kept that nobody asked for. Defaults to 24 h.
	// What is over is removed when the cache is used next.
	MaxIdle time.Duration
}

// MemoryCache is a [ResponseCache] in the memory of the process. When it is full, what
// was not used for longest goes first, whoever's it is. It is safe for concurrent use
// and starts no goroutine.
type MemoryCache struct {
	cfg MemoryCacheConfig

	mu      sync.Mutex
	entries map[CacheKey]*list.Element
	recent  *list.List // of *memoryEntry, the last used first
	bytes   int
}

type memoryEntry struct {
	key    CacheKey
	value  []byte
	usedAt time.Time
}

// memoryOverhead is about what an entry takes besides its bytes.
const memoryOverhead = 320

func (e *memoryEntry) size() int { return cap(e.value) + memoryOverhead }

var _ ResponseCache = (*MemoryCache)(nil)

// NewMemoryCache returns an empty cache. Nil means all defaults; so does a field that
// is not positive.
func NewMemoryCache(cfg *MemoryCacheConfig) *MemoryCache {
	c := &MemoryCache{entries: map[CacheKey]*list.Element{}, recent: list.New()}
	if cfg != nil {
		c.cfg = *cfg
	}
	c.cfg.MaxBytes = cmp.Or(max(c.cfg.MaxBytes, 0), 64<<20)
	c.cfg.MaxEntryBytes = cmp.Or(max(c.cfg.MaxEntryBytes, 0), c.cfg.MaxBytes/8)
	c.cfg.MaxIdle = cmp.Or(max(c.cfg.MaxIdle, 0), 24*time.Hour)
	return c
}

// Get implements [ResponseCache].
func (c *MemoryCache) Get(_ context.Context, key CacheKey) ([]byte, bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now)
	at := c.entries[key]
	if at == nil {
		return nil, false
	}
	e := at.Value.(*memoryEntry)
	e.usedAt = now
	c.recent.MoveToFront(at)
	return e.value, true
}

// Put implements [ResponseCache].
func (c *MemoryCache) Put(_ context.Context, key CacheKey, response []byte) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.entries[key])
	c.expire(now)
	e := &memoryEntry{key: key, value: response, usedAt: now}
	if len(response) > c.cfg.MaxEntryBytes || e.size() > c.cfg.MaxBytes {
		return
	}
	for c.bytes+e.size() > c.cfg.MaxBytes {
		c.remove(c.recent.Back())
	}
	c.entries[key] = c.recent.PushFront(e)
	c.bytes += e.size()
}

// Forget implements [ResponseCache]. It looks at every entry.
func (c *MemoryCache) Forget(_ context.Context, connection [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, at := range c.entries {
		if key.Connection == connection {
			c.remove(at)
		}
	}
}

// expire removes what was not used for long. It needs the lock.
func (c *MemoryCache) expire(now time.Time) {
	for at := c.recent.Back(); at != nil; at = c.recent.Back() {
		if now.Sub(at.Value.(*memoryEntry).usedAt) < c.cfg.MaxIdle {
			return
		}
		c.remove(at)
	}
}

// remove needs the lock. Nil is nothing.
func (c *MemoryCache) remove(at *list.Element) {
	if at == nil {
		return
	}
	e := c.recent.Remove(at).(*memoryEntry)
	delete(c.entries, e.key)
	c.bytes -= e.size()
}

// MemoryCacheStats is how full a [MemoryCache] is.
type MemoryCacheStats struct {
	// Entries are responses, Bytes what they take.
	Entries, Bytes int
}

// Stats tells how full the cache is.
func (c *MemoryCache) Stats() MemoryCacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return MemoryCacheStats{Entries: len(c.entries), Bytes: c.bytes}
}
