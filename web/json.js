/**
 * JSON as text. The console never shows or sends a payload that went through `JSON.parse`, which would round large
 * numbers and reorder numeric keys; it works on what was written. Expects text that `JSON.parse` accepts.
 */

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const OPENING = new Set(['{', '[']);
const CLOSING = new Set(['}', ']']);
const DEEPEST_INDENT = 40; // text of nothing but brackets must not grow by the square of its length

/** The same JSON over several lines. */
export function prettyJson(text) {
  const parts = [];
  let depth = 0;
  let previous = '';
  const breakLine = () => parts.push('\n', '  '.repeat(Math.min(depth, DEEPEST_INDENT)));
  for (const [token] of text.matchAll(TOKEN)) {
    if (CLOSING.has(token)) {
      depth -= 1;
      if (!OPENING.has(previous)) breakLine();
    } else if (OPENING.has(previous) || previous === ',') {
      breakLine();
    }
    parts.push(token === ':' ? ': ' : token);
    if (OPENING.has(token)) depth += 1;
    previous = token;
  }
  return parts.join('');
}

/** What stands for a member of the outermost object, or null. */
export function memberText(text, name) {
  const key = JSON.stringify(name);
  let depth = 0;
  let start = null;
  let previous = '';
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (CLOSING.has(token)) depth -= 1;
    const ends = (depth === 1 && token === ',') || depth === 0;
    if (start !== null && ends) return text.slice(start, index).trim();
    if (depth === 1 && token === ':' && previous === key) start = index + 1;
    if (OPENING.has(token)) depth += 1;
    previous = token;
  }
  return null;
}

/** @returns {{ reason: string } | { notAnObject: true } | null} what is wrong with a payload, or null */
export function payloadProblem(text) {
  try {
    const value = JSON.parse(text);
    const object = value !== null && typeof value === 'object' && !Array.isArray(value);
    return object ? null : { notAnObject: true };
  } catch (error) {
    return { reason: error.message };
  }
}
