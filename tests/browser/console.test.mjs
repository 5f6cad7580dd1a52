/** The console page against a running server: connecting, publishing, rooms, chat, and recovering. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { BASE_URL, ConsolePage, launchBrowser, publishElsewhere, TOKEN, unique } from './console-page.mjs';
import { Nginx } from './nginx.mjs';

let browser;
before(async () => { browser = await launchBrowser(); });
after(() => browser.close());

/** A topic of its own keeps a test's notifications away from every other page. */
function uniqueTopic() {
  const temaId = unique('t');
  return { temaId, room: `tema_${temaId}` };
}

describe('the page', () => {
  test('is served with all its parts, forbidding any other', async () => {
    const page = await fetch(new URL('/console', BASE_URL));
    assert.equal(page.status, 200);
    assert.match(page.headers.get('content-type'), /^text\/html/);
    assert.match(page.headers.get('content-security-policy'), /default-src 'self'/);
    const types = { 'console.css': /^text\/css/, 'client.js': /javascript/, 'favicon.svg': /^image\/svg\+xml/ };
    for (const [name, type] of Object.entries(types)) {
      const part = await fetch(new URL(`/console/${name}`, BASE_URL));
      assert.equal(part.status, 200, name);
      assert.match(part.headers.get('content-type'), type, name);
    }
  });

  test('may speak to no other origin', async (t) => {
    const console = await ConsolePage.open(t, browser);
    const blocked = await console.page.evaluate(async () => {
      const violations = [];
      document.addEventListener('securitypolicyviolation', (event) => violations.push(event.effectiveDirective));
      new WebSocket('ws://example.com/ws/x');
      await fetch('http://example.com/').catch(() => {});
      await new Promise((resolve) => setTimeout(resolve));
      return violations;
    });
    assert.deepEqual(blocked, ['connect-src', 'connect-src']);
    console.forgive('Content Security Policy');
  });

  test('shows live figures', async (t) => {
    const console = await ConsolePage.open(t, browser);
    const room = unique('room');
    await console.page.fill('#token', TOKEN);
    await console.connect({ room });
    await console.shows('#stat-rooms li', room);
    assert.ok(Number(await console.page.textContent('#stat-connections')) >= 1);
    // A flat curve has no height, which counts as not visible.
    await console.page.locator('#chart-rate .curve').waitFor({ state: 'attached' });
    assert.match(await console.page.getAttribute('#chart-connections', 'aria-label'), /^Connections: now \d/);
  });
});

describe('below a path of nginx', () => {
  let nginx;
  before(async () => { nginx = await Nginx.start('/notify-gw/', new URL(BASE_URL)); });
  after(() => nginx.stop());

  for (const page of ['console', 'console/']) {
    test(`/${page} works`, async (t) => {
      const console = await ConsolePage.open(t, browser, { address: `${nginx.url}${page}` });
      const { temaId, room } = uniqueTopic();
      await console.connect({ room });
      await console.publish('metrica.creada', `{"temaId": "${temaId}"}`);
      await console.shows('#publish-result[data-outcome="good"]', '200');
      await console.entries(`"temaId": "${temaId}"`).waitFor();
      await console.shows('#stat-connections', /\d/);
      const background = await console.page.evaluate(() => getComputedStyle(document.querySelector('.dot')).borderRadius);
      assert.equal(background, '50%', 'the style sheet is there');
    });
  }
});

describe('publishing', () => {
  test('works at the first press in development', async (t) => {
    const console = await ConsolePage.open(t, browser);
    await console.page.click('#publish');
    await console.shows('#publish-result[data-outcome="good"]', '200');
  });

  test('shows the answer, and the notification as it was written', async (t) => {
    const console = await ConsolePage.open(t, browser);
    const { temaId, room } = uniqueTopic();
    await console.connect({ room });
    await console.publish('metrica.creada', `{"temaId": "${temaId}", "id": 12345678901234567890, "2": 1.50}`);
    await console.shows('#publish-result[data-outcome="good"]', '200 · Notificación enviada exitosamente');
    const entry = console.entries(temaId);
    await entry.locator('summary').click();
    const text = await entry.locator('pre').textContent();
    assert.match(text, /\n {2}"event": "metrica\.creada",\n/);
    assert.match(text, /"id": 12345678901234567890,\n {4}"2": 1\.50\n/);
  });

  test('goes to the target given', async (t) => {
    const console = await ConsolePage.open(t, browser);
    const userId = unique('user');
    const event = unique('prueba.destino');
    await console.connect({ userId, room: unique('room') });
    await console.page.click('#publish-form summary');
    await console.page.fill('#target-users', `${unique('nobody')}, ${userId}`);
    await console.page.fill('#source', 'consola');
    await console.publish(event, '{}');
    await console.entries(event).locator('summary').click();
    assert.match(await console.entries(event).locator('pre').textContent(), /"source": "consola"/);
  });

  test('is refused with a wrong token, and says so', async (t) => {
    const console = await ConsolePage.open(t, browser);
    await console.publish('metrica.creada', '{}', 'wrong');
    await console.shows('#publish-result[data-outcome="bad"]', '401 · Token inválido: the server wants a token of its setting WS_TOKEN');
    console.forgiveRefusal(401);
  });

  test('shows a list of faults as a sentence', async (t) => {
    const console = await ConsolePage.open(t, browser);
    const detail = [{ loc: ['body', 'event'], msg: 'field required', type: 'missing' }];
    await console.page.route('**/notify', (route) => route.fulfill({ status: 422, json: { detail } }));
    await console.publish('metrica.creada', '{}');
    await console.shows('#publish-result', '422 · body.event: field required');
    console.forgiveRefusal(422);
  });

  for (const [fault, event, payload, field, text] of [
    ['no JSON', 'a.b', '{"id": }', 'payload', 'Not valid JSON'],
    ['no object', 'a.b', '[1]', 'payload', 'must be a JSON object'],
    ['no event', ' ', '{}', 'event', 'needs a name'],
  ]) {
    test(`sends nothing when there is ${fault}`, async (t) => {
      const console = await ConsolePage.open(t, browser);
      await console.page.route('**/notify', () => assert.fail('it was sent'));
      await console.publish(event, payload);
      await console.shows(`#${field}-error`, text);
      assert.equal(await console.page.getAttribute(`#${field}`, 'aria-invalid'), 'true');
      assert.equal(await console.focused(), field);
      assert.equal(await console.page.textContent('#publish-result'), '');
    });
  }
});

describe('rooms', () => {
  test('are moved to, added and left', async (t) => {
    const console = await ConsolePage.open(t, browser);
    const [first, second] = [uniqueTopic(), uniqueTopic()];
    await console.connect();
    await console.page.fill('#join-room', first.room);
    await console.page.press('#join-room', 'Enter');
    await console.becomesMember(first.room);
    await console.page.fill('#subscribe-room', second.room);
    await console.page.click('#subscribe');
    await console.becomesMember(second.room);
    assert.deepEqual(await console.rooms(), [first.room, second.room]);

    await publishElsewhere('metrica.creada', { temaId: first.temaId });
    await publishElsewhere('metrica.creada', { temaId: second.temaId });
    await console.entries(`"temaId":"${first.temaId}"`).waitFor();
    await console.entries(`"temaId":"${second.temaId}"`).waitFor();

    await console.page.click(`button[data-room="${second.room}"]`);
    await console.entries('unsubscribed').waitFor();
    assert.deepEqual(await console.rooms(), [first.room]);
    await publishElsewhere('metrica.creada', { temaId: second.temaId, after: 'leaving' });
    await publishElsewhere('metrica.creada', { temaId: first.temaId, after: 'leaving' });
    await console.entries('"after":"leaving"').waitFor();
    assert.equal(await console.entries('"after":"leaving"').count(), 1);
  });
});

describe('chat', () => {
  test('reaches another page, which also sees who comes', async (t) => {
    const room = unique('room');
    const ana = await ConsolePage.open(t, browser);
    const anaId = await ana.connect({ room });
    const luis = await ConsolePage.open(t, browser);
    const luisId = await luis.connect({ room });
    await ana.entries(`Usuario ${luisId} se unió a la sala`).waitFor();
    await ana.page.fill('#chat-message', 'Hola a todos <b>');
    await ana.page.press('#chat-message', 'Enter');
    await luis.entries(`${anaId} → ${room}: Hola a todos <b>`).waitFor();
    await ana.entries('Hola a todos').locator('.mark', { hasText: 'sent' }).waitFor();
  });

  test('shows what another client says that is no text', async (t) => {
    const room = unique('room');
    const ana = await ConsolePage.open(t, browser);
    await ana.connect({ room });
    const other = unique('other');
    const socket = new WebSocket(new URL(`/ws/${other}?room=${room}`, BASE_URL.replace(/^http/, 'ws')));
    t.after(() => socket.terminate());
    await once(socket, 'message');
    socket.send('{"type":"chat_message","message":{"voto": [1, null]}}');
    await ana.entries(`${other} → ${room}: {"voto":[1,null]}`).waitFor();
  });
});

describe('the connection', () => {
  test('answers a ping', async (t) => {
    const console = await ConsolePage.open(t, browser);
    await console.connect();
    await console.page.click('#ping');
    await console.shows('#ping-result', /^answered in [\d.,]+ ms$/);
  });

  test('dropped for a while, shows what was missed as replayed', async (t) => {
    const console = await ConsolePage.open(t, browser);
    const { temaId, room } = uniqueTopic();
    await console.connect({ room });
    await publishElsewhere('metrica.creada', { temaId, n: 'before' });
    await console.entries('"n":"before"').waitFor();

    await console.drop(3600);
    await console.shows('#status', 'Connection lost (1006), reconnecting: attempt 1');
    await console.shows('#countdown', 'next try in 3,600 s');
    await publishElsewhere('metrica.creada', { temaId, n: 'missed one' });
    await publishElsewhere('metrica.creada', { temaId, n: 'missed two' });
    await console.page.click('#reconnect');

    await console.shows('#recovery[data-outcome="good"]', 'Recovered: 2 replayed');
    await publishElsewhere('metrica.creada', { temaId, n: 'live' });
    await console.entries('"n":"live"').waitFor();
    const replayed = console.page.locator('#log > li[data-replayed]', { hasText: temaId });
    assert.deepEqual(await replayed.locator('.mark').allTextContents(), ['replayed', 'replayed']);
    const gists = await console.page.locator('#log .gist', { hasText: temaId }).allTextContents();
    const order = gists.map((gist) => JSON.parse(gist).n);
    assert.deepEqual(order, ['live', 'missed two', 'missed one', 'before']);
    assert.deepEqual(await console.rooms(), [room]);
  });

  test('dropped for a moment, comes back by itself', async (t) => {
    const console = await ConsolePage.open(t, browser);
    await console.connect({ room: unique('room') });
    await console.drop(0);
    await console.shows('#recovery', 'Recovered: 0 replayed');
    await console.becomes('open');
    await console.page.click('#disconnect');
    await console.becomes('closed');
    assert.equal(await console.page.textContent('#recovery'), '');
  });

  test('says when the server no longer has what was missed', async (t) => {
    const console = await ConsolePage.open(t, browser);
    await console.page.routeWebSocket(/[?&]since=/, (socket) => {
      const upstream = socket.connectToServer();
      upstream.onMessage((text) => socket.send(text.replace('"recovered":true', '"recovered":false')));
    });
    await console.connect({ room: unique('room') });
    await console.drop(0);
    await console.shows('#recovery[data-outcome="bad"]', 'Not recovered');
  });

  test('replaced by a newer one with the same id, stays away', async (t) => {
    const first = await ConsolePage.open(t, browser);
    const second = await ConsolePage.open(t, browser);
    const clientId = await first.connect();
    await second.connect({ clientId });
    await first.becomes('closed');
    await first.shows('#status', 'Closed by the server with 4001');
    await second.becomes('open');
  });

  test('ended by hand is closed, and may be opened again', async (t) => {
    const console = await ConsolePage.open(t, browser);
    await console.connect();
    await console.page.click('#disconnect');
    await console.becomes('closed');
    assert.equal(await console.page.getAttribute('#ping', 'aria-disabled'), 'true');
    await console.connect();
  });
});
