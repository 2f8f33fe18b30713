package jiraapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/andygrunwald/go-jira"
	"github.com/saas-integrations/integrations/providers"
)

// apiHost is where 3LO tokens are taken; sites' own hosts do not take them
// (developer.atlassian.com/cloud/jira/platform, "OAuth 2.0 (3LO) apps", checked
// 2026-11).
const apiHost = "api.atlassian.com"

// siteURL is the base of a site's API, with a slash at its end.
func siteURL(cloudID string) string { return "https://" + apiHost + "/ex/jira/" + cloudID + "/" }

// api makes the calls of the connect flow and of disconnecting.
var api = providers.API{Adapter: adapter, Meaning: meaning}

// maxAnswer bounds JSON answers. Other answers, such as attachments, are streams.
const maxAnswer = 32 << 20

// Client returns a go-jira client that calls the connection's site with the
// tenant's token. It is cheap: make one where it is needed. It is safe for
// concurrent use as long as nobody calls its Authentication.
//
// Use its methods with a context, and those of API v2: go-jira does not read the
// documents of v3. Issue.Search and Issue.SearchPages call what Atlassian removed
// (410); [Search] does not. For what go-jira has no method for, make a request
// with NewRequestWithContext and a path such as "rest/api/2/serverInfo" and give
// it to Do.
//
// What Jira refuses is a *providers.CallError in the chain of go-jira's error,
// with the meanings of [Classify] and a *jira.Error that holds Jira's messages;
// the *jira.Response is nil then. JSON answers are read and closed before they
// are returned, so that no method of go-jira leaves one open.
//
// The error wraps providers.ErrWrongProvider for a connection of another
// provider, providers.ErrInvalid for one without a cloud id; else it is the
// connection's own.
func Client(ctx context.Context, conn *providers.Connection) (*jira.Client, error) {
	if err := conn.RequireKind(Key); err != nil {
		return nil, err
	}
	s, err := conn.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if !isCloudID(s.ExternalID) {
		return nil, fmt.Errorf("%w: the integration's external id is no cloud id", providers.ErrInvalid)
	}
	return jira.NewClient(doer{conn.ClientFor(Key)}, siteURL(s.ExternalID))
}

// doer is go-jira's HTTP client. go-jira tells what went wrong by a text without
// the status, and leaves bodies open: both are settled before it sees an answer.
type doer struct{ hc *http.Client }

func (d doer) Do(r *http.Request) (*http.Response, error) {
	resp, err := d.hc.Do(r)
	if err != nil {
		return nil, providers.NoAnswer(adapter, err)
	}
	ok := resp.StatusCode/100 == 2
	if ok && !isJSON(resp.Header) && resp.StatusCode != http.StatusNoContent {
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	switch {
	case err != nil:
		return nil, providers.NoAnswer(adapter, err)
	case !ok:
		return nil, refusal(providers.APIAnswer{Status: resp.StatusCode, Header: resp.Header, Body: body})
	case len(body) > maxAnswer:
		return nil, &providers.CallError{Adapter: adapter, Status: resp.StatusCode, Code: "answer_too_large", Kind: providers.ErrTransient}
	case len(body) > 0 && !json.Valid(body):
		return nil, badAnswer(resp.StatusCode, nil)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func isJSON(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "application/json")
}

// call makes a call that go-jira has no exact method for. out may be nil.
func call(ctx context.Context, c *jira.Client, method, path string, in, out any) error {
	req, err := c.NewRequestWithContext(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("%w: the request is no JSON", providers.ErrInvalid)
	}
	return done(c.Do(req, out))
}

// done closes an answer and says what the error of a method of go-jira is. One
// that is nothing else is about an answer that go-jira could not read.
func done(resp *jira.Response, err error) error {
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	var refused *providers.CallError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused
	case isOwn(err):
		return err
	}
	return badAnswer(0, err)
}
