/** The console in a real browser; the verbs that its tests are told in. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { chromium } from 'playwright-core';

export const BASE_URL = process.env.BASE_URL ?? 'http://127.0.0.1:9000';
export const TOKEN = process.env.TOKEN ?? 'dev';

const QUIET_BROWSER = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

export function launchBrowser(...further) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...QUIET_BROWSER, ...further] });
}

/** A name that no other test, and no earlier run against the same server, has used. */
export function unique(name) {
  return `${name}-${randomUUID().slice(0, 8)}`;
}

/** Publishes past the page, as a service would. */
export async function publishElsewhere(event, payload, target) {
  const response = await fetch(new URL('/notify', BASE_URL), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${TOKEN}` },
    body: JSON.stringify({ event, payload, target }),
  });
  assert.equal(response.status, 200, await response.text());
}

export class ConsolePage {
  #problems = [];

  /**
   * @param {import('node:test').TestContext} t the test that the page closes with, and that fails on console errors
   * @param {import('playwright-core').Browser} browser
   */
  static async open(t, browser, { address = new URL('/console', BASE_URL).href, ...options } = {}) {
    const context = await browser.newContext({ locale: 'en-US', ...options });
    const opened = new ConsolePage();
    opened.page = await context.newPage();
    opened.page.setDefaultTimeout(10_000);
    opened.page.on('pageerror', (error) => opened.#problems.push(error.message));
    opened.page.on('console', (message) => opened.#note(message));
    t.after(async () => {
      await context.close();
      assert.deepEqual(opened.#problems, [], 'errors in the browser console');
    });
    await opened.page.goto(address);
    return opened;
  }

  /** A server in production refuses its figures until the page has the token, which is as it should be. */
  #note(message) {
    if (message.type() !== 'error' || message.location().url.endsWith('/stats')) return;
    this.#problems.push(message.text());
  }

  /** Forgets errors that a test provoked. */
  forgive(text) {
    this.#problems = this.#problems.filter((problem) => !problem.includes(text));
  }

  /** The browser itself reports refused requests as errors; a test that provokes one says so. */
  forgiveRefusal(status) {
    this.#problems = this.#problems.filter((problem) => !problem.includes(`status of ${status}`));
  }

  async connect({ clientId = unique('console'), userId = '', room = '' } = {}) {
    await this.page.fill('#client-id', clientId);
    await this.page.fill('#user-id', userId);
    await this.page.fill('#room', room);
    await this.page.click('#connect');
    await this.becomes('open');
    return clientId;
  }

  becomes(state) {
    return this.page.locator(`#status[data-state="${state}"]`).waitFor();
  }

  async publish(event, payloadText, token = TOKEN) {
    await this.page.fill('#token', token);
    await this.page.fill('#event', event);
    await this.page.fill('#payload', payloadText);
    await this.page.click('#publish');
  }

  async drop(seconds) {
    await this.page.fill('#drop-seconds', String(seconds));
    await this.page.click('#drop');
  }

  /** Entries of the log that show a text. */
  entries(text) {
    return this.page.locator('#log > li', { hasText: text });
  }

  async shows(selector, text) {
    await this.page.locator(selector, { hasText: text }).waitFor();
  }

  async rooms() {
    return this.page.locator('#rooms-joined li > span:first-child').allTextContents();
  }

  async becomesMember(room) {
    await this.shows('#rooms-joined li', room);
  }

  overflow() {
    return this.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  }

  focused() {
    return this.page.evaluate(() => document.activeElement.id);
  }
}
