/** The console page: puts the panels together. Each owns its part of the page; what they share is the session. */
import { startConnectionPanel } from './connection.js';
import { translatePage } from './i18n.js';
import { MessageLog } from './log.js';
import { blockUnusable } from './page.js';
import { startPublishPanel } from './publish.js';
import { startChatPanel, startRoomsPanel } from './rooms.js';
import { Session } from './session.js';
import { startStatsPanel } from './stats.js';
import { startStatusLine } from './status.js';

/** What happens to the connection without a message of the server's own. */
const OCCURRENCES = ['reconnecting', 'recovered', 'closed'];

translatePage();
blockUnusable();
const log = new MessageLog();
const session = new Session();
session.whenStarted((client) => {
  client.on('message', (message, delivery) => log.add(message, delivery));
  for (const type of OCCURRENCES) {
    // The message that brought it about is handed out last; it belongs into the log before what came of it.
    client.on(type, (detail) => queueMicrotask(() => log.addOccurrence(type, detail)));
  }
});
startStatusLine(session);
startConnectionPanel(session);
startRoomsPanel(session);
startChatPanel(session, log);
startPublishPanel();
startStatsPanel();
