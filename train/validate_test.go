package train

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/kernel"
	"weft/supernet"
)

// TestDefaultsAreValid: for every recipe and data set.
func TestDefaultsAreValid(t *testing.T) {
	for _, name := range Recipes() {
		for _, set := range []string{"mnist", "fashion-mnist", "cifar10", "folder"} {
			c := Defaults(name, "resnet-28", set)
			if err := c.Validate(); err != nil {
				t.Errorf("%s on %s: %v", name, set, err)
			}
		}
		if About(name) == "" {
			t.Errorf("nothing is said about %s", name)
		}
	}
}

// TestValidate: each setting that makes no sense is named in a sentence.
func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`unknown recipe "dips": choose one of deps, ofa`:                           func(c *Config) { c.Recipe = "dips" },
		"0 epochs of batches of 128 images":                                        func(c *Config) { c.Epochs = 0 },
		"1 to 1000000 epochs":                                                      func(c *Config) { c.Epochs = math.MaxInt },
		"gradients cannot be clipped at norm +Inf":                                 func(c *Config) { c.ClipNorm = math.Inf(1) },
		"gradients cannot be clipped at norm 0 and value NaN":                      func(c *Config) { c.ClipValue = math.NaN() },
		"-1 validation images cannot be held out":                                  func(c *Config) { c.Val = -1 },
		"label smoothing 1 is not in [0, 1)":                                       func(c *Config) { c.Smoothing = 1 },
		"learning rate 0 is not between":                                           func(c *Config) { c.LR = 0 },
		`unknown schedule "sine"`:                                                  func(c *Config) { c.Curve = "sine" },
		"the rate cannot rise for 1 of the run":                                    func(c *Config) { c.RateWarm = 1 },
		"rate from 2 and down to 0":                                                func(c *Config) { c.RateStart = 2 },
		"the rate of shifts cannot be -1":                                          func(c *Config) { c.ShiftRate = -1 },
		"momentum 1 is not in":                                                     func(c *Config) { c.Momentum = 1 },
		"weight decay 1 is not in":                                                 func(c *Config) { c.Decay = 1 },
		"gradients cannot be clipped at norm -1":                                   func(c *Config) { c.ClipNorm = -1 },
		"moving average 1 and lookahead 0":                                         func(c *Config) { c.EMA = 1 },
		"both average weights: choose one":                                         func(c *Config) { c.EMA, c.Lookahead = 0.9, 0.9 },
		"warm-up share 0.1 and ramp share 0.2":                                     func(c *Config) { c.Warmup, c.Ramp = 0.1, 0.2 },
		"1 subnets a step":                                                         func(c *Config) { c.Nets = 1 },
		`unknown aggregation "mean"`:                                               func(c *Config) { c.Aggregate = "mean" },
		"temperature -1 is not between":                                            func(c *Config) { c.Temperature = -1 },
		"labels have no temperature":                                               func(c *Config) { c.Hard, c.Temperature = true, 2 },
		"recipe deps has no use for subnet: leave it out, or choose one of single": func(c *Config) { c.Subnet = "min" },
		"recipe deps has no use for candidates: leave it out, or choose one of attentivenas": func(c *Config) {
			c.Candidates = 3
		},
		"recipe single has no use for nets": func(c *Config) { *c = Defaults("single", "resnet-28", ""); c.Nets = 3 },
		"recipe ofa has no use for ramp: leave it out, or choose one of deps": func(c *Config) {
			*c = Defaults("ofa", "resnet-28", "")
			c.Ramp = 0.1
		},
		"recipe bignas has no use for warmup": func(c *Config) { *c = Defaults("bignas", "resnet-28", ""); c.Warmup = 0.5 },
		`image sizes "28,20": name rising`:    func(c *Config) { c.Pixels = "28,20" },
		`image sizes "a": name rising`:        func(c *Config) { c.Pixels = "a" },
		"rising image sizes need at least two": func(c *Config) {
			c.Pixels, c.Progressive = "20", true
		},
		"cutout of -1 pixels": func(c *Config) { c.Cutout = -1 },
		"a rate that does not rise cannot begin at 0.5 of its peak": func(c *Config) { c.RateStart = 0.5 },
		"images cannot be scaled to -1 pixels":                      func(c *Config) { c.Size = -1 },
	} {
		c := Defaults("deps", "resnet-28", "fashion-mnist")
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestSetsThatCannotBeTrainedOn: what is wrong with the images is said before the first step.
func TestSetsThatCannotBeTrainedOn(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	for want, change := range map[string]func(*Config, []int32){
		`squares has no training image of class "right"`: func(_ *Config, labels []int32) { clear(labels) },
		"training image 3 of squares has label 2 of 2 classes": func(_ *Config, labels []int32) {
			labels[3] = 2
		},
		"training image 0 of squares has label -1 of 2 classes": func(_ *Config, labels []int32) { labels[0] = -1 },
		"squares has 64 training images, fewer than a batch of 65; choose a smaller --batch": func(c *Config, _ []int32) {
			c.Batch = 65
		},
		"space resnet-32 takes images of 32x32 pixels, squares has 28x28": func(c *Config, _ []int32) { c.Space = "resnet-32" },
		"images of 28x28 pixels cannot be shifted by 28":                  func(c *Config, _ []int32) { c.Pad = 28 },
		"a square of 28 pixels blanks all of an image of 28x28":           func(c *Config, _ []int32) { c.Cutout = 28 },
		"recipe ofa has no teacher without a phase of the full network; choose a longer --warmup": func(c *Config, _ []int32) {
			*c = recipeConfig("ofa")
			c.Epochs, c.Warmup = 100, 0
		},
		"2 steps are too few for the phases of recipe ofa; train for more epochs": func(c *Config, _ []int32) {
			*c = recipeConfig("ofa")
			c.Epochs = 1
		},
	} {
		set, c := squares(64), testConfig()
		change(&c, set.Train.Labels)
		if _, err := New(c, set, pool); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestOneImageOfAClass is enough to train.
func TestOneImageOfAClass(t *testing.T) {
	set, c := squares(64), testConfig()
	for i := range set.Train.Labels {
		set.Train.Labels[i] = 0
	}
	set.Train.Labels[5] = 1
	c.Epochs = 1
	run(t, c, set, 1)
}

// TestParseConfig: a file may give all settings or a few; what it leaves out is as it was, and what is unknown is refused.
func TestParseConfig(t *testing.T) {
	base := Defaults("deps", "resnet-28", "fashion-mnist")
	base.Val = 0
	full := Defaults("attentivenas", "mbv3-28", "cifar10")
	full.MixUp, full.EMA, full.Seed, full.Val = 0.3, 0.99, 9, 77
	b, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseConfig(b, base); err != nil || got != full {
		t.Errorf("%+v, %v, want %+v", got, err, full)
	}
	few := []byte(`{"recipe":"ofa","data":"cifar10","lr":0.2}`)
	want := base
	want.Recipe, want.Data, want.LR = "ofa", "cifar10", 0.2
	if got, err := ParseConfig(few, base); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if got, err := ParseSubject(few, Subject{"deps", "resnet-28", "mnist"}); err != nil || got != (Subject{"ofa", "resnet-28", "cifar10"}) {
		t.Errorf("%+v, %v", got, err)
	}
	for bad, says := range map[string]string{
		``: "EOF", `[]`: "array where {…} with the settings should be", `{"lr":"fast"}`: "lr cannot be a string", `{"learning_rate":0.1}`: `unknown field "learning_rate"`,
	} {
		if _, err := ParseConfig([]byte(bad), base); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", bad, err, says)
		}
	}
	// What a recipe sets and a run does not is off in the file too.
	for _, recipe := range Recipes() {
		off := Defaults(recipe, "resnet-28", "cifar10")
		off.Curve, off.ZeroGamma, off.RateFloor, off.RateWarm, off.ClipValue, off.Candidates = "", false, 0, 0, 0, 0
		b, err := json.Marshal(off)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseConfig(b, Defaults(recipe, "resnet-28", "cifar10")); err != nil || got != off {
			t.Errorf("%s: %+v, %v, want %+v", recipe, got, err, off)
		}
	}
}

// TestDefinitionSurvivesItsFile: a run of a space of one's own can be resumed by who has the
// description in another layout, whatever characters are in it.
func TestDefinitionSurvivesItsFile(t *testing.T) {
	c, dir := recipeConfig("deps"), t.TempDir()
	space, err := supernet.Find("resnet-28s", 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	space.Name = "a<b & c\u2028"
	var layout strings.Builder
	e := json.NewEncoder(&layout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(space); err != nil {
		t.Fatal(err)
	}
	c.Space = space.Name
	if err := c.Definition.UnmarshalJSON([]byte(layout.String())); err != nil {
		t.Fatal(err)
	}
	set := squares(64)
	if err := newTrainer(t, c, set).Save(dir); err != nil {
		t.Fatal(err)
	}
	if found, err := newTrainer(t, c, set).Load(dir); !found || err != nil {
		t.Error(found, err)
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	c.Space = "resnet-28s"
	if _, err := New(c, set, pool); err == nil || !strings.Contains(err.Error(), "give both one name") {
		t.Errorf("a definition under the name of another space: %v", err)
	}
}

// TestOlderRuns: the configuration of a run of the recipe max, as it used to be written, is
// that of the recipe single, and valid.
func TestOlderRuns(t *testing.T) {
	dir := t.TempDir()
	old := `{"recipe":"max","space":"resnet-28s","data":"squares","epochs":4,"batch":32,"lr":0.1,"momentum":0.9,"decay":0.0005,
"smoothing":0.1,"warmup":0.5,"ramp":0.05,"nets":4,"coupled":false,"sort":true,"pad":1,"flip":false,"seed":1,"val_images":0}`
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := ReadConfig(dir)
	want := recipeConfig("single")
	want.Val = 0
	if err != nil || c != want {
		t.Errorf("%+v, %v, want %+v", c, err, want)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
