package supernet

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// every calls f for all named spaces and the custom one.
func every(t *testing.T, f func(t *testing.T, s *Space)) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) { f(t, find(t, name, 10, 3)) })
	}
	t.Run("custom", func(t *testing.T) { f(t, custom()) })
}

// draw returns a rapid generator's random subnet: every choice by itself.
func draw(t *rapid.T, s *Space) Arch {
	var a Arch
	for c := range s.choices(&a) {
		if c.live {
			*c.index = uint8(rapid.IntRange(0, c.n-1).Draw(t, c.dim.String()))
		}
	}
	return a
}

// Making one choice smaller never makes an operation larger: smaller subnets lie within
// larger ones.
func TestSmallerChoicesNest(t *testing.T) {
	every(t, func(t *testing.T, s *Space) {
		rapid.Check(t, func(t *rapid.T) {
			a := draw(t, s)
			var places []int
			i := 0
			for c := range s.choices(&a) {
				if *c.index > 0 {
					places = append(places, i)
				}
				i++
			}
			if len(places) == 0 {
				return
			}
			b, at, i := a, rapid.SampledFrom(places).Draw(t, "choice"), 0
			for c := range s.choices(&b) {
				switch {
				case i == at:
					*c.index--
				case !c.live:
					*c.index = 0
				}
				i++
			}
			within(t, s, a, b)
		})
	})
}

func within(t *rapid.T, s *Space, large, small Arch) {
	for _, a := range []Arch{large, small} {
		if !s.Contains(a) {
			t.Fatalf("%+v is not in the space", a)
		}
	}
	lg, sg := s.lower(large), s.lower(small)
	for _, g := range []interface{ Check() error }{lg, sg} {
		if err := g.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if sg.MACs() > lg.MACs() || sg.Params() > lg.Params() {
		t.Fatalf("%s takes %d MACs and %d parameters, %s %d and %d", s.Format(small), sg.MACs(), sg.Params(), s.Format(large), lg.MACs(), lg.Params())
	}
	type size struct{ in, out, hidden, k int }
	sizes := map[int]size{}
	for _, op := range lg.Ops {
		sizes[op.Layer] = size{lg.Values[op.In].C, lg.Values[op.Out].C, op.Hidden, op.K}
	}
	for _, op := range sg.Ops {
		l, ok := sizes[op.Layer]
		if op.Layer < 0 {
			continue
		}
		if in, out := sg.Values[op.In].C, sg.Values[op.Out].C; !ok || in > l.in || out > l.out || op.Hidden > l.hidden || op.K > l.k {
			t.Fatalf("layer %s of %s is larger than that of %s", sg.Layers[op.Layer].Name, s.Format(small), s.Format(large))
		}
	}
}

func TestLargestSubnetUsesWholeLayers(t *testing.T) {
	every(t, func(t *testing.T, s *Space) {
		g := s.lower(s.Max())
		used := map[int]bool{}
		for _, op := range g.Ops {
			if op.Layer < 0 {
				continue
			}
			l := &g.Layers[op.Layer]
			if g.Values[op.In].C != l.In || g.Values[op.Out].C != l.Out || op.K != l.K || op.Hidden != l.Hidden {
				t.Errorf("largest subnet uses a part of layer %s", l.Name)
			}
			used[op.Layer] = true
		}
		if len(used) != len(s.Layers()) {
			t.Errorf("largest subnet uses %d of %d layers", len(used), len(s.Layers()))
		}
	})
}

// A residual block's shortcut joins its last convolution.
func TestResidualsReachEveryBlock(t *testing.T) {
	for _, name := range []string{"resnet-28", "ofa-resnet50d"} {
		s := find(t, name, 10, 3)
		g := s.lower(s.Max())
		last := map[Family]string{Basic: "conv2", Bottleneck: "conv3"}[s.Family]
		for _, op := range g.Ops {
			if op.Layer < 0 {
				continue
			}
			l := g.Layers[op.Layer].Name
			if closes := strings.HasPrefix(l, "s") && strings.HasSuffix(l, "."+last) && !strings.HasPrefix(l, "stem"); closes != (op.Res >= 0) {
				t.Errorf("%s: %s has residual %d", name, l, op.Res)
			}
		}
	}
}

func TestContainsRefuses(t *testing.T) {
	s := find(t, "resnet-28s", 10, 1)
	for what, spoil := range map[string]func(*Arch){
		"depth":            func(a *Arch) { a.Depth[0] = 2 },
		"a fourth stage":   func(a *Arch) { a.Depth[3] = 1 },
		"width":            func(a *Arch) { a.Width[2] = 2 },
		"expansion":        func(a *Arch) { a.Expand[0] = 3 },
		"kernel":           func(a *Arch) { a.Kernel[0] = 1 },
		"a skipped block":  func(a *Arch) { a.Expand[1] = 1 },
		"a seventh block":  func(a *Arch) { a.Expand[6] = 1 },
		"the last of all":  func(a *Arch) { a.Kernel[MaxBlocks-1] = 1 },
		"a huge choice":    func(a *Arch) { a.Depth[1] = 255 },
		"width of no slot": func(a *Arch) { a.Width[MaxSlots-1] = 1 },
	} {
		a := s.Min()
		spoil(&a)
		if s.Contains(a) {
			t.Errorf("%s out of range is in the space", what)
		}
		if _, err := s.Lower(a); err == nil || !strings.Contains(err.Error(), "resnet-28s") {
			t.Errorf("%s out of range was lowered: %v", what, err)
		}
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct{ space, text, canonical string }{
		{"resnet-28s", "d1_e25_w50", ""},
		{"resnet-28s", "d2-1-2_e25.100-50-100_w50-100-100", ""},
		{"resnet-28s", "d2-2-2_e100.100-100-100_w100-100-100", "d2_e100_w100"},
		{"resnet-28s", "d1-1-2_e25-25-50.25_k3_w50", "d1-1-2_e25-25-50.25_w50"},
		{"ofa-mbv3", "d4_e6_k7", "d4_e6"},
		{"ofa-mbv3-k357", "d2-3-2-2-4_e3.4-6-3-4.6-3.4.6.3_k7-7.5.3-3-3-5", ""},
		{"ofa-resnet50d", "d1-2-3-6-4_e35_w65-100-80-80-80-100", ""},
	} {
		s := find(t, c.space, 10, 3)
		a, err := s.Parse(c.text)
		if err != nil {
			t.Error(err)
			continue
		}
		want := c.canonical
		if want == "" {
			want = c.text
		}
		if got := s.Format(a); got != want {
			t.Errorf("%s reads %s as %s, want %s", c.space, c.text, got, want)
		}
	}
}

func TestParseSaysWhatIsAllowed(t *testing.T) {
	s := find(t, "resnet-28s", 10, 1)
	for text, want := range map[string]string{
		"":                     "d2_e100_w100",
		"d3_e25_w50":           "must be one of 1, 2",
		"d1-2_e25_w50":         "of 1 (for all) or 3",
		"d1_e25":               "lacks width",
		"d1_w50":               "lacks expansion",
		"d1_e0.25_w50":         "of 1 (for all) or 1",
		"d2_e25.50.100_w50":    "of 1 (for all) or 2",
		"d1_e30_w50":           "must be one of 25, 50, 100",
		"d1_e25_w50_x":         `part "x"`,
		"d1_e25_w50_e25":       `part "e25"`,
		"d1_w50_e25":           "lacks expansion",
		"d1_e25_k5_w50":        "must be one of 3",
		"d01_e25_w50":          "must be one of 1, 2",
		"d1_e25-50-25-100_w50": "of 1 (for all) or 3",
	} {
		if _, err := s.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): error %v does not say %q", text, err, want)
		}
	}
}

func TestSamplesRoundTrip(t *testing.T) {
	every(t, func(t *testing.T, s *Space) {
		rng := rand.New(rand.NewPCG(3, 4))
		for range 100 {
			for _, how := range []Sampling{{}, {ElasticKernel: true}, {Coupled: true}, {ElasticKernel: true, Coupled: true}} {
				a := s.Sample(rng, how)
				g, err := s.Lower(a)
				if err != nil {
					t.Fatal(err)
				}
				if err := g.Check(); err != nil {
					t.Fatalf("%s: %v", s.Format(a), err)
				}
				back, err := s.Parse(s.Format(a))
				if err != nil || back != a {
					t.Fatalf("%s reads back as %+v: %v", s.Format(a), back, err)
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	spaces := []*Space{custom()}
	for _, name := range Names() {
		s := find(f, name, 10, 3)
		f.Add(uint8(len(spaces)), s.Format(s.Max()))
		f.Add(uint8(len(spaces)), s.Format(s.Min()))
		f.Add(uint8(len(spaces)), s.Format(s.Sample(rand.New(rand.NewPCG(5, 6)), Sampling{ElasticKernel: true})))
		spaces = append(spaces, s)
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		s := spaces[int(which)%len(spaces)]
		a, err := s.Parse(text)
		if err != nil {
			if a != (Arch{}) {
				t.Fatal("an error came with an architecture")
			}
			return
		}
		if !s.Contains(a) {
			t.Fatalf("%q gives %+v, which is not in %s", text, a, s.Name)
		}
		canonical := s.Format(a)
		if back, err := s.Parse(canonical); err != nil || back != a || len(canonical) > len(text) {
			t.Fatalf("%q is written as %q, which gives %+v: %v", text, canonical, back, err)
		}
		if strings.Trim(canonical, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			t.Fatalf("%q is no file name", canonical)
		}
	})
}

// The canonical form of an architecture is the same network, by choices that are no greater, and the same for all
// architectures of a network.
func TestCanonical(t *testing.T) {
	every(t, func(t *testing.T, s *Space) {
		rng := rand.New(rand.NewPCG(3, 3))
		for range 200 {
			a := s.Sample(rng, Sampling{ElasticKernel: true})
			c := s.Canonical(a)
			if again := s.Canonical(c); again != c {
				t.Fatalf("%s becomes %s, that %s", s.Format(a), s.Format(c), s.Format(again))
			}
			if !reflect.DeepEqual(s.lower(a), s.lower(c)) {
				t.Fatalf("%s is not the network of %s", s.Format(a), s.Format(c))
			}
		}
	})
}
