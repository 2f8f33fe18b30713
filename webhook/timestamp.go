package webhook

import "time"

// defaultTolerance is that of Slack and of Standard Webhooks' reference code.
const defaultTolerance = 5 * time.Minute

// parseTime reads seconds or milliseconds since 1970: digits only, so that no
// sign, space, fraction or second spelling passes, and few enough of them for
// time.Time.
func parseTime(s string, millis bool) (time.Time, bool) {
	if s == "" || len(s) > 15 {
		return time.Time{}, false
	}
	var n int64
	for i := range len(s) {
		if !digit[s[i]] {
			return time.Time{}, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	if millis {
		return time.UnixMilli(n), true
	}
	return time.Unix(n, 0), true
}

func checkTime(now, signed time.Time, tolerance time.Duration) error {
	switch {
	case now.Sub(signed) > tolerance:
		return ErrTooOld
	case signed.Sub(now) > tolerance:
		return ErrTooNew
	default:
		return nil
	}
}
