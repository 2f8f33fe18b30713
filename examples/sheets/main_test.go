package main

import "testing"

func TestProgram(t *testing.T) {
	t.Setenv("GOOGLE_CLIENT_ID", "")
	if err := program.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
