/** How `web/client.js` connects, comes back, gives up and notices silence. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { backoffDelay, connect, isFinalCode } from '../../web/client.js';
import { Scene } from './scene.mjs';

describe('the address', () => {
  test('names client, user, rooms and token, and no position at first', async (t) => {
    const scene = await Scene.set(t);
    const rooms = ['admin', 'salón b', 'tema_7'];
    const { url, query } = await scene.connect({ clientId: 'ana/1', userId: 456, room: 'tema_7', rooms, token: 's&t' });
    assert.equal(url.pathname, '/ws/ana%2F1');
    assert.deepEqual(query, { user_id: '456', room: 'tema_7', rooms: 'admin,salón b', token: 's&t' });
  });

  test('leaves out what was not given', async (t) => {
    const scene = await Scene.set(t);
    assert.deepEqual((await scene.connect()).query, {});
  });

  test('asks for a token anew each time, so that it can be renewed', async (t) => {
    const scene = await Scene.set(t);
    const tokens = ['first', 'second'];
    const connection = await scene.connect({ token: () => tokens.shift() });
    assert.equal(connection.query.token, 'first');
    assert.equal((await scene.comeBackAfter(() => connection.cut())).query.token, 'second');
  });

  test('must be one of the web', () => {
    assert.throws(() => connect('ftp://127.0.0.1', { WebSocket }), TypeError);
  });

  test('numbers the dials, each higher than the last one', async (t) => {
    const scene = await Scene.set(t);
    const attempts = [];
    let connection = await scene.connectAndGreet();
    for (let dial = 1; dial <= 3; dial += 1) {
      attempts.push(connection.attempt);
      connection = await scene.comeBackAfter(() => connection.cut());
    }
    assert.ok(attempts.every(Number.isSafeInteger), attempts.join());
    assert.deepEqual(attempts, [...new Set(attempts)].sort((one, other) => one - other));
  });
});

describe('the client id', () => {
  test('is made when none is given, and is another one for each client', async (t) => {
    const scene = await Scene.set(t);
    const { url } = await scene.connect({ clientId: undefined });
    assert.equal(url.pathname, `/ws/${scene.client.clientId}`);
    assert.match(scene.client.clientId, /^web-[0-9a-f]{32}$/);
    const other = connect(scene.server.url, { WebSocket });
    t.after(() => other.close());
    assert.notEqual((await scene.server.nextConnection()).url.pathname, url.pathname);
  });

  test('of its own is replaced by a new one when another page has it, and nothing is lost', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({ clientId: undefined }, { seq: 10, epoch: 'first' });
    const next = await scene.comeBackAfter(() => connection.close(4001));
    assert.notEqual(next.url.pathname, connection.url.pathname);
    assert.equal(next.query.since, '10');
  });
});

describe('a client that is closed in the turn that made it', () => {
  test('never dials', async (t) => {
    const scene = await Scene.set(t);
    const dialled = [];
    class Counting extends WebSocket {
      constructor(url) {
        super(url);
        dialled.push(new URL(url).pathname);
      }
    }
    connect(scene.server.url, { WebSocket: Counting, clientId: 'first' }).close();
    await scene.connect({ WebSocket: Counting, clientId: 'second' });
    assert.deepEqual(dialled, ['/ws/second']);
  });
});

describe('a token that cannot be had', () => {
  test('is asked for again later, and the page learns why', async (t) => {
    const scene = await Scene.set(t);
    const thrown = [];
    t.mock.method(globalThis, 'queueMicrotask', (rethrow) => thrown.push(rethrow));
    const tokens = [() => { throw new Error('no session'); }, () => 'second'];
    const connection = scene.connect({ token: () => tokens.shift()() });
    const { delayMs } = await scene.next('reconnecting');
    assert.throws(thrown[0], /no session/);
    scene.clock.advance(delayMs);
    assert.equal((await connection).query.token, 'second');
  });
});

describe('backoff', () => {
  const limits = { baseMs: 500, maxMs: 30_000 };

  test('doubles up to its bound, and jitter spreads it down to nothing', () => {
    const bounds = [0, 1, 2, 5, 6, 50, 5000].map((failures) => backoffDelay(failures, limits, () => 1));
    assert.deepEqual(bounds, [500, 1000, 2000, 16_000, 30_000, 30_000, 30_000]);
    assert.equal(backoffDelay(3, limits, () => 0), 0);
    assert.equal(backoffDelay(3, limits, () => 0.5), 2000);
  });

  test('grows while the server refuses', async (t) => {
    const scene = await Scene.set(t);
    scene.server.handshakes = 'refuse';
    const delays = [];
    scene.connect();
    for (let attempt = 1; attempt <= 9; attempt += 1) {
      const lost = await scene.next('reconnecting');
      assert.equal(lost.attempt, attempt);
      assert.equal(lost.code, 1006);
      delays.push(lost.delayMs);
      scene.clock.advance(lost.delayMs);
    }
    assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  test('goes on growing when connections do not last, and begins afresh after one that did', async (t) => {
    const scene = await Scene.set(t);
    let connection = await scene.connectAndGreet();
    const loseAfter = async (lastedMs) => {
      scene.clock.advance(lastedMs);
      const { delayMs } = await scene.losing(() => connection.cut());
      scene.clock.advance(delayMs);
      connection = await scene.server.nextConnection();
      await scene.greet(connection);
      return delayMs;
    };
    assert.equal(await loseAfter(9_999), 500);
    assert.equal(await loseAfter(9_999), 1000);
    assert.equal(await loseAfter(10_000), 500);
  });
});

describe('close codes', () => {
  test('4000 to 4099 are final, and only they', () => {
    const codes = [1000, 1001, 1006, 1011, 3999, 4000, 4099, 4100, 4199, 4200];
    assert.deepEqual(codes.filter(isFinalCode), [4000, 4099]);
  });

  for (const code of [4001, 4003, 4008]) {
    test(`${code}: does not come back`, async (t) => {
      const scene = await Scene.set(t);
      const connection = await scene.connectAndGreet();
      const closed = scene.next('closed');
      connection.close(code);
      assert.deepEqual(await closed, { code, reason: '', byClient: false });
      assert.equal(scene.client.state, 'closed');
      assert.equal(scene.clock.waiting, 0);
    });
  }

  for (const code of [1000, 1001, 1011, 4100, 4101, 4102]) {
    test(`${code}: comes back`, async (t) => {
      const scene = await Scene.set(t);
      const connection = await scene.connectAndGreet();
      const lost = await scene.losing(() => connection.close(code));
      assert.deepEqual(lost, { attempt: 1, delayMs: 500, code, reason: '' });
      assert.equal(scene.client.state, 'reconnecting');
      scene.clock.advance(500);
      await scene.greet(await scene.server.nextConnection());
      assert.equal(scene.client.state, 'open');
    });
  }
});

describe('a token that expires', () => {
  const expired = { type: 'token_expired', message: 'expired', grace_seconds: 30 };

  test('is replaced by a fresh one', async (t) => {
    const scene = await Scene.set(t);
    const tokens = ['first', 'second'];
    const connection = await scene.connectAndGreet({ token: () => tokens.shift() });
    assert.equal(connection.query.token, 'first');
    connection.send(expired);
    assert.deepEqual(await connection.nextMessage(), { type: 'refresh', token: 'second' });
    assert.equal(scene.client.state, 'open');
  });

  test('is not sent again when there is no other', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({ token: 'only' });
    const told = scene.next('message');
    connection.send(expired);
    await told;
    scene.client.chat('still here');
    assert.equal((await connection.nextMessage()).type, 'chat_message');
  });
});

describe('the server asking to reconnect', () => {
  const request = { type: 'reconnect', after_ms: 7_000, seq: 0, epoch: 'first' };

  test('counts from its asking, also when it closes sooner', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    connection.send(request);
    await scene.heard(connection);
    scene.clock.advance(2_000);
    const lost = await scene.losing(() => connection.close(1001));
    assert.equal(lost.delayMs, 5_000);
    scene.server.handshakes = 'refuse';
    const failed = await scene.losing(() => scene.clock.advance(5_000));
    assert.deepEqual([failed.attempt, failed.delayMs], [2, 1_000], 'from then on the backoff holds');
  });

  test('is obeyed also when it never closes, and the connection is good until then', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    connection.send(request);
    await scene.heard(connection);
    scene.clock.advance(6_999);
    connection.notify(1);
    await scene.heard(connection);
    assert.equal(scene.client.state, 'open');
    const next = await scene.comeBackAfter(() => scene.clock.advance(1));
    assert.equal(next.query.since, '1');
  });

  test('without a time leaves it to the backoff', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    connection.send({ type: 'reconnect' });
    assert.equal((await scene.losing(() => connection.close(1001))).delayMs, 500);
  });
});

describe('a silent connection', () => {
  test('is pinged after 30 s, and left when nothing comes for 10 s more', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    scene.clock.advance(30_000);
    assert.deepEqual(await connection.nextMessage(), { type: 'ping' });
    scene.clock.advance(9_999);
    assert.equal(scene.client.state, 'open');
    const lost = await scene.losing(() => scene.clock.advance(1));
    assert.equal(lost.code, 1006);
  });

  test('is kept when anything at all comes', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    scene.clock.advance(30_000);
    await connection.nextMessage();
    await scene.heard(connection);
    scene.clock.advance(29_999);
    assert.equal(scene.client.state, 'open');
    scene.clock.advance(1);
    assert.deepEqual(await connection.nextMessage(), { type: 'ping' });
  });

  test('is noticed in time however often the page pings', async (t) => {
    const scene = await Scene.set(t);
    await scene.connectAndGreet();
    const pings = [scene.client.ping()];
    scene.clock.advance(6_000);
    pings.push(scene.client.ping());
    const reconnecting = await scene.losing(() => scene.clock.advance(4_000));
    assert.equal(reconnecting.code, 1006);
    const outcomes = await Promise.allSettled(pings);
    assert.deepEqual(outcomes.map(({ status }) => status), ['rejected', 'rejected']);
  });

  test('is noticed also when an earlier ping was never answered', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    scene.clock.advance(30_000);
    await connection.nextMessage();
    await scene.heard(connection);
    scene.clock.advance(30_000);
    await connection.nextMessage();
    assert.equal((await scene.losing(() => scene.clock.advance(10_000))).code, 1006);
  });

  test('is noticed before it is open, too', async (t) => {
    const scene = await Scene.set(t);
    scene.server.handshakes = 'ignore';
    scene.connect();
    assert.equal((await scene.losing(() => scene.clock.advance(10_000))).attempt, 1);
  });
});

describe('the page', () => {
  test('learns the round trip of a ping', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    const pong = scene.next('pong');
    const roundTrip = scene.client.ping();
    await connection.nextMessage();
    scene.clock.advance(12);
    connection.send({ type: 'pong', timestamp: '2025-01-09T10:30:00Z' });
    assert.equal(await roundTrip, 12);
    assert.deepEqual(await pong, { type: 'pong', timestamp: '2025-01-09T10:30:00Z', roundTripMs: 12 });
  });

  test('cannot chat or ping without a connection', async (t) => {
    const scene = await Scene.set(t);
    await scene.connect();
    assert.throws(() => scene.client.chat('hola'), /not connected/);
    await assert.rejects(scene.client.ping(), /not connected/);
  });

  test('sends chat to its room or another', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    scene.client.chat('hola');
    scene.client.chat('hola', 'admin');
    assert.deepEqual(await connection.nextMessage(), { type: 'chat_message', message: 'hola' });
    assert.deepEqual(await connection.nextMessage(), { type: 'chat_message', message: 'hola', room: 'admin' });
  });

  test('ends the connection for good, and may begin again', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    const closed = scene.next('closed');
    scene.client.close();
    assert.deepEqual(await closed, { code: 1000, reason: '', byClient: true });
    assert.equal(await connection.closed, 1000);
    assert.equal(scene.clock.waiting, 0);
    scene.client.reconnect();
    await scene.greet(await scene.server.nextConnection());
    assert.equal(scene.client.state, 'open');
  });

  test('may drop the connection for a while, and cut the while short', async (t) => {
    const scene = await Scene.set(t);
    await scene.connectAndGreet();
    const lost = await scene.losing(() => scene.client.drop(60_000));
    assert.equal(lost.delayMs, 60_000);
    scene.client.reconnect();
    await scene.greet(await scene.server.nextConnection());
    const again = await scene.losing(() => scene.client.drop());
    assert.deepEqual([again.attempt, again.delayMs], [1, 500], 'by hand, it begins afresh');
  });

  test('gets the code of an old connection no more after a new one is there', async (t) => {
    const scene = await Scene.set(t);
    const replaced = await scene.connectAndGreet();
    scene.client.reconnect();
    await scene.greet(await scene.server.nextConnection());
    replaced.close(4001);
    await replaced.closed;
    assert.equal(scene.client.state, 'open');
  });

  test('cannot break the client with a listener that throws', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    const thrown = [];
    t.mock.method(globalThis, 'queueMicrotask', (rethrow) => thrown.push(rethrow));
    scene.client.on('notification', () => { throw new Error('from the page'); });
    const after = scene.record('notification');
    connection.notify(1);
    await scene.heard(connection);
    assert.equal(after.length, 1);
    assert.throws(thrown[0], /from the page/);
  });

  test('is not called any more after it stopped listening', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    const calls = [];
    const listener = () => calls.push('called');
    scene.client.on('notification', listener)();
    scene.client.on('notification', listener);
    scene.client.off('notification', listener);
    connection.notify(1);
    await scene.heard(connection);
    assert.deepEqual(calls, []);
  });
});
