// Draws the charts that the page carries as JSON. Every name is set as text, never as markup.
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const height = 260;
  let plots = [];

  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const paint = i => i < 0 ? css("--text") : css("--c" + i % 8);
  const dashes = i => i < 8 ? undefined : [6, 4]; // the palette's second round

  // format gives a number about three digits.
  function format(v) {
    if (v == null) return "–";
    const a = Math.abs(v);
    return v.toLocaleString("en", { maximumFractionDigits: a >= 100 ? 0 : a >= 10 ? 1 : a >= 1 ? 2 : 3 });
  }
  const withUnit = unit => (u, v) => v == null ? "–" : format(v) + (unit ? " " + unit : "");

  // fixed makes a range of the ends that the chart fixes and those of the data, with some room around the latter.
  function fixed(ends) {
    return (u, lo, hi) => {
      if (lo == null) return [0, 1];
      const room = (hi - lo || Math.abs(hi) || 1) * 0.06;
      const [min, max] = ends || [null, null];
      return [min ?? lo - room, max == null ? hi + room : max + (max - (min ?? lo)) * 0.02];
    };
  }

  function scaleX(c) {
    if (c.x.log) return { time: false, distr: 3, range: (u, lo, hi) => {
      for (const m of c.marks || []) { lo = Math.min(lo, m.x); hi = Math.max(hi, m.x); }
      return [lo / 1.15, hi * 1.15];
    } };
    return c.kind === "points" ? { time: false, range: fixed(null) } : { time: false };
  }

  // logTicks are 1, 2 and 5 of each decade within the range, or what lies between when that is too few.
  function logTicks(u, axis, min, max) {
    for (const digits of [[1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]]) {
      const ticks = [];
      for (let p = 10 ** Math.floor(Math.log10(min)); p <= max; p *= 10) {
        for (const d of digits) if (d * p >= min && d * p <= max) ticks.push(d * p);
      }
      if (ticks.length > 2 || digits.length > 3) return ticks;
    }
  }

  const decades = (u, axis, min, max) => [0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6].filter(v => v <= max);

  const scaleY = c => c.y.log ? { distr: 4, asinh: 1, range: (u, lo, hi) => [0, Math.max(hi || 1, 1) * 1.3] } : { range: fixed(c.y.range) };

  function axes(c) {
    const look = { stroke: css("--soft"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid"), width: 1 },
      font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 20 };
    const x = { ...look, label: c.x.label, size: 32, values: (u, ticks) => ticks.map(format) };
    if (c.x.log) Object.assign(x, { splits: logTicks, filter: (u, ticks) => ticks });
    const y = { ...look, label: c.y.label, size: 58, values: (u, ticks) => ticks.map(format) };
    if (c.y.log) Object.assign(y, { splits: decades, filter: (u, ticks) => ticks });
    return [x, y];
  }

  function line(c, s, first) {
    const colour = paint(s.colour), points = c.kind === "points";
    return {
      label: s.name, stroke: colour, dash: dashes(s.colour), spanGaps: c.kind !== "step",
      width: points ? 1.5 : first ? 2.25 : 1.5, value: withUnit(c.y.unit),
      points: { show: points || c.kind === "line" && c.xs.length < 60, size: points ? 7 : 5, width: 1.5, stroke: colour,
        fill: s.joined ? colour : css("--card") },
      paths: !s.joined ? () => null : c.kind === "step" ? uPlot.paths.stepped({ align: 1 }) : undefined,
    };
  }

  // marks draws dashed lines at places of the x axis, each with its label above the plot.
  function marks(c) {
    return u => {
      for (const m of c.marks || []) {
        const x = u.valToPos(m.x, "x", true), { left, top, width, height } = u.bbox, ctx = u.ctx;
        if (x < left || x > left + width) continue;
        const flip = x > left + width * 0.7;
        ctx.save();
        ctx.strokeStyle = ctx.fillStyle = css("--soft");
        ctx.lineWidth = devicePixelRatio;
        ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
        ctx.beginPath(); ctx.moveTo(x, top); ctx.lineTo(x, top + height); ctx.stroke();
        ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
        ctx.textAlign = flip ? "right" : "left";
        ctx.fillText(m.label, x, top - 5 * devicePixelRatio);
        ctx.restore();
      }
    };
  }

  // nearest shows the name of the point under the cursor.
  function nearest(c) {
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    const move = u => {
      const { left, top } = u.cursor;
      let best = null;
      c.series.forEach((s, i) => {
        if (!u.series[c.series.length - i].show) return;
        s.ys.forEach((y, j) => {
          if (y == null) return;
          const px = u.valToPos(c.xs[j], "x"), py = u.valToPos(y, "y"), d = Math.hypot(px - left, py - top);
          if (d < 24 && (!best || d < best.d)) best = { d, px, py, s, y, j };
        });
      });
      tip.hidden = !best;
      if (!best) return;
      const { s, y, j } = best;
      tip.textContent = `${s.labels ? s.labels[j] + "\n" : ""}${s.name}: ${withUnit(c.y.unit)(u, y)}, ${withUnit(c.x.unit)(u, c.xs[j])}`;
      const right = best.px > u.over.clientWidth / 2, low = best.py > u.over.clientHeight / 2;
      tip.style.left = right ? "" : best.px + 10 + "px";
      tip.style.right = right ? u.over.clientWidth - best.px + 10 + "px" : "";
      tip.style.top = low ? "" : best.py + 10 + "px";
      tip.style.bottom = low ? u.over.clientHeight - best.py + 10 + "px" : "";
    };
    return { hooks: { init: u => u.over.append(tip), setCursor: move } };
  }

  // draw puts the first series on top: it is drawn last, and the legend is turned round.
  function draw(c, box) {
    const points = c.kind === "points", order = c.series.toReversed();
    const cursor = points ? { x: false, y: false, points: { show: false } } : { y: false, sync: { key: c.sync } };
    const plot = new uPlot({
      width: box.clientWidth, height, padding: [c.marks ? 20 : 8, 14, null, null], cursor, axes: axes(c), legend: { live: !points, markers: { fill: (u, i) => i && order[i - 1].joined ? paint(order[i - 1].colour) : null } },
      scales: { x: scaleX(c), y: scaleY(c) },
      series: [{ label: c.x.label.split(",")[0], value: withUnit(c.x.unit) }, ...order.map(s => line(c, s, s === c.series[0]))],
      hooks: { draw: [marks(c)] }, plugins: points ? [nearest(c)] : [],
    }, [c.xs, ...order.map(s => s.ys)], box);
    plot.root.querySelectorAll(".u-legend .u-series").forEach((row, i) => { if (i || points) row.style.order = 99 - i; });
    return plot;
  }

  function drawAll() {
    for (const p of plots) p.plot.destroy();
    plots = charts.map(c => {
      const box = document.getElementById(c.id).querySelector(".plot");
      return { box, plot: draw(c, box) };
    });
    document.documentElement.dataset.drawn = plots.length;
  }

  drawAll();
  dark.addEventListener("change", drawAll);
  addEventListener("resize", () => {
    for (const { box, plot } of plots) plot.setSize({ width: box.clientWidth, height });
  });
})();
