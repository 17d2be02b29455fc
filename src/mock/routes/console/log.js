// The live log: its entries, which of them are shown, and the rows in sight.
import { ask, getApiKey } from './api.js';
import { curlOf, expectationOf } from './commands.js';
import { byId, copy, element, plural, setText } from './dom.js';

/** How many entries the page keeps, and about how many characters of JSON they have. */
const ENTRIES_MAX = 5000;
const CHARACTERS_MAX = 16 * 1024 * 1024;
const ENTRIES_PER_READ = 1000;
/** How long the server holds a request without new entries. */
const WAIT = '20s';
/** The shortest time between two requests, so that a busy log arrives in few large answers. */
const READ_INTERVAL_MS = 150;
/** The height of a row; console.css has the same. */
const ROW_HEIGHT = 26;
const SPARE_ROWS = 6;

/** Entries, oldest first. */
let entries = [];
let characters = 0;
/** The entries that pass the filter. */
let shown = [];
let next = null;
let lost = 0;
/** Counts changes of the application, so that a late answer for the old one is dropped. */
let generation = 0;
let isPaused = false;
let isFollowing = true;
let selected = null;
let drawing = 0;
const pool = [];
let abort = new AbortController();
let resume = () => {};
let server = { url: location.origin, apiKey: () => '', onEntries: () => {} };

const list = byId('log-list');
const detail = byId('detail');

/** Starts again with the log of the chosen application. */
export function restartLog() {
  generation += 1;
  clear();
  next = null;
  lost = 0;
  abort.abort();
  resume();
}

function clear() {
  entries = [];
  shown = [];
  characters = 0;
  select(null);
  isFollowing = true;
  draw();
}

/** Reads the log for as long as the page is open. */
export async function followLog(environment) {
  server = { ...server, ...environment };
  for (;;) {
    if (document.hidden) {
      await new Promise((visible) => document.addEventListener('visibilitychange', visible, { once: true }));
      continue;
    }
    if (isPaused) {
      await new Promise((resumed) => { resume = resumed; });
      continue;
    }
    const started = performance.now();
    const current = generation;
    abort = new AbortController();
    try {
      if (next === null) {
        const { log } = await ask('GET', 'status', { signal: abort.signal });
        if (current !== generation) continue;
        next = Math.max(0, log - ENTRIES_MAX);
      }
      const query = { after: next, limit: ENTRIES_PER_READ, wait: WAIT };
      const [page, length] = await ask('GET', 'log', { query, signal: abort.signal, withLength: true });
      if (current !== generation) continue;
      next = page.next;
      lost += page.lost;
      if (page.entries.length > 0) {
        add(page.entries, length / page.entries.length);
        server.onEntries(page.entries);
      }
      const rest = READ_INTERVAL_MS - (performance.now() - started);
      if (page.entries.length < ENTRIES_PER_READ && rest > 0) await pause(rest);
    } catch (error) {
      if (error.name !== 'AbortError') {
        // Another server may answer next, whose numbers start again.
        if (error.name === 'TypeError') next = null;
        await pause(1000);
      }
    }
  }
}

const pause = (ms) => new Promise((done) => {
  resume = done;
  setTimeout(done, ms);
});

document.addEventListener('visibilitychange', () => { if (document.hidden) abort.abort(); });

function add(read, weight) {
  for (const value of read) {
    const entry = view(value, weight);
    entries.push(entry);
    characters += weight;
    if (passes(entry)) shown.push(entry);
  }
  let dropped = Math.max(0, entries.length - ENTRIES_MAX);
  for (let place = 0; place < dropped; place += 1) characters -= entries[place].weight;
  while (characters > CHARACTERS_MAX && dropped < entries.length - 1) {
    characters -= entries[dropped].weight;
    dropped += 1;
  }
  if (dropped > 0) {
    entries.splice(0, dropped);
    const oldest = entries[0].value.number;
    let gone = 0;
    while (gone < shown.length && shown[gone].value.number < oldest) gone += 1;
    shown.splice(0, gone);
    // What the reader looks at stays where it is.
    if (!isFollowing && gone > 0) list.scrollTop = Math.max(0, list.scrollTop - gone * ROW_HEIGHT);
  }
  draw();
}

const FRAMES = { 'mock.frame.sent': 'sent', 'mock.frame.heard': 'received', 'mock.socket.open': 'open', 'mock.socket.end': 'end' };

/** The type of the event in a frame, else its text. Clients send events in a list. */
function typeOfFrame(frame) {
  const event = Array.isArray(frame) ? frame[0] : frame;
  return event?.type ?? (typeof frame === 'string' ? frame : JSON.stringify(frame));
}

/** An entry with the texts of its row. */
function view(value, weight) {
  const isRequest = value.type === 'mock.request';
  const kind = isRequest ? value.method : FRAMES[value.type] ?? value.type;
  let what = value.path;
  if (value.type.startsWith('mock.frame')) what = typeOfFrame(value.frame);
  if (value.type.startsWith('mock.socket')) what = value.reason ?? 'connected';
  const code = isRequest ? String(value.status ?? 'none') : value.fault ?? '';
  const isBad = isRequest ? !(value.status < 400) : Boolean(value.frame?.error || value.fault);
  const row = { value, weight, isRequest, isBad, kind, what: String(what).slice(0, 300), who: value.user ?? '', code };
  row.search = `${kind} ${row.what} ${row.who} ${code}`.toLowerCase();
  return row;
}

function passes(entry) {
  const type = byId('log-type').value;
  if (type && !entry.value.type.includes(type)) return false;
  if (byId('log-errors').checked && !entry.isBad) return false;
  return words.every((word) => entry.search.includes(word));
}

let words = [];

function refilter() {
  words = byId('log-filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  shown = entries.filter(passes);
  isFollowing = true;
  draw();
}

/** Draws the rows in sight, at most once a frame. */
function draw() {
  drawing ||= requestAnimationFrame(drawNow);
}

function drawNow() {
  drawing = 0;
  const all = plural(entries.length, 'entry').replace('entrys', 'entries');
  const missing = lost > 0 ? `, ${lost.toLocaleString('en')} dropped by the server` : '';
  setText(byId('log-count'), (shown.length === entries.length ? all : `${shown.length.toLocaleString('en')} of ${all}`) + missing);
  if (byId('view-log').hidden) return;
  const height = shown.length * ROW_HEIGHT;
  byId('log-sizer').style.height = `${height}px`;
  const empty = byId('log-empty');
  empty.hidden = shown.length > 0;
  if (shown.length === 0) setText(empty, entries.length > 0 ? 'No entry passes the filter.' : 'Nothing has happened yet. Requests, frames and sockets of clients appear here.');
  if (isFollowing) list.scrollTop = height;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
  const count = Math.min(shown.length - first, Math.ceil(list.clientHeight / ROW_HEIGHT) + 2 * SPARE_ROWS);
  while (pool.length < count) {
    const parts = ['time', 'kind', 'what', 'who', 'code'].map((className) => element('span', { className }));
    const row = element('div', { className: 'log-row', role: 'option' }, ...parts);
    row.addEventListener('click', () => select(row.entry));
    pool.push({ row, parts });
    list.append(row);
  }
  while (pool.length > Math.max(count, 0)) pool.pop().row.remove();
  pool.forEach(({ row, parts }, place) => {
    const entry = shown[first + place];
    row.style.transform = `translateY(${(first + place) * ROW_HEIGHT}px)`;
    row.setAttribute('aria-posinset', first + place + 1);
    row.setAttribute('aria-setsize', shown.length);
    row.setAttribute('aria-selected', entry === selected);
    if (row.entry === entry) return;
    row.entry = entry;
    row.id = `entry-${entry.value.number}`;
    row.className = `log-row${entry.isBad ? ' bad' : ''}${entry.isRequest ? '' : ' minor'}`;
    const texts = [entry.value.at.slice(11, 23), entry.kind, entry.what, entry.who, entry.code];
    parts.forEach((part, index) => { part.textContent = texts[index]; });
  });
  if (selected) list.setAttribute('aria-activedescendant', `entry-${selected.value.number}`);
  else list.removeAttribute('aria-activedescendant');
  byId('log-newest').hidden = isFollowing || shown.length === 0;
}

/** Selects an entry and shows its details. */
function select(entry) {
  selected = entry;
  detail.hidden = !entry;
  if (entry) detail.replaceChildren(...details(entry.value));
  draw();
}

function details(entry) {
  const isRequest = entry.type === 'mock.request';
  const parts = [];
  const title = isRequest ? `${entry.method} ${entry.path} → ${entry.status ?? 'no response'}` : entry.type.replace('mock.', '');
  parts.push(element('h2', {}, title));
  const buttons = [];
  const button = (label, act) => buttons.push(element('button', { onclick: act }, label));
  if (isRequest) {
    const { apiKey } = server;
    button('Copy as curl', () => copy(curlOf(entry, server.url, apiKey()), 'the curl command'));
    button('Copy as expect', () => copy(expectationOf(entry, server.url, getApiKey()), 'the expectation'));
  }
  button('Copy JSON', () => copy(JSON.stringify(entry), 'the entry'));
  button('Close', () => { select(null); list.focus(); });
  parts.push(element('p', { className: 'buttons' }, ...buttons));
  const facts = element('dl');
  const fact = (name, value) => {
    if (value !== undefined && value !== null) facts.append(element('dt', {}, name), element('dd', {}, String(value)));
  };
  fact('Time', entry.at);
  fact('User', entry.user);
  fact('Connection', entry.connection_id);
  fact('Took', entry.took_ms === undefined ? undefined : `${entry.took_ms} ms`);
  fact('Error', entry.error ? `${entry.error.code}: ${entry.error.message}` : undefined);
  fact('Reason', entry.reason);
  fact('Fault', entry.fault);
  parts.push(facts);
  const text = (name, value) => {
    if (value === undefined) return;
    parts.push(element('h3', {}, name), element('pre', {}, typeof value === 'string' ? value : JSON.stringify(value, null, 2)));
  };
  if (entry.query && Object.keys(entry.query).length > 0) text('Query', entry.query);
  text('Body', entry.body);
  text('Frame', entry.frame);
  return parts;
}

function moveTo(place) {
  if (shown.length === 0) return;
  const at = Math.min(Math.max(place, 0), shown.length - 1);
  isFollowing = false;
  const top = at * ROW_HEIGHT;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW_HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_HEIGHT - list.clientHeight;
  select(shown[at]);
}

list.addEventListener('keydown', (event) => {
  const page = Math.max(1, Math.floor(list.clientHeight / ROW_HEIGHT) - 1);
  const place = selected ? shown.indexOf(selected) : shown.length;
  const places = { ArrowUp: place - 1, ArrowDown: place + 1, PageUp: place - page, PageDown: place + page, Home: 0, End: shown.length - 1 };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in places) moveTo(places[event.key]);
  else if (event.key === 'Enter' && selected) detail.focus();
  else if (event.key === 'Escape') select(null);
  else return;
  event.preventDefault();
});
detail.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  select(null);
  list.focus();
});
list.addEventListener('scroll', () => {
  isFollowing = list.scrollTop + list.clientHeight >= list.scrollHeight - ROW_HEIGHT;
  draw();
}, { passive: true });
new ResizeObserver(draw).observe(list);
byId('log-newest').addEventListener('click', () => { isFollowing = true; draw(); });
byId('log-clear').addEventListener('click', clear);
byId('log-pause').addEventListener('click', (event) => {
  isPaused = !isPaused;
  event.target.setAttribute('aria-pressed', isPaused);
  // The server keeps what happens meanwhile, as far as it can.
  event.target.textContent = isPaused ? 'Resume' : 'Pause';
  if (isPaused) abort.abort();
  else resume();
});
for (const id of ['log-filter', 'log-type', 'log-errors']) byId(id).addEventListener('input', refilter);
document.addEventListener('keydown', (event) => {
  const isTyping = event.target.closest('input, select, textarea, dialog');
  if (event.key !== '/' || isTyping || byId('view-log').hidden) return;
  event.preventDefault();
  byId('log-filter').focus();
});

/** Draws the log after its view has become visible. */
export const showLog = draw;
