/** A small line chart over the last minutes, as SVG. Knows nothing of what it draws. */

const SVG = 'http://www.w3.org/2000/svg';
const HEIGHT = 76;
const TOP = 14;
const BOTTOM = 62;

/**
 * @param {SVGSVGElement} svg drawn anew
 * @param {number[]} values the newest last
 * @param {{ capacity: number, start: string, format: (value: number) => string }} options how many values the width
 *     stands for, and what to write at its left end
 */
export function drawChart(svg, values, { capacity, start, format }) {
  const width = svg.clientWidth || 300;
  const most = niceBound(Math.max(...values, 1));
  const x = (index) => width - 4 - (values.length - 1 - index) * ((width - 4) / (capacity - 1));
  const y = (value) => BOTTOM - (value / most) * (BOTTOM - TOP);
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`);
  svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
  svg.replaceChildren(
    shape('line', { class: 'grid', x1: 0, x2: width, y1: TOP, y2: TOP }),
    shape('line', { class: 'grid', x1: 0, x2: width, y1: BOTTOM, y2: BOTTOM }),
    label(0, TOP - 4, format(most)),
    label(0, HEIGHT - 2, start),
  );
  if (values.length === 0) return;
  const area = `${x(0).toFixed(1)},${BOTTOM} ${points.join(' ')} ${width - 4},${BOTTOM}`;
  svg.append(
    shape('polygon', { class: 'area', points: area }),
    shape('polyline', { class: 'curve', points: points.join(' ') }),
    shape('circle', { class: 'now', cx: width - 4, cy: y(values.at(-1)), r: 3 }),
  );
}

/** The next of 1, 2, 5, 10, 20, ...: a scale that a reader can divide, and that does not change at every value. */
export function niceBound(value) {
  const magnitude = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((candidate) => candidate * magnitude >= value);
  return step * magnitude;
}

function shape(tag, attributes) {
  const created = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
  return created;
}

function label(x, y, text) {
  const created = shape('text', { x, y });
  created.textContent = text;
  return created;
}
