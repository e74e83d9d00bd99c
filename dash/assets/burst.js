// The demonstration burst.
import { element, number, percent } from './format.js';

/** round keeps two digits. */
function round(x) {
  const ten = 10 ** Math.max(0, Math.floor(Math.log10(x)) - 1);
  return Math.round(x / ten) * ten;
}

/** capacity is how many images a second the workers get through in full batches of the subnet. */
function capacity(model, subnet, workers) {
  return workers * model.max_batch / subnet.latency_ms[model.max_batch - 1] * 1000;
}

const most = 20000; // requests a second that a preset asks for

/** presets returns orders that suit the model: easy for its largest subnet, too much for it at times, and too much at last. */
function presets(model, workers) {
  const largest = model.subnets[model.subnets.length - 1];
  const full = capacity(model, largest, workers), limit = Math.min(0.8 * capacity(model, model.subnets[0], workers), most);
  const slo_ms = Math.max(20, round(6 * largest.latency_ms[0]));
  const rate = (x) => round(Math.max(1, Math.min(x, limit)));
  return {
    calm: { shape: 'steady', rate: rate(0.3 * full), cv2: 1, seconds: 15, slo_ms },
    burst: { shape: 'steady', rate: rate(1.1 * full), cv2: 8, seconds: 15, slo_ms },
    ramp: { shape: 'ramp', rate: rate(2 * full), cv2: 2, seconds: 25, slo_ms },
  };
}

/** BurstPanel starts bursts, stops them and says what came of them. */
export class BurstPanel {
  constructor(article, feed, current) {
    this.feed = feed;
    this.current = current; // returns the model that is shown
    this.form = article.querySelector('form');
    this.bar = article.querySelector('progress');
    this.result = article.querySelector('.result');
    for (const b of article.querySelectorAll('[data-preset]')) b.addEventListener('click', () => this.fill(b.dataset.preset));
    this.form.addEventListener('submit', (e) => {
      e.preventDefault();
      this.start();
    });
    this.form.elements.stop.addEventListener('click', () => this.call('DELETE'));
  }

  fill(preset) {
    const model = this.current();
    if (!model) return;
    const workers = this.feed.ticks[this.feed.ticks.length - 1]?.workers.length || 1;
    for (const [name, value] of Object.entries(presets(model, workers)[preset])) this.form.elements[name].value = value;
  }

  start() {
    const f = this.form.elements;
    const order = { model: this.current().name, shape: f.shape.value, seed: Date.now() % 1e6 };
    for (const name of ['rate', 'cv2', 'seconds', 'slo_ms']) order[name] = Number(f[name].value);
    this.call('POST', JSON.stringify(order));
  }

  async call(method, body) {
    try {
      const answer = await fetch('burst', { method, body });
      this.error = answer.ok ? '' : (await answer.json()).error;
    } catch (e) {
      this.error = `the server does not answer: ${e.message}`;
    }
    this.draw();
  }

  draw() {
    if (this.current() !== this.model) {
      this.model = this.current();
      this.fill('burst');
    }
    const b = this.feed.ticks[this.feed.ticks.length - 1]?.burst;
    this.form.querySelector('[type=submit]').disabled = Boolean(b?.running);
    this.form.elements.stop.disabled = !b?.running;
    if (this.error) {
      this.result.replaceChildren(element('span', { class: 'error' }, this.error));
      this.bar.hidden = true;
    } else if (b) {
      this.bar.hidden = !b.running;
      this.bar.value = b.sent / Math.max(b.planned, 1);
      const text = tell(b);
      if (this.result.textContent !== text) this.result.textContent = text;
    }
  }
}

function tell(b) {
  const ended = b.met + b.late + b.refused + b.failed;
  let text = `${b.running ? 'Running' : b.error ? `Ended: ${b.error}` : 'Done'}, ${b.model}: ${number(b.sent)} of ${number(b.planned)} sent in ${number(b.elapsed_s)} s`;
  if (ended > 0) text += `; ${percent(b.met / ended, 2)} % in time`;
  if (b.met > 0) text += ` at ${percent(b.accuracy, 2)} % accuracy (profiled)`;
  text += `; ${number(b.late)} late, ${number(b.refused)} refused, ${number(b.failed)} failed`;
  if (!b.running && b.latency_ms.p50 > 0) text += `; p50 ${number(b.latency_ms.p50)} ms, p99 ${number(b.latency_ms.p99)} ms`;
  return `${text}.`;
}
