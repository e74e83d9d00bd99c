package data

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// numbered returns a split whose image i holds the number i, so that images can be told apart.
func numbered(labels []int32) Split {
	s := Split{Labels: labels}
	for i := range labels {
		s.Images = append(s.Images, uint8(i), uint8(i>>8))
	}
	return s
}

func numbers(s Split) []int {
	var out []int
	for i := range s.N() {
		out = append(out, int(s.Image(i)[0])|int(s.Image(i)[1])<<8)
	}
	return out
}

func TestCarve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.Int32Range(0, 4), 1, 300).Draw(t, "labels")
		n := rapid.IntRange(0, len(labels)).Draw(t, "n")
		all := numbered(labels)
		rest, carved := carve(all, 5, n, rapid.Uint64().Draw(t, "seed"))

		a, b := numbers(rest), numbers(carved)
		if !slices.IsSorted(a) || !slices.IsSorted(b) {
			t.Fatal("the order changed")
		}
		both := append(slices.Clone(a), b...)
		slices.Sort(both)
		if diff := cmp.Diff(numbers(all), both); diff != "" {
			t.Fatalf("the splits overlap or lose images:\n%s", diff)
		}
		var had, got [5]int
		for _, l := range labels {
			had[l]++
		}
		for i, l := range carved.Labels {
			got[l]++
			if labels[b[i]] != l {
				t.Fatal("an image changed its label")
			}
		}
		spare, capped := 0, false
		for c := range had {
			spare += max(had[c]-1, 0)
			capped = capped || float64(had[c]-1) < float64(n)*float64(had[c])/float64(len(labels))
		}
		if carved.N() != min(n, spare) {
			t.Fatalf("%d of %d images, though %d could be had", carved.N(), n, spare)
		}
		for c := range had {
			ideal := float64(n) * float64(had[c]) / float64(len(labels))
			if had[c] > 0 && got[c] > had[c]-1 {
				t.Fatalf("class %d keeps no image", c)
			}
			if !capped && float64(got[c]) > ideal+1 || float64(got[c]) < min(ideal-1, float64(had[c]-1)) {
				t.Fatalf("class %d gives %d of %d, ideal %.2f", c, got[c], had[c], ideal)
			}
		}
	})
}

func TestCarveIsDeterministic(t *testing.T) {
	labels := make([]int32, 500)
	for i := range labels {
		labels[i] = int32(i % 10)
	}
	all := numbered(labels)
	_, a := carve(all, 10, 100, 7)
	_, b := carve(all, 10, 100, 7)
	_, c := carve(all, 10, 100, 8)
	if !slices.Equal(a.Images, b.Images) {
		t.Error("the same seed chose other images")
	}
	if slices.Equal(a.Images, c.Images) {
		t.Error("another seed chose the same images")
	}
	if a.N() != 100 {
		t.Errorf("%d images, want 100", a.N())
	}
}

func TestSplitTrainRefusesTooMany(t *testing.T) {
	_, _, err := Options{ValImages: 10}.splitTrain(numbered(make([]int32, 10)), 1)
	if err == nil || err.Error() != "10 validation images can't be taken from 10 training images: ask for fewer" {
		t.Error(err)
	}
}
