/**
 * The rooms a client comes back to: what the server granted, and what was asked of it and not answered yet.
 * Used by `client.js` alone; sends nothing itself.
 */

const REQUEST_ANSWERED_BY = new Map([
  ['room_changed', 'join_room'],
  ['subscribed', 'subscribe'],
  ['unsubscribed', 'unsubscribe'],
]);

export class RoomMemory {
  /** The one joined, or null while the server has not said which it is. */
  room;
  #further;
  #unanswered = [];

  /**
   * @param {string | null} room
   * @param {Iterable<string>} [further]
   */
  constructor(room, further = []) {
    this.room = room;
    this.#further = new Set(further);
    this.#further.delete(room);
  }

  /** The rooms subscribed beside the one joined. */
  get further() {
    return [...this.#further];
  }

  asked(type, room) {
    this.#unanswered.push({ type, room });
  }

  /** Takes the server's word for which rooms the connection is in. */
  greeted({ room, rooms }) {
    this.room = room ?? this.room;
    this.#replaceFurther(rooms);
  }

  /** Takes any message; those that answer no request for a room change nothing. */
  heard({ type, room, rooms }) {
    // Errors do not name the request they answer; answers come in order, so it is taken to be the oldest.
    if (type === 'error') this.#unanswered.shift();
    const request = REQUEST_ANSWERED_BY.get(type);
    if (request === undefined) return;
    const index = this.#unanswered.findIndex((asked) => asked.type === request && asked.room === room);
    if (index >= 0) this.#unanswered.splice(index, 1);
    this.#grant({ type: request, room });
    this.#replaceFurther(rooms);
  }

  /** With the connection gone no answer will come: what was asked is asked again by the next connection's address. */
  settle() {
    for (const asked of this.#unanswered.splice(0)) this.#grant(asked);
  }

  #grant({ type, room }) {
    if (type === 'join_room') this.room = room;
    if (type === 'subscribe') this.#further.add(room);
    else this.#further.delete(room);
  }

  #replaceFurther(rooms) {
    if (Array.isArray(rooms)) this.#further = new Set(rooms.filter((room) => room !== this.room));
  }
}
