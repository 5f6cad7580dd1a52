/**
 * Where in the stream a client is: fed with what arrives, asked where to resume. Used by `client.js` alone.
 *
 * A number counts only within its epoch, the journal's incarnation; a position is always the pair.
 */
export class Cursor {
  #position;
  #liveAfter = 0;
  #storage;
  #key;
  #isOlder;

  /**
   * With a `storage` the position outlives the page; without one it lives as long as the client. Where an older client left
   * its position under `olderKey`, it stays there.
   */
  constructor(storage, key, olderKey) {
    this.#storage = storage;
    const older = olderKey ? readPosition(storage, olderKey) : null;
    this.#isOlder = older !== null;
    this.#key = this.#isOlder ? olderKey : key;
    this.#position = older ?? readPosition(storage, key);
  }

  /** Keeps the position under another key from now on. */
  keepUnder(key) {
    if (!this.#isOlder) this.#key = key;
  }

  /** @returns {Readonly<{ seq: number, epoch: string }> | null} null before the first greeting that names one */
  get position() {
    return this.#position;
  }

  /** Takes the greeting of a new connection; returns how resuming went, or null when there was nothing to resume. */
  greeted({ seq, epoch, recovered, replayed }) {
    const held = this.#position;
    const sameEpoch = held !== null && String(epoch) === String(held.epoch);
    const resumed = sameEpoch && recovered === true;
    this.#liveAfter = resumed ? seq : 0;
    // While a replay is due, the position stays at what is really here: a drop in its middle resumes there.
    if (!resumed || replayed === 0) this.#moveTo(Number.isSafeInteger(seq) ? { seq, epoch } : null);
    return held && { recovered: resumed, replayed: resumed ? replayed : 0, from: sameEpoch ? held.seq + 1 : null };
  }

  /** Takes a notification; tells whether it was missed before, and whether it was here before. */
  accept({ seq }) {
    if (this.#position === null || !Number.isSafeInteger(seq)) return { replayed: false, duplicate: false };
    if (seq <= this.#position.seq) return { replayed: false, duplicate: true };
    this.#moveTo({ seq, epoch: this.#position.epoch });
    return { replayed: seq <= this.#liveAfter, duplicate: false };
  }

  /** Takes a stated gap: what lies in it will not come, and a page that loads again because of it is not told twice. */
  missed({ to }) {
    if (this.#position === null || !Number.isSafeInteger(to) || to <= this.#position.seq) return;
    this.#moveTo({ seq: to, epoch: this.#position.epoch });
  }

  #moveTo(position) {
    this.#position = position && Object.freeze(position);
    try {
      this.#storage?.setItem(this.#key, JSON.stringify(position));
    } catch {
      // A full or forbidden storage only costs resuming after a reload; the connection is worth more.
    }
  }
}

function readPosition(storage, key) {
  try {
    const stored = JSON.parse(storage?.getItem(key) ?? 'null');
    return stored && Number.isSafeInteger(stored.seq) ? Object.freeze(stored) : null;
  } catch {
    return null;
  }
}
