// Charts over the last minute, drawn on canvas. A chart is a description:
//
//   title, note      what stands above it
//   height           of the axis: {min(view), max(view), log, marks(view), mark: how a mark
//                    is written, format: how a value is}
//   parts            what is drawn, each with name, colour (a CSS variable) and
//                    kind line | area: value(view, i), NaN where there is none
//   stack            value(view, i): shares of 1 that fill the height, colour(view, k)
//   cells            value(view, i): a list of counts, one for each row
//   dots             value(view, i): a list of {id, at_ms, y, colour}
import { element, nice, number, shade, tidy } from './format.js';

const left = 52, bottom = 17, top = 6, right = 6;

/** pointed is the time that the viewer points at, which all charts share; null: now. */
let pointed = null;

const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(name);

export class Chart {
  constructor(spec, parent, point) {
    this.spec = spec;
    this.canvas = element('canvas', { role: 'img', tabindex: '0' });
    this.keys = new Map();
    const title = element('h2', {}, spec.title);
    const caption = element('figcaption', {}, title);
    for (const part of spec.parts ?? []) caption.append(this.key(part.name, part.colour));
    if (spec.now) caption.append(this.key(spec.nowName));
    if (spec.stack) title.append(scale());
    parent.append(element('figure', { id: `chart-${spec.id}` }, caption, this.canvas));
    new ResizeObserver(() => this.view && this.draw(this.view)).observe(this.canvas);
    this.listen(point);
  }

  key(name, variable) {
    const value = element('b');
    const key = element('span', { class: 'key' }, name, value);
    if (variable) {
      const mark = element('i');
      mark.style.background = `var(${variable})`;
      key.prepend(mark);
    }
    this.keys.set(name, value);
    return key;
  }

  /** listen lets the viewer point by mouse, finger and arrow keys. point() redraws all charts. */
  listen(point) {
    const to = (at) => { pointed = at; point(); };
    this.canvas.addEventListener('pointermove', (e) => {
      const x = e.offsetX;
      to(x > left ? this.from + (x - left) / this.width * this.view.span : null);
    });
    this.canvas.addEventListener('pointerleave', () => to(null));
    this.canvas.addEventListener('blur', () => to(null));
    this.canvas.addEventListener('keydown', (e) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
      if (e.key === 'Escape') to(null);
      if (!step || !this.view) return;
      e.preventDefault();
      to((pointed ?? this.to) + step * this.view.tickMS);
    });
    if (this.spec.choose) {
      this.canvas.classList.add('pick');
      this.canvas.addEventListener('click', (e) => this.choose(e.offsetX, e.offsetY));
    }
  }

  /** choose finds the dot nearest to a place. */
  choose(x, y) {
    let best = null, least = 24 ** 2;
    for (const d of this.dots ?? []) {
      const far = (d.x - x) ** 2 + (d.y - y) ** 2;
      if (far < least) [best, least] = [d, far];
    }
    if (best) this.spec.choose(best.id);
  }

  draw(view) {
    this.view = view;
    const c = this.canvas, dpr = devicePixelRatio || 1;
    const w = c.clientWidth, h = c.clientHeight;
    if (w < 80 || view.last < 0) return;
    if (c.width !== Math.round(w * dpr) || c.height !== Math.round(h * dpr)) {
      c.width = Math.round(w * dpr);
      c.height = Math.round(h * dpr);
    }
    const g = this.g = c.getContext('2d');
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    g.clearRect(0, 0, w, h);
    g.font = '11px system-ui, sans-serif';
    this.width = w - left - right;
    this.base = h - bottom;
    this.to = view.ticks[view.last].at_ms;
    this.from = this.to - view.span;
    this.axis();
    if (this.spec.stack) this.drawStack();
    if (this.spec.cells) this.drawCells();
    for (const part of this.spec.parts ?? []) this.drawPart(part);
    if (this.spec.dots) this.drawDots();
    this.point();
  }

  x(at) { return left + (at - this.from) / (this.to - this.from) * this.width; }

  y(value) {
    const { log } = this.spec.height;
    const f = log ? Math.log10 : (v) => v;
    const share = (f(Math.max(value, log ? this.min : -Infinity)) - f(this.min)) / (f(this.max) - f(this.min));
    return this.base - Math.min(Math.max(share, 0), 1) * (this.base - top);
  }

  /** axis chooses the scale and draws the grid. */
  axis() {
    const { g, view, spec } = this;
    const { height } = spec;
    this.min = height.min ? height.min(view) : 0;
    this.max = height.max(view);
    const marks = height.log ? powers(this.min, this.max) : height.marks?.(view) ?? even(this.min, this.max);
    g.lineWidth = 1;
    g.textBaseline = 'middle';
    g.textAlign = 'right';
    for (const m of marks) {
      const y = Math.round(this.y(m)) + 0.5;
      line(g, colour('--grid'), left, y, left + this.width, y);
      g.fillStyle = colour('--soft');
      g.fillText((height.mark ?? tidy)(m), left - 6, y);
    }
    g.textBaseline = 'alphabetic';
    const seconds = view.span / 1000;
    for (let k = 0; k <= 3; k++) {
      g.textAlign = ['left', 'center', 'center', 'right'][k];
      const ago = seconds * (1 - k / 3);
      g.fillText(k === 3 ? 'now' : `−${tidy(ago)} s`, left + this.width * k / 3, this.base + 14);
    }
  }

  drawPart(part) {
    const { g, view } = this;
    const ink = colour(part.colour);
    g.strokeStyle = g.fillStyle = ink;
    g.lineWidth = part.width ?? 1.6;
    g.lineJoin = 'round';
    let run = [];
    const flush = () => {
      if (run.length === 0) return;
      g.beginPath();
      for (const [x, y] of run) g.lineTo(x, y);
      if (run.length === 1) g.lineTo(run[0][0] + 1.5, run[0][1]);
      g.stroke();
      if (part.kind === 'area') {
        g.lineTo(run[run.length - 1][0], this.base);
        g.lineTo(run[0][0], this.base);
        g.globalAlpha = part.alpha ?? 0.22;
        g.fill();
        g.globalAlpha = 1;
      }
      run = [];
    };
    for (let i = 0; i <= view.last; i++) {
      const v = part.value(view, i);
      if (Number.isFinite(v)) run.push([this.x(view.ticks[i].at_ms), this.y(v)]);
      else flush();
    }
    flush();
  }

  /** each calls f for each tick with the left edge and the width of its column. */
  each(f) {
    const { view } = this;
    for (let i = 0; i <= view.last; i++) {
      const tick = view.ticks[i];
      const x = Math.max(left, this.x(tick.at_ms - tick.dt_ms)), end = this.x(tick.at_ms);
      if (end > left) f(i, x, end - x + 0.5);
    }
  }

  drawStack() {
    const { g, view, spec } = this;
    this.each((i, x, width) => {
      let y = this.base;
      spec.stack.value(view, i).forEach((share, k) => {
        const h = share * (this.base - top);
        g.fillStyle = spec.stack.colour(view, k);
        if (h > 0) g.fillRect(x, y - h, width, h);
        y -= h;
      });
    });
  }

  drawCells() {
    const { g, view, spec } = this;
    g.fillStyle = colour('--blue');
    this.each((i, x, width) => {
      const rows = spec.cells.value(view, i);
      const most = Math.max(...rows);
      rows.forEach((n, k) => {
        if (n === 0) return;
        g.globalAlpha = 0.15 + 0.85 * n / most;
        const y = this.y(k + 1.5), h = this.y(k + 0.5) - y;
        g.fillRect(x, y, width, Math.max(h - (h > 4 ? 1 : 0), 1));
      });
    });
    g.globalAlpha = 1;
  }

  drawDots() {
    const { g, view, spec } = this;
    this.dots = [];
    for (let i = 0; i <= view.last; i++) {
      for (const d of spec.dots.value(view, i)) {
        const x = this.x(d.at_ms), y = this.y(d.y);
        if (x < left) continue;
        this.dots.push({ x, y, id: d.id });
        g.fillStyle = d.bad ? colour('--red') : d.colour;
        g.globalAlpha = d.bad ? 1 : 0.75;
        g.beginPath();
        g.arc(x, y, d.bad ? 2.6 : 1.7, 0, 7);
        g.fill();
      }
    }
    g.globalAlpha = 1;
  }

  /** point writes the values that are pointed at, or the latest, into the caption. */
  point() {
    const { g, view, spec } = this;
    let i = view.last;
    if (pointed !== null) {
      i = view.ticks.findIndex((t) => t.at_ms >= pointed);
      if (i < 0) i = view.last;
      const x = this.x(view.ticks[i].at_ms);
      line(g, colour('--soft'), x, top, x, this.base);
    }
    const said = [];
    const say = (name, value) => {
      this.keys.get(name).textContent = value;
      if (value) said.push(`${name} ${value}`);
    };
    for (const part of spec.parts ?? []) {
      const v = part.value(view, i);
      say(part.name, Number.isFinite(v) ? (part.format ?? spec.height.format ?? number)(v) : '–');
    }
    if (spec.now) say(spec.nowName, spec.now(view, i));
    // Twice a second is more than a reader of the page aloud wants to hear: the label changes, but is not announced.
    this.canvas.setAttribute('aria-label', `${spec.title}, last minute. Now: ${said.join(', ')}`);
  }
}

/** scale explains the shades. */
function scale() {
  const bar = element('i', { class: 'scale' });
  bar.style.background = `linear-gradient(to right, ${[0, 1, 2, 3, 4].map((k) => shade(k, 5)).join(', ')})`;
  return element('span', { class: 'key' }, 'small', bar, 'large');
}

function line(g, ink, x0, y0, x1, y1) {
  g.strokeStyle = ink;
  g.lineWidth = 1;
  g.beginPath();
  g.moveTo(x0, y0);
  g.lineTo(x1, y1);
  g.stroke();
}

/** even returns a few round numbers from min to max. */
function even(min, max) {
  const step = nice((max - min) / 4);
  const marks = [];
  for (let v = Math.ceil(min / step - 1e-9) * step; v <= max * (1 + 1e-9); v += step) marks.push(v);
  return marks;
}

/** powers returns the powers of ten from min to max. */
function powers(min, max) {
  const marks = [];
  for (let v = 10 ** Math.ceil(Math.log10(min) - 1e-9); v <= max; v *= 10) marks.push(v);
  return marks;
}
