package deps

import (
	"fmt"
	"math"

	"weft/experiments/report"
)

// claims judges what the paper says of DepS, as far as there are results.
func (r *Report) claims() []report.Claim {
	var claims []report.Claim
	add := func(text, paper, criterion string, v report.Verdict) {
		claims = append(claims, report.Claim{Text: text, Paper: paper, Criterion: criterion, Verdicts: []report.Verdict{v}})
	}
	own := r.find(methodDeps, full)
	if own == nil {
		return nil
	}
	for _, rival := range []struct{ method, small, large string }{
		{methodOFA, "+1.85 points on ImageNet-1k", "+0.1"},
		{methodBigNAS, "+3.06 points on ImageNet-1k over a plainer BigNAS", "+3.3 over a plainer BigNAS"},
	} {
		for _, length := range []string{equal, published} {
			small, large := rival.small, rival.large
			if length == equal {
				small, large = "", "" // the paper compares published schedules
			}
			against := fmt.Sprintf("%s (%s schedule)", rival.method, length)
			g := r.find(rival.method, length)
			r.compare(own, g, smallest, 1.3, "the smallest subnet is more accurate than with "+against, small, add)
			r.compare(own, g, largest, 0, "the largest subnet is no less accurate than with "+against, large, add)
		}
	}
	for _, rival := range []struct {
		method string
		less   float64
	}{{methodOFA, 1.8}, {methodBigNAS, 2.5}} {
		if g := r.find(rival.method, published); g != nil {
			ratio, note := r.cheaper(g)
			add(fmt.Sprintf("as accurate as %s in its published schedule, for less (mean of six subnets)", rival.method),
				fmt.Sprintf("%.1fx less", rival.less), fmt.Sprintf("at least %.1fx", rival.less), report.Verdict{Value: note, Holds: ratio >= rival.less})
		}
	}
	r.switchClaims(own, add)
	r.compare(own, r.find(quarter, equal), smallest, 0, "a warm-up of half the run beats one of a quarter (smallest subnet)", "73.68 against 73.83", add)
	r.compare(own, r.find(quarter, equal), largest, 0, "a warm-up of half the run beats one of a quarter (largest subnet)", "77.33 against 76.91", add)
	r.compare(own, r.find(threeQuarters, equal), smallest, 0, "a warm-up of half the run beats one of three quarters (smallest subnet)", "73.68 against 73.08", add)
	r.compare(own, r.find(threeQuarters, equal), largest, 0, "a warm-up of half the run beats one of three quarters (largest subnet)", "77.33 against 77.19", add)
	r.compare(own, r.find(noWarmup, equal), meanOfSix, 1.3, "in-place distillation is better from a network that is warmed up", "+2.4 to +3.1 points", add)
	r.compare(own, r.find(hardLabels, equal), meanOfSix, 0, "distillation in place is better than labels", "", add)
	r.compare(own, r.find(alone, equal), meanOfSix, 0, "six subnets of one supernet are more accurate than the six trained alone, for as much in sum", "", add)
	return claims
}

type adder func(text, paper, criterion string, v report.Verdict)

// compare judges whether a method's figure is above a rival's by at least so many points, over the seeds that both have. What
// lies nearer to that than the noise is too close to tell.
func (r *Report) compare(own, rival *group, of func(*Result) float64, least float64, text, paper string, add adder) {
	if own, rival = common(own, rival); own == nil {
		return
	}
	gain := own.value(of) - rival.value(of)
	criterion := "above"
	if least > 0 {
		criterion = fmt.Sprintf("at least %+.1f points", least)
	}
	noise := r.noise(own, rival, of)
	value := fmt.Sprintf("%+.2f", gain)
	if noise > 0 {
		value += fmt.Sprintf(" ± %.2f", noise)
	}
	add(text, paper, criterion, report.Verdict{Value: value, Holds: gain >= least, Close: math.Abs(gain-least) < noise})
}

// cheaper returns how many times the cost of DepS a rival's is, where DepS has become as accurate as the rival ended up,
// in straight lines between its own lengths.
func (r *Report) cheaper(rival *group) (ratio float64, note string) {
	var lengths []*group
	for _, length := range []string{half, full, longer} {
		if g := r.find(methodDeps, length); g != nil {
			lengths = append(lengths, g)
			if rival, _ = common(rival, g); rival == nil {
				return math.NaN(), "no seed has all lengths"
			}
		}
	}
	goal, spent := rival.value(meanOfSix), rival.value(cost)
	var before, g *group
	for _, g = range lengths {
		_, g = common(rival, g) // over the seeds that all have
		if g.value(meanOfSix) >= goal {
			break
		}
		before, g = g, nil
	}
	switch {
	case g == nil:
		return math.NaN(), fmt.Sprintf("not as accurate: %.2f against %.2f %% at %.2fx less", before.value(meanOfSix), goal, spent/before.value(cost))
	case before == nil:
		return spent / g.value(cost), fmt.Sprintf("more than %.2fx: %.2f %% against %.2f %% with the %s schedule", spent/g.value(cost), g.value(meanOfSix), goal, g.length)
	}
	part := (goal - before.value(meanOfSix)) / (g.value(meanOfSix) - before.value(meanOfSix))
	ratio = spent / (before.value(cost) + part*(g.value(cost)-before.value(cost)))
	return ratio, fmt.Sprintf("%.2fx to %.2f %%", ratio, goal)
}

// switchClaims are those about ε-Shrinking.
func (r *Report) switchClaims(own *group, add adder) {
	bare := r.find(noRamp, full)
	both, without := common(own, bare)
	if both == nil {
		return
	}
	with, fell := own.value(dip), without.value(dip)
	value := fmt.Sprintf("%.2f", with)
	if chance := own.value(byChance); !math.IsNaN(chance) {
		value += fmt.Sprintf("; %.2f by chance alone", chance)
	}
	add("with ε the largest subnet hardly dips where the others join", "no dip", "under 0.5 points on validation images",
		report.Verdict{Value: value, Holds: with < 0.5})
	add("without ε it dips", "about 4 points", "at least 1 point, and more than with ε by 0.5 points or more",
		report.Verdict{Value: fmt.Sprintf("%.2f against %.2f", fell, both.value(dip)), Holds: fell >= 1 && fell >= both.value(dip)+0.5})
	r.compare(own, bare, meanOfSix, 0, "ε makes the subnets more accurate in the end (mean of six)", "+1.9 points at the smallest and the largest", add)
}
