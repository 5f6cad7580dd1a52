/** The connection panel: connect, disconnect, ping, and dropping the connection to watch it recover. */
import { number, say } from './i18n.js';
import { byId, onSubmit, setUsable } from './page.js';

/** @param {import('./session.js').Session} session */
export function startConnectionPanel(session) {
  byId('client-id').value = `console-${crypto.getRandomValues(new Uint16Array(1))[0].toString(16)}`;
  onSubmit(byId('connect-form'), () => session.start(connectOptions()));
  byId('disconnect').addEventListener('click', () => session.client.close());
  byId('ping').addEventListener('click', () => ping(session.client));
  onSubmit(byId('drop-form'), () => session.client.drop(byId('drop-seconds').valueAsNumber * 1000));
  byId('reconnect').addEventListener('click', () => session.client.reconnect());
  session.whenStarted(showErrors);
  session.whenChanged(() => showWhatIsUsable(session.state));
}

function connectOptions() {
  const text = (id) => byId(id).value.trim() || undefined;
  return { clientId: text('client-id'), userId: text('user-id'), room: text('room'), token: text('access-token') };
}

async function ping(client) {
  const result = byId('ping-result');
  result.textContent = '…';
  result.textContent = await client.ping().then(
    (roundTripMs) => say('pong', { ms: number(roundTripMs, 1) }),
    () => say('noPong'),
  );
}

/** The server's last complaint stays until something new is tried. */
function showErrors(client) {
  const alert = byId('alert');
  alert.textContent = '';
  client.on('error', ({ message }) => { alert.textContent = message; });
  client.on('state', () => { alert.textContent = ''; });
  client.on('room', () => { alert.textContent = ''; });
  client.on('subscribed', () => { alert.textContent = ''; });
}

function showWhatIsUsable(state) {
  setUsable(byId('disconnect'), state !== 'closed');
  setUsable(byId('ping'), state === 'open');
  setUsable(byId('drop'), state === 'open');
  setUsable(byId('reconnect'), state === 'reconnecting');
}
