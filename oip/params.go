package oip

import (
	"math"
	"time"

	"weft/sched"
	"weft/serve"
)

// value is that of a request's parameter, as JSON or protobuf give it.
type value struct {
	kind   Kind
	bool   bool
	int    int64   // of an Integer
	number float64 // of an Integer or Float
	text   []byte  // of a String, or of a number as JSON writes it
}

// parameter is one that the server knows; the rest is ignored.
type parameter uint

const (
	otherParameter parameter = iota
	timeoutParameter
	priorityParameter
	minAccuracyParameter
	subnetParameter
	lateParameter
	binaryParameter
)

var parameterNames = [...]string{
	timeoutParameter:     "timeout",
	priorityParameter:    "priority",
	minAccuracyParameter: "min_accuracy",
	subnetParameter:      "subnet",
	lateParameter:        "late",
	binaryParameter:      "binary_data_output",
}

func parameterOf(name []byte) parameter {
	for p := timeoutParameter; p <= binaryParameter; p++ {
		if string(name) == parameterNames[p] {
			return p
		}
	}
	return otherParameter
}

// set takes a request's parameter over.
func (q *Request) set(p parameter, v value) error {
	switch p {
	case timeoutParameter:
		return q.setTimeout(v)
	case priorityParameter:
		return q.setPriority(v)
	case minAccuracyParameter:
		if v.kind != Float && v.kind != Integer {
			return serve.Errorf(serve.Invalid, "min_accuracy is no number: send a fraction in 0..1")
		}
		q.MinAccuracy = v.number
	case subnetParameter:
		if v.kind != String {
			return serve.Errorf(serve.Invalid, "subnet is no string: send the name of a subnet")
		}
		q.Subnet = string(v.text)
	case lateParameter:
		switch {
		case v.kind == String && string(v.text) == "reject":
			q.Late = sched.Reject
		case v.kind == String && string(v.text) == "serve":
			q.Late = sched.Serve
		default:
			return serve.Errorf(serve.Invalid, "late is %.40q: send reject or serve", v.text)
		}
	case binaryParameter:
		if v.kind != Boolean {
			return serve.Errorf(serve.Invalid, "binary_data_output is no bool: send true or false")
		}
		q.binary, q.notBinary = v.bool, !v.bool
	}
	return nil
}

// setTimeout takes microseconds until the deadline.
func (q *Request) setTimeout(v value) error {
	limit := serve.MaxTimeout.Microseconds()
	if v.kind != Integer {
		return serve.Errorf(serve.Invalid, "timeout is %.40q: send an integer, microseconds", v.text)
	}
	if v.int < 0 || v.int > limit {
		return serve.Errorf(serve.Invalid, "timeout is %d: send microseconds, 1 to %d, or 0 for the server's default", v.int, limit)
	}
	q.Timeout = time.Duration(v.int) * time.Microsecond
	return nil
}

// setPriority takes a priority, of which 1 is the highest and 0 the default,
// and turns it round: the scheduler puts the higher first, 0 last.
func (q *Request) setPriority(v value) error {
	switch {
	case v.kind != Integer:
		return serve.Errorf(serve.Invalid, "priority is %.40q: send an integer", v.text)
	case v.int < 0:
		return serve.Errorf(serve.Invalid, "priority is %d: send 1 for the highest, more for lower ones, or 0 for the default", v.int)
	case v.int == 0:
		q.Priority = 0
	default:
		q.Priority = int(math.MaxInt32 - min(v.int, math.MaxInt32))
	}
	return nil
}
