package supernet

import (
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// plausible reports whether counts may come from equally likely classes: the chi-square test
// at one in a million.
func plausible(counts []float64, n float64) bool {
	want := make([]float64, len(counts))
	for i := range want {
		want[i] = n / float64(len(counts))
	}
	return stat.ChiSquare(counts, want) < distuv.ChiSquared{K: float64(len(counts) - 1)}.Quantile(1-1e-6)
}

// Every choice is uniform: each depth and width over all samples, expansion and kernel over
// the samples in which the block runs.
func TestSamplingIsUniform(t *testing.T) {
	every(t, func(t *testing.T, s *Space) {
		rng := rand.New(rand.NewPCG(7, 8))
		counts := map[choice][]float64{}
		for range 3000 {
			a := s.Sample(rng, Sampling{ElasticKernel: true})
			for c := range s.choices(&a) {
				if v := *c.index; c.live {
					c.index = nil
					if counts[c] == nil {
						counts[c] = make([]float64, c.n)
					}
					counts[c][v]++
				}
			}
		}
		for c, n := range counts {
			total := 0.0
			for _, x := range n {
				total += x
			}
			if len(n) > 1 && !plausible(n, total) {
				t.Errorf("%s of stage %d, slot %d came up %v times", c.dim, c.stage+1, c.slot, n)
			}
		}
	})
}

// Coupled choices are independent between stages: all 3^5 subnets of CompOFA come up
// equally often.
func TestCoupledSampling(t *testing.T) {
	s := find(t, "ofa-mbv3-k357", 1000, 3)
	rng := rand.New(rand.NewPCG(9, 10))
	seen := map[Arch]float64{}
	const n = 50 * 243
	for range n {
		a := s.Sample(rng, Sampling{Coupled: true})
		seen[a]++
		for c := range s.choices(&a) {
			switch {
			case !c.live:
			case c.dim == expandDim && *c.index != a.Depth[c.stage]:
				t.Fatalf("%s couples depth %d with expansion %d", s.Format(a), a.Depth[c.stage], *c.index)
			case c.dim == kernelDim && *c.index != 2:
				t.Fatalf("%s has a kernel below the largest", s.Format(a))
			}
		}
	}
	if len(seen) != 243 {
		t.Fatalf("%d coupled subnets came up, want 243", len(seen))
	}
	counts := make([]float64, 0, len(seen))
	for _, c := range seen {
		counts = append(counts, c)
	}
	if !plausible(counts, n) {
		t.Errorf("coupled subnets are not equally likely: %v", counts)
	}
}

// Lists of different lengths are coupled by level, the longest giving the number of levels.
func TestCoupledSamplingOfUnequalLists(t *testing.T) {
	s := find(t, "resnet-28s", 10, 1)
	rng := rand.New(rand.NewPCG(11, 12))
	stages := map[string]bool{}
	for range 500 {
		a := s.Sample(rng, Sampling{Coupled: true})
		stages[s.Format(a)] = true
	}
	if len(stages) != 27 {
		t.Errorf("%d coupled subnets came up, want 3 levels in each of 3 stages", len(stages))
	}
	for _, want := range []string{"d1_e25_w50", "d1_e50_w50", "d2_e100_w100", "d1-2-1_e25-100-50_w50-100-50"} {
		if !stages[want] {
			t.Errorf("coupled sampling never gave %s", want)
		}
	}
}

// TestConform: what Sample draws conforms, what conforms is what Sample draws, and the ends of coupled spaces stay ends.
func TestConform(t *testing.T) {
	for _, name := range []string{"resnet-28s", "mbv3-28-k35", "ofa-resnet50d"} {
		s := find(t, name, 10, 3)
		rng := rand.New(rand.NewPCG(13, 14))
		for _, how := range []Sampling{{}, {ElasticKernel: true}, {Coupled: true}, {Coupled: true, ElasticKernel: true}} {
			for range 200 {
				if a := s.Sample(rng, how); s.Conform(a, how) != a {
					t.Fatalf("%s, %+v: %s was drawn and became %s", name, how, s.Format(a), s.Format(s.Conform(a, how)))
				}
				a := s.Conform(s.Sample(rng, Sampling{ElasticKernel: true}), how)
				if err := s.check(a); err != nil {
					t.Fatalf("%s, %+v: %v", name, how, err)
				}
				if s.Conform(a, how) != a {
					t.Fatalf("%s, %+v: %s conforms and became %s", name, how, s.Format(a), s.Format(s.Conform(a, how)))
				}
			}
			if s.Conform(s.Max(), how) != s.Max() {
				t.Errorf("%s, %+v: the largest subnet became %s", name, how, s.Format(s.Conform(s.Max(), how)))
			}
			if got := s.Conform(s.Min(), how); got.Depth != s.Min().Depth || got.Width != s.Min().Width || got.Expand != s.Min().Expand {
				t.Errorf("%s, %+v: the smallest subnet became %s", name, how, s.Format(got))
			}
		}
	}
	s := find(t, "resnet-28s", 10, 1)
	conforming := 0
	for a := range s.All() {
		if s.Conform(a, Sampling{Coupled: true}) == a {
			conforming++
		}
	}
	if conforming != 27 {
		t.Errorf("%d subnets conform, want 3 levels in each of 3 stages", conforming)
	}
}

func TestSampleRepeats(t *testing.T) {
	s := find(t, "ofa-resnet50d", 1000, 3)
	a := s.Sample(rand.New(rand.NewPCG(1, 1)), Sampling{})
	if b := s.Sample(rand.New(rand.NewPCG(1, 1)), Sampling{}); a != b {
		t.Errorf("one seed gave %s and %s", s.Format(a), s.Format(b))
	}
}

func TestAllMatchesSize(t *testing.T) {
	for _, name := range []string{"resnet-28", "mbv3-28"} {
		s := find(t, name, 10, 1)
		seen := map[Arch]bool{}
		var first, last Arch
		for a := range s.All() {
			if len(seen) == 0 {
				first = a
			}
			last = a
			if seen[a] || !s.Contains(a) {
				t.Fatalf("%s came twice or is not in the space", s.Format(a))
			}
			seen[a] = true
		}
		if n := s.Size().Int64(); int64(len(seen)) != n || first != s.Min() || last != s.Max() {
			t.Errorf("%s: %d of %d subnets, from %s to %s", name, len(seen), n, s.Format(first), s.Format(last))
		}
	}
}

// CompOFA and OFA state the sizes of their spaces: 117^5 and 7371^5.
func TestSizeOfPublishedSpaces(t *testing.T) {
	for name, want := range map[string]string{
		"ofa-mbv3": "21924480357", "mbv3-32": "21924480357", "ofa-mbv3-k357": "21758655492572485851",
	} {
		if got := find(t, name, 1000, 3).Size().String(); got != want {
			t.Errorf("%s has %s subnets, want %s", name, got, want)
		}
	}
}

func TestUniform(t *testing.T) {
	every(t, func(t *testing.T, s *Space) {
		seen := map[Arch]bool{}
		macs := 0
		for _, a := range s.Uniform() {
			g, err := s.Lower(a)
			if err != nil {
				t.Fatal(err)
			}
			if seen[a] || g.MACs() < macs {
				t.Errorf("%s came twice or out of order", s.Format(a))
			}
			seen[a], macs = true, g.MACs()
		}
		if !seen[s.Max()] || len(s.Kernels) == 1 && !seen[s.Min()] {
			t.Errorf("uniform subnets lack the largest or the smallest")
		}
	})
	s := find(t, "ofa-mbv3", 1000, 3)
	uniform := map[string]bool{}
	for _, a := range s.Uniform() {
		uniform[s.Format(a)] = true
	}
	if len(uniform) != 9 || !uniform["d3_e6"] || !uniform["d2_e4"] {
		t.Errorf("uniform subnets are %v", uniform)
	}
}

func TestEncode(t *testing.T) {
	s := find(t, "resnet-28s", 10, 1)
	a, err := s.Parse("d2-1-1_e100.50-25-25_w100-50-50")
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{
		0, 1, 0, 1, 0, 0, 1, 1, 0, 0, // stage 1: depth, width, two blocks; of 16 channels a half rounds to 8 as a quarter does
		1, 0, 1, 0, 1, 0, 0, 0, 0, 0, // stage 2: its second block does not run
		1, 0, 1, 0, 1, 0, 0, 0, 0, 0,
	}
	got := make([]float32, s.EncodeLen()+1)
	for i := range got {
		got[i] = 9 // left over from another architecture
	}
	s.Encode(got, a)
	for i, v := range append(want, 9) {
		if len(got) != len(want)+1 || got[i] != v {
			t.Fatalf("encoded as %v, want %v", got, want)
		}
	}
}

// Different networks are encoded differently, and architectures of one network alike.
func TestEncodeTellsNetworksApart(t *testing.T) {
	s := find(t, "resnet-28s", 10, 1)
	seen := map[[30]float32]Arch{}
	for a := range s.All() {
		var e [30]float32
		s.Encode(e[:], a)
		b, ok := seen[e]
		if !ok {
			seen[e] = s.Canonical(a)
		} else if s.Canonical(a) != b {
			t.Fatalf("%s and %s are encoded alike", s.Format(a), s.Format(b))
		}
	}
	if len(seen) != 3456 {
		t.Errorf("%d networks", len(seen))
	}
}

func TestEncodeLen(t *testing.T) {
	for name, want := range map[string]int{"ofa-mbv3": 75, "ofa-mbv3-k357": 135, "resnet-28s": 30, "ofa-resnet50d": 86} {
		if got := find(t, name, 10, 3).EncodeLen(); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

func BenchmarkLower(b *testing.B) {
	s := find(b, "ofa-mbv3", 1000, 3)
	a := s.Max()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Lower(a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSample(b *testing.B) {
	s := find(b, "ofa-mbv3", 1000, 3)
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		s.Sample(rng, Sampling{})
	}
}

// TestOpenSampling: draws take exactly the choices that are open, the largest ones, equally often.
func TestOpenSampling(t *testing.T) {
	every(t, func(t *testing.T, s *Space) {
		rng := rand.New(rand.NewPCG(11, 12))
		for _, open := range []Open{{1, 1, 1, 1}, {2, 1, 1, 1}, {0, 2, 0, 1}, {0, 0, 0, 2}} {
			counts := map[choice][]float64{}
			for range 600 {
				a := s.Sample(rng, Sampling{ElasticKernel: true, Open: open})
				if open == (Open{1, 1, 1, 1}) && a != s.Max() {
					t.Fatalf("with one choice open %s is drawn", s.Format(a))
				}
				for c := range s.choices(&a) {
					v := *c.index
					shut := open.shut(c.dim, c.n)
					if c.live && int(v) < shut {
						t.Fatalf("%+v: choice %d of %d of %s is drawn", open, v, c.n, c.dim)
					}
					c.index = nil
					if c.live {
						if counts[c] == nil {
							counts[c] = make([]float64, c.n-shut)
						}
						counts[c][int(v)-shut]++
					}
				}
			}
			for c, n := range counts {
				total := 0.0
				for _, x := range n {
					total += x
				}
				if len(n) > 1 && !plausible(n, total) {
					t.Errorf("%+v: %s of stage %d came up %v times", open, c.dim, c.stage+1, n)
				}
			}
		}
	})
}
