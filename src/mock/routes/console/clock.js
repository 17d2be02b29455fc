// The views of the clock and of the data.
import { ask, getApiKey } from './api.js';
import { byId, download, element, say, setText } from './dom.js';

const LOG_PAGE = 1000;

export function startClock(shared) {
  const change = (action, body, done) => shared.act('POST', `clock/${action}`, { body }, done);
  const form = (id, field, act) => {
    const target = byId(id);
    target.addEventListener('submit', (event) => {
      event.preventDefault();
      act(target.elements[field].value.trim());
    });
    for (const button of target.querySelectorAll('button[type="button"]')) button.addEventListener('click', () => act(button.value));
  };
  byId('clock-freeze').addEventListener('click', () => change('freeze', {}, 'The clock is frozen'));
  byId('clock-reset').addEventListener('click', () => change('reset', {}, 'The clock has the system time'));
  form('clock-advance', 'by', (by) => change('advance', { by }, `The clock is ${by} later`));
  form('clock-run', 'rate', (rate) => change('run', { rate: Number(rate) }, `The clock runs at ${rate} times the usual speed`));
  form('clock-set', 'to', (to) => change('set', { to }, 'The clock is set'));
}

const WORDS = {
  system: 'The system time.',
  moved: 'Runs at the usual speed, at another time than the system clock.',
  frozen: 'Frozen: it moves only when you advance or set it.',
  running: 'Runs at the usual speed.',
};

/** Shows the time of a status. */
export function showClock({ now, clock }) {
  setText(byId('clock-now'), new Date(now).toISOString().replace('T', ' '));
  setText(byId('clock-words'), WORDS[clock] ?? `${clock[0].toUpperCase()}${clock.slice(1)}.`);
  byId('clock-freeze').disabled = clock === 'frozen';
  byId('clock-reset').disabled = clock === 'system';
}

export function startData(shared) {
  const name = (kind, extension) => `mock-${kind}-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}${getApiKey() ? `-${getApiKey()}` : ''}.${extension}`;
  byId('snapshot').addEventListener('click', () => shared.attempt(async () => {
    const fixture = await ask('GET', 'snapshot');
    download(name('fixture', 'json'), 'application/json', [`${JSON.stringify(fixture, null, 2)}\n`]);
  }));
  byId('log-export').addEventListener('click', () => shared.attempt(async () => {
    const { log: last } = await ask('GET', 'status');
    const parts = [];
    for (let after = 0; after < last;) {
      const page = await ask('GET', 'log', { query: { after, limit: LOG_PAGE } });
      if (page.next <= after) break;
      after = page.next;
      parts.push(...page.entries.map((entry) => `${JSON.stringify(entry)}\n`));
    }
    download(name('log', 'ndjson'), 'application/x-ndjson', parts);
  }));
  byId('restore-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const [file] = byId('restore-file').files;
    let body;
    try {
      body = JSON.parse(await file.text());
    } catch (error) {
      say(`${file.name} is not JSON: ${error.message}. For a YAML fixture: presencectl mock restore FILE`, true);
      return;
    }
    const done = await shared.act('POST', 'restore', { body }, `Users and channels are those of ${file.name}`);
    if (done) byId('restore-form').reset();
  });
  const dialog = byId('confirm');
  byId('reset').addEventListener('click', () => {
    dialog.returnValue = '';
    dialog.showModal();
  });
  dialog.addEventListener('close', () => {
    if (dialog.returnValue === 'reset') shared.act('POST', 'reset', {}, 'The application is reset').then(shared.restart);
  });
}

/** The applications of the server as options. */
export function applicationOptions(apps) {
  return apps.map((app) => element('option', { value: app.api_key }, app.first ? `${app.api_key} (first)` : app.api_key));
}
