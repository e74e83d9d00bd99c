package workload_test

import (
	"fmt"
	"time"

	"weft/workload"
)

// A bursty trace is a stream of constant gaps merged with one of gamma gaps, whose squared
// coefficient of variation is cv2. The same spec and seed always give the same arrivals.
func ExampleParse() {
	trace, err := workload.Parse("bursty:base=300,var=700,cv2=4,for=10s", 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d arrivals, the first at %v, %.0f/s, CV² of the whole %.1f\n",
		len(trace.Arrivals), trace.Arrivals[0].Round(time.Microsecond), trace.Rate(), trace.CV2())
	_, err = workload.Parse("bursty:base=300", 1)
	fmt.Println(err)
	// Output:
	// 9978 arrivals, the first at 26µs, 998/s, CV² of the whole 1.3
	// trace bursty:base=300: "var": give a number from 0 to 2147483646
}

func ExampleAccount() {
	trace, err := workload.Parse("bursty:base=300,var=700,cv2=4,for=10s", 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	// A server that takes 20 ms, and 60 ms for every tenth request.
	var outcomes []workload.Outcome
	for i, at := range trace.Arrivals {
		took := 20 * time.Millisecond
		if i%10 == 0 {
			took *= 3
		}
		outcomes = append(outcomes, workload.Outcome{
			Intended: at, Sent: at, Finished: at + took, Deadline: at + 50*time.Millisecond,
			Reply: workload.Reply{Subnet: "large", Accuracy: 0.93, Images: 1, Correct: -1, BatchSize: 1},
		})
	}
	s := workload.Account(outcomes, 0)
	fmt.Printf("%.2f attained at %.2f, p99 %.0f ms\n", s.Attainment, s.MeanAccuracy, s.LatencyMS.P99)
	// Output: 0.90 attained at 0.93, p99 60 ms
}
