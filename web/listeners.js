/** Who listens to what. Used by `client.js` alone, so that only the client can emit its events. */
export class Listeners {
  #byType = new Map();

  /** @returns {() => void} stops listening */
  on(type, listener) {
    if (!this.#byType.has(type)) this.#byType.set(type, new Set());
    this.#byType.get(type).add(listener);
    return () => this.off(type, listener);
  }

  off(type, listener) {
    this.#byType.get(type)?.delete(listener);
  }

  emit(type, ...details) {
    for (const listener of [...(this.#byType.get(type) ?? [])]) {
      try {
        listener(...details);
      } catch (error) {
        queueMicrotask(() => { throw error; }); // reported like any uncaught error, without stopping the client
      }
    }
  }
}
