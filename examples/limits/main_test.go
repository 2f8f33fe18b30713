package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSmallGetsItsTurn(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	var n, waiting int
	var within string
	second := strings.Split(out.String(), "\n")[1]
	if _, err := fmt.Sscanf(second, "small asked for %d while %d of big's were waiting, and had them within %s", &n, &waiting, &within); err != nil {
		t.Fatalf("%q: %v", second, err)
	}
	took, err := time.ParseDuration(strings.TrimSuffix(within, "."))
	if err != nil {
		t.Fatal(err)
	}
	// Its five and as many of the other's come at 50 a second: 0.2 s. In the order of
	// asking it would wait for all of the other's, 2 s.
	if waiting < 80 || took > time.Second {
		t.Fatalf("small waited %v behind %d", took, waiting)
	}
}
