/** The console's one connection: made anew each time Connect is pressed, watched by every panel. */
import { connect } from './client.js';
import { gatewayAddress } from './gateway.js';

const CHANGES = ['state', 'reconnecting', 'room', 'subscribed', 'unsubscribed', 'notification', 'open'];

export class Session {
  /** @type {import('./client.js').NotificationClient | null} */
  client = null;
  #onStart = [];
  #onChange = [];

  get state() {
    return this.client?.state ?? 'closed';
  }

  /** Called with each new client, to listen to it. */
  whenStarted(callback) {
    this.#onStart.push(callback);
  }

  /** Called now and whenever what a panel shows of the connection may have changed. */
  whenChanged(callback) {
    this.#onChange.push(callback);
    callback();
  }

  start(options) {
    this.client?.close();
    this.client = connect(gatewayAddress(), options);
    for (const callback of this.#onStart) callback(this.client);
    for (const type of CHANGES) this.client.on(type, () => this.changed());
    this.changed();
  }

  changed() {
    for (const callback of this.#onChange) callback();
  }
}
