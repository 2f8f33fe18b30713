package ratelimit

import "time"

// until is how long a bucket has nothing for a call, as far as is known now: for one
// that found others waiting and so did not try. With untold the units are not kept in
// the bucket.
func (k *bucket) until(b *Budget, now time.Duration, cost int64, untold bool) time.Duration {
	wait := max(0, time.Duration(k.pause.Load())-now)
	s := k.state.Load()
	switch {
	case b.Units == 0, untold, s == removed:
	case b.Refill == Continuous:
		each := b.interval()
		need := cost * each
		burst := max(int64(max(b.Burst, 1))*each, need)
		wait = max(wait, time.Duration(max(s, int64(now))+need-int64(now)-burst))
	default:
		if w := unpack(s); w.end > now.Milliseconds() && w.used > 0 && w.used+cost > k.spendable(b) {
			wait = max(wait, time.Duration(w.end)*time.Millisecond-now)
		}
	}
	return wait
}
