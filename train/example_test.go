package train_test

import (
	"fmt"

	"weft/train"
)

// The schedule of a run: the largest subnet alone, a ramp over which the smaller ones'
// rate climbs in a straight line, and the joint phase.
func ExampleSchedule() {
	c := train.Defaults("deps", "resnet-28", "fashion-mnist")
	s := train.NewSchedule(&c, 1000)
	fmt.Printf("alone before step %d, joint from step %d\n", s.Ramp, s.Joint)
	for _, t := range []int{0, 449, 450, 474, 499, 500, 999} {
		fmt.Printf("step %3d: rate %.4f, β %.3f, rate of the smaller ones %.4f\n", t, s.Rate(t), s.Beta(t), s.Beta(t)*s.Rate(t))
	}
	// Output:
	// alone before step 450, joint from step 500
	// step   0: rate 0.4000, β 0.000, rate of the smaller ones 0.0000
	// step 449: rate 0.2313, β 0.000, rate of the smaller ones 0.0000
	// step 450: rate 0.2307, β 0.017, rate of the smaller ones 0.0040
	// step 474: rate 0.2157, β 0.462, rate of the smaller ones 0.0997
	// step 499: rate 0.2000, β 0.997, rate of the smaller ones 0.1994
	// step 500: rate 0.1994, β 1.000, rate of the smaller ones 0.1994
	// step 999: rate 0.0000, β 1.000, rate of the smaller ones 0.0000
}
