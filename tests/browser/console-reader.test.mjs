/** The console page as its reader has it: the log, the keyboard, a phone, two languages, guarded figures. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ConsolePage, launchBrowser, publishElsewhere, TOKEN, unique } from './console-page.mjs';

let browser;
before(async () => { browser = await launchBrowser(); });
after(() => browser.close());

/** A page that listens to a user of its own, and a way to send to it. */
async function openConnected(t, options) {
  const console = await ConsolePage.open(t, browser, options);
  const userId = unique('user');
  await console.connect({ userId, room: unique('room') });
  const send = (event, payload = {}) => publishElsewhere(event, payload, { users: [userId] });
  return { console, send };
}

describe('the log', () => {
  test('is filtered by type and by text', async (t) => {
    const { console, send } = await openConnected(t);
    await send('metrica.creada');
    await send('feedback.creado');
    await console.entries('feedback.creado').waitFor();
    const shown = () => console.page.locator('#log .type, #log .event').allTextContents();

    await console.page.selectOption('#log-type', 'notification');
    const both = ['system_notification', 'feedback.creado', 'system_notification', 'metrica.creada'];
    assert.deepEqual(await shown(), both);
    await console.page.fill('#log-event', 'METRICA');
    assert.deepEqual(await shown(), ['system_notification', 'metrica.creada']);
    assert.equal(await console.page.textContent('#log-count'), '1 of 3');
    await console.page.selectOption('#log-type', 'connection');
    await console.page.fill('#log-event', '');
    assert.deepEqual(await shown(), ['connection_established']);
  });

  test('applies its filter to what comes later, too', async (t) => {
    const { console, send } = await openConnected(t);
    await console.page.fill('#log-event', 'feedback');
    await send('metrica.creada');
    await send('feedback.creado');
    await console.entries('feedback.creado').waitFor();
    assert.equal(await console.entries('metrica.creada').count(), 0);
  });

  test('paused, counts what waits, and shows it on resuming', async (t) => {
    const { console, send } = await openConnected(t);
    await console.page.click('#log-pause');
    assert.equal(await console.page.getAttribute('#log-pause', 'aria-pressed'), 'true');
    await send('metrica.creada');
    await send('metrica.creada');
    await console.shows('#log-count', '1 of 1, 2 waiting');
    assert.equal(await console.entries('metrica.creada').count(), 0);
    await console.page.click('#log-pause');
    await console.shows('#log-count', '3 of 3');
  });

  test('is cleared', async (t) => {
    const { console, send } = await openConnected(t);
    await send('metrica.creada');
    await console.entries('metrica.creada').waitFor();
    await console.page.click('#log-clear');
    assert.equal(await console.page.textContent('#log-count'), '0 of 0');
    await console.page.locator('#log-empty').waitFor();
  });

  test('keeps the last 1,000', async (t) => {
    const console = await ConsolePage.open(t, browser);
    await console.page.evaluate(async () => {
      const { MessageLog } = await import('/console/log.js');
      const log = new MessageLog();
      const delivery = { replayed: false, duplicate: false };
      for (let seq = 1; seq <= 600; seq += 1) log.add({ type: 'pong', seq }, { ...delivery, raw: `{"seq":${seq}}` });
      await new Promise(requestAnimationFrame);
      for (let seq = 601; seq <= 1100; seq += 1) log.add({ type: 'pong', seq }, { ...delivery, raw: `{"seq":${seq}}` });
    });
    await console.shows('#log-count', '1000 of 1000');
    assert.equal(await console.page.textContent('#log > li:first-child .seq'), '#1100');
    assert.equal(await console.page.textContent('#log > li:last-child .seq'), '#101');
  });

  test('shows markup as text', async (t) => {
    const { console, send } = await openConnected(t);
    const markup = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
    await send(unique('<b>evento</b>'), { markup });
    const entry = console.entries('<b>evento</b>');
    await entry.locator('summary').click();
    await entry.locator('pre').waitFor();
    assert.equal(await console.page.locator('#log :is(img, script, b)').count(), 0);
    assert.equal(await console.page.title(), 'ExposIA notifications console');
  });
});

describe('the keyboard', () => {
  test('is enough to connect, and keeps its place', async (t) => {
    const console = await ConsolePage.open(t, browser);
    const { keyboard } = console.page;
    await keyboard.press('Tab');
    await keyboard.press('Enter');
    assert.equal(await console.focused(), 'client-id');
    await keyboard.press('ControlOrMeta+a');
    await keyboard.type(unique('teclado'));
    await keyboard.press('Enter');
    await console.becomes('open');
    for (const next of ['user-id', 'room', 'access-token', 'connect', 'disconnect']) {
      await keyboard.press('Tab');
      assert.equal(await console.focused(), next);
    }
    await keyboard.press('Space');
    await console.becomes('closed');
    assert.equal(await console.focused(), 'disconnect');
  });

  test('publishes from within the payload', async (t) => {
    const console = await ConsolePage.open(t, browser);
    await console.page.fill('#token', TOKEN);
    await console.page.press('#payload', 'Control+Enter');
    await console.shows('#publish-result', '200');
  });

  test('does nothing with a button that is out of use', async (t) => {
    const console = await ConsolePage.open(t, browser);
    await console.page.fill('#chat-message', 'hola');
    await console.page.press('#chat-message', 'Enter');
    assert.equal(await console.page.inputValue('#chat-message'), 'hola');
    assert.equal(await console.page.locator('#log > li').count(), 0);
  });
});

describe('what scrolls', () => {
  test('can be scrolled with the keyboard', async (t) => {
    const { console, send } = await openConnected(t, { viewport: { width: 800, height: 400 } });
    const lines = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`line${index}`, index]));
    await send('metrica.creada', lines);
    await console.entries('metrica.creada').locator('summary').click();
    await console.publish('metrica.creada', '{}');
    await console.shows('#publish-result', '200');
    await console.page.evaluate(() => {
      const rooms = Array.from({ length: 60 }, () => document.createElement('li'));
      for (const room of rooms) room.textContent = 'sala';
      document.getElementById('stat-rooms').replaceChildren(...rooms);
    });
    const scrolling = await console.page.evaluate(() => {
      const scrolls = (element) => /auto|scroll/.test(getComputedStyle(element).overflowY) && element.scrollHeight > element.clientHeight;
      const reached = (element) => element.tabIndex >= 0 || element.querySelector('summary, button, [tabindex="0"]') !== null;
      const name = ({ id, localName }) => id || localName;
      const found = [...document.body.querySelectorAll('*')].filter(scrolls);
      return { found: found.map(name), unreached: found.filter((element) => !reached(element)).map(name) };
    });
    for (const name of ['pre', 'stat-rooms']) assert.ok(scrolling.found.includes(name), `${name} scrolls`);
    assert.deepEqual(scrolling.unreached, []);
  });
});

describe('the dot of the status', () => {
  /** How far its middle stands out from what is around it, as WCAG counts contrast. */
  async function contrast({ page }) {
    const box = await page.locator('.dot').boundingBox();
    const clip = { x: box.x - 8, y: box.y - 8, width: box.width + 16, height: box.height + 16 };
    const picture = (await page.screenshot({ clip, animations: 'allow' })).toString('base64');
    return page.evaluate(async (data) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [image.width, image.height];
      const context = canvas.getContext('2d');
      context.drawImage(image, 0, 0);
      const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
      const luminance = (x, y) => {
        const [red, green, blue] = context.getImageData(x, y, 1, 1).data;
        return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
      };
      const [one, other] = [luminance(1, 1), luminance(image.width >> 1, image.height >> 1)].sort((a, b) => b - a);
      return (one + 0.05) / (other + 0.05);
    }, picture);
  }

  const fadedMost = () => {
    for (const animation of document.getAnimations()) {
      animation.pause();
      animation.currentTime = animation.effect.getTiming().duration;
    }
  };

  for (const options of [{ colorScheme: 'light' }, { colorScheme: 'dark' }, { forcedColors: 'active' }]) {
    test(`is seen at all times, with ${Object.entries(options)}`, async (t) => {
      const { console } = await openConnected(t, options);
      await console.page.evaluate(fadedMost);
      assert.ok((await contrast(console)) >= 3, 'open');
      await console.drop(3600);
      await console.becomes('reconnecting');
      await console.page.evaluate(fadedMost);
      assert.ok((await contrast(console)) >= 3, 'reconnecting');
    });
  }
});

describe('a phone', () => {
  test('of 360 pixels has nothing beyond its edge', async (t) => {
    const { console, send } = await openConnected(t, { viewport: { width: 360, height: 740 }, locale: 'es-ES' });
    assert.equal(await console.overflow(), 0);
    const longWord = 'x'.repeat(400);
    await send(unique(longWord.slice(0, 80)), { longWord });
    await console.entries('system_notification').locator('summary').click();
    await console.publish('metrica.creada', `{"longWord": "${longWord}"}`);
    await console.drop(3600);
    await console.becomes('reconnecting');
    assert.equal(await console.overflow(), 0);
  });
});

describe('the language', () => {
  test('is Spanish for every kind of Spanish', async (t) => {
    const console = await ConsolePage.open(t, browser, { locale: 'es-MX' });
    assert.equal(await console.page.getAttribute('html', 'lang'), 'es');
    assert.equal(await console.page.title(), 'Consola de notificaciones de ExposIA');
    assert.equal(await console.page.textContent('#connect'), 'Conectar');
    assert.equal(await console.page.textContent('#status'), 'Desconectado');
    assert.doesNotMatch(await console.page.innerHTML('body'), /undefined/);
  });

  test('is English for all others', async (t) => {
    const console = await ConsolePage.open(t, browser, { locale: 'de-DE' });
    assert.equal(await console.page.getAttribute('html', 'lang'), 'en');
    assert.equal(await console.page.textContent('#connect'), 'Connect');
    assert.equal(await console.page.textContent('#status'), 'Disconnected');
  });
});

describe('guarded figures', () => {
  test('are asked for with the token, and say when it is refused', async (t) => {
    const console = await ConsolePage.open(t, browser);
    const stats = { total_connections: 7, rooms: {}, total_notifications_sent: 1 };
    await console.page.route('**/stats', async (route) => {
      const allowed = route.request().headers().authorization === 'Bearer right';
      await route.fulfill(allowed ? { json: stats } : { status: 401, json: { detail: 'Token inválido' } });
    });
    await console.page.fill('#token', '');
    await console.shows('#stats-status', 'asks for the token');
    await console.page.fill('#token', 'wrong');
    await console.shows('#stats-status', 'refuses this token');
    await console.page.fill('#token', 'right');
    await console.shows('#stat-connections', '7');
    assert.equal(await console.page.textContent('#stats-status'), '');
  });
});
