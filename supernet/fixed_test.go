package supernet

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// fixedNodes is a network with an operation of every kind, for images of 8x8x3.
func fixedNodes() []Node {
	return []Node{
		{Kind: nn.Conv, Name: "a", Out: 16, K: 3, Stride: 1, Act: kernel.ReLU, Norm: true},
		{Kind: nn.Depthwise, Name: "b", In: 1, Out: 16, K: 5, Stride: 1, Act: kernel.HSwish, Norm: true},
		{Kind: nn.SE, Name: "c", In: 2, Out: 16, Hidden: 8},
		{Kind: nn.Conv, Name: "d", In: 3, Res: 1, Out: 16, K: 1, Stride: 1, Norm: true},
		{Kind: nn.Add, In: 4, Res: 2, Out: 16, Act: kernel.ReLU},
		{Kind: nn.MaxPool, In: 5, Out: 16, K: 3, Stride: 2},
		{Kind: nn.AvgPool, In: 6, Out: 16, K: 2, Stride: 2},
		{Kind: nn.FC, Name: "e", In: 7, Out: 24}, // of 2x2 pixels
		{Kind: nn.GlobalPool, In: 8, Out: 24},
		{Kind: nn.FC, Name: "f", In: 9, Out: 5},
	}
}

func fixedSpace(t testing.TB) *Space {
	t.Helper()
	s, err := NewFixed("net", tensor.Shape{H: 8, W: 8, C: 3}, fixedNodes())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFixedHasOneArch: a Fixed space has one subnet, whichever way it is asked for.
func TestFixedHasOneArch(t *testing.T) {
	s := fixedSpace(t)
	a := s.Max()
	if a != s.Min() || a != s.Sample(rand.New(rand.NewPCG(1, 2)), Sampling{ElasticKernel: true}) || !slices.Equal(s.Uniform(), []Arch{a}) ||
		!slices.Equal(slices.Collect(s.All()), []Arch{a}) || s.Size().Int64() != 1 || s.EncodeLen() != 0 {
		t.Error("there is more than one subnet")
	}
	if text := s.Format(a); text != "fixed" {
		t.Errorf("it is called %q", text)
	}
	if got, err := s.Parse("fixed"); got != a || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := s.Parse("d2"); err == nil || !strings.Contains(err.Error(), "space net holds one network, called fixed") {
		t.Error(err)
	}
}

// TestFixedInFiles: a Fixed space is read as it was written, in words.
func TestFixedInFiles(t *testing.T) {
	s := fixedSpace(t)
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Nodes, again.Nodes); diff != "" || !cmp.Equal(s.Layers(), again.Layers()) || again.Classes != 5 {
		t.Errorf("read back it has %d classes and other nodes: %s", again.Classes, diff)
	}
	want := `{"name":"net","family":"fixed","input":{"H":8,"W":8,"C":3},"classes":5,"nodes":[` +
		`{"kind":"conv","name":"a","in":0,"out":16,"k":3,"stride":1,"act":"relu","norm":true},{"kind":"depthwise","name":"b","in":1,`
	if !strings.HasPrefix(string(data), want) {
		t.Errorf("written as %s", data)
	}
}

// TestFixedRefuses: descriptions that no kernel can run are refused.
func TestFixedRefuses(t *testing.T) {
	for want, change := range map[string]func(n []Node){
		"reads values 12 and 0 of 2":                 func(n []Node) { n[1].In = 12 },
		"reads values 1 and -1 of 2":                 func(n []Node) { n[1].Res = -1 },
		"kernel 9 and stride 1":                      func(n []Node) { n[0].K = 9 },
		"kernel 3 and stride 0":                      func(n []Node) { n[0].Stride = 0 },
		"kernel 4 is even":                           func(n []Node) { n[1].K = 4 },
		"12 outputs: must be a multiple of 8":        func(n []Node) { n[0].Out = 12 },
		"4 hidden channels":                          func(n []Node) { n[2].Hidden = 4 },
		"another one is called a":                    func(n []Node) { n[1].Name = "a" },
		"operations with weights have a name":        func(n []Node) { n[0].Name = "" },
		"others none":                                func(n []Node) { n[5].Name = "pool" },
		"only convolutions have normalisation":       func(n []Node) { n[2].Norm = true },
		"only convolutions and add have an activa":   func(n []Node) { n[9].Act = kernel.ReLU },
		"only convolutions and add have a second":    func(n []Node) { n[8].Res = 8 },
		"must be fully connected, as it is the last": func(n []Node) { n[9] = Node{Kind: nn.GlobalPool, In: 9, Out: 24} },
		"adds nothing":                               func(n []Node) { n[4].Res = 0 },
		"residual is 8x8x16, output 4x4x16":          func(n []Node) { n[3].Stride = 2 },
		"input 8x8x16 gives 8x8x16, not 8x8x24":      func(n []Node) { n[1].Out = 24 },
		"reads 8x8x3: must be a multiple of 8":       func(n []Node) { n[1].In = 0 },
	} {
		nodes := fixedNodes()
		change(nodes)
		if _, err := NewFixed("net", tensor.Shape{H: 8, W: 8, C: 3}, nodes); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, data := range map[string]string{
		"must have 1 to 4096":                `{"name":"x","family":"fixed","input":{"H":8,"W":8,"C":3},"classes":5}`,
		"family fixed alone has nodes":       `{"name":"x","family":"basic","input":{"H":8,"W":8,"C":3},"classes":5,"nodes":[{"kind":"fc","name":"f","in":0,"out":5}]}`,
		"has nodes and nothing to choose":    `{"name":"x","family":"fixed","widths":[1],"input":{"H":8,"W":8,"C":3},"classes":5,"nodes":[{"kind":"fc","name":"f","in":0,"out":5}]}`,
		"classes is 4 and the last node":     `{"name":"x","family":"fixed","input":{"H":8,"W":8,"C":3},"classes":4,"nodes":[{"kind":"fc","name":"f","in":0,"out":5}]}`,
		`no operation is called "transform"`: `{"name":"x","family":"fixed","nodes":[{"kind":"transform","in":0,"out":5}]}`,
		`no activation is called "gelu"`:     `{"name":"x","family":"fixed","nodes":[{"kind":"conv","act":"gelu","in":0,"out":5}]}`,
		`unknown field "pads"`:               `{"name":"x","family":"fixed","nodes":[{"kind":"conv","pads":1,"in":0,"out":5}]}`,
	} {
		if _, err := Decode([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestFixedPlan: the plan of a Fixed space, whose middle layer reads an image of several pixels, computes what Exec does.
func TestFixedPlan(t *testing.T) {
	s := fixedSpace(t)
	rng := rand.New(rand.NewPCG(5, 6))
	net := New(s, []float32{0, 0, 0}, []float32{1, 1, 1}, rng)
	g, err := s.Lower(s.Max())
	if err != nil {
		t.Fatal(err)
	}
	const n = 3
	x := make([]float32, n*s.Input.Size())
	for i := range x {
		x[i] = rng.Float32()
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	e, norms := nn.NewExec(net.W, pool, false), Norms{}
	norms.Add(e, g, [][]float32{x})
	want := e.Forward(g, x, n)
	p, err := NewTable(net, norms).Plan(s.Max())
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, n*5)
	NewWorker(pool).Run(p, x, n, got)
	for i, v := range got {
		if w := want[i/5*g.Pitch()+i%5]; v-w > 1e-4 || w-v > 1e-4 {
			t.Errorf("logit %d is %v instead of %v", i, v, w)
		}
	}
}
