package pytorch

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"weft/bundle"
	"weft/data"
	"weft/kernel"
	"weft/supernet"
)

// TestResNet compares a small network that has every kind of shortcut with PyTorch's
// logits, which testdata/make.py printed.
func TestResNet(t *testing.T) {
	s, err := Decode(fixture(t, "resnet8.pth"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Import(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	image := make([]float32, 0, 32*32*3)
	for y := range 32 {
		for x := range 32 {
			for c := range 3 {
				image = append(image, float32((7*x+13*y+31*c+x*y)%256)/255)
			}
		}
	}
	want := []float32{
		7.7949700355529785, 0.704614520072937, 0.848199725151062, -2.7878925800323486, -0.4156492054462433,
		-0.5145779848098755, 1.4006084203720093, 1.3089079856872559, 6.371798038482666, 8.232401847839355,
	}
	got := make([]float32, len(want))
	pool := kernel.NewPool(1)
	defer pool.Close()
	supernet.NewWorker(pool).Run(mustPlan(t, b, "fixed"), image, 1, got)
	if diff := relative(got, want); !(diff < 1e-5) {
		t.Errorf("logits %v differ by %v from %v", got, diff, want)
	}
	if b.Net.Space.Name != "resnet8" || len(b.Subnets) != 1 || len(b.ClassNames) != 10 {
		t.Errorf("%s with %d subnets and %d classes", b.Net.Space.Name, len(b.Subnets), len(b.ClassNames))
	}
}

// TestResNet20 scores the published CIFAR-10 weights: 8.27 % of the test images wrong.
func TestResNet20(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 images take seconds")
	}
	shared, err := filepath.Abs("../../shared/data")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ReadFile(filepath.Join(shared, "models", "resnet20-12fca82f.th"))
	if os.IsNotExist(err) {
		t.Skip("no published weights beside the checkout")
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := Import(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", filepath.Join(shared, "cifar10", "unpack.go"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	set, err := data.Load(t.Context(), "cifar10", data.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	right := supernet.NewWorker(pool).Correct(mustPlan(t, b, "fixed"), set.Test.Images, set.Test.Labels)
	if right != 9173 {
		t.Errorf("%d of 10000 are right, want 9173", right)
	}
}

func mustPlan(t *testing.T, b *bundle.Bundle, arch string) *supernet.Plan {
	t.Helper()
	a, err := b.Net.Space.Parse(arch)
	if err != nil {
		t.Fatal(err)
	}
	p, err := supernet.NewTable(b.Net, b.Norms).Plan(a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
