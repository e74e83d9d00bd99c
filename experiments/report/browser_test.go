package report

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// chromium runs a headless browser on a page and returns what it prints.
func chromium(t *testing.T, page string, args ...string) []byte {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("no chromium here: install it to look at the page in a browser")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args = append(args, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--user-data-dir="+t.TempDir(), "--window-size=1400,2600", "file://"+page)
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return out
}

// In a browser every chart is drawn, under the page's own security policy.
func TestBrowserDrawsEveryChart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	dir := t.TempDir()
	page, shot := filepath.Join(dir, "report.html"), filepath.Join(dir, "report.png")
	if err := Write(page, sample()); err != nil {
		t.Fatal(err)
	}
	dom := string(chromium(t, page, "--dump-dom"))
	if !strings.Contains(dom, `data-drawn="9"`) {
		t.Error("the script did not finish")
	}
	if n := strings.Count(dom, "<canvas"); n != 9 {
		t.Errorf("%d canvases, want 9", n)
	}
	chromium(t, page, "--screenshot="+shot)
	raw, err := os.ReadFile(shot)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	// The colours of the first four policies, as page.css has them for a light page. Table dots alone have under 100 pixels.
	for _, c := range []struct{ r, g, b uint8 }{{0x00, 0x67, 0xa8}, {0xd1, 0x51, 0x0a}, {0x00, 0x87, 0x5f}, {0xa8, 0x40, 0x8a}} {
		if n := count(img, c.r, c.g, c.b); n < 500 {
			t.Errorf("colour #%02x%02x%02x has %d pixels: its lines are not drawn", c.r, c.g, c.b, n)
		}
	}
}

// count returns the number of pixels of exactly one colour.
func count(img image.Image, r, g, b uint8) (n int) {
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			ir, ig, ib, _ := img.At(x, y).RGBA()
			if uint8(ir>>8) == r && uint8(ig>>8) == g && uint8(ib>>8) == b {
				n++
			}
		}
	}
	return n
}
