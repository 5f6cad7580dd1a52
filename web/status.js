/** The status line: where the connection stands, when it tries again, how recovery went, and the position held. */
import { number, say } from './i18n.js';
import { byId } from './page.js';

const COUNTDOWN_STEP_MS = 200;

/** @param {import('./session.js').Session} session */
export function startStatusLine(session) {
  const countdown = new Countdown(byId('countdown'));
  show('closed', say('closed'));
  session.whenStarted((client) => watch(client, byId('client-id').value.trim(), countdown));
  session.whenChanged(() => showPosition(session.client?.position));
}

function watch(client, clientId, countdown) {
  show('connecting', say('connecting'));
  showRecovery('', '');
  client.on('state', ({ state }) => {
    if (state !== 'reconnecting') countdown.stop();
    if (state === 'connecting') show(state, say('connecting'));
    if (state === 'open') show(state, say('open', { clientId }));
  });
  client.on('reconnecting', ({ attempt, delayMs, code }) => {
    show('reconnecting', say('reconnecting', { attempt, code }));
    showRecovery('', '');
    countdown.start(delayMs);
  });
  client.on('recovered', ({ recovered, replayed }) => {
    showRecovery(recovered ? 'good' : 'bad', say(recovered ? 'recovered' : 'notRecovered', { replayed }));
  });
  client.on('gap', () => {
    if (byId('recovery').dataset.outcome !== 'bad') showRecovery('bad', say('gap'));
  });
  client.on('closed', ({ code, byClient }) => {
    show('closed', say(byClient ? 'closed' : 'closedByServer', { code }));
    showRecovery('', '');
  });
}

function show(state, text) {
  byId('status').dataset.state = state;
  byId('status-text').textContent = text;
}

function showRecovery(outcome, text) {
  byId('recovery').dataset.outcome = outcome;
  byId('recovery').textContent = text;
}

function showPosition(position) {
  byId('position').textContent = position ? say('position', position) : '';
}

/** Outside the live region: a screen reader must not be told every second. */
class Countdown {
  #element;
  #timer;

  constructor(element) {
    this.#element = element;
  }

  start(delayMs) {
    this.stop();
    const end = performance.now() + delayMs;
    const step = () => {
      const leftMs = end - performance.now();
      const text = leftMs > 0 ? say('countdown', { seconds: number(Math.ceil(leftMs / 1000)) }) : say('trying');
      if (this.#element.textContent !== text) this.#element.textContent = text;
    };
    step();
    this.#timer = setInterval(step, COUNTDOWN_STEP_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#element.textContent = '';
  }
}
