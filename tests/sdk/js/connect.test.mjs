// Opening and closing a connection, and what that does to the user.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logOf, onlineHistory, presence, told } from './support/log.mjs';
import { Stage } from './support/stage.mjs';

test('the first frame is a health check with a connection id and the whole own user', async (t) => {
  const stage = new Stage(t);
  const client = stage.client();
  const opened = await client.connectUser({ id: stage.id('amy'), name: 'Amy' }, stage.token('amy'));

  assert.equal(opened.type, 'health.check');
  assert.match(opened.connection_id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  const { me } = opened;
  assert.equal(me.id, stage.id('amy'));
  assert.equal(me.name, 'Amy');
  assert.equal(me.role, 'user');
  assert.equal(me.online, true);
  assert.equal(me.invisible, false);
  assert.equal(me.banned, false);
  for (const list of ['devices', 'mutes', 'channel_mutes', 'teams']) assert.deepEqual(me[list], [], list);
  for (const count of ['unread_count', 'total_unread_count', 'unread_channels', 'unread_threads']) {
    assert.equal(me[count], 0, count);
  }
  for (const time of ['created_at', 'updated_at', 'last_active']) assert.ok(!Number.isNaN(Date.parse(me[time])), time);
  assert.equal(client.user.id, stage.id('amy'));
});

test('connecting creates the user', async (t) => {
  const stage = new Stage(t);
  assert.equal(await stage.truth('amy'), undefined);
  await stage.connect('amy', { name: 'Amy', favourite: { colour: 'green' } });

  const user = await stage.truth('amy');
  assert.equal(user.name, 'Amy');
  assert.deepEqual(user.favourite, { colour: 'green' });
  assert.equal(user.online, true);
});

test('connecting keeps what it does not mention', async (t) => {
  const stage = new Stage(t);
  await stage.users({ id: stage.id('amy'), name: 'Amy', colour: 'green' });
  const amy = await stage.connect('amy', { mood: 'fine' });

  assert.equal(amy.user.name, 'Amy');
  const user = await stage.truth('amy');
  assert.equal(user.colour, 'green');
  assert.equal(user.mood, 'fine');
});

test('a change made by connecting is announced as user.updated', async (t) => {
  const stage = new Stage(t);
  await stage.users({ id: stage.id('john'), name: 'John' });
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  await stage.connect('john', { name: 'Johnny' });

  const event = await told(amy, 'user.updated', stage.id('john'));
  assert.equal(event.user.name, 'Johnny');
});

test('a role named by the client has no effect', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy', { role: 'admin' });
  assert.equal(amy.user.role, 'user');
  assert.equal((await stage.truth('amy')).role, 'user');
});

test('a clean disconnect makes the user offline and leaves last_active alone', async (t) => {
  const stage = new Stage(t);
  await stage.users('john');
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  const john = await stage.connect('john');
  const lastActive = (await stage.truth('john')).last_active;
  await john.disconnectUser();

  const offline = await presence(amy, stage.id('john'), 2);
  assert.equal(offline.user.online, false);
  assert.equal(offline.user.last_active, lastActive);
  const user = await stage.truth('john');
  assert.equal(user.online, false);
  assert.equal(user.last_active, lastActive);
});

test('several connections of one user have ids of their own', async (t) => {
  const stage = new Stage(t);
  const [one, two, three] = [await stage.connect('amy'), await stage.connect('amy'), await stage.connect('amy')];
  const ids = new Set([one, two, three].map((client) => client._getConnectionID()));
  assert.equal(ids.size, 3);
});

test('closing and opening again gives a new connection id, and the same user', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy', { name: 'Amy' });
  const before = amy._getConnectionID();
  await amy.closeConnection();
  await amy.openConnection();
  assert.notEqual(amy._getConnectionID(), before);
  assert.equal(amy.user.name, 'Amy');
});

test("the client's own pings are answered, every one", async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  // The next ping leaves one interval after the last answer, so an unanswered ping would be the last one.
  amy.wsConnection.pingInterval = 1;
  amy.wsConnection.scheduleNextPing();
  const answer = await told(amy, 'health.check', undefined, 5);
  assert.equal(answer.connection_id, amy._getConnectionID());
});

test('a device named at connect does no harm', async (t) => {
  const stage = new Stage(t);
  const client = stage.client();
  client.setLocalDevice({ id: 'a-device', push_provider: 'firebase' });
  const opened = await client.connectUser({ id: stage.id('amy') }, stage.token('amy'));
  assert.equal(opened.me.id, stage.id('amy'));
});

test('the warm-up call is answered', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy', {}, { warmUp: true });
  const answer = await amy.doAxiosRequest('get', `${amy.baseURL}/hi`);
  assert.equal(typeof answer, 'object');
});

test('nobody is told about a user whom nobody watches', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  const john = await stage.connect('john');
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy), []);
  await john.disconnectUser();
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy), []);
});

test('events carry the time at which they were made', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  await stage.settle(amy);
  const own = new Set(['connection.changed', 'channels.queried']);
  for (const event of logOf(amy).events.filter(({ type }) => !own.has(type))) {
    assert.ok(!Number.isNaN(Date.parse(event.created_at)), JSON.stringify(event));
  }
});
