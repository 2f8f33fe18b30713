package main

import "testing"

func TestProgram(t *testing.T) {
	t.Setenv("JIRA_CLIENT_ID", "")
	t.Setenv("JIRA_PROJECT", "")
	if err := program.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
