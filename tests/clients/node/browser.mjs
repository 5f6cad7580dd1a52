// Runs a snippet that is meant for a browser, with what Node lacks of one.
import { pathToFileURL } from 'node:url';
import { WebSocket } from 'ws';

const stored = new Map();
globalThis.WebSocket = WebSocket;
globalThis.sessionStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => void stored.set(key, String(value)),
};
globalThis.location = { reload: () => console.log('reload') };
globalThis.crypto ??= (await import('node:crypto')).webcrypto; // Node 18

await import(pathToFileURL(process.argv[2]).href);
