package integrationstest_test

import (
	"context"
	"fmt"

	"github.com/saas-integrations/integrations/integrationstest"
	"github.com/saas-integrations/integrations/providers/slackapp"
)

// tb stands for the *testing.T of a test.
type tb struct{}

func (tb) Helper()                           {}
func (tb) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func ExampleNew() {
	kit := integrationstest.New(tb{})
	kit.Connect("tenant-1", slackapp.Key)
	conn, err := kit.Manager().Connection(context.Background(), "tenant-1", slackapp.Key)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = slackapp.Notify(context.Background(), conn, slackapp.Message{Text: "Deployed"})
	fmt.Println(kit.Slack.Sent()[0].Text, err)
	// Output: Deployed <nil>
}
