/**
 * The console's words. The page itself is written in English; here are its Spanish, and both languages of what the
 * scripts say. What the server says is shown as it came.
 */

const PAGE_IN_SPANISH = {
  title: 'Consola de notificaciones de ExposIA',
  heading: 'notificaciones',
  skipToConnect: 'Saltar a la conexión',
  skipToLog: 'Saltar a los mensajes',
  sections: 'Secciones',
  connection: 'Conexión',
  clientId: 'Id de cliente',
  userId: 'Id de usuario',
  room: 'Sala',
  optional: 'opcional',
  accessToken: 'Token de acceso',
  accessTokenHint: 'si los clientes lo necesitan',
  connect: 'Conectar',
  disconnect: 'Desconectar',
  recoveryTitle: 'Probar la recuperación',
  recoveryHint: 'Corta el socket sin despedirse. Publica mientras está fuera y mira qué se reenvía.',
  awayFor: 'Fuera durante',
  drop: 'Cortar la conexión',
  reconnectNow: 'Reconectar ya',
  rooms: 'Salas',
  moveTo: 'Pasar a la sala',
  move: 'Pasar',
  alsoReceive: 'Recibir también de',
  add: 'Añadir',
  chat: 'Chat',
  chatMessage: 'Mensaje',
  chatRoom: 'A la sala',
  send: 'Enviar',
  publish: 'Publicar',
  token: 'Token',
  event: 'Evento',
  source: 'Origen',
  payload: 'Contenido (objeto JSON)',
  format: 'Formatear',
  payloadHint: 'Se envía tal como está escrito, dígito a dígito. Ctrl+Intro publica.',
  target: 'Destino (en lugar de las reglas)',
  targetUsers: 'Usuarios',
  targetRooms: 'Salas',
  targetEveryone: 'Todos',
  publishAnswer: 'Respuesta del servidor',
  stats: 'Cifras en vivo',
  connections: 'Conexiones',
  perSecond: 'Notificaciones/s',
  sent: 'Enviadas',
  statRooms: 'Miembros por sala',
  log: 'Mensajes',
  filterType: 'Tipo de mensaje',
  filterEvent: 'Filtrar por evento o texto',
  pause: 'Pausar',
  clear: 'Vaciar',
  logEmpty: 'Aún no hay nada. Conéctate, y lo que envíe el servidor aparecerá aquí, lo más reciente primero.',
};

const SPOKEN = {
  en: {
    closed: 'Disconnected',
    closedByServer: 'Closed by the server with {code}; it asks not to come back',
    connecting: 'Connecting',
    open: 'Connected as {clientId}',
    reconnecting: 'Connection lost ({code}), reconnecting: attempt {attempt}',
    countdown: 'next try in {seconds} s',
    trying: 'trying now',
    recovered: 'Recovered: {replayed} replayed',
    notRecovered: 'Not recovered: the missed messages are gone, load the state anew',
    gap: 'Some messages were lost: load the state anew',
    position: 'seq {seq} · epoch {epoch}',
    pong: 'answered in {ms} ms',
    noPong: 'no answer',
    roomNow: 'joined',
    leave: 'Leave {room}',
    payloadNoJson: 'Not valid JSON: {reason}',
    payloadNoObject: 'The payload must be a JSON object, such as {"id": 123}.',
    eventMissing: 'An event needs a name.',
    publishing: 'Publishing…',
    published: '{status} · {message}',
    refused: '{status} · {detail}',
    refusedToken: '{status} · {detail}: the server wants a token of its setting WS_TOKEN',
    entryText: 'The message as JSON',
    unreachable: 'The server cannot be reached.',
    statsUnreachable: 'No figures: the server cannot be reached.',
    statsNoToken: 'No figures: the server asks for the token (under Publish).',
    statsRefused: 'No figures: the server refuses this token.',
    statsFailed: 'No figures: the server answers {status}.',
    chart: '{name}: now {now}, at most {most} in the last {minutes} minutes',
    noRooms: 'No rooms',
    pauseOn: 'Resume',
    pauseOff: 'Pause',
    logCount: '{shown} of {all}',
    logWaiting: '{shown} of {all}, {waiting} waiting',
    replayed: 'replayed',
    duplicate: 'duplicate',
    outgoing: 'sent',
    'type.all': 'All messages',
    'type.notification': 'Notifications',
    'type.chat': 'Chat',
    'type.presence': 'Joined and left',
    'type.room': 'Rooms',
    'type.connection': 'Connection',
    'type.error': 'Errors',
  },
  es: {
    closed: 'Desconectado',
    closedByServer: 'El servidor cerró con {code} y pide no volver',
    connecting: 'Conectando',
    open: 'Conectado como {clientId}',
    reconnecting: 'Conexión perdida ({code}), reconectando: intento {attempt}',
    countdown: 'próximo intento en {seconds} s',
    trying: 'intentándolo',
    recovered: 'Recuperado: {replayed} reenviadas',
    notRecovered: 'No recuperado: lo perdido ya no está, hay que recargar el estado',
    gap: 'Se han perdido mensajes: hay que recargar el estado',
    position: 'seq {seq} · época {epoch}',
    pong: 'respondió en {ms} ms',
    noPong: 'sin respuesta',
    roomNow: 'actual',
    leave: 'Salir de {room}',
    payloadNoJson: 'No es JSON válido: {reason}',
    payloadNoObject: 'El contenido debe ser un objeto JSON, como {"id": 123}.',
    eventMissing: 'Un evento necesita un nombre.',
    publishing: 'Publicando…',
    published: '{status} · {message}',
    refused: '{status} · {detail}',
    refusedToken: '{status} · {detail}: el servidor pide un token de su ajuste WS_TOKEN',
    entryText: 'El mensaje en JSON',
    unreachable: 'No se puede llegar al servidor.',
    statsUnreachable: 'Sin cifras: no se puede llegar al servidor.',
    statsNoToken: 'Sin cifras: el servidor pide el token (en Publicar).',
    statsRefused: 'Sin cifras: el servidor rechaza este token.',
    statsFailed: 'Sin cifras: el servidor responde {status}.',
    chart: '{name}: ahora {now}, como mucho {most} en los últimos {minutes} minutos',
    noRooms: 'Ninguna sala',
    pauseOn: 'Reanudar',
    pauseOff: 'Pausar',
    logCount: '{shown} de {all}',
    logWaiting: '{shown} de {all}, {waiting} en espera',
    replayed: 'reenviada',
    duplicate: 'duplicada',
    outgoing: 'enviado',
    'type.all': 'Todos los mensajes',
    'type.notification': 'Notificaciones',
    'type.chat': 'Chat',
    'type.presence': 'Entradas y salidas',
    'type.room': 'Salas',
    'type.connection': 'Conexión',
    'type.error': 'Errores',
  },
};

export const language = /^es\b/i.test(navigator.language) ? 'es' : 'en';

/** What the scripts say, with the values put in where the text names them. */
export function say(key, values = {}) {
  return SPOKEN[language][key].replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

/** Numbers as the language writes them. */
export function number(value, digits = 0) {
  return value.toLocaleString(language, { maximumFractionDigits: digits });
}

/** Turns the page into the reader's language; English needs nothing. */
export function translatePage() {
  document.documentElement.lang = language;
  if (language !== 'es') return;
  for (const element of document.querySelectorAll('[data-text]')) {
    element.textContent = PAGE_IN_SPANISH[element.dataset.text];
  }
  for (const element of document.querySelectorAll('[data-placeholder]')) {
    element.placeholder = PAGE_IN_SPANISH[element.dataset.placeholder];
  }
  for (const element of document.querySelectorAll('[data-label]')) {
    element.setAttribute('aria-label', PAGE_IN_SPANISH[element.dataset.label]);
  }
}
