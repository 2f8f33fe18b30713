package githubapp

import (
	"net/http"
	"strings"
	"time"
)

// first is the first value of a header, by its name as [http.CanonicalHeaderKey] writes
// it: Get, which takes any spelling, costs five times as much.
func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// parseDate is [http.ParseTime], faster for the one form that servers send
// (RFC 9110 section 5.6.7): "Wed, 25 Nov 2026 19:52:33 GMT". It is asked of each answer.
func parseDate(s string) (time.Time, error) {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	if len(s) != len(http.TimeFormat) || s[3:5] != ", " || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' || s[19] != ':' || s[22] != ':' || s[25:] != " GMT" {
		return http.ParseTime(s)
	}
	month := strings.Index(months, s[8:11])
	day, year, hour, minute, second := digits(s[5:7]), digits(s[12:16]), digits(s[17:19]), digits(s[20:22]), digits(s[23:25])
	if month < 0 || month%3 != 0 || min(day, year, hour, minute, second) < 0 || hour > 23 || minute > 59 || second > 59 {
		return http.ParseTime(s)
	}
	t := time.Date(year, time.Month(month/3+1), day, hour, minute, second, 0, time.UTC)
	if t.Day() != day || !strings.HasPrefix(s, t.Weekday().String()[:3]) {
		return http.ParseTime(s)
	}
	return t, nil
}

// digits is the number that s is, negative when it is none.
func digits(s string) (n int) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}
