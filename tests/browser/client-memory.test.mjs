/** What `web/client.js` remembers over a lost connection: its place in the stream, and its rooms. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Scene } from './scene.mjs';

const AT_TEN = { seq: 10, epoch: 'first' };
const numbers = (recorded) => recorded.map(([{ seq }]) => seq);

describe('the position', () => {
  test('starts where the connection is live, and moves with what arrives', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({}, AT_TEN);
    assert.deepEqual(scene.client.position, AT_TEN);
    connection.notify(11, 13);
    await scene.heard(connection);
    const next = await scene.comeBackAfter(() => connection.cut());
    assert.deepEqual(next.query, { room: 'general', since: '13', epoch: 'first' });
  });

  test('in mid-replay is the last one that arrived', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({}, AT_TEN);
    const seen = scene.record('notification');
    const interrupted = await scene.comeBackAfter(() => connection.cut());
    await scene.greet(interrupted, { seq: 20, epoch: 'first', recovered: true, replayed: 3 });
    interrupted.notify(12, 14);
    await scene.heard(interrupted);
    const next = await scene.comeBackAfter(() => interrupted.cut());
    assert.equal(next.query.since, '14');
    await scene.greet(next, { seq: 20, epoch: 'first', recovered: true, replayed: 1 });
    next.notify(19, 21);
    await scene.heard(next);
    assert.deepEqual(numbers(seen), [12, 14, 19, 21]);
  });

  test('moves on when nothing was missed, so that the journal always reaches back to a quiet client', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({}, AT_TEN);
    const next = await scene.comeBackAfter(() => connection.cut());
    await scene.greet(next, { seq: 20, epoch: 'first', recovered: true, replayed: 0 });
    assert.deepEqual(scene.client.position, { seq: 20, epoch: 'first' });
  });

  test('does not count the replay: one longer or shorter than announced loses nothing', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({}, AT_TEN);
    const next = await scene.comeBackAfter(() => connection.cut());
    const seen = scene.record('notification');
    await scene.greet(next, { seq: 20, epoch: 'first', recovered: true, replayed: 1 });
    next.notify(12, 15, 21);
    await scene.heard(next);
    assert.deepEqual(seen.map(([{ seq }, { replayed }]) => [seq, replayed]), [[12, true], [15, true], [21, false]]);
  });

  test('tells what was replayed from what is live', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({}, AT_TEN);
    const next = await scene.comeBackAfter(() => connection.cut());
    const recovered = scene.next('recovered');
    const seen = scene.record('notification');
    await scene.greet(next, { seq: 12, epoch: 'first', recovered: true, replayed: 2 });
    next.notify(11, 12, 13);
    await scene.heard(next);
    assert.deepEqual(await recovered, { recovered: true, replayed: 2 });
    assert.deepEqual(seen.map(([{ seq }, { replayed }]) => [seq, replayed]), [[11, true], [12, true], [13, false]]);
  });

  test('drops what was here before, but shows it among the raw messages', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({}, AT_TEN);
    const seen = scene.record('notification');
    const raw = scene.record('message');
    connection.notify(9, 10, 11, 11, 12);
    await scene.heard(connection);
    assert.deepEqual(numbers(seen), [11, 12]);
    const notifications = raw.filter(([{ type }]) => type === 'system_notification');
    assert.deepEqual(notifications.map(([, { duplicate }]) => duplicate), [true, true, false, true, false]);
  });

  test('passes on the text as it came, for numbers that JavaScript cannot hold', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    const seen = scene.record('notification');
    const payload = '{"id":12345678901234567890,"2":0,"1":0}';
    const text = `{"type":"system_notification","event":"a.b","payload":${payload},"seq":9007199254740991}`;
    connection.send(text);
    await scene.heard(connection);
    assert.equal(seen[0][1].raw, text);
    assert.equal(scene.client.position.seq, Number.MAX_SAFE_INTEGER);
  });

  test('moves over a gap, never back, so that a page that reloads because of one is not told again', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({}, AT_TEN);
    const gaps = scene.record('gap');
    const at = [];
    for (const gap of [{ from: 11, to: 15 }, { from: 3, to: 4 }]) {
      connection.send({ type: 'gap', ...gap });
      await scene.heard(connection);
      at.push(scene.client.position.seq);
    }
    assert.deepEqual(at, [15, 15]);
    assert.equal(gaps.length, 2);
    connection.notify(16);
    await scene.heard(connection);
    const next = await scene.comeBackAfter(() => connection.cut());
    assert.equal(next.query.since, '16');
  });

  const NOT_RECOVERED = [
    ['the journal no longer reaches back', { seq: 90, epoch: 'first', recovered: false }, { from: 11, to: 90 }],
    ['the epoch is another', { seq: 3, epoch: 'second', recovered: false }, { from: null, to: 3 }],
    ['the epoch is another, whatever is claimed', { seq: 3, epoch: 'second', recovered: true }, { from: null, to: 3 }],
    ['the server knows no resuming', { seq: 90, epoch: 'first' }, { from: 11, to: 90 }],
  ];
  for (const [why, greeting, gap] of NOT_RECOVERED) {
    test(`begins anew when ${why}`, async (t) => {
      const scene = await Scene.set(t);
      const connection = await scene.connectAndGreet({}, AT_TEN);
      const next = await scene.comeBackAfter(() => connection.cut());
      const recovered = scene.next('recovered');
      const missed = scene.next('gap');
      await scene.greet(next, greeting);
      assert.deepEqual(await recovered, { recovered: false, replayed: 0 });
      assert.deepEqual(await missed, { type: 'gap', ...gap });
      assert.deepEqual(scene.client.position, { seq: greeting.seq, epoch: greeting.epoch });
    });
  }

  test('is kept in the storage given, for a page that loads again', async (t) => {
    const scene = await Scene.set(t);
    const kept = new Map();
    const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
    const connection = await scene.connectAndGreet({ storage }, AT_TEN);
    connection.notify(11);
    await scene.heard(connection);
    scene.client.close();
    assert.equal((await scene.connect({ storage })).query.since, '11');
  });

  /** What a tab keeps, holding what is given. */
  function tabWith(entries = {}) {
    const kept = new Map(Object.entries(entries));
    return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  }

  test('is found again under another client id, by the same user alone', async (t) => {
    const scene = await Scene.set(t);
    const storage = tabWith();
    const since = async (options) => {
      const { query } = await scene.connect({ storage, ...options });
      scene.client.close();
      return query.since;
    };
    const connection = await scene.connectAndGreet({ storage, clientId: 'first', userId: 456 }, AT_TEN);
    connection.notify(11);
    await scene.heard(connection);
    scene.client.close();
    assert.equal(await since({ clientId: 'second', userId: '456' }), '11');
    assert.equal(await since({ clientId: undefined, userId: '456' }), '11');
    assert.equal(await since({ clientId: 'first', userId: '789' }), undefined);
    assert.equal(await since({ clientId: 'first' }), undefined);
  });

  test('is each client\'s own where a page has two of the same user', async (t) => {
    const scene = await Scene.set(t);
    const storage = tabWith();
    const connection = await scene.connectAndGreet({ storage }, AT_TEN);
    const one = scene.client;
    t.after(() => one.close());
    const other = await scene.connectAndGreet({ storage, clientId: 'luis' }, { seq: 20, epoch: 'first' });
    assert.equal(other.query.since, undefined);
    one.close();
    scene.client.close();
    await connection.closed;
    assert.equal((await scene.connect({ storage })).query.since, '10');
    const again = scene.client;
    t.after(() => again.close());
    assert.equal((await scene.connect({ storage, clientId: 'luis' })).query.since, '20');
  });

  test('that an older client left under the client id is gone on with', async (t) => {
    const scene = await Scene.set(t);
    const storage = tabWith({ 'exposia-notifications:ana': JSON.stringify(AT_TEN) });
    const connection = await scene.connect({ storage });
    assert.equal(connection.query.since, '10');
    await scene.greet(connection, { seq: 12, epoch: 'first', recovered: true, replayed: 0 });
    assert.deepEqual(JSON.parse(storage.getItem('exposia-notifications:ana')), { seq: 12, epoch: 'first' });
  });

  test('does without a storage that fails', async (t) => {
    const scene = await Scene.set(t);
    const fail = () => { throw new Error('full'); };
    await scene.connectAndGreet({ storage: { getItem: fail, setItem: fail } }, AT_TEN);
    assert.deepEqual(scene.client.position, AT_TEN);
  });
});

describe('the rooms', () => {
  const GRANTS = {
    join_room: ({ room }) => ({ type: 'room_changed', room }),
    subscribe: ({ room }, rooms) => ({ type: 'subscribed', room, rooms }),
    unsubscribe: ({ room }, rooms) => ({ type: 'unsubscribed', room, rooms }),
  };

  async function grantNext(scene, connection, rooms) {
    const request = await connection.nextMessage();
    connection.send(GRANTS[request.type](request, rooms));
    await scene.heard(connection);
  }

  test('granted are those it comes back to', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({ room: 'tema_1', rooms: ['admin'] });
    scene.client.join('tema_2');
    await grantNext(scene, connection);
    scene.client.subscribe('tema_3');
    await grantNext(scene, connection, ['tema_2', 'admin', 'tema_3']);
    scene.client.unsubscribe('admin');
    await grantNext(scene, connection, ['tema_2', 'tema_3']);
    assert.equal(scene.client.room, 'tema_2');
    assert.deepEqual(scene.client.rooms, ['tema_2', 'tema_3']);
    const { query } = await scene.comeBackAfter(() => connection.cut());
    assert.equal(query.room, 'tema_2');
    assert.equal(query.rooms, 'tema_3');
  });

  test('asked for and not answered are asked for again', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({ rooms: ['admin'] });
    scene.client.join('tema_2');
    scene.client.subscribe('tema_3');
    scene.client.unsubscribe('admin');
    assert.deepEqual(scene.client.rooms, ['general', 'admin']);
    const { query } = await scene.comeBackAfter(() => connection.cut());
    assert.equal(query.room, 'tema_2');
    assert.equal(query.rooms, 'tema_3');
  });

  test('refused are not asked for again', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    scene.client.subscribe('admin');
    await grantNext(scene, connection, ['general', 'admin']);
    const refused = scene.next('error');
    scene.client.join('');
    connection.send({ type: 'error', message: 'La sala no es válida' });
    assert.equal((await refused).message, 'La sala no es válida');
    const { query } = await scene.comeBackAfter(() => connection.cut());
    assert.equal(query.room, 'general');
    assert.equal(query.rooms, 'admin');
  });

  test('are what the server says they are', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet({ rooms: ['admin'] });
    scene.client.subscribe('tema_3');
    await grantNext(scene, connection, ['general', 'tema_3', 'tema_4']);
    assert.deepEqual(scene.client.rooms, ['general', 'tema_3', 'tema_4']);
  });

  test('asked for while away are those it comes back to', async (t) => {
    const scene = await Scene.set(t);
    const connection = await scene.connectAndGreet();
    const { delayMs } = await scene.losing(() => connection.cut());
    scene.client.join('tema_2');
    scene.client.subscribe('admin');
    scene.clock.advance(delayMs);
    const { query } = await scene.server.nextConnection();
    assert.equal(query.room, 'tema_2');
    assert.equal(query.rooms, 'admin');
  });
});
