// The console of the mock, in Chromium. tests/mock_console.rs runs this with the program as PRESENCECTL.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const PROGRAM = process.env.PRESENCECTL;
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const SECRET = 'hush';
const HOSTILE = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">';
const VIEWS = ['Users', 'Connections', 'Log', 'Faults', 'Clock', 'Scenarios', 'Data'];
const FIXTURE = {
  users: [
    { id: 'amy', name: 'Amy', online: true, status: 'In a meeting until noon' },
    { id: 'bob', name: 'Bob' },
    { id: 'carla', name: 'Carla', online: true, invisible: true },
  ],
  channels: [{ type: 'messaging', id: 'lounge', members: ['amy', 'bob'], created_by_id: 'amy' }],
};

let browser;
let folder;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'console-'));
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
});
after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a server of its own for a test, and ends it with the test. */
async function serve(t, { fixture = FIXTURE, flags = [], variables = {} } = {}) {
  const file = join(mkdtempSync(join(folder, 'fixture-')), 'fixture.json');
  writeFileSync(file, JSON.stringify(fixture));
  const server = spawn(PROGRAM, ['mock', 'start', '--fixture', file, ...flags], {
    env: { ...process.env, PRESENCECTL_MOCK_SECRET: SECRET, ...variables },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.after(() => server.kill());
  for await (const line of createInterface({ input: server.stdout })) return JSON.parse(line);
  throw new Error('the server does not start');
}

/** Opens a page and collects everything that it should not do. */
async function open(t, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 720 }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  const trouble = [];
  const { origin } = new URL(url);
  page.on('console', (message) => trouble.push(message.text()));
  page.on('pageerror', (error) => trouble.push(error.message));
  page.on('request', (request) => { if (new URL(request.url()).origin !== origin && !request.url().startsWith('blob:')) trouble.push(request.url()); });
  page.on('dialog', (dialog) => { trouble.push('a dialog'); dialog.dismiss(); });
  await page.exposeFunction('reportViolation', (text) => trouble.push(text));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => window.reportViolation(`${event.violatedDirective}: ${event.blockedURI}`));
  });
  await page.goto(url);
  return { page, context, trouble };
}

const row = (page, id) => page.locator('#user-table tbody tr').filter({ has: page.getByRole('button', { name: `Connect ${id}`, exact: true }) });
const view = (page, name) => page.getByRole('tab', { name }).click();

/** A token of the server side. */
function token() {
  const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ server: true })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

/** Sends a request to the service, as a client does. */
async function call(ready, method, path, body, key = ready.api_key) {
  const joint = path.includes('?') ? '&' : '?';
  const response = await fetch(`${ready.url}${path}${joint}api_key=${key}`, {
    method,
    headers: { authorization: token(), 'stream-auth-type': 'jwt', 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.ok(response.ok, await response.clone().text());
  return response.json();
}

test('the page at / leads to the console, which asks only its own server', async (t) => {
  const ready = await serve(t);
  assert.equal(ready.console, `${ready.url}/_mock/ui`);
  const { page, trouble } = await open(t, `${ready.url}/`);
  await page.getByRole('link', { name: 'Open the console' }).click();
  await page.getByRole('status').filter({ hasText: 'live' }).waitFor();
  for (const name of VIEWS) {
    await view(page, name);
    await page.getByRole('tabpanel', { name }).waitFor();
  }
  await view(page, 'Users');
  assert.equal(await row(page, 'amy').locator('.presence').textContent(), 'online');
  assert.equal(await row(page, 'bob').locator('.presence').textContent(), 'offline');
  assert.equal(await row(page, 'carla').locator('.presence').textContent(), 'invisible');
  // The page itself leaves no traces in the log.
  await view(page, 'Log');
  await page.getByText('Nothing has happened yet.').waitFor();
  assert.deepEqual(trouble, []);
});

test('two pages show the same state', async (t) => {
  const ready = await serve(t);
  const { page: one, trouble } = await open(t, ready.console);
  const { page: other } = await open(t, ready.console);
  await row(one, 'bob').getByRole('button', { name: 'Connect bob', exact: true }).click();
  await row(other, 'bob').locator('.presence[data-state="online"]').waitFor();
  const status = (page) => row(page, 'bob').getByLabel('Status of bob');
  await status(other).fill('on call');
  await status(other).press('Enter');
  await one.waitForFunction(() => [...document.querySelectorAll('td.status input')].some((input) => input.value === 'on call'));
  await row(one, 'bob').getByLabel('bob is invisible').check();
  await row(other, 'bob').locator('.presence[data-state="invisible"]').waitFor();
  assert.ok(await row(other, 'bob').getByLabel('bob is invisible').isChecked());
  await row(one, 'bob').getByRole('button', { name: 'Disconnect bob' }).click();
  await row(other, 'bob').locator('.presence[data-state="offline"]').waitFor();
  await one.getByLabel('New user').fill('dave');
  await one.getByRole('button', { name: 'Add', exact: true }).click();
  await row(other, 'dave').waitFor();
  await one.getByLabel('Find').fill('on call');
  await one.waitForFunction(() => document.querySelectorAll('#user-table tbody tr').length === 1);
  assert.deepEqual(trouble, []);
});

test('texts are not interpreted as HTML', async (t) => {
  const id = 'x"><img src=y>';
  const ready = await serve(t, { fixture: { users: [{ id: 'amy', name: HOSTILE, status: HOSTILE, online: true }] } });
  await fetch(`${ready.url}/_mock/users/${encodeURIComponent('bob')}/set`, { method: 'POST', body: JSON.stringify({ set: { status: HOSTILE } }) });
  await call(ready, 'PATCH', '/users', { users: [{ id: 'amy', set: { status: `${HOSTILE}!` } }] });
  await fetch(`${ready.url}/${encodeURIComponent(HOSTILE)}?user_id=${encodeURIComponent(id)}&${encodeURIComponent(HOSTILE)}=1`);
  await fetch(`${ready.url}/_mock/faults`, { method: 'POST', body: JSON.stringify({ kind: 'close', message: HOSTILE, user: HOSTILE }) });
  const { page, trouble } = await open(t, ready.console);
  await row(page, 'amy').waitFor();
  assert.equal(await row(page, 'amy').getByLabel('Status of amy').inputValue(), `${HOSTILE}!`);
  assert.equal(await row(page, 'bob').getByLabel('Status of bob').inputValue(), HOSTILE);
  assert.equal(await row(page, 'amy').locator('b').textContent(), HOSTILE);
  await view(page, 'Log');
  const rows = page.locator('.log-row');
  for (let place = 0; place < 2; place += 1) {
    await rows.nth(place).click();
    await page.locator('#detail pre').first().waitFor();
    assert.ok((await page.locator('#detail').textContent()).includes('window.hacked'));
  }
  await view(page, 'Faults');
  await page.locator('#fault-table').getByText(HOSTILE).first().waitFor();
  await view(page, 'Connections');
  await page.getByRole('button', { name: /^Details/ }).first().click();
  await page.getByText('Receives the presence of').waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.evaluate(() => document.images.length), 0);
  assert.equal(await page.evaluate(() => document.scripts.length), 1);
  assert.deepEqual(trouble, []);
});

test('a log of 1,000 requests a second leaves the page responsive', async (t) => {
  const ready = await serve(t);
  const { page, trouble } = await open(t, `${ready.console}#log`);
  await page.getByText('Nothing has happened yet.').waitFor();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  t.after(() => agent.destroy());
  const send = (number) => new Promise((resolve, reject) => {
    http.get(`${ready.url}/hi?api_key=${ready.api_key}&number=${number}`, { agent }, (response) => response.resume().on('end', resolve)).on('error', reject);
  });
  const started = Date.now();
  const answers = [];
  let isDone = false;
  const load = (async () => {
    while (answers.length < 6000) {
      // A busy machine falls behind; then they come faster than that for a moment.
      while (answers.length < 6000 && answers.length < Date.now() - started) answers.push(send(answers.length));
      await new Promise((resolve) => { setTimeout(resolve, 5); });
    }
    await Promise.all(answers);
    isDone = true;
  })();
  let slowest = 0;
  let clicks = 0;
  while (!isDone || clicks < 5) {
    // From the click to the frame that shows its effect, on the page's own clock.
    slowest = Math.max(slowest, await page.evaluate(() => new Promise((resolve) => {
      const start = performance.now();
      setTimeout(() => {
        document.getElementById(`tab-${document.getElementById('view-log').hidden ? 'log' : 'faults'}`).click();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
      });
    })));
    clicks += 1;
    assert.ok((await page.locator('.log-row').count()) < 120, 'only the rows in sight exist');
  }
  await load;
  await view(page, 'Log');
  await page.getByText('5,000 entries', { exact: false }).waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll('.log-row')].some((each) => each.getAttribute('aria-posinset') === '5000'));
  await page.locator('.log-row').first().click();
  await page.locator('#detail h2').filter({ hasText: '/hi' }).waitFor();
  // This bound only notices a page that stands still.
  assert.ok(slowest < 5000, `${slowest} ms`);
  assert.deepEqual(trouble, []);
});

test('every view is used with the keyboard', async (t) => {
  const ready = await serve(t);
  await call(ready, 'POST', '/users', { users: { dave: { id: 'dave' } } });
  const { page, trouble } = await open(t, ready.console);
  await row(page, 'amy').waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'tab-users');
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none');
  // From the tabs to the first row, whose user is connected from there.
  for (const label of ['Find', 'New user', 'Add', 'Status of amy', 'amy is invisible', 'Connect amy']) {
    await page.keyboard.press('Tab');
    const name = await page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.labels?.[0]?.textContent.trim() ?? document.activeElement.textContent);
    assert.ok(name.includes(label) || label === 'Add', `${name} for ${label}`);
  }
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('#user-table tbody tr td.number').textContent === '2');
  await page.locator('#tab-users').focus();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.getByRole('tab', { selected: true }).getAttribute('id'), 'tab-log');
  await page.locator('.log-row').first().waitFor();
  await page.getByRole('listbox').focus();
  await page.keyboard.press('Home');
  const chosen = await (await page.waitForFunction(() => document.getElementById('log-list').getAttribute('aria-activedescendant'))).jsonValue();
  await page.locator(`#${chosen}[aria-selected="true"]`).waitFor();
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'detail');
  await page.keyboard.press('Escape');
  assert.ok(await page.locator('#detail').isHidden());
  assert.equal(await page.evaluate(() => document.activeElement.id), 'log-list');
  await page.keyboard.press('/');
  await page.keyboard.type('nothing of that kind');
  await page.getByText('No entry passes the filter.').waitFor();
  assert.deepEqual(trouble, []);
});

test('a request is copied as commands that work', async (t) => {
  const ready = await serve(t);
  const text = "it's $HOME `id` \"quoted\" \\ !";
  await call(ready, 'PATCH', '/users', { users: [{ id: 'amy', set: { status: text } }] });
  await call(ready, 'GET', `/users?payload=${encodeURIComponent(JSON.stringify({ filter_conditions: { name: "o'neill" } }))}`);
  // Not even control characters do anything in a shell.
  await fetch(`${ready.url}/hi?user_id=${encodeURIComponent("-a'\n\u001b[31m\\b\u0085")}`);
  const { page, context, trouble } = await open(t, `${ready.console}#log`);
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const variables = { ...process.env, PATH: `${dirname(PROGRAM)}:${process.env.PATH}`, TOKEN: token() };
  for (let place = 0; place < 3; place += 1) {
    await page.locator('.log-row').nth(place).click();
    const copied = async (name) => {
      await page.getByRole('button', { name }).click();
      await page.getByText(/^Copied/).last().waitFor();
      return page.evaluate(() => navigator.clipboard.readText());
    };
    const expectation = await copied('Copy as expect');
    const result = JSON.parse(execFileSync('bash', ['-c', expectation], { env: variables, encoding: 'utf8' }));
    assert.equal(result.met, true, expectation);
    const curl = await copied('Copy as curl');
    assert.ok(curl.includes('"Authorization: $TOKEN"') && !curl.includes(SECRET) && !curl.includes('eyJ'), curl);
    const status = execFileSync('bash', ['-c', `${curl} -sS -o /dev/null -w '%{http_code}'`], { env: { ...variables, NO_PROXY: '*' }, encoding: 'utf8' });
    assert.equal(status, '200', curl);
  }
  assert.deepEqual(trouble, []);
});

test('faults, clock and data are controlled', async (t) => {
  const ready = await serve(t);
  const { page, trouble } = await open(t, `${ready.console}#faults`);
  const kinds = await page.getByLabel('Kind').locator('option').allTextContents();
  for (const kind of kinds) {
    await page.getByLabel('Kind').selectOption(kind);
    if (kind === 'delay') await page.getByRole('textbox', { name: 'Delay' }).fill('250ms');
    await page.getByRole('button', { name: 'Add fault' }).click();
    await page.locator('#fault-table b').getByText(kind, { exact: true }).waitFor();
  }
  await page.getByRole('button', { name: 'Remove fault f1', exact: true }).click();
  await page.waitForFunction((count) => document.querySelectorAll('#fault-table tbody tr').length === count, kinds.length - 1);
  await page.getByRole('button', { name: 'Remove all faults' }).click();
  await page.getByText('There are no faults.').waitFor();

  await view(page, 'Clock');
  await page.getByRole('button', { name: 'Freeze' }).click();
  await page.getByText('Frozen:').waitFor();
  await page.getByRole('textbox', { name: 'To', exact: true }).fill('2030-01-31T08:00:00Z');
  await page.getByRole('button', { name: 'Set', exact: true }).click();
  await page.getByRole('button', { name: '1 h', exact: true }).click();
  await page.locator('#clock-now').filter({ hasText: '2030-01-31 09:00:00' }).waitFor();
  await page.getByRole('textbox', { name: 'By', exact: true }).fill('soon');
  await page.getByRole('textbox', { name: 'By', exact: true }).press('Enter');
  await page.locator('.message.bad').waitFor();
  // The browser notes what was refused.
  assert.match(trouble.pop(), /400/);
  await page.getByRole('button', { name: '60×' }).click();
  await page.getByText('Running 60 times as fast').waitFor();
  await page.getByRole('button', { name: 'Use the system time' }).click();
  await page.getByText('The system time.').waitFor();

  await view(page, 'Data');
  const download = async (name) => {
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name }).click()]);
    return [file.suggestedFilename(), readFileSync(await file.path(), 'utf8')];
  };
  const [name, fixture] = await download('Download the fixture');
  assert.match(name, /^mock-fixture-.*\.json$/);
  assert.deepEqual(JSON.parse(fixture).users.map((user) => user.id).sort(), ['amy', 'bob', 'carla']);
  await call(ready, 'GET', '/users');
  const [, log] = await download('Download the log');
  assert.deepEqual(log.trim().split('\n').map((line) => JSON.parse(line).type), ['mock.request']);
  await page.getByLabel('File').setInputFiles({ name: 'one.json', mimeType: 'application/json', buffer: Buffer.from('{"users":[{"id":"zoe"}]}') });
  await page.getByRole('button', { name: 'Restore' }).click();
  await page.locator('#tab-users .count').getByText('1', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Reset…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Reset' }).click();
  await page.locator('#tab-users .count').getByText('3', { exact: true }).waitFor();
  assert.deepEqual(trouble, []);
});

const scenario = (page, name) => page.getByRole('textbox', { name, exact: true });
const runState = (page, state) => page.locator('#run-state').getByText(state, { exact: true }).waitFor();

test('a scenario is checked, run and stopped, and every page shows it', async (t) => {
  const ready = await serve(t);
  const { page, trouble } = await open(t, `${ready.console}#scenarios`);
  await page.getByText('No scenario has run.').waitFor();
  await page.getByLabel('Example').selectOption('on-call');
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText('Valid: 28 steps, 5days 1h on the clock, 3 users, 1 channel.').waitFor();
  // The place of a mistake is selected.
  await page.locator('#scenario-file').setInputFiles({ name: 'one.yaml', mimeType: 'text/yaml', buffer: Buffer.from('# 😀\nsteps:\n- {trigger: {text: "😀", user: zoe}, at: soon}\n') });
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.getByText('`soon` is not a duration').waitFor();
  await page.getByRole('button', { name: 'Line 3, column 41' }).click();
  assert.equal(await scenario(page, 'Scenario').evaluate((area) => area.value.slice(area.selectionStart, area.selectionEnd)), 'soon}');
  await scenario(page, 'Scenario').fill('name: ${NAME}\nsteps:\n- {user: {id: amy, set: {status: "${STATUS}"}}}\n- {wait_for: {connection: zoe, within: 1d}}\n- {expect: {path: /late}}\n');
  assert.ok(await page.locator('#scenario-problem').isHidden());
  await page.getByLabel('Variables, one per line').fill('NAME=first\nSTATUS=a=b');
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await runState(page, 'running');
  const { page: other, trouble: trouble2 } = await open(t, `${ready.console}#scenarios`);
  for (const each of [page, other]) {
    await each.locator('#run-name').getByText('first', { exact: true }).waitFor();
    await each.locator('#step-table').getByText('set', { exact: true }).waitFor();
    await each.getByText('1 of 3 steps. Speed 1, seed 0.').waitFor();
    assert.ok(await each.getByRole('button', { name: 'Run', exact: true }).isDisabled());
  }
  await page.reload();
  await runState(page, 'running');
  assert.match(await scenario(page, 'Scenario').inputValue(), /^name: /, 'the text survives a reload');
  await other.getByRole('button', { name: 'Stop' }).click();
  for (const each of [page, other]) {
    await runState(each, 'stopped');
    await each.locator('#step-table tbody tr.off').nth(1).waitFor();
    assert.deepEqual(await each.locator('#step-table td.result').allTextContents(), ['did not run: a request stopped the run', 'did not run: a request stopped the run', 'ok']);
  }
  await view(page, 'Users');
  assert.equal(await row(page, 'amy').getByLabel('Status of amy').inputValue(), 'a=b');
  // The newest run is shown, and an older one on request.
  await scenario(other, 'Scenario').fill('{"name": "second", "steps": [{"expect": {"count": 1}}]}');
  await other.getByRole('button', { name: 'Run', exact: true }).click();
  await runState(other, 'failed');
  await other.getByText('1 of 1 steps, 1 failed.').waitFor();
  await other.getByRole('button', { name: 'Show the run s1' }).click();
  await runState(other, 'stopped');
  assert.deepEqual([...trouble, ...trouble2], []);
});

test('scenario texts are not interpreted as HTML', async (t) => {
  const ready = await serve(t);
  const steps = [{ expect: { path: `/${HOSTILE}`, count: 1 } }, { user: { id: 'amy', set: { status: HOSTILE } } }, { wait_for: { connection: 'zoe', within: '20ms' } }, { expect: { user: HOSTILE } }];
  const { page, trouble } = await open(t, `${ready.console}#scenarios`);
  await scenario(page, 'Scenario').fill(JSON.stringify({ name: HOSTILE, steps }));
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await runState(page, 'failed');
  assert.equal(await page.locator('#run-name').textContent(), HOSTILE);
  for (const place of [0, 3]) assert.ok((await page.locator('#step-table tbody tr').nth(place).textContent()).includes(HOSTILE));
  await scenario(page, 'Scenario').fill(`steps: [{user: {id: ${JSON.stringify(HOSTILE)}, connect: true}}]`);
  await page.getByRole('button', { name: 'Check' }).click();
  await page.locator('#scenario-mistake').getByText('window.hacked').waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.evaluate(() => document.images.length), 0);
  assert.equal(await page.evaluate(() => document.scripts.length), 1);
  assert.deepEqual(trouble, []);
});

test('a scenario is run with the keyboard', async (t) => {
  const ready = await serve(t);
  const { page, trouble } = await open(t, `${ready.console}#scenarios`);
  await page.getByText('No scenario has run.').waitFor();
  await scenario(page, 'Scenario').focus();
  await page.keyboard.type('steps: [{clear_faults: true}]');
  for (let presses = 0; presses < 4; presses += 1) await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByText('Valid: 1 step,').waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await runState(page, 'passed');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Steps', 'the steps can be scrolled');
  assert.deepEqual(trouble, []);
});

test('an application is chosen', async (t) => {
  const ready = await serve(t);
  const created = await (await fetch(`${ready.url}/_mock/apps`, { method: 'POST' })).json();
  await fetch(`${ready.url}/_mock/users/zoe/set?api_key=${created.api_key}`, { method: 'POST', body: '{}' });
  const { page, trouble } = await open(t, ready.console);
  await row(page, 'amy').waitFor();
  await page.locator('#app').selectOption(created.api_key);
  await row(page, 'zoe').waitFor();
  await row(page, 'zoe').getByRole('button', { name: 'Connect zoe', exact: true }).click();
  await row(page, 'zoe').locator('.presence[data-state="online"]').waitFor();
  assert.equal(await page.locator('#user-table tbody tr').count(), 1);
  // It shows the first application again when the other is deleted, and the browser notes the refused request.
  await fetch(`${ready.url}/_mock/apps/${created.api_key}`, { method: 'DELETE' });
  await row(page, 'amy').waitFor();
  assert.ok(await page.locator('#app').isHidden());
  assert.ok(trouble.every((line) => line.includes('401')), trouble.join('\n'));
});

test('a server for other machines wants its control token', async (t) => {
  const secret = "it's+a &token#";
  const ready = await serve(t, { flags: ['--host', '0.0.0.0'], variables: { PRESENCECTL_MOCK_TOKEN: secret } });
  const { page, trouble } = await open(t, ready.console);
  await row(page, 'amy').waitFor();
  assert.equal(page.url(), `${ready.url}/_mock/ui`, 'the token is not left in the address');
  await page.reload();
  await row(page, 'amy').getByRole('button', { name: 'Drop amy' }).click();
  await page.getByText('The connections of amy are lost').waitFor();
  assert.deepEqual(trouble, []);

  const { page: stranger } = await open(t, `${ready.url}/_mock/ui`);
  await stranger.getByRole('dialog', { name: 'Control token' }).waitFor();
  assert.equal(await stranger.locator('#user-table tbody tr').count(), 0);
  await stranger.getByRole('textbox', { name: 'Token' }).fill(secret);
  await stranger.getByRole('textbox', { name: 'Token' }).press('Enter');
  await row(stranger, 'amy').waitFor();
});

for (const width of [360, 768]) {
  test(`nothing is cut off at a width of ${width}`, async (t) => {
    const long = 'a'.repeat(120);
    const ready = await serve(t, { fixture: { users: [{ id: long, name: long, status: long, online: true }], channels: [{ type: 'messaging', id: 'a'.repeat(60), members: [long], created_by_id: long }] } });
    await call(ready, 'PATCH', '/users', { users: [{ id: long, set: { status: 'x' } }] });
    await fetch(`${ready.url}/_mock/faults`, { method: 'POST', body: JSON.stringify({ kind: 'status', message: long, path: `/${long}`, user: long }) });
    const steps = [{ expect: { path: `/${long}`, count: 1 } }, { wait_for: { connection: long, within: '1ms' } }, { clear_faults: true }];
    for (let round = 0; round < 2; round += 1) {
      const run = await (await fetch(`${ready.url}/_mock/scenarios`, { method: 'POST', body: JSON.stringify({ scenario: JSON.stringify({ name: long, steps }) }) })).json();
      for (let state = run.state; state === 'running';) ({ state } = await (await fetch(`${ready.url}/_mock/scenarios/${run.id}?after=2&wait=10s`)).json());
    }
    const { page } = await open(t, ready.console, { viewport: { width, height: 740 } });
    await page.locator('#user-table tbody tr').waitFor();
    for (const name of VIEWS) {
      await view(page, name);
      if (name === 'Log') await page.locator('.log-row').first().click();
      if (name === 'Scenarios') {
        await page.getByLabel('Scenario', { exact: true }).fill(`steps: [{user: {id: ${long}, ${long}: true}}]`);
        await page.getByRole('button', { name: 'Check' }).click();
        await page.locator('#scenario-mistake').getByText('unknown field').waitFor();
        await page.locator('#step-table tbody tr').first().waitFor();
      }
      if (name === 'Connections') await page.getByRole('button', { name: /^Details/ }).click();
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), name);
    }
  });
}

for (const colorScheme of ['light', 'dark']) {
  test(`contrast in ${colorScheme}`, async (t) => {
    const ready = await serve(t);
    const { page } = await open(t, ready.console, { colorScheme, reducedMotion: 'reduce' });
    const contrast = await page.evaluate(() => {
      const style = getComputedStyle(document.documentElement);
      const luminance = (name) => {
        const [red, green, blue] = style.getPropertyValue(`--${name}`).trim().slice(1, 7).match(/../g).map((part) => {
          const value = parseInt(part, 16) / 255;
          return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
      };
      const pairs = [];
      for (const ground of ['page', 'card', 'soft', 'selected']) for (const ink of ['ink', 'faint', 'bad']) pairs.push([ink, ground]);
      pairs.push(['online', 'card'], ['hidden', 'card'], ['accent', 'card'], ['on-accent', 'accent']);
      return pairs.map(([one, other]) => {
        const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return [(high + 0.05) / (low + 0.05), one, other];
      }).sort((a, b) => a[0] - b[0])[0];
    });
    assert.ok(contrast[0] >= 4.5, contrast.join(' '));
    assert.equal(await page.getByRole('button', { name: 'Add', exact: true }).evaluate((button) => getComputedStyle(button).transitionDuration), '0s');
  });
}
