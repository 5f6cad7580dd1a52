/** One client, one scripted server and one clock; the verbs that the client's tests are told in. */
import { WebSocket } from 'ws';
import { connect } from '../../web/client.js';
import { ManualClock } from './manual-clock.mjs';
import { ScriptedServer } from './scripted-server.mjs';

export class Scene {
  clock = new ManualClock();
  server;
  client;

  /** @param {import('node:test').TestContext} t the test that the scene ends with */
  static async set(t) {
    const scene = new Scene();
    scene.server = await ScriptedServer.start();
    t.after(() => {
      scene.client?.close();
      scene.server.stop();
    });
    return scene;
  }

  /** With `random` at its upper end every delay is its bound, so that the tests can tell the times. */
  connect(options = {}) {
    const fixed = { clientId: 'ana', WebSocket, clock: this.clock, random: () => 1 };
    this.client = connect(this.server.url, { ...fixed, ...options });
    return this.server.nextConnection();
  }

  async connectAndGreet(options, greeting) {
    const connection = await this.connect(options);
    await this.greet(connection, greeting);
    return connection;
  }

  async greet(connection, greeting) {
    const open = this.next('open');
    connection.greet(greeting);
    await open;
  }

  /** The details of the client's next event of a type; the first one alone, which is all that most tests look at. */
  next(type) {
    return new Promise((resolve) => {
      const stop = this.client.on(type, (detail) => {
        stop();
        resolve(detail);
      });
    });
  }

  /** @returns what the client says when it has noticed the loss that `act` brings about */
  losing(act) {
    const reconnecting = this.next('reconnecting');
    act();
    return reconnecting;
  }

  /** Loses the connection and waits as long as the client wants to; the new connection is not greeted yet. */
  async comeBackAfter(act) {
    const { delayMs } = await this.losing(act);
    this.clock.advance(delayMs);
    return this.server.nextConnection();
  }

  /** Until the client has handled all that was sent so far: messages keep their order. */
  async heard(connection) {
    const marker = new Promise((resolve) => {
      const stop = this.client.on('message', ({ type }) => {
        if (type !== 'marker') return;
        stop();
        resolve();
      });
    });
    connection.send({ type: 'marker' });
    await marker;
  }

  /** Writes down every event of a type, from now on. */
  record(type) {
    const recorded = [];
    this.client.on(type, (...details) => recorded.push(details));
    return recorded;
  }
}
