package webhook

import (
	"fmt"
	"runtime/debug"
)

// PanicError is a panic of host or adapter code, recovered. It does not hold the
// value of the panic, which may quote a body.
type PanicError struct {
	// Type is the Go type of the value.
	Type string
	// Stack is where it happened.
	Stack []byte
}

// Error names the type only.
func (e *PanicError) Error() string {
	return "integrations/webhook: panic with a value of type " + e.Type
}

// newPanicError must be called by the function that recovers.
func newPanicError(value any) *PanicError {
	return &PanicError{Type: fmt.Sprintf("%T", value), Stack: debug.Stack()}
}
