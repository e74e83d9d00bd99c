package search_test

import (
	"fmt"

	"weft/search"
)

// Of four measured subnets, one costs more than another that is as accurate.
func ExampleFront() {
	front := search.Front([]search.Result{
		{MACs: 900, Accuracy: 0.93},
		{MACs: 300, Accuracy: 0.90},
		{MACs: 400, Accuracy: 0.90},
		{MACs: 500, Accuracy: 0.92},
	}, search.ByMACs)
	for _, r := range front {
		fmt.Println(r.MACs, r.Accuracy)
	}
	// Output:
	// 300 0.9
	// 500 0.92
	// 900 0.93
}
