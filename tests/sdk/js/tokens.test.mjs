// Who may connect and call: signatures, times, providers, revocation.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { startMock } from './support/mock.mjs';
import { connectRefused, refused } from './support/refusal.mjs';
import { shared, Stage } from './support/stage.mjs';

const now = () => Math.floor(Date.now() / 1000);
const HOUR = 3600;

/** A token with claims that the SDK has no option for. */
function sign(claims, secret = shared.secret) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

test('a forged token is refused', async (t) => {
  const stage = new Stage(t);
  const forged = sign({ user_id: stage.id('amy') }, 'another secret');
  // The service has answered both codes.
  await connectRefused(stage.client().connectUser({ id: stage.id('amy') }, forged), { code: [43, 5] });
});

test('an expired static token is refused with code 40', async (t) => {
  const stage = new Stage(t);
  const expired = stage.token('amy', now() - HOUR, now() - 2 * HOUR);
  await connectRefused(stage.client().connectUser({ id: stage.id('amy') }, expired), { code: 40 });
});

test('a token that is not valid yet is refused with code 41', async (t) => {
  const stage = new Stage(t);
  const early = sign({ user_id: stage.id('amy'), nbf: now() + HOUR });
  await connectRefused(stage.client().connectUser({ id: stage.id('amy') }, early), { code: 41 });
});

test('a token used before it was issued is refused with code 42', async (t) => {
  const stage = new Stage(t);
  const early = stage.token('amy', undefined, now() + HOUR);
  await connectRefused(stage.client().connectUser({ id: stage.id('amy') }, early), { code: 42 });
});

test('an unknown api key is refused with code 2', async (t) => {
  const stage = new Stage(t);
  const client = stage.client({ apiKey: 'nobodys-key' });
  await connectRefused(client.connectUser({ id: stage.id('amy') }, stage.token('amy')), { code: 2 });
  const admin = stage.admin({ apiKey: 'nobodys-key' });
  await refused(admin.getAppSettings(), { code: 2, status: 401 });
});

test('a developer token is refused unless the application allows it', async (t) => {
  const stage = new Stage(t);
  const client = stage.client();
  await connectRefused(client.connectUser({ id: stage.id('amy') }, client.devToken(stage.id('amy'))), {
    code: 5,
    message: /development tokens are not allowed for this application/,
  });
});

test('an application that allows developer tokens accepts them', async (t) => {
  const stage = new Stage(t, await startMock(t));
  await stage.server.updateAppSettings({ disable_auth_checks: true });
  const client = stage.client();
  const opened = await client.connectUser({ id: stage.id('amy') }, client.devToken(stage.id('amy')));
  assert.equal(opened.me.id, stage.id('amy'));
});

test("somebody else's token is refused", async (t) => {
  const stage = new Stage(t);
  // The SDK looks only into tokens that are given as text.
  const provider = async () => stage.token('john');
  await connectRefused(stage.client().connectUser({ id: stage.id('amy') }, provider), { code: undefined });
});

test('an expired token at connect makes the client ask its provider again', async (t) => {
  const stage = new Stage(t);
  const tokens = [stage.token('amy', now() - HOUR), stage.token('amy', now() + HOUR)];
  let asked = 0;
  const client = stage.client();
  const opened = await client.connectUser({ id: stage.id('amy') }, async () => tokens[Math.min(asked++, 1)]);
  assert.equal(opened.me.id, stage.id('amy'));
  assert.equal(asked, 2);
});

test('a token that expires in mid-session is replaced and the call repeated', async (t) => {
  const stage = new Stage(t);
  const fresh = stage.token('amy', now() + HOUR);
  let asked = 0;
  const client = stage.client();
  await client.connectUser({ id: stage.id('amy') }, async () => {
    asked += 1;
    return fresh;
  });
  client.tokenManager.token = stage.token('amy', now() - HOUR);
  const { users } = await client.queryUsers({ id: stage.id('amy') });
  assert.equal(users.length, 1);
  assert.equal(asked, 2);
});

test('a call with an expired static token is refused with code 40', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  amy.tokenManager.token = stage.token('amy', now() - HOUR);
  await refused(amy.queryUsers({}), { code: 40, status: 401 });
});

test("revoking a user's tokens refuses the older ones and those without a time", async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.server.revokeUserToken(stage.id('amy'), new Date((now() - HOUR) * 1000));

  const older = stage.token('amy', undefined, now() - 2 * HOUR);
  await connectRefused(stage.client().connectUser({ id: stage.id('amy') }, older), { code: undefined });
  await connectRefused(stage.client().connectUser({ id: stage.id('amy') }, stage.token('amy')), { code: undefined });
  const newer = stage.token('amy', undefined, now() - 60);
  await stage.client().connectUser({ id: stage.id('amy') }, newer);
  // Others are not concerned.
  await stage.connect('john');

  await stage.server.revokeUserToken(stage.id('amy'), null);
  await stage.connect('amy');
});

test("revoking the application's tokens refuses all users", async (t) => {
  const stage = new Stage(t, await startMock(t));
  await stage.server.revokeTokens(new Date());
  await connectRefused(stage.client().connectUser({ id: stage.id('amy') }, stage.token('amy')), { code: undefined });
  await stage.server.revokeTokens(null);
  await stage.connect('amy');
});

test('an unknown auth type is refused with code 5', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  const strange = stage.client({ axiosRequestConfig: { headers: { 'stream-auth-type': 'magic' } } });
  strange.tokenManager.token = amy.tokenManager.token;
  await refused(strange.queryUsers({}), {
    code: 5,
    status: 401,
    message: /failed with error: "stream-auth-type missing or invalid"/,
  });
});
