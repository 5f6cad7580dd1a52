/**
 * The name that a client goes by, the numbers of its dials, and its place in the tab, under which its position is kept.
 * Used by `client.js` alone.
 *
 * Names outlive the page: they are kept in `sessionStorage`, which a reloaded page finds again. A duplicated tab begins with
 * a copy of it, so a lock tells which of the two keeps the name. Where there are no locks (a page that is not secure), the
 * server tells: it closes the older connection, and that client takes a new name.
 */

/** How long the page that was here before may take to let go of its name. */
const LET_GO_MS = 250;

/** The places that clients of this page have. */
const taken = new Set();

export class Identity {
  #owner;
  #given;
  #storage = tabStorage();
  #place = null;
  #id;
  #lastAttempt;
  #settled;
  #letGo = () => {};

  /**
   * @param {URL} gateway
   * @param {{ clientId?: string, userId?: string | number }} options without a client id, it makes its own
   */
  constructor(gateway, { clientId, userId }) {
    const address = `${gateway.protocol.replace('ws', 'http')}//${gateway.host}${gateway.pathname.replace(/\/$/, '')}`;
    this.#owner = `${address}#${encodeURIComponent(userId ?? '')}${framePath()}`;
    this.#given = clientId || null;
    this.take();
  }

  get id() { return this.#id; }

  /** Whether the name was made here, so that another one does as well. */
  get isOwn() { return this.#given === null; }

  /** Names the gateway, the user, and which of their clients in this tab it is; the same after the page is loaded again. */
  get place() { return this.#place; }

  /** Is fulfilled once the name may be used; `id` may be another one then. */
  get settled() { return this.#settled; }

  /** Takes the first free place, and the name that was kept there. */
  take() {
    if (this.#place !== null) return;
    let place = this.#owner;
    for (let further = 2; taken.has(place); further += 1) place = `${this.#owner}#${further}`;
    taken.add(place);
    this.#place = place;
    const kept = this.#read();
    const known = this.#given ?? (kept?.own === true ? kept.id : null);
    this.#lastAttempt = kept?.id === known ? kept.attempt : 0;
    if (known === null) return this.renew();
    this.#id = known;
    this.#settled = this.isOwn ? this.#holdOrRenew(known) : Promise.resolve();
  }

  /** Lets go of place and name, for other clients of this page. */
  leave() {
    this.#letGo();
    taken.delete(this.#place);
    this.#place = null;
  }

  /** Makes a new name. */
  renew() {
    this.#letGo();
    this.#id = newName();
    this.#lastAttempt = 0;
    this.#settled = Promise.resolve();
    this.#hold(); // nobody else can have it yet
    this.#keep();
  }

  /** The number of the next dial: the time in milliseconds, and more than the last one. */
  nextAttempt() {
    this.#lastAttempt = Math.min(Math.max(Date.now(), this.#lastAttempt + 1), Number.MAX_SAFE_INTEGER);
    this.#keep();
    return this.#lastAttempt;
  }

  async #holdOrRenew(name) {
    const held = await this.#hold();
    const stillWanted = this.#place !== null && this.#id === name;
    if (!held && stillWanted) this.renew();
  }

  /** @returns {Promise<boolean>} whether no other page has the name; it is held until `#letGo` */
  #hold() {
    const locks = globalThis.navigator?.locks;
    if (!locks || this.#storage === null) return Promise.resolve(true);
    const tooLong = new AbortController();
    const timer = setTimeout(() => tooLong.abort(), LET_GO_MS);
    const released = new Promise((resolve) => {
      this.#letGo = resolve;
    });
    return new Promise((resolve) => {
      const granted = () => {
        clearTimeout(timer);
        resolve(true);
        return released;
      };
      locks.request(`exposia-notifications:${this.#id}`, { signal: tooLong.signal }, granted).catch(() => resolve(false));
    });
  }

  #read() {
    try {
      const kept = JSON.parse(this.#storage?.getItem(`exposia-notifications:name:${this.#place}`) ?? 'null');
      const whole = kept !== null && typeof kept.id === 'string' && Number.isSafeInteger(kept.attempt) && kept.attempt >= 0;
      return whole ? kept : null;
    } catch {
      return null;
    }
  }

  #keep() {
    const kept = { id: this.#id, own: this.isOwn, attempt: this.#lastAttempt };
    try {
      this.#storage?.setItem(`exposia-notifications:name:${this.#place}`, JSON.stringify(kept));
    } catch {
      // A full storage only costs the name; the next page makes another one.
    }
  }
}

/** `crypto.randomUUID` is there only for secure pages, this for all. */
function newName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** What the tab keeps, or null where there is no tab or the page may not look. */
function tabStorage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}

/** Which frame of the tab this page is in, since all frames of an origin share what the tab keeps; '' for the outermost. */
function framePath() {
  let path = '';
  for (let frame = globalThis; frame.parent && frame.parent !== frame; frame = frame.parent) {
    let index = 0;
    while (index < frame.parent.length && frame.parent[index] !== frame) index += 1;
    path = `/${index}${path}`;
  }
  return path;
}
