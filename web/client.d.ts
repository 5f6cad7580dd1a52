/** Types of `client.js`. Every message also carries what the server may add later; nothing here is ever renamed. */

export type State = 'connecting' | 'open' | 'reconnecting' | 'closed';

/** A place in the stream: a number means something only within its epoch. */
export interface Position {
  readonly seq: number;
  readonly epoch: string;
}

export interface ConnectOptions {
  /**
   * Names the connection: a second one with the same id replaces the first. Without it the client makes an id of its own,
   * and keeps it for as long as the tab is there (`sessionStorage`); a duplicated tab gets another one.
   */
  clientId?: string;
  userId?: string | number;
  /** The room to be in; the server's default is `general`. */
  room?: string;
  /** Further rooms to receive from. */
  rooms?: Iterable<string>;
  /**
   * Sent as `?token=`. A function is asked again for each connection, and for a fresh one when the server says that the
   * token of an open connection expired; a token that is a text is closed with 4003 then.
   */
  token?: string | (() => string | undefined);
  /**
   * Where to keep the position, so that a reloaded page resumes: `sessionStorage`, or what else belongs to one tab. It is
   * kept under gateway and user, whatever the client id.
   */
  storage?: Pick<Storage, 'getItem' | 'setItem'>;
  backoff?: {
    /** Upper bound of the first delay; it doubles with each failure. Default 500. */
    baseMs?: number;
    /** Upper bound of every delay. Default 30,000. */
    maxMs?: number;
    /** A connection that lasted this long starts the backoff afresh. Default 10,000. */
    stableMs?: number;
  };
  heartbeat?: {
    /** Silence after which a ping is sent. Default 30,000. */
    idleMs?: number;
    /** How long a connection or the answer to a ping may take. Default 10,000. */
    timeoutMs?: number;
  };
  /** For runtimes without a global WebSocket, such as Node 20 with the `ws` package. */
  WebSocket?: new (url: string) => WebSocketLike;
  random?: () => number;
  clock?: Clock;
}

/** What the client uses of a WebSocket. */
export interface WebSocketLike {
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

/** Milliseconds that only grow, and timers over them. */
export interface Clock {
  now(): number;
  setTimeout(callback: () => void, delayMs: number): unknown;
  clearTimeout(timer: any): void;
}

interface ServerMessage {
  type: string;
  timestamp: string;
  [addition: string]: unknown;
}

export interface ConnectionEstablished extends ServerMessage {
  type: 'connection_established';
  message: string;
  client_id: string;
  user_id: string | null;
  room: string;
  epoch: string;
  /** The position after which the connection is live; up to it, what comes was missed before. */
  seq: number;
  recovered?: boolean;
  replayed?: number;
}

export interface Notification<Payload = Record<string, unknown>> extends ServerMessage {
  type: 'system_notification';
  id: string;
  seq: number;
  event: string;
  payload: Payload;
  source: string;
}

export interface ChatMessage extends ServerMessage {
  type: 'chat_message';
  client_id: string;
  /** What `chat()` was given. A client that is not this one may have sent any other JSON value, which comes as it is. */
  message: string;
  room: string;
}

export interface Presence extends ServerMessage {
  type: 'user_joined' | 'user_left';
  message: string;
  client_id: string;
  room: string;
}

export interface RoomChanged extends ServerMessage {
  type: 'room_changed';
  message: string;
  room: string;
}

export interface Subscription extends ServerMessage {
  type: 'subscribed' | 'unsubscribed';
  room: string;
  /** All rooms the connection is in. */
  rooms: string[];
}

export interface Pong extends ServerMessage {
  type: 'pong';
  roundTripMs: number;
}

export interface ServerError {
  type: 'error';
  message: string;
  timestamp?: string;
}

/** What was missed and will not come: the page has to load its state anew. */
export interface Gap {
  type: 'gap';
  /** The first number that is gone, or null when the numbers began anew. */
  from: number | null;
  /** The last number that is gone. */
  to: number;
}

/** Messages that nobody keeps, such as chat, came faster than this client read, and did not fit. They do not come again. */
export interface Dropped extends ServerMessage {
  type: 'dropped';
  count: number;
}

/** How a message came. */
export interface Delivery {
  /** The text as the server sent it: numbers beyond 2^53 and the order of keys are whole only there. */
  raw: string;
  /** Missed while away, and sent again on resuming. */
  replayed: boolean;
  /** Seen before; `notification` is not emitted for it. */
  duplicate: boolean;
}

export interface EventMap {
  open: [ConnectionEstablished, Delivery];
  notification: [Notification, Delivery];
  chat: [ChatMessage, Delivery];
  joined: [Presence, Delivery];
  left: [Presence, Delivery];
  room: [RoomChanged, Delivery];
  subscribed: [Subscription, Delivery];
  unsubscribed: [Subscription, Delivery];
  pong: [Pong, Delivery];
  /** The server no longer has, or could not deliver, a part of the stream. */
  gap: [Gap];
  /** Messages that nobody keeps did not fit, since the client read too slowly. */
  dropped: [Dropped, Delivery];
  /** After a reconnect with a position: whether the server could replay what was missed (`gap` follows if not). */
  recovered: [{ recovered: boolean; replayed: number }];
  /** The connection is gone; the next attempt begins in `delayMs`. */
  reconnecting: [{ attempt: number; delayMs: number; code: number; reason: string }];
  /**
   * By `close()`, or by a code that forbids coming back (4000-4099: 4003 not allowed, or no longer; 4008 too many messages).
   * After 4001 (replaced) a client with an id of its own takes a new one and comes back.
   */
  closed: [{ code: number; reason: string; byClient: boolean }];
  /** Something the server refused, or a message from it that could not be read. */
  error: [ServerError, Delivery];
  /** Every message, after the event of its own; those of unknown types come only here. */
  message: [ServerMessage, Delivery];
  state: [{ state: State; previous: State }];
}

export declare class NotificationClient {
  constructor(url: string | URL, options?: ConnectOptions);

  readonly state: State;
  /** The id given, or the client's own. */
  readonly clientId: string;
  /** The room joined, or null while the server has not said which it is. */
  readonly room: string | null;
  /** All rooms, the joined one first. */
  readonly rooms: string[];
  readonly position: Position | null;

  /** @returns a function that stops listening */
  on<Type extends keyof EventMap>(type: Type, listener: (...details: EventMap[Type]) => void): () => void;
  off<Type extends keyof EventMap>(type: Type, listener: (...details: EventMap[Type]) => void): void;

  /** Moves to a room. Like the next two, remembered and done on reconnecting when there is no connection. */
  join(room: string): void;
  /** Receives from a further room, staying in the others. */
  subscribe(room: string): void;
  unsubscribe(room: string): void;
  /** Sends to the others in the room joined, or in another one this client is in. Throws when not connected. */
  chat(message: string, room?: string): void;
  /** @returns the round trip in milliseconds; rejects when the connection is or gets lost */
  ping(): Promise<number>;
  /** Ends for good; `reconnect()` begins again. */
  close(): void;
  /**
   * Connects anew at once, whatever the state, resuming at the position held. When the network is back (`online`), a client
   * that waits does so by itself.
   */
  reconnect(): void;
  /** Loses the connection as a broken network would, to try out recovery; back after `delayMs`, or the backoff. */
  drop(delayMs?: number): void;
}

/** Opens a client for the gateway at `url` (http, https, ws or wss), to which `/ws/{clientId}` is added. */
export declare function connect(url: string | URL, options?: ConnectOptions): NotificationClient;

/** Exponential backoff with full jitter, for the attempt after so many failures. */
export declare function backoffDelay(
  failures: number,
  limits: { baseMs: number; maxMs: number },
  random: () => number,
): number;

/** Whether a close code forbids coming back. */
export declare function isFinalCode(code: number): boolean;
