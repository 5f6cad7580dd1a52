/** Time that moves only when a test says so, for the client's `clock`. */
export class ManualClock {
  #now = 0;
  #timers = new Map();
  #lastId = 0;

  now() {
    return this.#now;
  }

  setTimeout(callback, delayMs) {
    this.#lastId += 1;
    this.#timers.set(this.#lastId, { at: this.#now + delayMs, callback });
    return this.#lastId;
  }

  clearTimeout(id) {
    this.#timers.delete(id);
  }

  get waiting() {
    return this.#timers.size;
  }

  /** Moves on, running what falls due on the way in its order. */
  advance(ms) {
    const end = this.#now + ms;
    for (let due = this.#nextUntil(end); due; due = this.#nextUntil(end)) {
      const [id, timer] = due;
      this.#timers.delete(id);
      this.#now = timer.at;
      timer.callback();
    }
    this.#now = end;
  }

  #nextUntil(end) {
    const due = [...this.#timers].filter(([, timer]) => timer.at <= end);
    return due.sort(([, one], [, other]) => one.at - other.at)[0];
  }
}
