// What the charts show.
import { nice, number, percent, shade, tidy } from './format.js';
import { missed } from './feed.js';

const second = 1000; // over which what jumps from tick to tick is taken

/** most returns a round number above all that f(i) gives, at least least. */
function most(view, least, f) {
  let m = 0;
  for (let i = 0; i <= view.last; i++) {
    const v = f(i);
    if (v > m) m = v;
  }
  return nice(Math.max(m * 1.05, least), [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10]);
}

const perSecond = (f) => (view, i) => view.rate(second / 2, i, f);
const arrived = perSecond((l) => l.arrived);
const whenAny = (count, f) => (view, i) => (count(view.load(i)) > 0 ? f(view.load(i)) : NaN);
const answered = (l) => l.met + l.late;
const dispatched = (l) => l.batches.reduce((a, b) => a + b, 0);
const ms = (x) => `${number(x)} ms`;
const msMark = (x) => `${tidy(x)} ms`;

/** accuracies are the bounds of the subnets', a little apart. */
function accuracies(view) {
  const list = view.model.subnets.map((s) => s.accuracy);
  const low = list[0], high = list[list.length - 1];
  const pad = Math.max((high - low) * 0.08, 0.002);
  return { low: low - pad, high: Math.min(high + pad, 1) };
}

/** specs returns the charts. choose(id) is called with the request that the viewer clicks on. */
export function specs(choose) {
  return [
    {
      id: 'load', title: 'Requests a second',
      height: { max: (v) => most(v, 10, (i) => arrived(v, i)) },
      parts: [
        { name: 'arrived', colour: '--blue', kind: 'line', value: arrived },
        { name: 'in time', colour: '--green', kind: 'area', width: 1, value: perSecond((l) => l.met) },
        { name: 'missed', colour: '--red', kind: 'area', alpha: 0.5, value: perSecond(missed) },
      ],
    },
    {
      id: 'attainment', title: 'Deadlines met',
      height: { min: lowest, max: () => 1, mark: (x) => `${tidy(100 * x)} %` },
      parts: [
        { name: 'of what ended in the second before', colour: '--green', kind: 'line', value: (v, i) => v.attainment(second, i), format: (x) => `${percent(x, 2)} %` },
      ],
    },
    {
      id: 'accuracy', title: 'Accuracy of the answers, as profiled',
      height: { min: (v) => accuracies(v).low, max: (v) => accuracies(v).high, mark: (x) => `${tidy(100 * x)} %` },
      parts: [
        { name: 'mean', colour: '--blue', kind: 'line', value: (v, i) => v.accuracy(second, i), format: (x) => `${percent(x, 2)} %` },
      ],
    },
    {
      id: 'subnets', title: 'Subnets chosen, by images',
      height: { max: () => 1, mark: (x) => `${percent(x, 0)} %` },
      stack: { value: (v, i) => v.shares(second / 2, i), colour: (v, k) => shade(k, v.model.subnets.length) },
      nowName: 'mostly', now: (v, i) => {
        const shares = v.shares(second, i), top = Math.max(...shares);
        return top > 0 ? `${v.model.subnets[shares.indexOf(top)].name} ${percent(top, 0)} %` : '–';
      },
    },
    {
      id: 'batches', title: 'Images in a batch',
      height: { min: () => 0.5, max: (v) => v.model.max_batch + 0.5, marks: (v) => [...new Set([1, 4, 8, 16, 32, 64].filter((b) => b <= v.model.max_batch).concat(v.model.max_batch))] },
      cells: { value: (v, i) => v.load(i).batches },
      nowName: 'mean', now: (v, i) => {
        const n = v.over(second, i, dispatched);
        return n > 0 ? number(v.over(second, i, (l) => l.batches.reduce((a, b, k) => a + b * (k + 1), 0)) / n) : '–';
      },
    },
    {
      id: 'queue', title: 'Queue',
      height: { max: (v) => most(v, 1, (i) => v.load(i).backlog_ms), mark: msMark, format: ms },
      parts: [
        { name: 'work that waits', colour: '--purple', kind: 'area', value: (v, i) => v.load(i).backlog_ms },
      ],
      nowName: 'requests', now: (v, i) => number(v.load(i).waiting),
    },
    {
      id: 'slack', title: 'Time left until the deadline when dispatched',
      height: { min: (v) => Math.min(0, -most(v, 0.1, (i) => -v.load(i).slack_ms.p1) + 0.1), max: (v) => most(v, 1, (i) => v.load(i).slack_ms.p50), mark: msMark, format: ms },
      parts: [
        { name: 'median', colour: '--blue', kind: 'line', value: whenAny(answered, (l) => l.slack_ms.p50) },
        { name: 'shortest 1 %', colour: '--orange', kind: 'line', value: whenAny(answered, (l) => l.slack_ms.p1) },
      ],
    },
    {
      id: 'pace', title: 'Time of batches over their profile',
      height: { max: (v) => most(v, 2, (i) => v.load(i).pace), mark: (x) => `${tidy(x)}×`, format: (x) => `${number(x)}×` },
      parts: [{ name: 'of late', colour: '--orange', kind: 'line', value: (v, i) => v.load(i).pace }],
    },
    {
      id: 'requests', title: 'Requests: time to the answer; choose one for its story', choose,
      height: { log: true, min: (v) => floor(v), max: (v) => most(v, 10, (i) => longest(v.load(i))), mark: msMark, format: ms },
      parts: [
        { name: 'median', colour: '--blue', kind: 'line', width: 1, value: whenAny(answered, (l) => l.latency_ms.p50) },
        { name: 'slowest 1 %', colour: '--orange', kind: 'line', width: 1, value: whenAny(answered, (l) => l.latency_ms.p99) },
      ],
      dots: {
        value: (v, i) => v.load(i).requests.map((r) => ({
          id: r.id, at_ms: r.at_ms, y: r.latency_ms, colour: r.subnet < 0 ? 'gray' : shade(r.subnet, v.model.subnets.length),
          bad: r.outcome !== 'met' && r.outcome !== 'cancelled',
        })),
      },
    },
  ];
}

function longest(load) { return Math.max(load.latency_ms.p99, ...load.requests.map((r) => r.latency_ms)); }

/** floor is the power of ten below all latencies. */
function floor(view) {
  let low = Infinity;
  for (let i = 0; i <= view.last; i++) {
    for (const r of view.load(i).requests) if (r.subnet >= 0 && r.latency_ms < low) low = r.latency_ms;
  }
  return Number.isFinite(low) && low > 0 ? 10 ** Math.floor(Math.log10(low)) : 0.1;
}

/** lowest is where the axis of attainment begins: close to 1 as long as all is well. */
function lowest(view) {
  let low = 1;
  for (let i = 0; i <= view.last; i++) {
    const a = view.attainment(second, i);
    if (a < low) low = a;
  }
  return [0.99, 0.9, 0.5].find((x) => low >= x) ?? 0;
}
