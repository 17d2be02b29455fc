// The view of faults.
import { ask } from './api.js';
import { byId, element, keepRows, setText } from './dom.js';

const DELAY = { delay: ['Delay', 'text', '250ms'] };
const STATUS = { status: ['HTTP status', 'number', '500'] };
const APPLIED = { applied: ['Carry the request out', 'checkbox'] };
const REQUEST = { path: ['Path', 'text', '/users*'], method: ['Method', 'text', 'any'] };
const EVENT = { event: ['Event', 'text', 'user.presence.*'] };
const NOW = { now: ['At once, to open sockets', 'checkbox'] };

/** The kinds of faults: what they do, and their fields. */
const KINDS = {
  status: ['Answers with an error of the service.', { ...REQUEST, ...STATUS, code: ['API code', 'number', 'by status'], message: ['Message', 'text', ''], retry_after: ['Retry after, s', 'number', ''], ...DELAY, ...APPLIED }],
  delay: ['Delays the response.', { ...REQUEST, ...DELAY }],
  reset: ['Resets the TCP connection instead of answering.', { ...REQUEST, ...DELAY, ...APPLIED }],
  html: ['Answers with an HTML page, as proxies do.', { ...REQUEST, ...STATUS, ...DELAY, ...APPLIED }],
  truncate: ['Sends half of the response, and ends the connection.', { ...REQUEST, ...DELAY }],
  drop: ['Resets the TCP connection of a socket.', { ...EVENT, ...NOW }],
  close: ['Closes the WebSocket.', { ...EVENT, ...NOW, code: ['Close code', 'number', '1011'], message: ['Reason', 'text', ''] }],
  'half-open': ['Sends nothing and ignores everything, but keeps the connection open.', { ...EVENT, ...NOW }],
  mute: ['Leaves pings without an answer.', { ...NOW }],
  duplicate: ['Sends the frame twice.', { ...EVENT }],
  reorder: ['Sends the frame after the next one.', { ...EVENT, ...DELAY }],
  late: ['Delays the frame and all that follow.', { ...EVENT, ...DELAY }],
  garbage: ['Corrupts the frame.', { ...EVENT, ...NOW, text: ['Text to send', 'text', 'a broken frame'] }],
  expire: ["Expires the connection's token.", { ...EVENT, ...NOW }],
  slow: ['Delays every frame from now on.', { ...EVENT, ...NOW, ...DELAY }],
};
/** Fields of every kind. */
const COMMON = {
  user: ['User', 'text', 'any'],
  count: ['At most, times', 'number', 'unlimited'],
  after: ['Skip the first', 'number', '0'],
  probability: ['Probability', 'number', '1'],
};
/** Fields by which a fault chooses requests and frames. */
const MATCHING = ['method', 'path', 'user', 'event'];
const COUNTERS = ['id', 'kind', 'matched', 'fired', 'active'];

const faults = new Map();
const inputs = new Map();
let shared;

export function startFaults(environment) {
  shared = environment;
  const kind = byId('fault-kind');
  kind.append(...Object.keys(KINDS).map((name) => element('option', {}, name)));
  kind.addEventListener('change', showFields);
  showFields();
  byId('fault-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const body = { kind: kind.value };
    for (const [name, input] of inputs) {
      if (input.type === 'checkbox') {
        if (input.checked) body[name] = true;
      } else if (input.value !== '') {
        body[name] = input.type === 'number' ? Number(input.value) : input.value;
      }
    }
    await shared.act('POST', 'faults', { body }, `The fault ${kind.value} is added`);
  });
  byId('fault-clear').addEventListener('click', () => shared.act('DELETE', 'faults', {}, 'All faults are removed'));
}

function showFields() {
  const [hint, fields] = KINDS[byId('fault-kind').value];
  setText(byId('fault-hint'), hint);
  inputs.clear();
  const labels = Object.entries({ ...fields, ...COMMON }).map(([name, [label, type, placeholder]]) => {
    const input = element('input', { type, name, autocomplete: 'off', spellcheck: false });
    inputs.set(name, input);
    if (type === 'checkbox') return element('label', { className: 'check' }, input, label);
    input.placeholder = placeholder;
    if (type === 'number') Object.assign(input, { min: 0, step: name === 'probability' ? 'any' : 1 });
    input.required = name === 'delay' && byId('fault-kind').value === 'delay';
    return element('label', {}, label, input);
  });
  byId('fault-fields').replaceChildren(...labels);
}

export async function refreshFaults() {
  const { faults: all } = await ask('GET', 'faults');
  keepRows(byId('fault-table').tBodies[0], faults, all, (fault) => fault.id, makeFault, updateFault);
  byId('fault-table').hidden = all.length === 0;
  byId('fault-empty').hidden = all.length > 0;
  byId('fault-clear').hidden = all.length < 2;
}

function makeFault(fault) {
  const words = (names) => names.map((name) => `${name} ${fault[name]}`).join(', ');
  const matching = MATCHING.filter((name) => name in fault);
  const effect = Object.keys(fault).filter((name) => !MATCHING.includes(name) && !COUNTERS.includes(name));
  const parts = {
    matched: element('td', { className: 'number', 'data-label': 'Matched' }),
    fired: element('td', { className: 'number', 'data-label': 'Applied' }),
    state: element('span', { className: 'presence' }),
  };
  const remove = element('button', {
    'aria-label': `Remove fault ${fault.id}`,
    onclick: () => shared.act('DELETE', `faults/${encodeURIComponent(fault.id)}`, {}, `Fault ${fault.id} is removed`),
  }, 'Remove');
  parts.row = element(
    'tr',
    {},
    element('td', { className: 'who' }, element('b', {}, fault.kind), element('small', {}, fault.id)),
    element('td', { className: 'wrap wide', 'data-label': 'Matches' }, words(matching) || 'everything'),
    element('td', { className: 'wrap wide', 'data-label': 'Effect' }, words(effect) || 'always'),
    parts.matched,
    parts.fired,
    element('td', {}, parts.state),
    element('td', { className: 'actions' }, remove),
  );
  return parts;
}

function updateFault(parts, fault) {
  setText(parts.matched, String(fault.matched));
  setText(parts.fired, String(fault.fired));
  parts.state.dataset.state = fault.active ? 'online' : 'offline';
  setText(parts.state, fault.active ? 'active' : 'used up');
  parts.row.classList.toggle('off', !fault.active);
}
