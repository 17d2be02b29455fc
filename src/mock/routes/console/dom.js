// Builds the page. Text is always text: nothing here reads HTML.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** Creates an element with properties and children. A child that is no node becomes text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-')) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Sets the text of an element, and touches it only if it changes. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Makes the rows of a table those of `items`, and keeps the elements of rows that stay, with what was typed into them.
 * `make` creates the parts of a row, with its element as `row`; `update` writes an item into the parts.
 */
export function keepRows(body, kept, items, key, make, update) {
  const current = new Set();
  let place = 0;
  for (const item of items) {
    const id = key(item);
    current.add(id);
    let parts = kept.get(id);
    if (!parts) {
      parts = make(item);
      kept.set(id, parts);
    }
    update(parts, item);
    for (const row of [parts.row, parts.details]) {
      if (!row) continue;
      if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
      place += 1;
    }
  }
  while (body.children.length > place) body.lastElementChild.remove();
  for (const id of kept.keys()) if (!current.has(id)) kept.delete(id);
}

/** Shows a message for a moment. */
export function say(text, isError = false) {
  const message = element('div', { className: isError ? 'message bad' : 'message' }, text);
  const messages = byId('messages');
  while (messages.children.length > 2) messages.firstElementChild.remove();
  messages.append(message);
  setTimeout(() => message.remove(), isError ? 8000 : 3500);
}

/** Copies a text. Where the browser has no clipboard for the page, it shows the text instead. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied ${what}`);
  } catch {
    byId('copy-text').value = text;
    byId('copy-dialog').showModal();
    byId('copy-text').select();
  }
}

/** Offers a text as a file to save. */
export function download(name, type, parts) {
  const link = element('a', { href: URL.createObjectURL(new Blob(parts, { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** How long ago a time was, on the mock's clock. */
export function ago(time, now) {
  if (!time) return 'never';
  const seconds = Math.round((now - Date.parse(time)) / 1000);
  if (seconds < 0) return 'in the future';
  if (seconds < 5) return 'now';
  for (const [size, name] of [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${name} ago`;
  }
  return 'now';
}

/** A number with its noun. */
export const plural = (count, noun) => `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
