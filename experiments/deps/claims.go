package deps

import (
	"fmt"
	"math"

	"weft/experiments/report"
)

// claims judges what the paper says of DepS, as far as there are results.
func (r *Report) claims() []report.Claim {
	var claims []report.Claim
	add := func(text, paper, criterion string, value string, holds bool) {
		claims = append(claims, report.Claim{
			Text: text, Paper: paper, Criterion: criterion,
			Verdicts: []report.Verdict{{Value: value, Holds: holds}},
		})
	}
	own := r.find(methodDeps, full)
	if own == nil {
		return nil
	}
	for _, rival := range []struct{ method, small string }{{methodOFA, "+1.85"}, {methodBigNAS, "+3.06"}} {
		for _, length := range []string{equal, published} {
			g := r.find(rival.method, length)
			if g == nil {
				continue
			}
			against := fmt.Sprintf("%s (%s schedule)", rival.method, length)
			small := own.value(smallest) - g.value(smallest)
			add("the smallest subnet is more accurate than with "+against, rival.small+" points on ImageNet-1k", "at least +1.3 points",
				fmt.Sprintf("%+.2f", small), small >= 1.3)
			large := own.value(largest) - g.value(largest)
			add("the largest subnet is no less accurate than with "+against, "+0.1 (OFA), +3.3 (BigNAS)", "at least 0", fmt.Sprintf("%+.2f", large), large >= 0)
		}
	}
	for _, rival := range []struct {
		method string
		less   float64
	}{{methodOFA, 1.8}, {methodBigNAS, 2.5}} {
		if g := r.find(rival.method, published); g != nil {
			ratio, note := r.cheaper(g)
			add(fmt.Sprintf("as accurate as %s in its published schedule, for less (mean of six subnets)", rival.method),
				fmt.Sprintf("%.1fx less", rival.less), fmt.Sprintf("at least %.1fx", rival.less), note, ratio >= rival.less)
		}
	}
	r.switchClaims(own, add)
	r.partClaims(own, add)
	return claims
}

// cheaper returns how many times the cost of DepS a rival's is, where DepS has become as accurate as the rival ended up,
// in straight lines between its own lengths.
func (r *Report) cheaper(rival *group) (ratio float64, note string) {
	goal, spent := rival.value(meanOfSix), rival.value(cost)
	var before, g *group
	for _, length := range []string{half, full, longer} {
		if g = r.find(methodDeps, length); g == nil {
			continue
		}
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

type adder func(text, paper, criterion, value string, holds bool)

// switchClaims are those about ε-Shrinking.
func (r *Report) switchClaims(own *group, add adder) {
	bare := r.find(noRamp, full)
	if bare == nil {
		return
	}
	with, without := own.value(dip), bare.value(dip)
	add("with ε the largest subnet hardly dips where the others join", "no dip", "under 0.5 points on validation images",
		fmt.Sprintf("%.2f; single evaluations vary by %.2f", with, own.value(unsteady)), with < 0.5)
	add("without ε it dips", "about 4 points", "more than with ε by 0.5 points or more", fmt.Sprintf("%.2f against %.2f", without, with), without >= with+0.5)
	gain := own.value(meanOfSix) - bare.value(meanOfSix)
	add("ε makes the subnets more accurate in the end", "+1.9 points at the smallest and the largest", "mean of six above", fmt.Sprintf("%+.2f", gain), gain > 0)
}

// partClaims are those about the warm-up and distillation.
func (r *Report) partClaims(own *group, add adder) {
	for _, rival := range []struct{ method, text, paper string }{
		{quarter, "a warm-up of half the run beats one of a quarter (largest subnet)", "77.33 against 76.91"},
		{threeQuarters, "a warm-up of half the run beats one of three quarters (smallest subnet)", "73.68 against 73.08"},
	} {
		if g := r.find(rival.method, equal); g != nil {
			of := largest
			if rival.method == threeQuarters {
				of = smallest
			}
			gain := own.value(of) - g.value(of)
			add(rival.text, rival.paper, "above", fmt.Sprintf("%+.2f", gain), gain > 0)
		}
	}
	if g := r.find(noWarmup, equal); g != nil {
		gain := own.value(meanOfSix) - g.value(meanOfSix)
		add("in-place distillation is better from a network that is warmed up", "+2.4 to +3.1 points", "mean of six at least 1.3 points above", fmt.Sprintf("%+.2f", gain), gain >= 1.3)
	}
	if g := r.find(hardLabels, equal); g != nil {
		gain := own.value(meanOfSix) - g.value(meanOfSix)
		add("distillation in place is better than labels", "", "mean of six above", fmt.Sprintf("%+.2f", gain), gain > 0)
	}
}
