/** The original's test page, opened from the disk as its README says, against a running server: every button, and what the page shows. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BASE_URL, launchBrowser, publishElsewhere, TOKEN, unique } from './console-page.mjs';

const PAGE = new URL('./original-page.html', import.meta.url).href;

/** Of now, and a zone in which a time without one would be read five hours wrong. */
const NOW_MS = 2 * 60_000;
const ZONE = { locale: 'es-PE', timezoneId: 'America/Lima' };

let browser;
before(async () => { browser = await launchBrowser(); });
after(() => browser.close());

class OriginalPage {
  #problems = [];

  static async open(t, fields = {}) {
    const context = await browser.newContext(ZONE);
    const opened = new OriginalPage();
    opened.page = await context.newPage();
    opened.page.setDefaultTimeout(10_000);
    opened.page.on('pageerror', (error) => opened.#problems.push(error.message));
    opened.page.on('console', (message) => message.type() === 'error' && opened.#problems.push(message.text()));
    t.after(async () => {
      await context.close();
      assert.deepEqual(opened.#problems, [], 'errors in the browser console');
    });
    await opened.page.goto(PAGE);
    opened.id = unique('client');
    await opened.fill({ servidor: BASE_URL, cliente: opened.id, token: TOKEN, ...fields });
    return opened;
  }

  static async connect(t, fields) {
    const opened = await OriginalPage.open(t, fields);
    await opened.press('conectar');
    await opened.shows('#estado', /^conectado$/);
    return opened;
  }

  async fill(fields) {
    for (const [name, value] of Object.entries(fields)) await this.page.fill(`#${name}`, value);
  }

  press(button) {
    return this.page.click(`#${button}`);
  }

  shows(selector, text) {
    return this.page.locator(selector, { hasText: text }).first().waitFor();
  }

  /** Until the log has an entry of this kind with this text. */
  async says(kind, text) {
    await this.page.locator(`#registro > .${kind} > span`).getByText(text, { exact: true }).first().waitFor();
  }

  /** What came and was done, in order. */
  entries(...kinds) {
    const selector = kinds.map((kind) => `#registro > .${kind} > span`).join();
    return this.page.locator(selector).allTextContents();
  }

  /** The browser itself reports refused requests as errors; a test that provokes one says so. */
  forgiveRefusal(status) {
    this.#problems = this.#problems.filter((problem) => !problem.includes(`status of ${status}`));
  }
}

/** A room of its own keeps a test away from the pages of every other. */
function uniqueTopic() {
  const temaId = unique('t');
  return { temaId, room: `tema_${temaId}` };
}

describe("the original's test page", () => {
  test('connects, and says where it is; disconnects, and says that', async (t) => {
    const { room } = uniqueTopic();
    const ana = await OriginalPage.connect(t, { 'sala-inicial': room, usuario: '456' });
    await ana.says('connection_established', `Conectado exitosamente como ${ana.id}`);
    assert.equal(await ana.page.textContent('#sala-actual'), room);
    await ana.shows('#clientes li', `${ana.id} (456) en ${room}`);
    await ana.press('desconectar');
    await ana.shows('#estado', /^desconectado$/);
    assert.deepEqual(await ana.entries('connection_established', 'cierre', 'fallo'), [`Conectado exitosamente como ${ana.id}`, 'conexión cerrada (1005)']);
    await ana.press('conectar');
    await ana.shows('#estado', /^conectado$/);
  });

  test('is in general without a room', async (t) => {
    const ana = await OriginalPage.connect(t, { 'sala-inicial': '' });
    assert.equal(await ana.page.textContent('#sala-actual'), 'general');
  });

  test('chats with the others, sees them come and go, and does not hear itself', async (t) => {
    const { room } = uniqueTopic();
    const ana = await OriginalPage.connect(t, { 'sala-inicial': room });
    const luis = await OriginalPage.connect(t, { 'sala-inicial': room });
    await ana.says('user_joined', `Usuario ${luis.id} se unió a la sala`);
    await ana.fill({ mensaje: '¡Hola a todos! <b>"ñ"</b> 😀' });
    await ana.press('enviar');
    await luis.says('chat_message', `${ana.id}: ¡Hola a todos! <b>"ñ"</b> 😀`);
    await ana.fill({ mensaje: '' });
    await ana.press('enviar');
    await luis.says('chat_message', `${ana.id}:`);
    await luis.press('desconectar');
    await ana.says('user_left', `Usuario ${luis.id} salió de la sala`);
    assert.deepEqual(await ana.entries('chat_message'), []);
    assert.deepEqual(await luis.entries('user_joined', 'user_left', 'error'), []);
  });

  test('changes its room, which is announced to nobody', async (t) => {
    const [first, second] = [uniqueTopic(), uniqueTopic()];
    const before = await OriginalPage.connect(t, { 'sala-inicial': first.room });
    const there = await OriginalPage.connect(t, { 'sala-inicial': second.room });
    const ana = await OriginalPage.connect(t, { 'sala-inicial': first.room });
    await before.says('user_joined', `Usuario ${ana.id} se unió a la sala`);
    await ana.fill({ sala: second.room });
    await ana.press('cambiar');
    await ana.says('room_changed', `Te uniste a la sala ${second.room}`);
    assert.equal(await ana.page.textContent('#sala-actual'), second.room);
    await ana.shows('#clientes li', `${ana.id} (sin usuario) en ${second.room}`);
    await there.fill({ mensaje: 'bienvenida' });
    await there.press('enviar');
    await ana.says('chat_message', `${there.id}: bienvenida`);
    await publishElsewhere('metrica.creada', { last: 'of the old room' }, { rooms: [first.room] });
    await before.says('system_notification', 'metrica.creada de unknown: {"last":"of the old room"}');
    await ana.press('desconectar');
    await there.says('user_left', `Usuario ${ana.id} salió de la sala`);
    assert.deepEqual(await before.entries('user_left'), []);
    assert.deepEqual(await there.entries('user_joined'), []);
    assert.deepEqual(await ana.entries('system_notification'), []);
  });

  test('sends notifications, and receives them as they were sent', async (t) => {
    const { temaId, room } = uniqueTopic();
    const ana = await OriginalPage.connect(t, { 'sala-inicial': room });
    await ana.press('notificar');
    await ana.shows('#resultado', '200: Notificación enviada exitosamente');
    await ana.says('system_notification', 'presentacion.creada de unknown: {"id":123,"titulo":"Mi Presentación","usuarioId":456}');
    await ana.fill({ evento: 'presentacion.eliminada', contenido: `{"z": 1, "temaId": "${temaId}", "a": null}` });
    await ana.press('notificar');
    await ana.says('system_notification', `presentacion.eliminada de unknown: {"z":1,"temaId":"${temaId}","a":null}`);
    await ana.fill({ token: 'otro' });
    await ana.press('notificar');
    await ana.shows('#resultado', '401: Token inválido');
    ana.forgiveRefusal(401);
    await ana.fill({ token: TOKEN, contenido: '[]' });
    await ana.press('notificar');
    await ana.shows('#resultado', '422: [{"type":"dict_type","loc":["body","payload"]');
    ana.forgiveRefusal(422);
  });

  test('sends the test notification', async (t) => {
    const ana = await OriginalPage.connect(t);
    await ana.press('probar');
    await ana.shows('#resultado', '200: Notificación de prueba enviada');
    await ana.shows('.system_notification', 'test.notification de test-endpoint: {"message":"Esta es una notificación de prueba","timestamp":"');
  });

  test('shows the figures live and when asked, the history and the health', async (t) => {
    const { room } = uniqueTopic();
    const ana = await OriginalPage.connect(t, { 'sala-inicial': room });
    await ana.shows('#salas li', `${room}: 1`);
    const luis = await OriginalPage.connect(t, { 'sala-inicial': room });
    await ana.shows('#salas li', `${room}: 2`);
    await luis.press('desconectar');
    await ana.shows('#salas li', `${room}: 1`);
    await ana.shows('#salas li', /^general: \d+$/);
    await ana.press('desconectar');
    await ana.shows('#estado', /^desconectado$/);
    const sent = Number(await ana.page.textContent('#enviadas'));
    await publishElsewhere('metrica.creada', { room });
    await ana.press('actualizar');
    await ana.page.waitForFunction((before) => Number(document.getElementById('enviadas').textContent) > before, sent);
    await ana.press('historial');
    await ana.shows('#consulta', '{"history":[{"type":"system_notification","event":"');
    const { history, total } = JSON.parse(await ana.page.textContent('#consulta'));
    assert.equal(total, history.length);
    assert.equal(history.at(-1).payload.room, room);
    await ana.press('salud');
    await ana.shows('#consulta', '{"status":"healthy","service":"websocket-notifications","timestamp":"');
  });

  test('pings, and reads every time as of now', async (t) => {
    const ana = await OriginalPage.connect(t, { 'sala-inicial': unique('sala') });
    await ana.press('ping');
    await ana.says('pong', 'pong');
    await ana.press('probar');
    await ana.fill({ sala: unique('sala') });
    await ana.press('cambiar');
    await ana.shows('.room_changed', 'Te uniste a la sala');
    const times = await ana.page.locator('#registro time').evaluateAll((all) => all.map((time) => Date.parse(time.dateTime)));
    assert.ok(times.length >= 3);
    for (const time of times) assert.ok(Math.abs(Date.now() - time) < NOW_MS, new Date(time).toISOString());
  });

  test('opened twice under one name: the older page is closed with 4001, the newer one goes on', async (t) => {
    const { room } = uniqueTopic();
    const luis = await OriginalPage.connect(t, { 'sala-inicial': room });
    const first = await OriginalPage.connect(t, { 'sala-inicial': room });
    await luis.says('user_joined', `Usuario ${first.id} se unió a la sala`);
    const second = await OriginalPage.connect(t, { 'sala-inicial': room, cliente: first.id });
    await first.says('cierre', 'conexión cerrada (4001)');
    await luis.fill({ mensaje: '¿sigues?' });
    await luis.press('enviar');
    await second.says('chat_message', `${luis.id}: ¿sigues?`);
    const told = [`Usuario ${first.id} se unió a la sala`, `Usuario ${first.id} salió de la sala`, `Usuario ${first.id} se unió a la sala`];
    assert.deepEqual(await luis.entries('user_joined', 'user_left'), told);
  });
});
