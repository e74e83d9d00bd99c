// What happened to one request.
import { element, number, percent, shade, svg } from './format.js';

const left = 78, right = 14, rowHeight = 24;

const parts = [
  ['waited', 'arrival_ms', 'dispatched_ms', 'wait'],
  ['woke the worker', 'dispatched_ms', 'began_ms', 'wake'],
  ['gathered', 'began_ms', 'started_ms', 'gather'],
  ['computed', 'started_ms', 'computed_ms', 'compute'],
  ['handed out', 'computed_ms', 'done_ms', 'scatter'],
];

/** Story looks requests up and draws them. */
export class Story {
  constructor(article, current) {
    this.plot = article.querySelector('.plot');
    this.result = article.querySelector('.result');
    this.keys = article.querySelector('.keys');
    this.current = current; // returns the model that is shown
    new ResizeObserver(() => this.story && this.draw(this.story, this.model)).observe(this.plot);
    for (const b of article.querySelectorAll('[data-pick]')) b.addEventListener('click', () => this.show({ pick: b.dataset.pick }));
  }

  /** begin shows a request where none is shown yet. */
  begin(view) {
    if (this.shown || !view.ticks.some((_, i) => view.load(i).met > 0)) return;
    this.show({ pick: 'slowest' });
  }

  async show(which) {
    const model = this.current();
    if (!model) return;
    this.shown = true;
    try {
      const answer = await fetch(`request?${new URLSearchParams({ model: model.name, ...which })}`);
      const body = await answer.json();
      if (!answer.ok) throw new Error(body.error);
      this.draw(body, model);
    } catch (e) {
      this.story = null;
      this.plot.replaceChildren();
      this.keys.replaceChildren();
      this.result.replaceChildren(element('span', { class: 'error' }, e.message));
    }
  }

  draw(s, model) {
    this.story = s;
    this.model = model;
    const W = Math.max(this.plot.clientWidth, 260);
    const inBatch = s.subnet >= 0;
    const end = Math.max(s.done_ms, s.deadline_ms), span = Math.max(end - s.arrival_ms, 0.01);
    const from = s.arrival_ms - 0.03 * span, to = end + 0.05 * span;
    const x = (ms) => left + (Math.min(Math.max(ms, from), to) - from) / (to - from) * (W - left - right);
    const workers = [...new Set(s.batches.map((b) => b.worker))].sort((a, b) => a - b);
    const height = 44 + rowHeight * (1 + workers.length) + 24;
    const root = svg('svg', { viewBox: `0 0 ${W} ${height}`, role: 'img', 'aria-label': this.tell(s, model) });
    const bar = (row, a, b, kind, title, fill) => root.append(svg('rect', {
      x: x(a), y: 34 + row * rowHeight, width: Math.max(x(b) - x(a), 1), height: rowHeight - 7, rx: 3, class: kind, ...(fill && { fill }),
    }, svg('title', {}, title)));
    const label = (row, text) => root.append(svg('text', { x: left - 10, y: 46 + row * rowHeight, 'text-anchor': 'end', class: row ? '' : 'strong' }, text));
    label(0, 'request');
    const pieces = inBatch ? parts : [['waited', 'arrival_ms', 'done_ms', 'wait']];
    this.keys.replaceChildren();
    for (const [name, a, b, kind] of pieces) {
      const took = `${number(s[b] - s[a])} ms`;
      bar(0, s[a], s[b], kind, `${name} ${took}`);
      this.keys.append(element('span', { class: 'key' }, element('i', { class: kind }), name, element('b', {}, took)));
    }
    workers.forEach((w, k) => {
      label(k + 1, `worker ${w}`);
      for (const b of s.batches.filter((b) => b.worker === w)) {
        const n = b.model === model.name ? model.subnets.length : 1;
        bar(k + 1, b.from_ms, b.to_ms, b.own ? 'own' : 'other', `${b.model} ${b.model === model.name ? model.subnets[b.subnet].name : ''}, ${b.images} images, ${number(b.to_ms - b.from_ms)} ms`, shade(b.subnet, n));
      }
    });
    const bottom = height - 22;
    root.append(svg('line', { x1: x(s.arrival_ms), x2: x(s.arrival_ms), y1: 20, y2: bottom, class: 'mark' }),
      svg('text', { x: x(s.arrival_ms), y: 15 }, 'came'),
      svg('line', { x1: x(s.deadline_ms), x2: x(s.deadline_ms), y1: 20, y2: bottom, class: 'deadline' }),
      svg('text', { x: x(s.deadline_ms), y: 15, 'text-anchor': 'end', class: 'deadline' }, 'deadline'));
    const steps = W < 520 ? 2 : 4;
    for (let k = 0; k <= steps; k++) {
      const ms = (end - s.arrival_ms) * k / steps;
      root.append(svg('text', { x: x(s.arrival_ms + ms), y: height - 6, 'text-anchor': k === 0 ? 'start' : k === steps ? 'end' : 'middle' }, `${number(ms)} ms`));
    }
    this.plot.replaceChildren(root);
    this.result.textContent = this.tell(s, model);
  }

  /** tell says it in words. */
  tell(s, model) {
    const left = s.deadline_ms - s.done_ms;
    const deadline = left >= 0 ? `${number(left)} ms before its deadline` : `${number(-left)} ms after its deadline`;
    const ahead = `${number(s.ahead)} ${s.ahead === 1 ? 'request' : 'requests'} waited when it came`;
    if (s.subnet < 0) {
      return `Refused (${s.outcome}) after ${number(s.done_ms - s.arrival_ms)} ms, ${deadline}; ${ahead}.`;
    }
    const subnet = model.subnets[s.subnet];
    return `Answered ${deadline} (${s.outcome}) by ${subnet.name} of ${percent(subnet.accuracy, 2)} %, on worker ${s.worker}, ` +
      `in a batch of ${s.batch_images} with ${s.mates} other ${s.mates === 1 ? 'request' : 'requests'}; ${ahead}.` +
      (s.attempts > 1 ? ` It took ${s.attempts} attempts, as workers were lost.` : '');
  }
}
