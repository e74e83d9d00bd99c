package data

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("the loader is closed")

// LoaderConfig says how a Loader makes batches. Only Batch is required.
type LoaderConfig struct {
	Batch   int // images in a batch; a smaller split is one batch
	Augment Augment
	Seed    uint64
	Workers int // goroutines that prepare batches; default 1
	Queue   int // batches prepared or in use at once; default Workers+2
	// Pixels, if set, says how many pixels a side the images of a batch have; without it, as many as
	// those of the set. It must be safe for concurrent use.
	Pixels func(epoch, step int) int
	Epoch  int // where to begin, for exact resume
	Step   int // within Epoch; at or past the epoch's end it counts on into later epochs
}

// Validate reports the first field that is out of range.
func (c LoaderConfig) Validate() error {
	switch {
	case c.Batch < 1:
		return fmt.Errorf("batch size %d: use 1 or more", c.Batch)
	case c.Workers < 0 || c.Queue < 0:
		return fmt.Errorf("%d workers and a queue of %d: use 0 (default) or more", c.Workers, c.Queue)
	case c.Epoch < 0 || c.Step < 0:
		return fmt.Errorf("start at epoch %d, step %d: use 0 or more", c.Epoch, c.Step)
	}
	return c.Augment.Validate()
}

// Batch is one training batch. It belongs to the caller until Release.
type Batch struct {
	Epoch, Step int
	N           int
	H, W        int       // of the images
	Images      []float32 // N,H,W,C, normalised
	Labels      []int32   // N
	// Other are the labels of the images that each was mixed with; Share is the part of Labels, 1
	// where nothing was mixed.
	Other []int32
	Share float64

	indices []int32       // of the images in the split
	filled  chan struct{} // one token once the images are there
	free    chan<- *Batch
	held    bool // by the caller
}

// Release hands the batch's memory back to the loader; the batch must not be used any more.
func (b *Batch) Release() {
	if !b.held {
		panic("data: batch released twice")
	}
	b.held = false
	b.free <- b
}

// Loader yields training batches for ever, epoch after epoch, each epoch in a new random order. Images
// left over at an epoch's end, fewer than a batch, are skipped in that epoch. What a batch holds
// depends on the seed, epoch and step alone, whatever the number of workers. Next is for one goroutine;
// the caller may hold up to Queue-1 batches at once.
type Loader struct {
	split     Split
	cfg       LoaderConfig
	imageSize int

	free  chan *Batch // to be filled
	ready chan *Batch // claimed, in order; each becomes usable when filled
	quit  chan struct{}
	once  sync.Once // closes quit
	wg    sync.WaitGroup

	mu          sync.Mutex // guards the fields below: the next batch to claim
	epoch, step int
	order       []int32 // of the images in epoch orderOf
	orderOf     int     // -1 before the first
	pcg         rand.PCG
	rng         *rand.Rand // over pcg
}

// NewLoader starts a loader over a split of set, which may be any split of such images.
func NewLoader(set *Set, split Split, cfg LoaderConfig) (*Loader, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("loader: %w", err)
	}
	if split.N() == 0 || len(split.Images) != split.N()*set.ImageSize() {
		return nil, fmt.Errorf("loader: %d bytes are not %d images (1 or more) of %d x %d x %d",
			len(split.Images), split.N(), set.H, set.W, set.C)
	}
	if p := cfg.Augment.Pad; p >= min(set.H, set.W) {
		return nil, fmt.Errorf("loader: padding %d: use less than the image's %d x %d pixels", p, set.H, set.W)
	}
	cfg.Batch = min(cfg.Batch, split.N())
	cfg.Workers = max(cfg.Workers, 1)
	if cfg.Queue == 0 {
		cfg.Queue = cfg.Workers + 2
	}
	cfg.Queue = max(cfg.Queue, 2)
	l := &Loader{
		split: split, cfg: cfg, imageSize: set.ImageSize(),
		free: make(chan *Batch, cfg.Queue), ready: make(chan *Batch, cfg.Queue), quit: make(chan struct{}),
		order: make([]int32, split.N()), orderOf: -1,
	}
	l.rng = rand.New(&l.pcg)
	l.epoch, l.step = cfg.Epoch+cfg.Step/l.Steps(), cfg.Step%l.Steps()
	for range cfg.Queue {
		l.free <- &Batch{
			N: cfg.Batch, H: set.H, W: set.W, Images: make([]float32, cfg.Batch*l.imageSize), Labels: make([]int32, cfg.Batch),
			Other: make([]int32, cfg.Batch), Share: 1,
			indices: make([]int32, cfg.Batch), filled: make(chan struct{}, 1), free: l.free,
		}
	}
	norm := set.Normaliser()
	for range cfg.Workers {
		g := newAugmenter(cfg.Augment, set, norm, cfg.Seed)
		l.wg.Go(func() { l.work(g) })
	}
	return l, nil
}

// Steps is the number of batches in an epoch.
func (l *Loader) Steps() int { return l.split.N() / l.cfg.Batch }

// Next returns the next batch, which the caller must Release. It allocates nothing.
func (l *Loader) Next() (*Batch, error) {
	select {
	case <-l.quit:
		return nil, ErrClosed
	default:
	}
	select {
	case b := <-l.ready:
		select {
		case <-b.filled:
			b.held = true
			return b, nil
		case <-l.quit:
		}
	case <-l.quit:
	}
	return nil, ErrClosed
}

// Close ends the loader's goroutines and waits for them. Batches still held stay valid.
func (l *Loader) Close() {
	l.once.Do(func() { close(l.quit) })
	l.wg.Wait()
}

// work fills batches until the loader is closed.
func (l *Loader) work(g *augmenter) {
	for {
		select {
		case <-l.quit:
			return
		case b := <-l.free:
			l.claim(b)
			l.fill(g, b)
			b.filled <- struct{}{}
		}
	}
}

// claim makes b the next batch. Putting it into ready under the lock keeps the batches in order.
func (l *Loader) claim(b *Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.orderOf != l.epoch {
		l.shuffle()
	}
	b.Epoch, b.Step = l.epoch, l.step
	copy(b.indices, l.order[l.step*l.cfg.Batch:])
	if l.step++; l.step == l.Steps() {
		l.epoch, l.step = l.epoch+1, 0
	}
	l.ready <- b // never blocks: as long as the queue
}

// shuffle makes the order of the current epoch, independent of the epochs before.
func (l *Loader) shuffle() {
	for i := range l.order {
		l.order[i] = int32(i)
	}
	l.pcg.Seed(l.cfg.Seed, mix(l.cfg.Seed, uint64(l.epoch)))
	l.rng.Shuffle(len(l.order), func(i, j int) { l.order[i], l.order[j] = l.order[j], l.order[i] })
	l.orderOf = l.epoch
}

func (l *Loader) fill(g *augmenter, b *Batch) {
	pixels, size := 0, l.imageSize
	if l.cfg.Pixels != nil {
		pixels = l.cfg.Pixels(b.Epoch, b.Step)
		b.H, b.W, size = pixels, pixels, pixels*pixels*g.scaler.c
		if cap(b.Images) < b.N*size {
			b.Images = make([]float32, b.N*size)
		}
		b.Images = b.Images[:b.N*size]
	}
	for i, index := range b.indices {
		g.image(b.Images[i*size:(i+1)*size], l.split.Image(int(index)), uint64(b.Epoch), uint64(index), pixels)
		b.Labels[i] = l.split.Labels[index]
	}
	g.mixBatch(b)
}
