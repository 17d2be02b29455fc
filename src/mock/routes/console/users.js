// The views of users and of connections.
import { ask, userPath } from './api.js';
import { ago, byId, element, keepRows, plural, say, setText } from './dom.js';

const PAGE = 100;
/** The server lists this many users at most. */
const USERS_MAX = 1000;

/** Views of the console share this: `now` is the mock's time, `act` sends a request, reports the outcome, and refreshes. */
let shared_;

// Users

const users = new Map();
let userLimit = PAGE;

export function startUsers(shared) {
  shared_ = shared;
  byId('user-search').addEventListener('input', () => {
    userLimit = PAGE;
    shared.refresh();
  });
  byId('user-more').addEventListener('click', () => {
    userLimit = Math.min(USERS_MAX, userLimit + PAGE);
    shared.refresh();
  });
  byId('user-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const id = byId('user-id').value.trim();
    if (!id) return;
    shared.act('POST', userPath(id, 'set'), { body: {} }, `${id} was added`).then((done) => {
      if (done) byId('user-id').value = '';
    });
  });
  byId('connection-more').addEventListener('click', () => {
    connectionLimit += PAGE;
    shared.refresh();
  });
}

export async function refreshUsers() {
  const search = byId('user-search').value.trim();
  const answer = await ask('GET', 'users', { query: { search, limit: userLimit } });
  setText(byId('user-summary'), search ? `${plural(answer.total, 'match').replace('matchs', 'matches')}` : plural(answer.total, 'user'));
  keepRows(byId('user-table').tBodies[0], users, answer.users, (user) => user.id, makeUser, updateUser);
  byId('user-table').hidden = answer.users.length === 0;
  const empty = byId('user-empty');
  empty.hidden = answer.users.length > 0;
  setText(empty, search ? 'No user matches.' : 'There are no users. Add one here, or let a client connect.');
  const hasMore = answer.total > answer.users.length;
  byId('user-more').hidden = !hasMore || userLimit >= USERS_MAX;
}

function makeUser({ id }) {
  const set = (fields, done) => shared_.act('POST', userPath(id, 'set'), { body: fields }, done);
  const act = (action, done) => shared_.act('POST', userPath(id, action), {}, done);
  const button = (label, title, action, done) => element('button', { title, onclick: () => act(action, done), 'aria-label': `${label} ${id}` }, label);
  const parts = {
    name: element('b'),
    small: element('small'),
    presence: element('span', { className: 'presence' }),
    status: element('input', { placeholder: 'no status', autocomplete: 'off', 'aria-label': `Status of ${id}` }),
    invisible: element('input', { type: 'checkbox', 'aria-label': `${id} is invisible` }),
    connections: element('td', { className: 'number', 'data-label': 'Connections' }),
    active: element('td', { className: 'nobr', 'data-label': 'Last active' }),
    connect: button('Connect', 'Open a virtual connection', 'connect', `${id} is connected`),
    disconnect: button('Disconnect', 'Close the virtual connections', 'disconnect', `${id} is disconnected`),
    drop: button('Drop', 'Lose all connections silently; the user stays online until the idle timeout', 'drop', `The connections of ${id} are lost`),
    saved: '',
  };
  const { status, invisible } = parts;
  status.addEventListener('change', async () => {
    const text = status.value;
    const fields = text ? { set: { status: text } } : { unset: ['status'] };
    if (!(await set(fields, text ? `The status of ${id} is set` : `The status of ${id} is cleared`))) status.value = parts.saved;
  });
  status.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') status.value = parts.saved;
  });
  invisible.addEventListener('change', async () => {
    const wanted = invisible.checked;
    invisible.disabled = true;
    const done = await set({ set: { invisible: wanted } }, `${id} is ${wanted ? 'invisible' : 'visible'}`);
    invisible.disabled = false;
    if (!done) invisible.checked = !wanted;
    invisible.focus();
  });
  parts.row = element(
    'tr',
    {},
    element('td', { className: 'who' }, parts.name, parts.small),
    element('td', {}, parts.presence),
    element('td', { className: 'status' }, status),
    element('td', { 'data-label': 'Invisible' }, invisible),
    parts.connections,
    parts.active,
    element('td', { className: 'actions' }, parts.connect, parts.disconnect, parts.drop),
  );
  return parts;
}

function updateUser(parts, user) {
  setText(parts.name, user.name ?? user.id);
  const notes = [user.name === null || user.name === user.id ? '' : user.id, user.deactivated ? 'deactivated' : '', user.deleted ? 'deleted' : ''];
  setText(parts.small, notes.filter(Boolean).join(', '));
  const state = user.online ? 'online' : user.invisible && user.connections > 0 ? 'invisible' : 'offline';
  parts.presence.dataset.state = state;
  setText(parts.presence, state);
  const saved = user.status === null ? '' : typeof user.status === 'string' ? user.status : JSON.stringify(user.status);
  // What is being typed stays.
  const isTyping = document.activeElement === parts.status && parts.status.value !== parts.saved;
  if (!isTyping && parts.status.value !== saved) parts.status.value = saved;
  parts.saved = saved;
  if (!parts.invisible.disabled) parts.invisible.checked = user.invisible;
  setText(parts.connections, String(user.connections));
  setText(parts.active, ago(user.last_active, shared_.now()));
  parts.active.title = user.last_active ?? '';
  parts.connect.disabled = user.deleted || user.deactivated;
  parts.disconnect.disabled = user.virtual === 0;
  parts.drop.disabled = user.connections === 0;
}

// Connections

const connections = new Map();
let connectionLimit = PAGE;

export async function refreshConnections() {
  const { connections: all } = await ask('GET', 'connections');
  const listed = all.slice(0, connectionLimit);
  keepRows(byId('connection-table').tBodies[0], connections, listed, (connection) => connection.connection_id, makeConnection, updateConnection);
  byId('connection-table').hidden = all.length === 0;
  byId('connection-empty').hidden = all.length > 0;
  byId('connection-more').hidden = all.length <= connectionLimit;
  const open = [...connections.values()].filter((parts) => parts.details);
  await Promise.all(open.map(showDetails));
}

function makeConnection({ connection_id: id, user }) {
  const parts = {
    id,
    seen: element('td', { className: 'nobr', 'data-label': 'Last seen' }),
    subscriptions: element('td', { className: 'number', 'data-label': 'Subscriptions' }),
    watching: element('td', { className: 'nobr', 'data-label': 'Watching' }),
    toggle: element('button', { 'aria-expanded': 'false', 'aria-label': `Details of the connection of ${user}` }, 'Details'),
    carrier: element('td', { className: 'nobr', 'data-label': 'Transport' }),
    details: null,
  };
  parts.toggle.addEventListener('click', () => {
    const isOpen = parts.details !== null;
    parts.toggle.setAttribute('aria-expanded', String(!isOpen));
    if (isOpen) {
      parts.details.remove();
      parts.details = null;
    } else {
      parts.cell = element('td', { colSpan: 7 });
      parts.details = element('tr', { className: 'details' }, parts.cell);
      parts.row.after(parts.details);
      showDetails(parts).catch((error) => say(error.message, true));
    }
  });
  parts.row = element(
    'tr',
    {},
    element('td', { className: 'who' }, element('b', {}, user)),
    element('td', { className: 'mono wrap wide' }, id),
    parts.carrier,
    parts.seen,
    parts.subscriptions,
    parts.watching,
    element('td', { className: 'actions' }, parts.toggle),
  );
  return parts;
}

function updateConnection(parts, connection) {
  setText(parts.carrier, connection.carrier);
  setText(parts.seen, ago(connection.last_seen, shared_.now()));
  parts.seen.title = connection.last_seen;
  setText(parts.subscriptions, String(connection.subscriptions));
  setText(parts.watching, plural(connection.watching.length, 'channel'));
}

async function showDetails(parts) {
  const { users: subscribed, watching } = await ask('GET', `connections/${encodeURIComponent(parts.id)}`);
  const shown = JSON.stringify([subscribed, watching]);
  if (!parts.details || parts.shown === shown && parts.cell.hasChildNodes()) return;
  parts.shown = shown;
  const names = (title, list, none) => [
    element('div', { className: 'summary' }, title),
    list.length > 0 ? element('ul', { className: 'names' }, ...list.map((name) => element('li', {}, name))) : element('div', {}, none),
  ];
  parts.cell.replaceChildren(element(
    'div',
    { className: 'subscriptions' },
    ...names('Receives the presence of', subscribed, 'nobody'),
    ...names('Watches', watching, 'no channel'),
  ));
}
