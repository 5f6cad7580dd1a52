/** The console's hold on its page: elements by id, and buttons that can be out of use without losing the focus. */

export function byId(id) {
  return document.getElementById(id);
}

/** A new element with its text, which is never read as HTML. */
export function element(tag, text = '', className = '') {
  const created = document.createElement(tag);
  created.textContent = text;
  if (className) created.className = className;
  return created;
}

/**
 * Unlike `disabled`, this keeps a button in the tab order: the focus of whoever pressed it would otherwise fall to the
 * top of the page. `blockUnusable` sees to it that pressing it does nothing.
 */
export function setUsable(button, usable) {
  button.setAttribute('aria-disabled', String(!usable));
}

/** Enter in a form presses its submit button, so this also stops forms whose button is out of use. */
export function blockUnusable() {
  const block = (event) => {
    if (event.target.closest('[aria-disabled="true"]') === null) return;
    event.preventDefault();
    event.stopPropagation();
  };
  document.addEventListener('click', block, { capture: true });
}

/** Calls back when a form is submitted, instead of loading a page. */
export function onSubmit(form, callback) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    callback();
  });
}
