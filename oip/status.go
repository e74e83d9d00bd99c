package oip

import (
	"errors"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"

	"weft/serve"
)

// statusError is an error of the protocol rather than of the model.
type statusError struct {
	http int
	grpc codes.Code
	text string
	// retry is when to come back (0: not said).
	retry time.Duration
}

func (e *statusError) Error() string { return e.text }

// statusCancelled is what nobody reads: the client went away.
const statusCancelled = 499

// statuses maps a serve.Code to the status of each transport.
var statuses = [...]struct {
	http int
	grpc codes.Code
}{
	serve.OK:        {http.StatusOK, codes.OK},
	serve.Invalid:   {http.StatusBadRequest, codes.InvalidArgument},
	serve.Late:      {http.StatusGatewayTimeout, codes.DeadlineExceeded},
	serve.Full:      {http.StatusServiceUnavailable, codes.Unavailable},
	serve.Draining:  {http.StatusServiceUnavailable, codes.Unavailable},
	serve.Cancelled: {statusCancelled, codes.Canceled},
	serve.Failed:    {http.StatusInternalServerError, codes.Internal},
}

// retryOf returns when the error says to come back, or 0.
func retryOf(err error) time.Duration {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.retry
	}
	return 0
}

// statusOf returns the status of an error for each transport.
func statusOf(err error) (httpStatus int, grpcCode codes.Code) {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.http, e.grpc
	}
	s := statuses[serve.CodeOf(err)]
	return s.http, s.grpc
}
