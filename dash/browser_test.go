package dash

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"weft/serve"
)

var (
	shots = flag.String("shots", "", "folder for pictures that TestPictures takes of the page at -url")
	after = flag.Duration("after", 0, "how long TestPictures looks on before")
	at    = flag.String("url", "http://127.0.0.1:8080/dash/", "the page that TestPictures takes pictures of")
)

// browser opens a tab and notes what it asks for and complains about.
type browser struct {
	ctx context.Context
	t   *testing.T

	mu         sync.Mutex
	requests   []string
	complaints []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no chromium here: install it to see the page in a browser")
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("hide-scrollbars", true), chromedp.UserDataDir(t.TempDir()))...)
	t.Cleanup(stop)
	b := &browser{t: t}
	ctx, stop := chromedp.NewContext(alloc, chromedp.WithListener(b.note))
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(stop)
	b.ctx = ctx
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.complaints = append(b.complaints, m.String())
			b.mu.Unlock()
		}
	}()
	return b
}

// note keeps the addresses that the tab asks for.
func (b *browser) note(ev any) {
	if r, ok := ev.(*network.EventRequestWillBeSent); ok {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.requests = append(b.requests, r.Request.URL)
	}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for the expression to be true.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool]("Boolean("+expression+")", chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(15*time.Second)))
	if err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		b.t.Fatalf("%s: %v; the page says:\n%s\nthe console:\n%s", what, err, text, strings.Join(b.complaints, "\n"))
	}
}

// number evaluates an expression.
func (b *browser) number(expression string) float64 {
	b.t.Helper()
	n, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return n
}

// ink counts the pixels of a chart that have a colour by its name in page.css.
func (b *browser) ink(chart, colour string) float64 {
	return b.number(fmt.Sprintf(`(() => {
		const c = document.querySelector('#chart-%s canvas');
		const g = new OffscreenCanvas(c.width, c.height).getContext('2d', { willReadFrequently: true });
		g.drawImage(c, 0, 0);
		g.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('%s');
		const want = [1, 3, 5].map((i) => parseInt(g.fillStyle.slice(i, i + 2), 16));
		const d = g.getImageData(0, 0, c.width, c.height).data;
		let n = 0;
		for (let i = 0; i < d.length; i += 4) if (d[i+3] > 200 && want.every((v, k) => Math.abs(d[i+k] - v) < 12)) n++;
		return n;
	})()`, chart, colour))
}

// instance is a server at an address, as a process has it.
type instance struct {
	server *serve.Server
	stop   func()
}

func start(t *testing.T, addr string, names ...string) (*instance, string) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, 2, names...)
	p := New(s, Options{Version: "v9", Interval: 50 * ms})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { p.Run(ctx) })
	srv := &http.Server{Handler: p.Handler(http.NotFoundHandler())}
	all.Go(func() { srv.Serve(ln) })
	stop := sync.OnceFunc(func() {
		cancel()
		srv.Close()
		all.Wait()
	})
	t.Cleanup(stop)
	return &instance{s, stop}, ln.Addr().String()
}

// load sends requests to the model, some of which can't be in time, until stop is called.
func load(s *serve.Server, model string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			infer(s.Router(model), 1+i%20, 15*ms)
			time.Sleep(2 * ms)
		}
	})
	return func() {
		cancel()
		all.Wait()
	}
}

// In a real browser the page loads without a complaint and asks nobody else for
// anything; its charts move under load; models are chosen; a request tells its
// story; a burst starts and stops; and it survives the server's restart.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel() // it waits, mostly
	b := newBrowser(t)
	const beta = `beta<img src="x" onerror="document.body.innerHTML=''">` // as markup it would break the page
	first, addr := start(t, "127.0.0.1:0", "alpha", beta)
	b.do(chromedp.EmulateViewport(1280, 1600), chromedp.Navigate("http://"+addr+"/"))
	b.until("the page is live", `document.querySelector('#link').textContent === 'live' && Number(document.body.dataset.ticks) > 2`)
	if quiet := b.ink("load", "--red"); quiet > 0 {
		t.Errorf("without load %v pixels show misses", quiet)
	}
	rest := load(first.server, "alpha")
	b.until("the tiles count", `document.querySelector('#tiles dd:last-of-type') && [...document.querySelectorAll('#tiles dd')].every((d) => !d.textContent.startsWith('–'))`)
	b.until("both models are offered", `document.querySelectorAll('#models button').length === 2`)
	time.Sleep(time.Second)
	for chart, colours := range map[string][]string{
		"load": {"--blue", "--green", "--red"}, "attainment": {"--green"}, "accuracy": {"--blue"}, "batches": {"--blue"}, "queue": {"--purple"},
		"slack": {"--blue", "--orange"}, "pace": {"--orange"}, "requests": {"--red"},
	} {
		for _, c := range colours {
			n := b.ink(chart, c)
			for try := 0; n < 5 && try < 40; try++ { // lines may lie over each other for a while
				time.Sleep(250 * time.Millisecond)
				n = b.ink(chart, c)
			}
			if n < 5 {
				t.Errorf("chart %s has %v pixels of %s", chart, n, c)
			}
		}
	}
	const picture = `document.querySelector('#chart-subnets canvas').toDataURL().length + document.querySelector('#chart-load canvas').toDataURL().length`
	before := b.number(picture)
	b.until("the charts move", fmt.Sprintf("%s !== %v", picture, before))
	b.until("a worker is busy", `[...document.querySelectorAll('#workers .share')].length === 2 && parseInt(document.querySelector('#workers .share').textContent) > 0`)
	b.until("the front has an operating point", `[...document.querySelectorAll('#front circle.share')].some((c) => Number(c.getAttribute('r')) > 4)`)

	b.do(chromedp.Click(chromedp.CSS(`#story [data-pick=missed]`)))
	b.until("a miss tells its story", `/^(Refused|Answered .* after its deadline)/.test(document.querySelector('#story .result').textContent)`)
	b.do(chromedp.Click(chromedp.CSS(`#story [data-pick=slowest]`)))
	b.until("the slowest tells its story", `/^Answered .* in a batch of/.test(document.querySelector('#story .result').textContent) && document.querySelector('#story rect.compute') && /computed/.test(document.querySelector('#story .keys').textContent)`)

	rest()
	b.do(chromedp.Click(chromedp.CSS(`#models button:nth-child(2)`)))
	b.until("the other model is shown", `document.title.startsWith('beta<img') && location.hash.startsWith('#beta%3Cimg')`)
	b.do(chromedp.Click(chromedp.CSS(`#burst [data-preset=calm]`)), chromedp.Click(chromedp.CSS(`#burst [type=submit]`)))
	b.until("the burst runs", `/^Running, beta.*: [1-9]/.test(document.querySelector('#burst .result').textContent)`)
	b.do(chromedp.Click(chromedp.CSS(`#burst [name=stop]`)))
	b.until("the burst is stopped", `/^Ended: stopped, beta.*: .* in time at 8\d\.\d+ % accuracy|^Ended: stopped, beta.*: .* in time at 90\.00 % accuracy/.test(document.querySelector('#burst .result').textContent)`)
	if n := first.server.Router(beta).Statistics().Success.Count; n == 0 {
		t.Error("the burst did not reach the model")
	}
	if n := b.number(`document.querySelectorAll('body img').length`); n != 1 {
		t.Errorf("the page has %v images, of which one is its own: names must not be markup", n)
	}
	b.mu.Lock()
	for _, url := range b.requests {
		if !strings.HasPrefix(url, "http://"+addr+"/") {
			t.Errorf("the page asks for %s", url)
		}
	}
	for _, c := range b.complaints {
		t.Errorf("the console has: %s", c)
	}
	b.mu.Unlock()

	first.stop()
	b.until("the page says that the server is gone", `document.body.classList.contains('gone') && /does not answer since/.test(document.querySelector('#gone').textContent)`)
	start(t, addr, beta, "gamma")
	b.until("the page is live again", `!document.body.classList.contains('gone') && document.querySelector('#gone').hidden && /^beta<img .*gamma$/.test(document.querySelector('#models').textContent)`)
	if n := b.number(`Number(document.body.dataset.ticks)`); n > 100 {
		t.Errorf("after the restart the page has %v ticks: old ones are left", n)
	}
}

// TestPictures takes pictures of a server that runs, for the documentation.
func TestPictures(t *testing.T) {
	if *shots == "" {
		t.Skip("takes pictures with -shots DIR -url URL only")
	}
	b := newBrowser(t)
	b.do(chromedp.EmulateViewport(1440, 900, chromedp.EmulateScale(1.5)), chromedp.Navigate(*at))
	b.until("the page is live", `Number(document.body.dataset.ticks) > 2`)
	b.do(chromedp.Sleep(*after), chromedp.Click(chromedp.CSS(`#story [data-pick=slowest]`)))
	for _, p := range []struct {
		name, scheme string
		width        int64
	}{{"dash", "light", 1440}, {"dash-dark", "dark", 1440}, {"dash-tablet", "light", 900}, {"dash-phone", "dark", 390}} {
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: p.scheme}},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.do(chromedp.EmulateViewport(p.width, 900, chromedp.EmulateScale(1.5)), chromedp.Sleep(time.Second))
		png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*shots, p.name+".png"), png, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
