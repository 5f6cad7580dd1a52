/**
 * The gateway's client: one subscription that outlives its connections. Types and event payloads: `client.d.ts`.
 *
 * It owns reconnecting, resuming at the last notification that arrived, noticing a dead connection, and the rooms to
 * come back to. It never queues chat, touches no page, and keeps no position unless handed a `storage`.
 *
 *     const client = connect('https://notifications.example', { userId: '456', room: 'tema_7', storage: sessionStorage });
 *     client.on('notification', (notification, { replayed }) => show(notification));
 *     client.on('gap', () => location.reload());
 */

import { Cursor } from './cursor.js';
import { Identity } from './identity.js';
import { Listeners } from './listeners.js';
import { backoffDelay, isFinalCode } from './reconnecting.js';
import { RoomMemory } from './room-memory.js';

export { backoffDelay, isFinalCode };

const BACKOFF = { baseMs: 500, maxMs: 30_000, stableMs: 10_000 };
const HEARTBEAT = { idleMs: 30_000, timeoutMs: 10_000 };

const CLOSED_BY_CLIENT = 1000;
const GOING_AWAY = 1001;
const LOST = 1006;
const REPLACED = 4001;

/** Server messages that are handed on as they came, and the event that carries each. */
const EVENT_OF_MESSAGE = new Map([
  ['chat_message', 'chat'],
  ['user_joined', 'joined'],
  ['user_left', 'left'],
  ['room_changed', 'room'],
  ['subscribed', 'subscribed'],
  ['unsubscribed', 'unsubscribed'],
  ['gap', 'gap'],
  ['dropped', 'dropped'],
  ['error', 'error'],
]);

const SYSTEM_CLOCK = {
  now: () => performance.now(),
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
  clearTimeout: (timer) => clearTimeout(timer),
};

/**
 * Opens a client that stays connected until `close()` or until the server refuses it for good.
 * @param {string | URL} url the gateway's address (http, https, ws or wss); `/ws/{clientId}` is added to it
 * @param {import('./client.js').ConnectOptions} [options]
 */
export function connect(url, options) {
  return new NotificationClient(url, options);
}

export class NotificationClient {
  #options;
  #base;
  #WebSocket;
  #clock;
  #listeners = new Listeners();
  #rooms;
  #identity;
  #cursor;
  #state = 'connecting';
  #socket = null;
  #beginning = null;
  #timer;
  #failures = 0;
  #greetedAt = null;
  #returnAt = null;
  #messagesHeard = 0;
  #heardAt = 0;
  #pings = [];
  #whenOnline = () => this.#networkIsBack();

  /**
   * @param {string | URL} url
   * @param {import('./client.js').ConnectOptions} [options]
   */
  constructor(url, options = {}) {
    this.#options = { random: Math.random, ...options, backoff: { ...BACKOFF, ...options.backoff } };
    this.#options.heartbeat = { ...HEARTBEAT, ...options.heartbeat };
    this.#base = new URL(url, globalThis.location?.href);
    const isWebAddress = /^(http|ws)s?:$/.test(this.#base.protocol);
    if (!isWebAddress) throw new TypeError(`the address must begin with http, https, ws or wss: ${url}`);
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.#WebSocket) throw new TypeError('there is no WebSocket here: give a class as the option WebSocket');
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#rooms = new RoomMemory(options.room ?? null, options.rooms);
    this.#identity = new Identity(this.#base, options);
    const keyOfOlderClients = options.clientId && `exposia-notifications:${options.clientId}`;
    this.#cursor = new Cursor(options.storage, positionKey(this.#identity), keyOfOlderClients);
    this.#begin();
  }

  get state() { return this.#state; }
  get clientId() { return this.#identity.id; }
  get room() { return this.#rooms.room; }
  get rooms() { return this.room === null ? this.#rooms.further : [this.room, ...this.#rooms.further]; }
  get position() { return this.#cursor.position; }

  on(type, listener) { return this.#listeners.on(type, listener); }
  off(type, listener) { this.#listeners.off(type, listener); }

  join(room) { this.#askForRoom('join_room', room); }
  subscribe(room) { this.#askForRoom('subscribe', room); }
  unsubscribe(room) { this.#askForRoom('unsubscribe', room); }
  /** Throws when not connected: a chat line delivered minutes late is worse than one refused. */
  chat(message, room) { this.#send({ type: 'chat_message', message, room }); }

  ping() {
    return new Promise((resolve, reject) => {
      this.#send({ type: 'ping' });
      this.#pings.push({ sentAt: this.#clock.now(), resolve, reject });
      // Only the first one waiting sets the limit: a page that pings often must not put off noticing the loss.
      if (this.#pings.length === 1) this.#expectAnswer();
    });
  }

  close() {
    if (this.#state === 'closed') return;
    this.#hangUp();
    this.#finish({ code: CLOSED_BY_CLIENT, reason: '', byClient: true });
  }

  /** Connects anew at once, whatever the state, resuming at the position held. */
  reconnect() {
    this.#hangUp();
    this.#identity.take();
    this.#cursor.keepUnder(positionKey(this.#identity));
    this.#failures = 0;
    this.#returnAt = null;
    this.#setState('connecting');
    this.#begin();
  }

  /** Loses the connection as a broken network would, to try out recovery; comes back by itself. */
  drop(delayMs) {
    if (this.#socket === null) return;
    if (delayMs !== undefined) this.#returnAt = this.#clock.now() + delayMs;
    this.#lost(LOST, 'dropped on purpose');
  }

  /** Dials when the name is settled, in a microtask at the earliest: what is closed in the same turn never dials. */
  #begin() {
    globalThis.addEventListener?.('online', this.#whenOnline);
    const beginning = Symbol('beginning');
    this.#beginning = beginning;
    this.#expectGreeting();
    this.#identity.settled.then(() => {
      if (this.#beginning === beginning) this.#dial();
    });
  }

  #dial() {
    this.#beginning = null;
    let socket;
    try {
      socket = new this.#WebSocket(socketUrl(this.#base, this.#options, this.#identity, this.#rooms, this.position));
    } catch (error) {
      queueMicrotask(() => { throw error; }); // the page's own: its token could not be had, or it may not dial there
      return this.#lost(LOST, 'there was nothing to dial');
    }
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    socket.onerror = () => {}; // says nothing that the close event, which always follows, does not
    this.#socket = socket;
    this.#greetedAt = null;
    this.#expectGreeting();
  }

  #expectGreeting() {
    this.#schedule(this.#options.heartbeat.timeoutMs, () => this.#lost(LOST, 'the server did not answer'));
  }

  #receive(raw) {
    this.#messagesHeard += 1;
    this.#heardAt = this.#clock.now();
    const message = parseObject(raw) ?? { type: 'error', message: 'the server sent something that is no JSON object' };
    const notification = message.type === 'system_notification';
    const delivery = { raw, replayed: false, duplicate: false, ...(notification && this.#cursor.accept(message)) };
    this.#handle(message, delivery);
    this.#listeners.emit('message', message, delivery);
  }

  #handle(message, delivery) {
    if (message.type === 'connection_established') return this.#greet(message, delivery);
    if (message.type === 'pong') return this.#pong(message, delivery);
    if (message.type === 'reconnect') return this.#planReturn(message);
    if (message.type === 'token_expired') return this.#refresh();
    if (message.type === 'system_notification') {
      if (!delivery.duplicate) this.#listeners.emit('notification', message, delivery);
      return;
    }
    if (message.type === 'gap') this.#cursor.missed(message);
    this.#rooms.heard(message);
    const event = EVENT_OF_MESSAGE.get(message.type);
    if (event) this.#listeners.emit(event, message, delivery);
  }

  #greet(message, delivery) {
    this.#greetedAt = this.#clock.now();
    this.#rooms.greeted(message);
    const outcome = this.#cursor.greeted(message);
    this.#awaitSilence();
    this.#setState('open');
    this.#listeners.emit('open', message, delivery);
    if (outcome === null) return;
    this.#listeners.emit('recovered', { recovered: outcome.recovered, replayed: outcome.replayed });
    if (!outcome.recovered) this.#listeners.emit('gap', { type: 'gap', from: outcome.from, to: message.seq });
  }

  #pong(message, delivery) {
    const ping = this.#pings.shift();
    if (!ping) return;
    const roundTripMs = this.#clock.now() - ping.sentAt;
    ping.resolve(roundTripMs);
    this.#listeners.emit('pong', { ...message, roundTripMs }, delivery);
  }

  /** The server spreads its clients' return over time; until it closes, this connection is still good. */
  #planReturn({ after_ms: delayMs }) {
    if (!(delayMs >= 0)) return;
    this.#returnAt = this.#clock.now() + delayMs;
    this.#schedule(delayMs, () => this.#lost(GOING_AWAY, 'the server asked to reconnect'));
  }

  /** Without a fresh token the server closes with 4003, which is final. */
  #refresh() {
    const { token } = this.#options;
    if (typeof token === 'function') this.#send({ type: 'refresh', token: token() });
  }

  #lost(code, reason) {
    this.#hangUp();
    // A name made here is nobody else's: the one that replaced this client is in a copy of its tab.
    if (code === REPLACED && this.#identity.isOwn) this.#identity.renew();
    else if (isFinalCode(code)) return this.#finish({ code, reason, byClient: false });
    const { backoff, random } = this.#options;
    const now = this.#clock.now();
    if (this.#greetedAt !== null && now - this.#greetedAt >= backoff.stableMs) this.#failures = 0;
    const plannedMs = this.#returnAt === null ? null : Math.max(0, this.#returnAt - now);
    const delayMs = Math.round(plannedMs ?? backoffDelay(this.#failures, backoff, random));
    this.#failures += 1;
    this.#returnAt = null;
    this.#schedule(delayMs, () => this.#dial());
    this.#setState('reconnecting');
    this.#listeners.emit('reconnecting', { attempt: this.#failures, delayMs, code, reason });
  }

  /** A pause that was meant for a server that failed is over; and an open connection may be one that died meanwhile. */
  #networkIsBack() {
    if (this.#state === 'open') this.ping().catch(() => {});
    else if (this.#beginning === null) this.reconnect();
  }

  #finish(ending) {
    globalThis.removeEventListener?.('online', this.#whenOnline);
    this.#identity.leave();
    this.#setState('closed');
    this.#listeners.emit('closed', ending);
  }

  /** Lets go of the socket for good: its own close event, which may come much later, must not be taken for news. */
  #hangUp() {
    this.#clock.clearTimeout(this.#timer);
    this.#beginning = null;
    this.#rooms.settle();
    for (const { reject } of this.#pings.splice(0)) reject(new Error('the connection was lost'));
    if (this.#socket === null) return;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close(CLOSED_BY_CLIENT);
    this.#socket = null;
  }

  #awaitSilence() {
    const leftMs = this.#heardAt + this.#options.heartbeat.idleMs - this.#clock.now();
    if (leftMs > 0) return this.#schedule(leftMs, () => this.#awaitSilence());
    this.ping().catch(() => {}); // the loss itself is handled where it is noticed
    this.#expectAnswer();
  }

  #expectAnswer() {
    if (this.#returnAt !== null) return; // the server is leaving anyway; keep the time it gave
    const heard = this.#messagesHeard;
    this.#schedule(this.#options.heartbeat.timeoutMs, () => {
      if (this.#messagesHeard === heard) this.#lost(LOST, 'no answer to a ping');
      else this.#awaitSilence();
    });
  }

  #askForRoom(type, room) {
    this.#rooms.asked(type, room);
    if (this.#state === 'open') this.#send({ type, room });
    else this.#rooms.settle();
  }

  #send(message) {
    if (this.#state !== 'open') throw new Error('not connected');
    this.#socket.send(JSON.stringify(message));
  }

  /** One timer serves the whole life: each phase waits for exactly one thing. */
  #schedule(delayMs, callback) {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(callback, delayMs);
  }

  #setState(state) {
    const previous = this.#state;
    if (state === previous) return;
    this.#state = state;
    this.#listeners.emit('state', { state, previous });
  }
}

/** @param {Identity} identity */
function positionKey(identity) {
  return `exposia-notifications:position:${identity.place}`;
}

/**
 * @param {URL} base
 * @param {import('./client.js').ConnectOptions} options
 * @param {Identity} identity
 * @param {RoomMemory} rooms
 * @param {import('./client.js').Position | null} position
 */
function socketUrl(base, { userId, token }, identity, rooms, position) {
  const url = new URL(base);
  url.protocol = url.protocol.replace('http', 'ws');
  url.pathname = `${url.pathname.replace(/\/$/, '')}/ws/${encodeURIComponent(identity.id)}`;
  const set = (name, value) => value != null && value !== '' && url.searchParams.set(name, value);
  set('user_id', userId);
  set('room', rooms.room);
  set('rooms', rooms.further.join(','));
  set('token', typeof token === 'function' ? token() : token);
  set('attempt', identity.nextAttempt());
  set('since', position?.seq);
  set('epoch', position?.epoch);
  return url.href;
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
