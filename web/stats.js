/** The live figures: asks `GET /stats` again and again, and draws rates from the differences. */
import { drawChart } from './chart.js';
import { gatewayAddress } from './gateway.js';
import { number, say } from './i18n.js';
import { byId, element } from './page.js';

const EVERY_MS = 2_000;
const MINUTES = 3;
const CAPACITY = (MINUTES * 60_000) / EVERY_MS + 1;

export function startStatsPanel() {
  const source = new StatsSource();
  const history = new History();
  const refresh = async () => {
    const { stats, problem } = await source.fetch();
    byId('stats-status').textContent = problem ?? '';
    if (stats) show(stats, history.add(stats));
    setTimeout(refresh, EVERY_MS);
  };
  refresh();
}

/**
 * In production the figures are not for everyone; the token goes along once the server has asked for it. What it has
 * refused is not tried again until the reader changes it.
 */
class StatsSource {
  #refused = null;

  async fetch() {
    const token = this.#refused === null ? '' : byId('token').value;
    if (token === this.#refused) return refusal(token);
    try {
      const headers = token ? { authorization: `Bearer ${token}` } : {};
      const response = await fetch(gatewayAddress('stats'), { headers });
      if (response.ok) return { stats: await response.json() };
      if (response.status !== 401) return { problem: say('statsFailed', { status: response.status }) };
      this.#refused = token;
      return refusal(token);
    } catch {
      return { problem: say('statsUnreachable') };
    }
  }
}

function refusal(token) {
  return { problem: say(token ? 'statsRefused' : 'statsNoToken') };
}

/** As many figures as the charts are wide. */
class History {
  #last = null;
  #rates = [];
  #connections = [];

  add({ total_notifications_sent: sent, total_connections: connections }) {
    const now = performance.now();
    if (this.#last !== null) {
      const seconds = (now - this.#last.at) / 1000;
      keep(this.#rates, Math.max(0, sent - this.#last.sent) / seconds); // a restarted server counts from 0 again
    }
    keep(this.#connections, connections);
    this.#last = { at: now, sent };
    return { rates: this.#rates, connections: this.#connections };
  }
}

function keep(values, value) {
  values.push(value);
  if (values.length > CAPACITY) values.shift();
}

function show(stats, { rates, connections }) {
  byId('stat-connections').textContent = number(stats.total_connections);
  byId('stat-sent').textContent = number(stats.total_notifications_sent);
  byId('stat-rate').textContent = rates.length > 0 ? number(rates.at(-1), 1) : '–';
  showRooms(stats.rooms);
  showChart(byId('chart-rate'), rates, 1);
  showChart(byId('chart-connections'), connections, 0);
}

function showRooms(rooms) {
  const largestFirst = Object.entries(rooms).sort(([, one], [, other]) => other - one);
  const items = largestFirst.map(([name, count]) => {
    const item = element('li');
    item.append(element('span', name), element('span', number(count), 'count'));
    return item;
  });
  byId('stat-rooms').replaceChildren(...(items.length > 0 ? items : [element('li', say('noRooms'), 'hint')]));
}

function showChart(svg, values, digits) {
  const format = (value) => number(value, digits);
  drawChart(svg, values, { capacity: CAPACITY, start: `−${MINUTES} min`, format });
  const name = svg.closest('figure').querySelector('figcaption').textContent;
  const [now, most] = [values.at(-1) ?? 0, Math.max(0, ...values)];
  svg.setAttribute('aria-label', say('chart', { name, now: format(now), most: format(most), minutes: MINUTES }));
}
