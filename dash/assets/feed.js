// The server's events, and what is kept of them.

/** Feed follows a server, over its restarts. It calls onchange() after every event, and onlink(state, since) when the
 *  server comes or goes: 'live' or 'gone', since a Date. */
export class Feed {
  constructor(onchange, onlink) {
    this.onchange = onchange;
    this.onlink = onlink;
    this.forget();
    this.connect();
    setInterval(() => this.watch(), 1000);
  }

  forget() {
    this.hello = null;
    this.models = [];
    this.ticks = []; // of the last minute, oldest first
    this.missed = 0; // events of the past that are still to come
  }

  connect() {
    const source = new EventSource('events');
    this.source = source;
    this.heard = Date.now();
    const on = (name, f) => source.addEventListener(name, (e) => {
      this.heard = Date.now();
      f(JSON.parse(e.data));
      if (this.missed > 0) this.missed--;
      if (this.missed === 0) this.onchange();
    });
    on('hello', (hello) => {
      this.forget();
      this.hello = hello;
      this.missed = hello.missed + 1;
      this.onlink('live', new Date());
    });
    on('models', (models) => {
      this.models = models;
      this.ticks = [];
    });
    on('tick', (tick) => {
      this.ticks.push(tick);
      if (this.ticks.length > this.hello.window) this.ticks.shift();
    });
    // A browser gives up on a server that refuses, and waits long for one that is away: try again here.
    source.onerror = () => this.retry();
  }

  retry() {
    this.source.close();
    this.onlink('gone', new Date(this.heard));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), 1000);
  }

  /** watch notices a server that hangs: its connection stays, and nothing comes. */
  watch() {
    if (this.source.readyState === EventSource.OPEN && Date.now() - this.heard > 12 * (this.hello?.tick_ms ?? 1000)) this.retry();
  }
}

/** View is one model's share of a feed. */
export class View {
  constructor(feed, name) {
    this.index = Math.max(0, feed.models.findIndex((m) => m.name === name));
    this.model = feed.models[this.index];
    this.ticks = feed.ticks;
    this.tickMS = feed.hello.tick_ms;
    this.span = feed.hello.window * feed.hello.tick_ms;
  }

  get last() { return this.ticks.length - 1; }

  load(i) { return this.ticks[i].models[this.index]; }

  /** over sums f(load) over the milliseconds that end with tick i. */
  over(ms, i, f) {
    let sum = 0;
    for (let k = Math.max(0, i - Math.round(ms / this.tickMS) + 1); k <= i; k++) sum += f(this.load(k));
    return sum;
  }

  /** rate is how often a second f(load) counted, over those milliseconds. */
  rate(ms, i, f) {
    let time = 0;
    for (let k = Math.max(0, i - Math.round(ms / this.tickMS) + 1); k <= i; k++) time += this.ticks[k].dt_ms;
    return this.over(ms, i, f) * 1000 / Math.max(time, 1);
  }

  /** attainment is the share of requests that met their deadline, of those that ended otherwise than withdrawn; NaN: none. */
  attainment(ms, i) {
    return this.over(ms, i, (l) => l.met) / this.over(ms, i, (l) => l.met + missed(l));
  }

  /** accuracy is the mean profiled accuracy over answered requests; NaN: none. */
  accuracy(ms, i) {
    return this.over(ms, i, (l) => l.accuracy * (l.met + l.late)) / this.over(ms, i, (l) => l.met + l.late);
  }

  /** shares are those of the subnets in the images of those milliseconds. */
  shares(ms, i) {
    const sum = this.model.subnets.map((_, s) => this.over(ms, i, (l) => l.subnets[s]));
    const all = sum.reduce((a, b) => a + b, 0);
    return sum.map((n) => n / Math.max(all, 1));
  }
}

/** missed counts the requests that failed their deadline. */
export function missed(load) { return load.late + load.refused + load.failed; }
