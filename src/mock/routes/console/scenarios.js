// The view of scenarios: the form to check and run one, the steps of a run, and the last runs.
import { Refusal, ask } from './api.js';
import { byId, element, keepRows, plural, say, setText } from './dom.js';

const DRAFT_KEY = 'presencectl-scenario';
/** The server accepts this many bytes. */
const TEXT_MAX = 16 * 1024 * 1024;
/** How many of the last steps of a run are shown. */
const STEPS_SHOWN = 200;

const runs = new Map();
const steps = new Map();
let examples = null;
/** The run that is shown; null for the newest one. */
let chosen = null;
/** What the steps on the page were made of. */
let shownSteps = '';
let shared;

const text = byId('scenario-text');

export function startScenarios(environment) {
  shared = environment;
  text.value = readDraft();
  text.addEventListener('input', changed);
  byId('scenario-example').addEventListener('change', (event) => {
    const example = examples.find(({ name }) => name === event.target.value);
    if (example) replaceText(example.text);
  });
  byId('scenario-file').addEventListener('change', async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    if (file.size > TEXT_MAX) say(`${file.name} is larger than ${TEXT_MAX / 1024 / 1024} MiB`, true);
    else replaceText(await file.text());
    byId('scenario-example').value = '';
  });
  byId('scenario-check').addEventListener('click', () => shared.attempt(check));
  byId('scenario-form').addEventListener('submit', (event) => {
    event.preventDefault();
    shared.attempt(run);
  });
  byId('scenario-place').addEventListener('click', (event) => showPlace(event.target.dataset));
  byId('run-stop').addEventListener('click', (event) => {
    const { id } = event.target.dataset;
    shared.act('DELETE', `scenarios/${encodeURIComponent(id)}`, {}, `Run ${id} stopped`);
  });
}

/** Forgets the runs of an application that is not shown any more. */
export function restartScenarios() {
  chosen = null;
  shownSteps = '';
}

// The form

function readDraft() {
  try { return sessionStorage.getItem(DRAFT_KEY) ?? ''; } catch { return ''; }
}

function changed() {
  showProblem(null);
  setText(byId('scenario-note'), '');
  // A long text does not fit there; then a reload loses it.
  try { sessionStorage.setItem(DRAFT_KEY, text.value); } catch { sessionStorage.removeItem(DRAFT_KEY); }
}

function replaceText(value) {
  text.value = value;
  text.scrollTop = 0;
  changed();
}

/** The body of a request with what was typed. */
function request() {
  const body = { scenario: text.value };
  const speed = byId('scenario-speed').value.trim();
  if (speed) body.speed = speed;
  const seed = byId('scenario-seed').value;
  if (seed) body.seed = Number(seed);
  body.variables = {};
  for (const line of byId('scenario-variables').value.split('\n').filter((each) => each.trim())) {
    const place = line.indexOf('=');
    if (place < 1) throw new Refusal(400, `Variables: expected NAME=value, not ${line}`);
    body.variables[line.slice(0, place).trim()] = line.slice(place + 1);
  }
  return body;
}

/** Checks the scenario, shows the result, and returns whether it is valid. */
async function check() {
  showProblem(null);
  setText(byId('scenario-note'), '');
  const result = await ask('POST', 'scenarios', { body: { ...request(), check: true } });
  if (result.valid) {
    const extent = [plural(result.steps, 'step'), `${result.duration} on the clock`, plural(result.users, 'user'), plural(result.channels, 'channel')];
    setText(byId('scenario-note'), `Valid: ${extent.join(', ')}.`);
  } else {
    showProblem(result);
  }
  return result.valid;
}

async function run() {
  if (!(await check())) return;
  const started = await ask('POST', 'scenarios', { body: request() });
  chosen = null;
  say(`The run ${started.id} has started`);
  shared.refresh();
}

function showProblem(problem) {
  byId('scenario-problem').hidden = problem === null;
  text.setAttribute('aria-invalid', String(problem !== null));
  if (problem === null) return;
  const place = byId('scenario-place');
  place.hidden = problem.line === 0;
  Object.assign(place.dataset, { line: problem.line, column: problem.column });
  setText(place, `Line ${problem.line}, column ${problem.column}`);
  setText(byId('scenario-mistake'), problem.message);
}

/** Selects the rest of a line from a column on. */
function showPlace({ line, column }) {
  const lines = text.value.split('\n');
  const before = lines.slice(0, line - 1).reduce((length, each) => length + each.length + 1, 0);
  const current = lines[line - 1] ?? '';
  // The server counts characters, and the browser counts units of UTF-16.
  const start = before + [...current].slice(0, column - 1).join('').length;
  text.focus();
  text.setSelectionRange(start, before + current.length);
  text.scrollTop = (text.scrollHeight / lines.length) * Math.max(0, line - 4);
}

// The runs

export async function refreshScenarios() {
  if (examples === null) {
    ({ examples } = await ask('GET', 'examples'));
    byId('scenario-example').append(...examples.map(({ name, summary }) => element('option', { value: name, title: summary }, name)));
  }
  const { scenarios: all } = await ask('GET', 'scenarios');
  const shown = all.find(({ id }) => id === chosen) ?? all[0];
  const isRunning = all[0]?.state === 'running';
  byId('scenario-run').disabled = isRunning;
  byId('scenario-run').title = isRunning ? 'One scenario runs at a time' : '';
  keepRows(byId('run-table').tBodies[0], runs, all, ({ id }) => id, makeRun, (parts, each) => updateRun(parts, each, each === shown));
  byId('run-table').hidden = all.length < 2;
  byId('run-empty').hidden = all.length > 0;
  byId('run').hidden = !shown;
  if (shown) await showRun(shown);
}

function makeRun({ id, name, started_at: started }) {
  const parts = {
    state: element('span', { className: 'presence' }),
    steps: element('td', { className: 'number', 'data-label': 'Steps' }),
    failed: element('td', { className: 'number', 'data-label': 'Failed' }),
    show: element('button', { 'aria-label': `Show the run ${id}`, onclick: () => { chosen = id; shared.refresh(); } }, 'Show'),
  };
  const time = element('time', { dateTime: started }, new Date(started).toLocaleTimeString());
  parts.row = element(
    'tr',
    {},
    element('td', { className: 'who' }, element('b', {}, name ?? 'no name'), element('small', {}, id)),
    element('td', {}, parts.state),
    parts.steps,
    parts.failed,
    element('td', { 'data-label': 'Started' }, time),
    element('td', { className: 'actions' }, parts.show),
  );
  return parts;
}

function updateRun(parts, run_, isShown) {
  showState(parts.state, run_);
  setText(parts.steps, progressOf(run_));
  setText(parts.failed, run_.failed.toLocaleString('en'));
  parts.row.setAttribute('aria-current', String(isShown));
  parts.show.disabled = isShown;
}

const progressOf = ({ done, steps: total }) => `${done.toLocaleString('en')} of ${total.toLocaleString('en')}`;

function showState(target, { state }) {
  target.dataset.state = { running: 'busy', passed: 'online', failed: 'bad', stopped: 'offline' }[state];
  setText(target, state);
}

async function showRun(run_) {
  setText(byId('run-name'), run_.name ?? 'no name');
  setText(byId('run-id'), run_.id);
  showState(byId('run-state'), run_);
  Object.assign(byId('run-progress'), { max: Math.max(1, run_.steps), value: run_.steps === 0 ? 1 : run_.done });
  const failed = run_.failed > 0 ? `, ${run_.failed.toLocaleString('en')} failed` : '';
  setText(byId('run-summary'), `${progressOf(run_)} steps${failed}. Speed ${run_.speed}, seed ${run_.seed}.`);
  byId('run-error').hidden = run_.error === null;
  setText(byId('run-error'), run_.error ?? '');
  byId('run-stop').hidden = run_.state !== 'running';
  byId('run-stop').dataset.id = run_.id;
  const version = JSON.stringify([run_.id, run_.started_at, run_.state, run_.done]);
  if (version === shownSteps) return;
  const after = Math.max(0, run_.done - STEPS_SHOWN);
  const details = await ask('GET', `scenarios/${encodeURIComponent(run_.id)}`, { query: { after, limit: STEPS_SHOWN } });
  const key = (record) => `${run_.id} ${record.number ?? `skipped ${record.line}`}`;
  const finishedSteps = new Map([...details.failures, ...details.records].map((record) => [record.number, record]));
  const newestFirst = [...finishedSteps.values()].sort((one, other) => other.number - one.number);
  const all = [...details.skipped_steps.map((record, place) => ({ ...record, place })), ...newestFirst];
  keepRows(byId('step-table').tBodies[0], steps, all, (record) => (record.place === undefined ? key(record) : `${key(record)} ${record.place}`), makeStep, () => {});
  byId('step-table').hidden = all.length === 0;
  const isCut = details.done > STEPS_SHOWN;
  byId('step-more').hidden = !isCut;
  setText(byId('step-more'), isCut ? `Shown: the last ${STEPS_SHOWN} steps and the first 100 failed ones.` : '');
  shownSteps = version;
}

function makeStep(record) {
  const isSkipped = record.number === undefined;
  const expected = record.expected ?? record.expectation?.expected;
  const times = record.count > 1 ? ` (${record.count.toLocaleString('en')} times)` : '';
  const result = record.ok ? 'ok' : isSkipped ? `${record.error}${times}` : record.error;
  const { at = null } = record;
  return {
    row: element(
      'tr',
      { className: record.ok ? '' : isSkipped ? 'off' : 'failed' },
      element('td', { className: 'number' }, isSkipped ? null : record.number.toLocaleString('en')),
      element('td', { className: 'nobr' }, at && element('time', { dateTime: at, title: at }, at.slice(11, 19))),
      element('td', { className: 'number', 'data-label': 'Line' }, String(record.line)),
      element('td', { className: 'wrap who' }, element('b', {}, record.action.replace('_', ' ')), element('span', {}, [record.user, expected].filter(Boolean).join(' '))),
      element('td', { className: 'wrap result' }, result ?? ''),
    ),
  };
}
