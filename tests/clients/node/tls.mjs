// Posts with one of Node's clients, over HTTP/2 a few at a time: a line of JSON for each answer.
//
//     NODE_EXTRA_CA_CERTS=CA_FILE node tls.mjs fetch|https|http2 URL TOKEN SIZE...
import { once } from 'node:events';
import { connect } from 'node:http2';
import { Agent, request } from 'node:https';
import { text } from 'node:stream/consumers';

const PATIENCE_MS = 30_000;
const [kind, address, token, ...sizes] = process.argv.slice(2);
const url = new URL(address);
const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };

function event(size) {
  const event = { event: 'test.tls', target: { everyone: true }, payload: { filler: '' } };
  event.payload.filler = 'x'.repeat(size - JSON.stringify(event).length);
  return JSON.stringify(event);
}

async function byFetch(body) {
  const answer = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(PATIENCE_MS) });
  return { status: answer.status, body: await answer.text() };
}

const agent = new Agent({ keepAlive: true });

async function byHttps(body) {
  const asked = request(url, { method: 'POST', headers, agent, timeout: PATIENCE_MS });
  asked.on('timeout', () => asked.destroy(new Error('no answer')));
  const answered = once(asked, 'response');
  asked.end(body);
  const [answer] = await answered;
  return { status: answer.statusCode, body: await text(answer) };
}

// By itself, a session lets go of all its streams when they hold more than 10 MB.
const session = kind === 'http2' ? connect(url, { maxSessionMemory: 100 }) : null;

async function byHttp2(body) {
  const stream = session.request({ ':method': 'POST', ':path': url.pathname, ...headers });
  stream.setTimeout(PATIENCE_MS, () => stream.destroy(new Error('no answer')));
  const [answered, closed] = [once(stream, 'response'), once(stream, 'close')];
  // What fails one of them fails the other, which nobody waits for then.
  closed.catch(() => {});
  stream.end(body);
  const [answer] = await answered;
  const content = await text(stream);
  // A stream that stays open holds what is still to be sent.
  await closed;
  return { status: answer[':status'], body: content };
}

const post = { fetch: byFetch, https: byHttps, http2: byHttp2 }[kind];
const atATime = kind === 'http2' ? 8 : 1;
while (sizes.length > 0) {
  const lines = sizes.splice(0, atATime).map(async (size) => {
    return await post(event(Number(size))).catch((error) => ({ error: `${error}: ${error.cause ?? ''}` }));
  });
  for (const line of await Promise.all(lines)) console.log(JSON.stringify(line));
}
agent.destroy();
session?.close();
