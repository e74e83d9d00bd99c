// The page: what is where, and what changes it.
import { Chart } from './chart.js';
import { specs } from './charts.js';
import { Feed, View, missed } from './feed.js';
import { element, number, percent } from './format.js';
import { Front, drawWorkers } from './panels.js';
import { BurstPanel } from './burst.js';
import { Story } from './story.js';

const $ = (id) => document.getElementById(id);
const recent = 10_000; // ms that the tiles are about

const tiles = [
  ['deadlines met', (v, i) => value(v.attainment(recent, i), (x) => percent(x, 2), '%'), (v, i) => v.attainment(recent, i) < 0.99],
  ['accuracy, as profiled', (v, i) => value(v.accuracy(recent, i), (x) => percent(x, 2), '%')],
  ['requests', (v, i) => value(v.rate(recent, i, (l) => l.arrived), number, '/s')],
  ['missed', (v, i) => value(v.over(recent, i, missed), number, 'in 10 s'), (v, i) => v.over(recent, i, missed) > 0],
  ['waiting now', (v, i) => value(v.load(i).waiting, number, `${number(v.load(i).backlog_ms)} ms of work`)],
  ['slowest 1 %', (v, i) => value(slowest(v, i), number, 'ms')],
];

function value(x, format, unit) { return Number.isFinite(x) ? [format(x), unit] : ['–', '']; }

/** slowest is the largest of the ticks' 99th percentiles. */
function slowest(v, i) {
  let most = NaN;
  for (let k = Math.max(0, i - recent / v.tickMS + 1); k <= i; k++) {
    const l = v.load(k);
    if (l.met + l.late > 0 && !(l.latency_ms.p99 <= most)) most = l.latency_ms.p99;
  }
  return most;
}

let chosen = null; // the model's name
const feed = new Feed(() => update(), link);
const current = () => feed.models.find((m) => m.name === chosen) ?? feed.models[0];
const story = new Story($('story'), current);
const front = new Front($('front'));
const burst = new BurstPanel($('burst'), feed, current);
const charts = specs((id) => story.show({ id })).map((spec) => new Chart(spec, $('charts'), () => drawCharts()));
const cells = tiles.map(([name]) => {
  const dd = element('dd', {}, '–');
  $('tiles').append(element('div', {}, element('dt', {}, name), dd));
  return dd;
});

function link(state, since) {
  document.body.classList.toggle('gone', state === 'gone');
  $('link').dataset.state = state;
  $('link').textContent = state;
  $('gone').hidden = state !== 'gone';
  const text = `The server does not answer since ${since.toLocaleTimeString()}. What you see is old. Trying again every second.`;
  if (state === 'gone' && $('gone').textContent !== text) $('gone').textContent = text;
}

/** choices offers the models, each with its rate. */
function choices() {
  const box = $('models'), names = feed.models.map((m) => m.name);
  box.hidden = names.length < 2;
  if (box.dataset.names !== names.join('\n')) {
    box.dataset.names = names.join('\n');
    box.replaceChildren(...names.map((name) => {
      const b = element('button', { type: 'button' }, name);
      b.addEventListener('click', () => {
        chosen = name;
        history.replaceState(null, '', `#${encodeURIComponent(name)}`);
        update();
      });
      return b;
    }));
  }
  for (const b of box.children) b.setAttribute('aria-pressed', b.textContent === current().name);
}

function drawCharts() {
  if (feed.ticks.length === 0 || !current()) return;
  const view = new View(feed, current().name);
  for (const c of charts) c.draw(view);
}

function update() {
  if (document.hidden || feed.ticks.length === 0) return;
  const tick = feed.ticks[feed.ticks.length - 1];
  $('link').textContent = tick.draining ? 'draining' : tick.ready ? 'live' : 'not ready';
  const model = current();
  if (!model) {
    $('about').textContent = 'no model is served';
    return;
  }
  choices();
  document.title = `${model.name} – weft`;
  $('about').textContent = `${model.name} ${model.version} · ${model.subnets.length} subnets of ${percent(model.subnets[0].accuracy)} to ` +
    `${percent(model.subnets[model.subnets.length - 1].accuracy)} % · policy ${model.policy} · weft ${feed.hello.version}`;
  const view = new View(feed, model.name);
  tiles.forEach(([, read, bad], k) => {
    const [text, unit] = read(view, view.last);
    cells[k].replaceChildren(`${text} `, element('small', {}, unit));
    cells[k].className = bad?.(view, view.last) ? 'bad' : '';
  });
  drawCharts();
  front.draw(view);
  drawWorkers($('workers'), feed);
  burst.draw();
  story.begin(view);
  document.body.dataset.ticks = feed.ticks.length;
}

try {
  chosen = decodeURIComponent(location.hash.slice(1));
} catch { /* no link of this page: the first model */ }
document.addEventListener('visibilitychange', update);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', update);
