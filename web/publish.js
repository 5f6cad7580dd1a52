/** The publishing panel: writes a notification, checks its payload, and shows what the server made of it. */
import { gatewayAddress } from './gateway.js';
import { say } from './i18n.js';
import { payloadProblem, prettyJson } from './json.js';
import { byId, onSubmit } from './page.js';

const FIRST_PAYLOAD = '{\n  "id": 123,\n  "titulo": "Mi Presentación",\n  "usuarioId": 456\n}';

export function startPublishPanel() {
  const payload = byId('payload');
  payload.value = FIRST_PAYLOAD;
  payload.addEventListener('input', checkPayload);
  payload.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId('publish-form').requestSubmit();
  });
  byId('event').addEventListener('input', checkEvent);
  byId('format').addEventListener('click', () => {
    if (checkPayload()) payload.value = prettyJson(payload.value);
  });
  onSubmit(byId('publish-form'), () => {
    const [eventFine, payloadFine] = [checkEvent(), checkPayload()];
    if (!eventFine) byId('event').focus();
    else if (!payloadFine) payload.focus();
    else publish();
  });
}

function checkEvent() {
  return showProblem('event', 'event-error', byId('event').value.trim() ? '' : say('eventMissing'));
}

function checkPayload() {
  const problem = payloadProblem(byId('payload').value);
  const text = problem && (problem.notAnObject ? say('payloadNoObject') : say('payloadNoJson', problem));
  return showProblem('payload', 'payload-error', text ?? '');
}

function showProblem(fieldId, problemId, text) {
  byId(fieldId).setAttribute('aria-invalid', String(text !== ''));
  byId(problemId).textContent = text;
  return text === '';
}

async function publish() {
  showResult('', say('publishing'), '');
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${byId('token').value}` };
  try {
    const response = await fetch(gatewayAddress('notify'), { method: 'POST', headers, body: requestBody() });
    const text = await response.text();
    const outcome = response.ok ? 'good' : 'bad';
    showResult(outcome, summary(response, text), text);
  } catch {
    showResult('bad', say('unreachable'), '');
  }
}

/** Put together as text, so that the payload goes out exactly as it was written. */
function requestBody() {
  const members = [`"event":${JSON.stringify(byId('event').value.trim())}`, `"payload":${byId('payload').value}`];
  const source = byId('source').value.trim();
  if (source) members.push(`"source":${JSON.stringify(source)}`);
  const target = chosenTarget();
  if (target) members.push(`"target":${JSON.stringify(target)}`);
  return `{${members.join(',')}}`;
}

function chosenTarget() {
  const names = (id) => byId(id).value.split(',').map((name) => name.trim()).filter(Boolean);
  const [users, rooms] = [names('target-users'), names('target-rooms')];
  const everyone = byId('target-everyone').checked;
  return everyone || users.length > 0 || rooms.length > 0 ? { users, rooms, everyone } : null;
}

function summary({ ok, status }, text) {
  const answer = parsed(text);
  if (ok) return say('published', { status, message: answer?.message ?? '' });
  const detail = detailText(answer?.detail ?? text);
  return say(status === 401 ? 'refusedToken' : 'refused', { status, detail });
}

/** The server says what is wrong as a text, or as a list of places and what is wrong there. */
function detailText(detail) {
  if (!Array.isArray(detail)) return typeof detail === 'string' ? detail : JSON.stringify(detail);
  return detail.map(({ loc, msg }) => (loc ? `${loc.join('.')}: ${msg}` : msg)).join('; ');
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function showResult(outcome, text, answer) {
  const result = byId('publish-result');
  result.dataset.outcome = outcome;
  result.textContent = text;
  const shown = byId('publish-answer');
  shown.hidden = answer === '';
  shown.textContent = parsed(answer) === null ? answer : prettyJson(answer);
}
