package salesforceapp

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/saas-integrations/integrations/providers"
)

// Limit is an allowance of an org and what is left of it.
type Limit struct {
	Max, Remaining int64
}

// Limits returns the org's allowances by Salesforce's names, such as
// "DailyApiRequests".
func Limits(ctx context.Context, conn *providers.Connection) (map[string]Limit, error) {
	var out map[string]Limit
	_, err := Do(ctx, conn, Request{Path: "limits", Out: &out})
	return out, err
}

// Usage is how much of an allowance is used, as an answer's header tells.
type Usage struct {
	// Name is "api-usage" for the org's requests of the last 24 hours.
	Name        string
	Used, Limit int64
}

// ReadUsage reads Sforce-Limit-Info, "api-usage=10018/100000; api-bursts=1/750",
// which comes with every answer of the REST API (developer.salesforce.com, REST
// API developer guide, "Limit Info Header", checked 2026-11). What does not look
// like that is left out.
func ReadUsage(h http.Header) []Usage {
	var out []Usage
	for part := range strings.SplitSeq(h.Get("Sforce-Limit-Info"), ";") {
		name, numbers, ok := strings.Cut(strings.TrimSpace(part), "=")
		numbers, _, _ = strings.Cut(numbers, "(") // 17/250(appName=…)
		used, limit, slash := strings.Cut(numbers, "/")
		u, err := strconv.ParseInt(used, 10, 64)
		l, err2 := strconv.ParseInt(limit, 10, 64)
		if !ok || !slash || err != nil || err2 != nil || u < 0 || l < 0 {
			continue
		}
		out = append(out, Usage{name, u, l})
	}
	return out
}
