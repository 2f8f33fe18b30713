package webhook

import "time"

// Outcome says what happened to a request or to an event.
type Outcome string

// Outcomes of a [Receiver]: one for each request.
const (
	// OutcomeStored means the events of a request are in the inbox.
	OutcomeStored Outcome = "stored"
	// OutcomeReplied means the source answered a challenge or a probe.
	OutcomeReplied Outcome = "replied"
	// OutcomeIgnored means the source read no event in a verified request.
	OutcomeIgnored Outcome = "ignored"
	// OutcomeRefused means the request was at fault: a 4xx.
	OutcomeRefused Outcome = "refused"
	// OutcomeUnavailable means this side was at fault: a 5xx. Nothing is stored.
	OutcomeUnavailable Outcome = "unavailable"
)

// Outcomes of a [Worker]: one for each attempt.
const (
	// OutcomeHandled means the event is done.
	OutcomeHandled Outcome = "handled"
	// OutcomeUnrouted means the event is of no integration and was put aside as
	// done.
	OutcomeUnrouted Outcome = "unrouted"
	// OutcomeFailed means the handler failed and the event comes again.
	OutcomeFailed Outcome = "failed"
	// OutcomeDead means the handler failed for the last time.
	OutcomeDead Outcome = "dead"
	// OutcomeUnreadable means the stored body cannot be opened now. No start was
	// counted and the event comes again.
	OutcomeUnreadable Outcome = "unreadable"
	// OutcomeOvertaken means another worker took the event over because the lease
	// ran out.
	OutcomeOvertaken Outcome = "overtaken"
)

// Observation is told to the Observe function of a [Receiver] or a [Worker]. It
// holds no body and no header.
type Observation struct {
	Outcome  Outcome
	Provider string
	// Took is the time the request or the attempt took.
	Took time.Duration
	// Err is why, nil when all went well. Of a worker it may be the handler's own
	// error.
	Err error

	// Status is the HTTP status of the answer, 0 of a worker.
	Status int
	// Stored and Duplicates count the events of a request that were new and that
	// were there already.
	Stored, Duplicates int

	// The fields below are those of the event, empty of a receiver.
	EventID, EventType, TenantID, IntegrationID string
	// Attempt counts the starts of the handler, 0 when it was not started.
	Attempt int
}
