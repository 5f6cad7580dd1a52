/** The README's snippet and `web/client.js` in pages of a real browser, against a running server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { BASE_URL, launchBrowser, publishElsewhere, unique } from './console-page.mjs';

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const [, SNIPPET] = README.match(/<!-- snippet: javascript-client -->\n```javascript\n(.*?)^```$/ms);

/** A name that is not that of this machine, so that a page there is not secure. */
const STRANGE_HOST = 'pagina.test';
const PATIENCE_MS = 20_000;

let browser;
let host;
before(async () => {
  browser = await launchBrowser(`--host-resolver-rules=MAP ${STRANGE_HOST} 127.0.0.1`);
  host = createServer((request, response) => {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    const gateway = `http://${request.headers.host.split(':')[0]}:${new URL(BASE_URL).port}`;
    const empty = '<!doctype html><title>page</title><link rel="icon" href="data:,">';
    const script = request.url === '/snippet' ? `<script type="module">${SNIPPET.replaceAll('http://localhost:9000', gateway)}</script>` : '';
    response.end(empty + script);
  });
  host.listen(0, '127.0.0.1');
  await once(host, 'listening');
});
after(async () => {
  await browser.close();
  host.close();
});

/** In the page itself: what is said shortly before a page goes does not always get out of it. */
function writeDownWhatIsSaid() {
  const { log } = console;
  console.log = (...parts) => {
    sessionStorage.setItem('said', `${sessionStorage.getItem('said') ?? ''}${JSON.stringify(parts)}\n`);
    log(...parts);
  };
}

/** The page of the snippet, and what it says. */
class SnippetPage {
  lines = [];
  #waiting = [];

  constructor(page) {
    this.page = page;
    page.on('console', (message) => {
      this.lines.push(message.text());
      for (const look of [...this.#waiting]) look();
    });
  }

  static async open(t, name = '127.0.0.1') {
    const context = await browser.newContext();
    t.after(() => context.close());
    await context.addInitScript(writeDownWhatIsSaid);
    const opened = new SnippetPage(await context.newPage());
    opened.address = `http://${name}:${host.address().port}`;
    await opened.page.goto(`${opened.address}/snippet`);
    await opened.says(1, /^Conectado/);
    return opened;
  }

  /** Another tab with a copy of what this one keeps. */
  async duplicate() {
    const opened = this.page.context().waitForEvent('page');
    await this.page.evaluate(() => { window.open('/elsewhere'); });
    const copy = new SnippetPage(await opened);
    await copy.page.goto(this.page.url());
    await copy.says(1, /^Conectado/);
    return copy;
  }

  said(pattern) {
    return this.lines.filter((line) => pattern.test(line));
  }

  /** Until it has said so many lines like that. */
  says(count, pattern) {
    return new Promise((resolve, reject) => {
      const giveUp = () => reject(new Error(`not ${count} times ${pattern}:\n${this.lines.join('\n')}`));
      const timer = setTimeout(giveUp, PATIENCE_MS);
      const look = () => {
        if (this.said(pattern).length < count) return;
        clearTimeout(timer);
        this.#waiting.splice(this.#waiting.indexOf(look), 1);
        resolve();
      };
      this.#waiting.push(look);
      look();
    });
  }

  ids() {
    return this.said(/^Conectado/).map((line) => line.split(' ').at(-1));
  }

  numbers(run) {
    return this.said(new RegExp(run)).map((line) => Number(line.match(/n: (\d+)/)[1]));
  }

  /** What all pages of this tab said of a run, when they have come to `last`. */
  async written(run, last) {
    const isThere = ([of, n]) => sessionStorage.getItem('said').split('\n').some((line) => line.includes(of) && line.includes(`"n":${n},`));
    await this.page.waitForFunction(isThere, [run, last], { timeout: PATIENCE_MS });
    const text = await this.page.evaluate(() => sessionStorage.getItem('said'));
    const lines = text.trim().split('\n').map((line) => JSON.parse(line));
    return lines.filter(([, payload]) => payload?.run === run).map(([, { n }, replayed]) => ({ n, replayed }));
  }
}

const publish = (run, n) => publishElsewhere('metrica.creada', { temaId: 1, n, run });
const upTo = (last) => Array.from({ length: last }, (_, index) => index + 1);

describe('the snippet of the README', () => {
  test('goes on over reloads: nothing is lost, nothing comes twice, and the client keeps its name', async (t) => {
    const opened = await SnippetPage.open(t);
    const run = unique('run');
    for (let n = 1; n <= 30; n += 1) {
      await publish(run, n);
      if (n % 10 === 0) {
        const reloaded = opened.page.reload();
        await publish(run, n += 1);
        await reloaded;
      }
    }
    await opened.written(run, 31);
    await opened.page.goto(`${opened.address}/elsewhere`);
    await publish(run, 32);
    await opened.page.goBack();
    await opened.written(run, 32);
    await publish(run, 33);
    const written = await opened.written(run, 33);
    assert.deepEqual(written.map(({ n }) => n), upTo(33));
    assert.equal(written[31].replayed, '(missed before)');
    assert.equal(new Set(opened.ids()).size, 1, `names: ${opened.ids()}`);
  });

  test('leaves the tab alone that it was duplicated from', async (t) => {
    const opened = await SnippetPage.open(t);
    const copy = await opened.duplicate();
    assert.notEqual(copy.ids()[0], opened.ids()[0]);
    await copy.page.reload();
    await copy.says(2, /^Conectado/);
    assert.equal(copy.ids()[1], copy.ids()[0], 'from then on the name is its own');
    const run = unique('run');
    await publish(run, 1);
    for (const tab of [opened, copy]) await tab.says(1, new RegExp(run));
    assert.deepEqual(opened.said(/attempt|closed/), []);
  });

  test('works on a page that is not secure, also in a duplicated tab', async (t) => {
    const opened = await SnippetPage.open(t, STRANGE_HOST);
    assert.deepEqual(await opened.page.evaluate(() => [isSecureContext, typeof crypto.randomUUID]), [false, 'undefined']);
    await opened.page.reload();
    await opened.says(2, /^Conectado/);
    const copy = await opened.duplicate();
    await opened.says(3, /^Conectado/); // under a new name, since the copy took the old one
    const run = unique('run');
    for (const n of [1, 2]) await publish(run, n);
    for (const tab of [opened, copy]) {
      await tab.says(2, new RegExp(run));
      assert.deepEqual(tab.numbers(run), [1, 2]);
      assert.deepEqual(tab.said(/^closed/), []);
    }
  });
});

describe('a client that waits', () => {
  test('dials at once when the network is back', async (t) => {
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${host.address().port}/empty`);
    await page.evaluate(async (gateway) => {
      const { connect } = await import(`${gateway}console/client.js`);
      window.client = connect(gateway);
      await new Promise((resolve) => { window.client.on('open', resolve); });
      window.client.drop(3_600_000);
    }, new URL('/', BASE_URL).href);
    assert.equal(await page.evaluate(() => window.client.state), 'reconnecting');
    await context.setOffline(true);
    await context.setOffline(false);
    await page.waitForFunction(() => window.client.state === 'open');
  });
});
