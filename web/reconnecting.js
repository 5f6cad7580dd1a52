/** When a client comes back, and whether. Pure; used by `client.js`, which hands it on. */

/**
 * Exponential backoff with full jitter: a crowd that lost the same server must not come back in step.
 * @param {number} failures how many attempts failed before this one, from 0
 * @param {{ baseMs: number, maxMs: number }} limits
 * @param {() => number} random in [0, 1)
 */
export function backoffDelay(failures, { baseMs, maxMs }, random) {
  return random() * Math.min(maxMs, baseMs * 2 ** failures);
}

/** Codes 4000-4099 are the server's "do not come back": a reconnect would meet the same refusal. */
export function isFinalCode(code) {
  return code >= 4000 && code <= 4099;
}
