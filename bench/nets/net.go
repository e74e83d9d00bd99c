package nets

import (
	"fmt"
	"math/rand/v2"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// Net is a supernet with random weights, the same in every process, and the statistics
// measured so far.
type Net struct {
	*supernet.Supernet
	Norms supernet.Norms
	Table *supernet.Table

	ranges supernet.Ranges
	int8   *supernet.Int8
}

// New returns the supernet of a space.
func New(space string, pixels int) (*Net, error) {
	s, err := Space(space, pixels)
	if err != nil {
		return nil, err
	}
	n := &Net{
		Supernet: supernet.New(s, Mean, Std, rand.New(rand.NewPCG(Seed, 0))), Norms: supernet.Norms{}, ranges: supernet.Ranges{},
	}
	if err := n.soften(); err != nil {
		return nil, err
	}
	n.Table = supernet.NewTable(n.Supernet, n.Norms)
	n.int8 = supernet.NewInt8(n.Supernet, n.Norms, n.ranges)
	return n, nil
}

// soften makes residual branches weak, as they are in trained networks. With random
// weights at full strength rounding grows from block to block and hides whether two
// engines compute the same.
func (n *Net) soften() error {
	g, err := n.Space.Lower(n.Space.Max())
	if err != nil {
		return err
	}
	for i := range g.Ops {
		if op := &g.Ops[i]; op.Res >= 0 && op.Layer >= 0 {
			gamma := n.W.Of(n.W.Data, op.Layer, nn.Gamma)
			for j := range gamma {
				gamma[j] *= 0.25
			}
		}
	}
	return nil
}

// Enough is how many images make statistics on which rounding has little effect: the more
// the smaller they are, since the last layers have few pixels.
func Enough(pixels int) int { return max(64*32*32/(pixels*pixels), 4) }

// Calibrate measures the statistics that are missing for the subnets, on so many images
// of the space, which is the supernet's own or differs in the images' size.
func (n *Net) Calibrate(s *supernet.Space, subnets []string, images int) error {
	pool := kernel.NewPool(2)
	defer pool.Close()
	exec := nn.NewExec(n.W, pool, false)
	x := Normalised(Images(s.Input, images))
	for _, name := range subnets {
		g, err := Graph(s, name)
		if err != nil {
			return err
		}
		n.Norms.Add(exec, g, [][]float32{x})
	}
	return nil
}

// Int8 returns the table for int8 after it has found the missing ranges of the subnets,
// which are calibrated, on a few images.
func (n *Net) Int8(subnets []string) (*supernet.Int8, error) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	x := Normalised(Images(n.Space.Input, 4))
	for _, name := range subnets {
		a, err := n.Space.Parse(name)
		if err != nil {
			return nil, err
		}
		if _, err := n.ranges.Add(n.Supernet, n.Norms, a, [][]float32{x}, pool); err != nil {
			return nil, err
		}
	}
	return n.int8, nil
}

// Plan returns the plan of a calibrated subnet.
func (n *Net) Plan(subnet string) (*supernet.Plan, error) {
	a, err := n.Space.Parse(subnet)
	if err != nil {
		return nil, err
	}
	return n.Table.Plan(a)
}

// Graph returns the graph of a subnet given in its text form.
func Graph(s *supernet.Space, subnet string) (*nn.Graph, error) {
	a, err := s.Parse(subnet)
	if err != nil {
		return nil, fmt.Errorf("space %s: %w", s.Name, err)
	}
	return s.Lower(a)
}
