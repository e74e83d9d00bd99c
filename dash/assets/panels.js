// The Pareto front, and the workers.
import { element, number, percent, shade, svg, tidy } from './format.js';

const H = 310, left = 56, right = 16, top = 14, bottom = 34;

/** Front draws accuracy over latency, and marks the subnets that answer. */
export class Front {
  constructor(article) {
    this.plot = article.querySelector('.plot');
    new ResizeObserver(() => this.view && this.draw(this.view)).observe(this.plot);
  }

  /** build draws what stays as long as the model and the width do. */
  build(model, W) {
    this.model = model;
    this.width = W;
    const x = (s) => Math.log(s.latency_ms[0]);
    const xs = model.subnets.map(x), ys = model.subnets.map((s) => s.accuracy);
    const [x0, x1] = pad(Math.min(...xs), Math.max(...xs), 0.06, 0.1);
    const [y0, y1] = pad(ys[0], ys[ys.length - 1], 0.08, 0.005);
    const px = (v) => left + (v - x0) / (x1 - x0) * (W - left - right);
    const py = (v) => H - bottom - (v - y0) / (y1 - y0) * (H - top - bottom);
    const root = svg('svg', { viewBox: `0 0 ${W} ${H}`, role: 'img' });
    for (const v of levels(y0, y1)) {
      root.append(svg('line', { x1: left, x2: W - right, y1: py(v), y2: py(v), class: 'grid' }),
        svg('text', { x: left - 7, y: py(v) + 4, 'text-anchor': 'end' }, `${percent(v, y1 - y0 < 0.04 ? 1 : 0)} %`));
    }
    for (const v of steps(Math.exp(x0), Math.exp(x1))) {
      root.append(svg('line', { x1: px(Math.log(v)), x2: px(Math.log(v)), y1: top, y2: H - bottom, class: 'grid' }),
        svg('text', { x: px(Math.log(v)), y: H - bottom + 15, 'text-anchor': 'middle' }, tidy(v)));
    }
    root.append(svg('text', { x: W - right, y: H - 3, 'text-anchor': 'end' }, 'ms for one image'));
    const path = model.subnets.map((s, i) => `${i ? 'L' : 'M'}${px(x(s))} ${py(s.accuracy)}`).join('');
    root.append(svg('path', { d: path, class: 'path' }));
    this.discs = model.subnets.map((s, i) => {
      const disc = svg('circle', { cx: px(x(s)), cy: py(s.accuracy), r: 0, class: 'share', fill: shade(i, model.subnets.length) });
      root.append(disc);
      return disc;
    });
    model.subnets.forEach((s, i) => root.append(svg('circle', { cx: px(x(s)), cy: py(s.accuracy), r: 3.4, class: 'dot', fill: shade(i, model.subnets.length) },
      svg('title', {}, `${s.name}: ${percent(s.accuracy, 2)} %, ${number(s.latency_ms[0])} ms`))));
    this.label = svg('text', { x: left + 10, y: top + 12, class: 'strong' });
    root.append(this.label);
    this.plot.replaceChildren(root);
  }

  draw(view) {
    this.view = view;
    const width = Math.max(this.plot.clientWidth, 200);
    if (this.model !== view.model || this.width !== width) this.build(view.model, width);
    const shares = view.shares(1000, view.last);
    shares.forEach((s, i) => this.discs[i].setAttribute('r', s > 0 ? 4 + 22 * Math.sqrt(s) : 0));
    const best = Math.max(...shares), name = view.model.subnets[shares.indexOf(best)].name;
    const text = best > 0 ? `${percent(best, 0)} % by ${name}` : 'at rest';
    this.label.textContent = text;
    this.plot.firstChild.setAttribute('aria-label', `${view.model.subnets.length} subnets by accuracy and latency; now ${text}`);
  }
}

function pad(low, high, share, least) {
  const p = Math.max((high - low) * share, least);
  return [low - p, high + p];
}

/** levels returns round accuracies. */
function levels(low, high) {
  const step = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2].find((s) => (high - low) / s <= 6);
  const list = [];
  for (let v = Math.ceil(low / step) * step; v <= high; v += step) list.push(v);
  return list;
}

/** steps returns 1, 2 and 5 times the powers of ten between. */
function steps(low, high) {
  const list = [];
  for (let ten = 10 ** Math.floor(Math.log10(low)); ten <= high; ten *= 10) {
    list.push(...[1, 2, 5].map((k) => k * ten).filter((v) => v >= low && v <= high));
  }
  return list;
}

/** drawWorkers lists the workers: how busy each was over time, the colour being that of the subnet. */
export function drawWorkers(article, feed) {
  const list = article.querySelector('ul');
  const recent = feed.ticks.slice(-Math.max(1, Math.round(1000 / feed.hello.tick_ms)));
  const workers = recent[recent.length - 1].workers;
  while (list.children.length > workers.length) list.lastChild.remove();
  while (list.children.length < workers.length) {
    list.append(element('li', {}, element('span', { class: 'name' }), element('span', { class: 'runs' }), element('span', { class: 'share' }), element('canvas', { 'aria-hidden': 'true' })));
  }
  workers.forEach((w, k) => {
    const [name, runs, share, lane] = list.children[k].children;
    const seen = recent.map((t) => t.workers.find((o) => o.index === w.index)).filter(Boolean);
    const busy = seen.reduce((a, o) => a + o.busy, 0) / seen.length;
    const subnet = feed.models.find((m) => m.name === w.model)?.subnets[w.subnet];
    list.children[k].className = w.up ? '' : 'down';
    name.textContent = w.name;
    share.textContent = `${percent(busy, 0)} %`;
    runs.textContent = subnet ? `${feed.models.length > 1 ? `${w.model}: ` : ''}${subnet.name}` : 'nothing yet';
    runs.title = runs.textContent;
    drawLane(lane, feed, w.index);
  });
}

function drawLane(canvas, feed, index) {
  const dpr = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  canvas.width = Math.round(w * dpr);
  canvas.height = Math.round(h * dpr);
  const g = canvas.getContext('2d');
  g.scale(dpr, dpr);
  const step = w / feed.hello.window;
  const sizes = new Map(feed.models.map((m) => [m.name, m.subnets.length]));
  feed.ticks.forEach((tick, i) => {
    const o = tick.workers.find((o) => o.index === index);
    if (!o || o.busy === 0 || !sizes.has(o.model)) return;
    g.fillStyle = shade(o.subnet, sizes.get(o.model));
    g.fillRect(w - (feed.ticks.length - i) * step, h * (1 - o.busy), step + 0.3, h * o.busy);
  });
}
