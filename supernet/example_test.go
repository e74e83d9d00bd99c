package supernet_test

import (
	"fmt"
	"log"
	"math/rand/v2"

	"weft/nn"
	"weft/supernet"
)

// A space is found by name, an architecture is read from text, and its graph says what it
// costs.
func Example() {
	space, err := supernet.Find("ofa-mbv3", 1000, 3)
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"d2_e3", "d2-3-4-3-2_e6", "d4_e6"} {
		arch, err := space.Parse(text)
		if err != nil {
			log.Fatal(err)
		}
		g, err := space.Lower(arch)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-13s %5.1f M MACs, %.2f M parameters, %d operations\n",
			space.Format(arch), float64(g.MACs())/1e6, float64(g.Params())/1e6, len(g.Ops))
	}
	// Output:
	// d2_e3         151.3 M MACs, 3.49 M parameters, 43 operations
	// d2-3-4-3-2_e6 382.4 M MACs, 5.52 M parameters, 57 operations
	// d4_e6         566.2 M MACs, 7.66 M parameters, 79 operations
}

// Statistics of normalisation are kept by key, and subnets that agree up to a layer share
// that layer's entry. In the space of SuperServe's convolutional supernet, this is what
// they take beside the weights (fp32; mean and variance of each channel).
func ExampleNorms() {
	space, err := supernet.Find("ofa-resnet50d", 1000, 3)
	if err != nil {
		log.Fatal(err)
	}
	largest, err := space.Lower(space.Max())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("weights: %.1f MB\n", 4e-6*float64(largest.Params()))
	rng := rand.New(rand.NewPCG(1, 1))
	for _, how := range []supernet.Sampling{{Coupled: true}, {}} {
		distinct := map[supernet.Arch]bool{}
		for len(distinct) < 200 {
			distinct[space.Sample(rng, how)] = true
		}
		apart, shared := 0, map[nn.NormKey]int{}
		for a := range distinct {
			g, err := space.Lower(a)
			if err != nil {
				log.Fatal(err)
			}
			for i, key := range g.NormKeys() {
				if key != 0 {
					size := 8 * g.Values[g.Ops[i].Out].C
					apart += size
					shared[key] = size
				}
			}
		}
		together := 0
		for _, size := range shared {
			together += size
		}
		fmt.Printf("200 subnets, coupled=%v: %.1f MB each by itself, %.1f MB shared\n",
			how.Coupled, float64(apart)/1e6, float64(together)/1e6)
	}
	// Output:
	// weights: 192.4 MB
	// 200 subnets, coupled=true: 34.4 MB each by itself, 21.5 MB shared
	// 200 subnets, coupled=false: 32.6 MB each by itself, 31.7 MB shared
}
