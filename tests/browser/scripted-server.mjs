/** A WebSocket server that does what a test tells it, well-behaved or not; it answers nothing by itself. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

/** Hands out what arrives one by one, to whoever asks, before or after it came. */
class Inbox {
  #items = [];
  #takers = [];

  put(item) {
    const taker = this.#takers.shift();
    if (taker) taker(item);
    else this.#items.push(item);
  }

  take() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve) => this.#takers.push(resolve));
  }
}

class Connection {
  #socket;
  #messages = new Inbox();

  constructor(socket, request) {
    this.#socket = socket;
    this.url = new URL(request.url, 'ws://server');
    const { attempt, ...query } = Object.fromEntries(this.url.searchParams);
    this.attempt = Number(attempt);
    this.query = query;
    this.closed = once(socket, 'close').then(([code]) => code);
    socket.on('message', (data) => this.#messages.put(JSON.parse(data)));
  }

  nextMessage() {
    return this.#messages.take();
  }

  send(message) {
    this.#socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  greet(position = { seq: 0, epoch: 'first' }) {
    const room = this.query.room ?? 'general';
    this.send({ type: 'connection_established', message: 'Conectado', room, ...position });
  }

  notify(...numbers) {
    for (const seq of numbers) this.send({ type: 'system_notification', event: 'test.event', payload: {}, seq });
  }

  close(code) {
    this.#socket.close(code);
  }

  /** Cuts the line without a close frame, which the other side sees as 1006. */
  cut() {
    this.#socket.terminate();
  }
}

export class ScriptedServer {
  /** What becomes of the next handshakes: accepted, refused, or left without an answer. */
  handshakes = 'accept';
  #http = createServer();
  #websockets = new WebSocketServer({ noServer: true });
  #connections = new Inbox();
  #sockets = new Set();

  static async start() {
    const server = new ScriptedServer();
    server.#http.on('upgrade', (...handshake) => server.#upgrade(...handshake));
    server.#http.listen(0, '127.0.0.1');
    await once(server.#http, 'listening');
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.#http.address().port}`;
  }

  nextConnection() {
    return this.#connections.take();
  }

  stop() {
    for (const socket of this.#sockets) socket.destroy();
    this.#http.close();
  }

  #upgrade(request, socket, head) {
    this.#sockets.add(socket);
    if (this.handshakes === 'refuse') socket.destroy();
    if (this.handshakes !== 'accept') return;
    this.#websockets.handleUpgrade(request, socket, head, (accepted) => {
      this.#connections.put(new Connection(accepted, request));
    });
  }
}
