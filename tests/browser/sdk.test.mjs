// The JavaScript SDK in a page, served from another loopback port than the mock's. tests/browser_sdk.rs runs this.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const { CHROMIUM, SDK_MODULES, STREAM_API_KEY, STREAM_CHAT_URL } = process.env;
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** The SDK and what it imports, as files that a browser can load without a bundler. */
const MODULES = {
  'stream-chat': 'stream-chat/dist/esm/index.mjs',
  axios: 'axios/dist/esm/axios.js',
  linkifyjs: 'linkifyjs/dist/linkify.mjs',
  'isomorphic-ws': 'isomorphic-ws/browser.js',
  'base64-js': 'base64-js/index.js',
  'form-data': 'form-data/lib/browser.js',
};
/** Those that are CommonJS, and what the SDK imports from them. */
const COMMON_JS = {
  'base64-js': (code) => `const exports = {}; { ${code}\n}\nexport const { fromByteArray } = exports;`,
  'form-data': (code) => `const module = {}; ${code}\nexport default module.exports;`,
};
const imports = Object.fromEntries(Object.keys(MODULES).map((name) => [name, `/modules/${name}`]));
const PAGE = `<!doctype html><link rel=icon href="data:,"><title>SDK</title>
<script type=importmap>${JSON.stringify({ imports })}</script>
<ul id=seen></ul>
<script type=module>
import { StreamChat } from 'stream-chat';
const client = StreamChat.getInstance(${JSON.stringify(STREAM_API_KEY)}, { baseURL: ${JSON.stringify(STREAM_CHAT_URL)} });
client.on('user.presence.changed', ({ user }) => {
  seen.append(Object.assign(document.createElement('li'), { textContent: user.id + ' ' + user.online }));
});
window.client = client;
</script>`;

let browser;
let server;
before(async () => {
  server = createServer(async (request, response) => {
    const name = /^\/modules\/(.+)$/.exec(request.url)?.[1];
    if (!name) return response.setHeader('content-type', 'text/html').end(PAGE);
    const code = await readFile(join(SDK_MODULES, MODULES[name]), 'utf8');
    response.setHeader('content-type', 'text/javascript').end((COMMON_JS[name] ?? String)(code));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
});
after(async () => {
  await browser?.close();
  server?.close();
  server?.closeAllConnections();
});

test('a page sees the presence of another user', async () => {
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
  await page.goto(`http://localhost:${server.address().port}/`);
  await page.waitForFunction(() => window.client, null, { timeout: 60_000 }).catch((error) => {
    throw new Error([error.message, ...errors].join('\n'));
  });

  const me = await page.evaluate(async () => {
    const { me } = await client.connectUser({ id: 'amy' }, client.devToken('amy'));
    return { id: me.id, online: me.online };
  });
  assert.deepEqual(me, { id: 'amy', online: true });

  // Pages of this machine may control the mock.
  const control = (path) => page.evaluate(async (url) => (await fetch(url, { method: 'POST' })).status, `${STREAM_CHAT_URL}/_mock/${path}`);
  const users = await page.evaluate(async () => {
    await client.channel('messaging', 'lunch', { members: ['amy', 'bob'] }).watch({ presence: true });
    const { users } = await client.queryUsers({ id: 'bob' }, {}, { presence: true });
    return users.map(({ id, online }) => ({ id, online }));
  });
  assert.deepEqual(users, [{ id: 'bob', online: false }]);
  assert.equal(await control('users/bob/connect'), 200);
  await page.locator('li', { hasText: 'bob true' }).waitFor();
  assert.equal(await control('users/bob/disconnect'), 200);
  await page.locator('li', { hasText: 'bob false' }).waitFor();

  // Headers that Flutter and older libraries add.
  const status = await page.evaluate(async ([url, key]) => {
    const headers = { authorization: client.devToken('amy'), 'stream-auth-type': 'jwt', 'x-requested-with': 'XMLHttpRequest', 'content-type': 'application/json' };
    return (await fetch(`${url}/users?api_key=${key}&payload=%7B%7D`, { headers })).status;
  }, [STREAM_CHAT_URL, STREAM_API_KEY]);
  assert.equal(status, 200);

  await page.evaluate(() => client.disconnectUser());
  assert.deepEqual(errors, []);
});
