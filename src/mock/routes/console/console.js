// The console of a mock server: the frame around its views. It knows the server only by the control API.
import { Refusal, ask, onTokenWanted, setApiKey, setToken } from './api.js';
import { applicationOptions, showClock, startClock, startData } from './clock.js';
import { byId, say, setText } from './dom.js';
import { refreshFaults, startFaults } from './faults.js';
import { followLog, restartLog, showLog } from './log.js';
import { refreshScenarios, restartScenarios, startScenarios } from './scenarios.js';
import { refreshConnections, refreshUsers, startUsers } from './users.js';

const POLL_INTERVAL_MS = 1000;
/** The list of applications changes seldom. */
const POLLS_PER_LIST_OF_APPS = 5;

const VIEWS = {
  users: refreshUsers,
  connections: refreshConnections,
  log: async () => showLog(),
  faults: refreshFaults,
  clock: async () => {},
  scenarios: refreshScenarios,
  data: async () => {},
};

let view = 'users';
let status = null;
let apps = [];
let polls = 0;
let wake = () => {};
let isAgain = false;

const shared = {
  /** The time of the mock, in milliseconds. */
  now: () => (status ? Date.parse(status.now) : Date.now()),
  /** Shows the newest state soon, also if an answer is on its way that is older. */
  refresh: () => {
    isAgain = true;
    wake();
  },
  /** Does something that may fail, and reports the failure. Returns whether it succeeded. */
  attempt: async (run) => {
    try {
      await run();
      return true;
    } catch (error) {
      say(error instanceof Refusal ? error.message : `The server cannot be reached: ${error.message}`, true);
      return false;
    }
  },
  /** Sends a request that changes something, and says what was done. */
  act: async (method, path, options, done) => {
    const succeeded = await shared.attempt(() => ask(method, path, options));
    if (succeeded) say(done);
    shared.refresh();
    return succeeded;
  },
  /** Reads everything anew. */
  restart: () => {
    restartLog();
    restartScenarios();
    shared.refresh();
  },
};

async function refresh() {
  if (polls % POLLS_PER_LIST_OF_APPS === 0) await refreshApplications();
  polls += 1;
  status = await ask('GET', 'status');
  setText(byId('now'), status.now.replace('T', ' ').replace(/\.\d+Z$/, 'Z'));
  byId('now').dateTime = status.now;
  setText(byId('clock-mode'), status.clock === 'system' ? '' : status.clock.replace('running ', '').replace(' times as fast', '×'));
  const counts = { users: status.users, connections: status.connections, faults: status.faults || '' };
  for (const [name, count] of Object.entries(counts)) setText(byId(`tab-${name}`).querySelector('.count'), count.toLocaleString('en'));
  showClock(status);
  await VIEWS[view]();
}

async function refreshApplications() {
  ({ apps } = await ask('GET', 'apps').catch((error) => {
    // The chosen application may be gone.
    if (error.status !== 401) throw error;
    setApiKey('');
    return ask('GET', 'apps');
  }));
  const select = byId('app');
  const known = [...select.options].map((option) => option.value).join('\n');
  if (known !== apps.map((app) => app.api_key).join('\n')) {
    const chosen = select.value;
    select.replaceChildren(...applicationOptions(apps));
    const isThere = apps.some((app) => app.api_key === chosen);
    select.value = isThere ? chosen : apps[0].api_key;
    if (!isThere && chosen) chooseApplication(select.value);
  }
  byId('app-field').hidden = apps.length < 2;
}

function chooseApplication(key) {
  setApiKey(key === apps[0]?.api_key ? '' : key);
  shared.restart();
}

/** Shows the state, again and again while the page is visible. */
async function poll() {
  for (;;) {
    const woken = new Promise((resolve) => { wake = resolve; });
    isAgain = false;
    try {
      await refresh();
      setLink('live', 'live');
    } catch (error) {
      setLink('lost', error instanceof Refusal ? 'refused' : 'server not reachable');
      // A deleted application answers this; the list says what is left.
      if (error.status === 401) {
        polls = 0;
        setApiKey('');
      }
    }
    if (isAgain) continue;
    await Promise.race([woken, new Promise((resolve) => { setTimeout(resolve, POLL_INTERVAL_MS); })]);
    if (document.hidden) await Promise.race([woken, new Promise((resolve) => { document.addEventListener('visibilitychange', resolve, { once: true }); })]);
  }
}

function setLink(state, text) {
  byId('link').dataset.state = state;
  setText(byId('link'), text);
}

// Views

const tabs = [...byId('tabs').children];
const viewOf = (tab) => tab.id.slice('tab-'.length);

function show(name) {
  view = name;
  for (const tab of tabs) {
    const isShown = viewOf(tab) === name;
    tab.setAttribute('aria-selected', String(isShown));
    tab.tabIndex = isShown ? 0 : -1;
    byId(`view-${viewOf(tab)}`).hidden = !isShown;
  }
  document.body.classList.toggle('viewing-log', name === 'log');
  shared.refresh();
}

for (const tab of tabs) {
  tab.addEventListener('click', () => {
    const name = viewOf(tab);
    show(name);
    location.hash = name;
  });
}
byId('tabs').addEventListener('keydown', (event) => {
  const place = tabs.indexOf(document.activeElement);
  const places = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 };
  if (!(event.key in places)) return;
  event.preventDefault();
  const tab = tabs[(places[event.key] + tabs.length) % tabs.length];
  tab.focus();
  tab.click();
});
const viewOfAddress = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : 'users');
addEventListener('hashchange', () => {
  // A new token for a page that is open already.
  if (location.hash.startsWith('#token=')) location.reload();
  else if (viewOfAddress() !== view) show(viewOfAddress());
});

// The control token

const dialog = byId('token-dialog');
onTokenWanted(() => { if (!dialog.open) dialog.showModal(); });
dialog.addEventListener('cancel', (event) => event.preventDefault());
byId('token-form').addEventListener('submit', () => {
  setToken(byId('token').value.trim());
  byId('token').value = '';
  shared.restart();
});

byId('app').addEventListener('change', (event) => chooseApplication(event.target.value));
startUsers(shared);
startFaults(shared);
startClock(shared);
startScenarios(shared);
startData(shared);
show(viewOfAddress());
poll();
followLog({ apiKey: () => byId('app').value });
