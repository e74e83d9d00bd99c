// Numbers as people read them.

/** number prints about three digits: 0.042, 3.14, 27.2, 12,300. */
export function number(x) {
  const size = Math.abs(x);
  if (size >= 100 || Number.isInteger(x)) return Math.round(x).toLocaleString('en');
  return x.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

/** tidy prints a round number, as on an axis. */
export function tidy(x) {
  return (Number(x.toPrecision(4)) || 0).toLocaleString('en', { maximumSignificantDigits: 4 });
}

/** percent prints a share of 1. What is not all never reads as 100. */
export function percent(x, digits = 1) {
  if (x < 1) x = Math.min(x, 1 - 10 ** -(digits + 2));
  return (100 * x).toFixed(digits);
}

/** nice returns the least of 1, 2, 5, 10, ... (or of other steps) that is no less than x. */
export function nice(x, steps = [1, 2, 5, 10]) {
  const ten = 10 ** Math.floor(Math.log10(x));
  return steps.map((k) => k * ten).find((v) => v >= x * (1 - 1e-9));
}

/** element makes an element with attributes and children. */
export function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

/** svg makes an element of a drawing. */
export function svg(name, attributes = {}, ...children) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const stops = [[58, 76, 140], [38, 130, 142], [40, 170, 128], [122, 200, 80], [240, 210, 50]];

/** shade returns the colour of subnet i of n: dark for the small, bright for the large. */
export function shade(i, n) {
  const at = n > 1 ? i / (n - 1) * (stops.length - 1) : 0;
  const k = Math.min(Math.floor(at), stops.length - 2);
  const c = stops[k].map((v, j) => Math.round(v + (at - k) * (stops[k + 1][j] - v)));
  return `rgb(${c})`;
}
