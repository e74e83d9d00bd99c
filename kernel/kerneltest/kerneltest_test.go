package kerneltest

import (
	"os"
	"testing"

	"weft/kernel"
)

func TestAgree(t *testing.T) {
	t.Logf("tier %s", kernel.Tier())
	for _, c := range Cases() {
		t.Run(c.String(), func(t *testing.T) {
			for seed, special := range []bool{false, true} {
				if err := c.Agree(uint64(seed), special); err != nil {
					t.Errorf("special=%v: %v", special, err)
				}
			}
		})
	}
}

func TestSpeedTable(t *testing.T) {
	if f := os.Getenv("KERNEL_SPEED"); f != "" {
		if err := Speed(os.Stdout, os.Getenv("KERNEL_FILTER"), len(f)); err != nil {
			t.Fatal(err)
		}
	}
}
