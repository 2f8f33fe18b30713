package integrationstest_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/githubapp"
	"github.com/saas-integrations/integrations/ratelimit"
)

func ExampleGitHub_Enforce() {
	kit := integrationstest.New(tb{})
	cfg := kit.Config()
	cfg.Limiter = ratelimit.NewLocal(nil)
	kit.Use(cfg)
	kit.Connect("tenant-1", githubapp.Key)
	limits := kit.GitHub.Enforce(integrationstest.GitHubLimits{})

	ctx := context.Background()
	conn, err := kit.Manager().Connection(ctx, "tenant-1", githubapp.Key)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.github.com/installation/repositories", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := conn.HTTPClient().Do(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
	fmt.Println(resp.StatusCode, resp.Header.Get("X-RateLimit-Remaining"), "left;", limits.Answered(), "answered,", len(limits.Refused()), "refused")
	// Output: 200 4999 left; 1 answered, 0 refused
}
