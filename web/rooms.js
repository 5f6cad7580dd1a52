/** The rooms panel and the chat panel, which both follow the rooms that the connection is in. */
import { say } from './i18n.js';
import { byId, element, onSubmit, setUsable } from './page.js';

/** @param {import('./session.js').Session} session */
export function startRoomsPanel(session) {
  const ask = (inputId, request) => {
    const input = byId(inputId);
    request(input.value.trim());
    input.value = '';
    session.changed();
  };
  onSubmit(byId('join-form'), () => ask('join-room', (room) => session.client.join(room)));
  onSubmit(byId('subscribe-form'), () => ask('subscribe-room', (room) => session.client.subscribe(room)));
  const list = byId('rooms-joined');
  list.addEventListener('click', ({ target }) => {
    const room = target.closest('button')?.dataset.room;
    if (room === undefined) return;
    session.client.unsubscribe(room);
    session.changed();
    byId('subscribe-room').focus(); // the button pressed is about to go
  });
  const shown = new Shown();
  session.whenChanged(() => {
    const connected = session.state !== 'closed';
    setUsable(byId('join'), connected);
    setUsable(byId('subscribe'), connected);
    const rooms = connected ? session.client.rooms : [];
    const room = session.client?.room;
    if (shown.differs({ rooms, room })) list.replaceChildren(...rooms.map((name) => roomItem(name, name === room)));
  });
}

/**
 * @param {import('./session.js').Session} session
 * @param {import('./log.js').MessageLog} log shows what was sent, since the server sends it only to the others
 */
export function startChatPanel(session, log) {
  const message = byId('chat-message');
  const room = byId('chat-room');
  onSubmit(byId('chat-form'), () => {
    session.client.chat(message.value, room.value);
    log.addSent({ type: 'chat_message', message: message.value, room: room.value });
    message.value = '';
  });
  const shown = new Shown();
  session.whenChanged(() => {
    setUsable(byId('chat-send'), session.state === 'open');
    const rooms = session.client?.rooms ?? [];
    if (shown.differs(rooms)) chooseAmong(room, rooms);
  });
}

/** Keeps the room chosen as long as the connection is in it. */
function chooseAmong(select, rooms) {
  const chosen = select.value;
  select.replaceChildren(...rooms.map((name) => new Option(name, name)));
  if (rooms.includes(chosen)) select.value = chosen;
}

function roomItem(name, current) {
  const item = element('li', '', 'chip');
  item.append(element('span', name));
  if (current) {
    item.append(element('span', say('roomNow'), 'mark'));
    return item;
  }
  const leave = element('button', '×', 'quiet');
  leave.type = 'button';
  leave.dataset.room = name;
  leave.setAttribute('aria-label', say('leave', { room: name }));
  leave.title = say('leave', { room: name });
  item.append(leave);
  return item;
}

/** Redrawing what has not changed would take the focus and an open choice from under the reader. */
class Shown {
  #last = '';

  differs(value) {
    const text = JSON.stringify(value);
    const differs = text !== this.#last;
    this.#last = text;
    return differs;
  }
}
