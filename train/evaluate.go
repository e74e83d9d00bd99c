package train

import (
	"math/rand/v2"
	"slices"

	"weft/supernet"
)

// evaluate measures subnets on the validation images: the largest and, once others are
// trained too, the smallest, the middle one of the uniform subnets and random ones; or the
// one that the run trains.
func (t *Trainer) evaluate() ([]NetEval, error) {
	nets, archs, err := t.judged()
	if err != nil {
		return nil, err
	}
	calib, err := t.Config.Calibration(t.Set, 1000)
	if err != nil {
		return nil, err
	}
	flops := t.exec.Flops
	defer func() { t.exec.Flops = flops }()
	err = t.averaged(func() error {
		norms, worker := supernet.Norms{}, supernet.NewWorker(t.pool)
		for i, a := range archs {
			if err := t.measure(&nets[i], a, norms, calib, worker); err != nil {
				return err
			}
		}
		return nil
	})
	return nets, err
}

// judged lists the subnets to evaluate.
func (t *Trainer) judged() (nets []NetEval, archs []supernet.Arch, err error) {
	space := t.Net.Space
	add := func(net string, a supernet.Arch) {
		if !slices.Contains(archs, a) {
			nets, archs = append(nets, NetEval{Net: net, Subnet: space.Format(a)}), append(archs, a)
		}
	}
	if t.Config.Alone() {
		a, err := t.Config.Trained(space)
		if err != nil {
			return nil, nil, err
		}
		switch a {
		case space.Max():
			add("max", a)
		case space.Min():
			add("min", a)
		default:
			add("single", a)
		}
	} else {
		add("max", space.Max())
	}
	if s := t.Recipe.Step(max(t.Step-1, 0)); t.Step > 0 && s.shared() {
		how, uniform := t.Config.Sampling(), space.Uniform()
		add("min", space.Conform(space.Min(), how))
		add("mid", space.Conform(uniform[len(uniform)/2], how))
		rng := rand.New(rand.NewPCG(t.Config.Seed, 0xe7a1))
		for range t.Random {
			add("random", space.Sample(rng, how))
		}
	}
	return nets, archs, nil
}

// measure calibrates a subnet and counts its right answers.
func (t *Trainer) measure(e *NetEval, a supernet.Arch, norms supernet.Norms, calib [][]float32, worker *supernet.Worker) error {
	g, err := t.Net.Space.Lower(a)
	if err != nil {
		return err
	}
	norms.Add(t.exec, g, calib)
	p, err := supernet.NewTable(t.Net, norms).Plan(a)
	if err != nil {
		return err
	}
	e.MACs = p.MACs
	e.Accuracy = float64(worker.Correct(p, t.Set.Val.Images, t.Set.Val.Labels)) / float64(max(t.Set.Val.N(), 1))
	return nil
}
