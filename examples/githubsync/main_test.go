package main

import "testing"

func TestProgram(t *testing.T) {
	t.Setenv("GITHUB_APP_ID", "")
	if err := program.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
