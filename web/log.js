/**
 * The message log: the newest first, bounded, filtered, and paused without losing count. It shows text and only text,
 * whatever a message says.
 */
import { say } from './i18n.js';
import { memberText, prettyJson } from './json.js';
import { byId, element } from './page.js';

const MOST_ENTRIES = 1_000;
const LONGEST_GIST = 300;

const KIND_OF_TYPE = new Map([
  ['system_notification', 'notification'],
  ['chat_message', 'chat'],
  ['user_joined', 'presence'],
  ['user_left', 'presence'],
  ['room_changed', 'room'],
  ['subscribed', 'room'],
  ['unsubscribed', 'room'],
  ['error', 'error'],
]);
const CLOCK_TIME = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
});
const KINDS = ['all', 'notification', 'chat', 'presence', 'room', 'connection', 'error'];

export class MessageLog {
  #entries = [];
  #waiting = [];
  #paused = false;
  #frame = null;
  #list = byId('log');
  #kind = byId('log-type');
  #text = byId('log-event');

  constructor() {
    this.#kind.append(...KINDS.map((kind) => new Option(say(`type.${kind}`), kind)));
    this.#kind.addEventListener('change', () => this.#redraw());
    this.#text.addEventListener('input', () => this.#redraw());
    byId('log-pause').addEventListener('click', () => this.#pause(!this.#paused));
    byId('log-clear').addEventListener('click', () => this.#clear());
    this.#count();
  }

  /** What came over the connection, as text and as read. */
  add(message, { raw, replayed, duplicate }) {
    const marks = [replayed && 'replayed', duplicate && 'duplicate'].filter(Boolean);
    this.#put({ message, raw, marks });
  }

  addSent(message) {
    this.#put({ message, raw: JSON.stringify(message), marks: ['outgoing'] });
  }

  /** Something that happened to the connection here, told by no message. */
  addOccurrence(type, detail) {
    this.#put({ message: { type }, raw: JSON.stringify({ type, ...detail }), marks: [] });
  }

  #put({ message, raw, marks }) {
    const kind = KIND_OF_TYPE.get(message.type) ?? 'connection';
    this.#waiting.push({ message, raw, marks, kind, at: new Date(), row: null });
    if (this.#waiting.length > MOST_ENTRIES) this.#waiting.shift();
    this.#draw();
  }

  /** At most once a frame: a busy server sends faster than anyone can look. */
  #draw() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      if (!this.#paused) this.#takeWaiting();
      this.#count();
    });
  }

  #takeWaiting() {
    const fresh = this.#waiting.splice(0);
    this.#entries.push(...fresh);
    for (const old of this.#entries.splice(0, Math.max(0, this.#entries.length - MOST_ENTRIES))) old.row?.remove();
    this.#list.prepend(...this.#rowsOf(fresh));
  }

  #redraw() {
    this.#list.replaceChildren(...this.#rowsOf(this.#entries));
    this.#count();
  }

  #rowsOf(entries) {
    const matching = entries.filter((entry) => this.#matches(entry)).reverse();
    return matching.map((entry) => {
      entry.row ??= row(entry);
      return entry.row;
    });
  }

  #matches({ kind, raw }) {
    const text = this.#text.value.trim().toLowerCase();
    return (this.#kind.value === 'all' || this.#kind.value === kind) && raw.toLowerCase().includes(text);
  }

  #pause(paused) {
    this.#paused = paused;
    byId('log-pause').setAttribute('aria-pressed', String(paused));
    byId('log-pause').textContent = say(paused ? 'pauseOn' : 'pauseOff');
    this.#draw();
  }

  #clear() {
    this.#entries = [];
    this.#waiting = [];
    this.#redraw();
  }

  #count() {
    const [shown, all, waiting] = [this.#list.childElementCount, this.#entries.length, this.#waiting.length];
    byId('log-count').textContent = say(waiting > 0 ? 'logWaiting' : 'logCount', { shown, all, waiting });
    byId('log-empty').hidden = all > 0;
  }
}

function row({ message, raw, marks, kind, at }) {
  const item = element('li');
  item.dataset.kind = kind;
  item.dataset.type = message.type;
  const summary = element('summary');
  summary.append(element('time', CLOCK_TIME.format(at)), element('span', message.type, 'type'));
  if (message.event) summary.append(element('span', message.event, 'event'));
  for (const mark of marks) {
    item.dataset[mark] = 'true';
    summary.append(element('span', say(mark), 'mark'));
  }
  summary.append(element('span', gist(message, raw), 'gist'));
  if (message.seq !== undefined) summary.append(element('span', `#${message.seq}`, 'seq'));
  const details = element('details');
  details.append(summary);
  // Most entries are never opened, so their text is laid out only when one is.
  details.addEventListener('toggle', () => details.append(wholeText(raw)), { once: true });
  item.append(details);
  return item;
}

/** A long text scrolls, so the keyboard must get to it. */
function wholeText(raw) {
  const text = element('pre', prettyJson(raw));
  text.tabIndex = 0;
  text.setAttribute('role', 'group');
  text.setAttribute('aria-label', say('entryText'));
  return text;
}

/** What tells one message from the next without opening it. */
function gist(message, raw) {
  const payload = memberText(raw, 'payload');
  if (payload !== null) return payload.slice(0, LONGEST_GIST);
  if (message.type === 'chat_message') {
    const between = [message.client_id, message.room].filter(Boolean).join(' → ');
    const said = typeof message.message === 'string' ? message.message : JSON.stringify(message.message);
    return `${between}: ${said}`.slice(0, LONGEST_GIST);
  }
  return String(message.message ?? message.room ?? raw).slice(0, LONGEST_GIST);
}
