// What the service leaves open, or does only after minutes: options of the mock, and its clock moved by hand, as a client
// meets them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logOf, onlineHistory, presence, told } from './support/log.mjs';
import { startMock } from './support/mock.mjs';
import { connectRefused, refused } from './support/refusal.mjs';
import { Stage, stored } from './support/stage.mjs';

/** A server with these options, and a corner of it. */
async function own(t, ...args) {
  const mock = await startMock(t, args);
  return { mock, stage: new Stage(t, mock) };
}

/** amy, subscribed to john, on such a server. */
async function amySubscribed(t, ...args) {
  const { mock, stage } = await own(t, ...args);
  await stage.users('john');
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  return { mock, stage, amy };
}

/** Sends the client's own ping and waits for the answer. */
async function ping(client) {
  const answers = logOf(client).of('health.check').length;
  client.wsConnection.pingInterval = 1;
  client.wsConnection.scheduleNextPing();
  client.wsConnection.pingInterval = 25_000;
  await told(client, 'health.check', undefined, answers + 1);
}

test('a spent budget is refused with code 9, and says when to come back', async (t) => {
  const { stage } = await own(t, '--rate-limit', '3');
  for (let call = 0; call < 3; call += 1) await stage.server.queryUsers({});
  const error = await stage.server.queryUsers({}).catch((reason) => reason);
  await refused(Promise.reject(error), { code: 9, status: 429 });
  const { headers } = error.response;
  assert.equal(headers['x-ratelimit-limit'], '3');
  assert.equal(headers['x-ratelimit-remaining'], '0');
  assert.ok(Number(headers['x-ratelimit-reset']) * 1000 > Date.now());
  // Another endpoint has a budget of its own.
  await stage.server.queryChannels({});
});

test('a connection too many is refused, and the others stay', async (t) => {
  const { stage } = await own(t, '--max-connections-per-user', '2');
  const [one] = [await stage.connect('amy'), await stage.connect('amy')];
  const third = stage.client().connectUser({ id: stage.id('amy') }, stage.token('amy'));
  const error = await third.catch((reason) => reason);
  assert.equal(JSON.parse(error.message).code, 71);
  await stage.settle(one);
  await stage.connect('john');
});

test('developer tokens are accepted where the option says so', async (t) => {
  const { stage } = await own(t, '--development-tokens', 'true');
  const client = stage.client();
  const opened = await client.connectUser({ id: stage.id('amy') }, client.devToken(stage.id('amy')));
  assert.equal(opened.me.id, stage.id('amy'));
});

test('a token that ends in mid-session ends the connection, where the option says so', async (t) => {
  const { mock, stage, amy } = await amySubscribed(t, '--close-on-token-expiry', 'true', '--idle-timeout', '2h');
  const john = stage.client();
  await john.connectUser({ id: stage.id('john') }, stage.token('john', Math.floor(Date.now() / 1000) + 3600));
  await mock.control('clock/advance', { by: '30m' });
  await ping(john);
  await ping(amy);
  await mock.control('clock/advance', { by: '31m' });
  const event = await told(john, 'connection.error');
  assert.equal(event.error.code, 40);
  assert.equal((await presence(amy, stage.id('john'), 2)).user.online, false);
});

test('last_active moves every quarter of an hour, silently', async (t) => {
  const { mock, stage, amy } = await amySubscribed(t, '--idle-timeout', '1h');
  const john = await stage.connect('john');
  const before = john.user.last_active;
  await mock.control('clock/advance', { by: '14m' });
  assert.equal((await stage.truth('john')).last_active, stored(before));
  await mock.control('clock/advance', { by: '2m' });
  const after = (await stage.truth('john')).last_active;
  assert.ok(after > before, `${after} after ${before}`);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true]);
});

test('a silent client is dropped after a minute, one that pings is not', async (t) => {
  const { mock, stage, amy } = await amySubscribed(t);
  const john = await stage.connect('john');
  await mock.control('clock/advance', { by: '40s' });
  await ping(amy);
  await mock.control('clock/advance', { by: '40s' });
  assert.equal((await presence(amy, stage.id('john'), 2)).user.online, false);
  // And it comes back by itself.
  await told(john, 'connection.recovered');
  assert.equal((await presence(amy, stage.id('john'), 3)).user.online, true);
});

test('a quick return within the grace is not seen, a longer absence is', async (t) => {
  const { mock, stage, amy } = await amySubscribed(t, '--offline-grace', '10s');
  const first = await stage.connect('john');
  await first.disconnectUser();
  await mock.control('clock/advance', { by: '5s' });
  const second = await stage.connect('john');
  await mock.control('clock/advance', { by: '20s' });
  await ping(second);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true]);

  await ping(amy);
  await second.closeConnection();
  // The server may learn of the end after this call, so time is moved until it has passed for it, too.
  for (let step = 0; step < 4 && onlineHistory(amy, stage.id('john')).length < 2; step += 1) {
    await mock.control('clock/advance', { by: '10s' });
    await stage.settle(amy);
  }
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
});

test('health checks come unasked where the option says so', async (t) => {
  const { mock, stage } = await own(t, '--health-check-every', '30s');
  const amy = await stage.connect('amy');
  await mock.control('clock/advance', { by: '31s' });
  const event = await told(amy, 'health.check', undefined, 2);
  assert.equal(event.connection_id, amy._getConnectionID());
});

test('a status may be told as presence, where the option says so', async (t) => {
  const { stage, amy } = await amySubscribed(t, '--status-sends-presence', 'true');
  await stage.server.partialUpdateUser({ id: stage.id('john'), set: { status: 'away' } });
  assert.equal((await presence(amy, stage.id('john'))).user.status, 'away');
});

test('an upsert may keep what it does not mention, where the option says so', async (t) => {
  const { stage } = await own(t, '--upsert-merges', 'true');
  await stage.users({ id: stage.id('ann'), colour: 'green' });
  await stage.users({ id: stage.id('ann'), mood: 'fine' });
  const ann = await stage.truth('ann');
  assert.deepEqual([ann.colour, ann.mood], ['green', 'fine']);
});

test('users without a socket come and go at the pull of a string', async (t) => {
  const { mock, stage, amy } = await amySubscribed(t);
  await mock.control(`users/${stage.id('john')}/connect`);
  await presence(amy, stage.id('john'), 1);
  await mock.control(`users/${stage.id('john')}/disconnect`);
  await presence(amy, stage.id('john'), 2);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
});

test('a reset server has forgotten everything, and its clients come back', async (t) => {
  const { mock, stage, amy } = await amySubscribed(t);
  const before = amy._getConnectionID();
  await mock.control('reset');
  await told(amy, 'connection.recovered');
  assert.notEqual(amy._getConnectionID(), before);
  assert.equal(await stage.truth('john'), undefined);
  assert.equal((await stage.truth('amy')).online, true);
});

test('a wrong signature has the code that the option says', async (t) => {
  const { mock, stage } = await own(t, '--bad-signature-code', '5');
  const stranger = new Stage(t, { ...mock, secret: 'a secret that nobody else has ever had' });
  await connectRefused(stage.client().connectUser({ id: stage.id('amy') }, stranger.server.createToken(stage.id('amy'))), {
    code: 5,
  });
});
