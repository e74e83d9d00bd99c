package serve

import (
	"context"
	"errors"
	"fmt"
)

// Code is the kind of an error, for those who translate it into a protocol's status.
type Code uint8

// The codes, OK being that of a nil error.
const (
	OK        Code = iota
	Invalid        // the request is wrong and will stay so
	Late           // its deadline could not be met
	Full           // too much waits already
	Draining       // the server is shutting down
	Cancelled      // the caller's context ended
	Failed         // the model failed
)

var codeNames = [...]string{"ok", "invalid", "dropped_late", "full", "draining", "cancelled", "failed"}

// String returns the name by which the metrics know the code.
func (c Code) String() string { return codeNames[c] }

// Error is an error with a code. Its text says what to do.
type Error struct {
	Code Code
	text string
	err  error // cause, may be nil
}

// Error returns the sentence for the client.
func (e *Error) Error() string { return e.text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// What a request may meet besides being wrong.
var (
	ErrLate     = &Error{Code: Late, text: "the deadline can not be met: allow more time, accept less accuracy, or set late to serve"}
	ErrFull     = &Error{Code: Full, text: "the queue is full: try again later"}
	ErrDraining = &Error{Code: Draining, text: "the server is shutting down: try another one"}
	errLost     = &Error{Code: Failed, text: "the workers were lost while they ran the request: try again"}
)

// CodeOf returns the code of an error that Infer returned.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Cancelled
	}
	return Failed
}

// Errorf returns an Error with that code. Its text is formatted as by
// fmt.Errorf and says what to do.
func Errorf(c Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: c, text: err.Error(), err: errors.Unwrap(err)}
}
