package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReplicasShareABudget(t *testing.T) {
	address := cmp.Or(os.Getenv("INTEGRATIONS_TEST_REDIS"), "127.0.0.1:6379")
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("INTEGRATIONS_TEST_REQUIRE"), ","), "redis") {
			t.Fatalf("redis is required: %v", err)
		}
		t.Skip("redis does not answer")
	}
	_ = conn.Close()
	var out strings.Builder
	if err := run(t.Context(), &out, address); err != nil {
		t.Fatal(err)
	}
	var budget, first, second, all int
	if _, err := fmt.Sscanf(out.String(), "The budget has %d calls. Replicas with go-redis made %d, those with rueidis %d: %d together.", &budget, &first, &second, &all); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	// A replica loses what it took ahead last, two at a time of a thousand.
	if all > budget || all < budget-8 || first == 0 || second == 0 {
		t.Fatal(out.String())
	}
}
