// Who is told that a user came or went, how often, and in which shape.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventTypes, logOf, onlineHistory, presence, told } from './support/log.mjs';
import { refused } from './support/refusal.mjs';
import { Stage } from './support/stage.mjs';

test('watching a channel with presence tells exactly when a member comes and goes', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  const amy = await stage.connect('amy');
  const channel = amy.channel('messaging', stage.id('room'), { members: stage.ids('amy', 'john') });
  await channel.watch({ presence: true });

  const john = await stage.connect('john');
  await presence(amy, stage.id('john'), 1);
  await john.disconnectUser();
  await presence(amy, stage.id('john'), 2);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
});

test('querying users with presence tells exactly when they come and go', async (t) => {
  const stage = new Stage(t);
  await stage.users('john', 'jack');
  const amy = await stage.connect('amy');
  const { users } = await amy.queryUsers({ id: { $in: stage.ids('john', 'jack') } }, { id: -1 }, { presence: true });
  assert.deepEqual(users.map(({ online }) => online), [false, false]);

  for (const name of ['john', 'jack']) {
    const client = await stage.connect(name);
    await presence(amy, stage.id(name), 1);
    await client.disconnectUser();
    await presence(amy, stage.id(name), 2);
  }
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
  assert.deepEqual(onlineHistory(amy, stage.id('jack')), [true, false]);
  assert.equal(onlineHistory(amy).length, 4);
});

test('querying channels with presence tells exactly when members come and go', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john'], { colour: stage.id('green') });
  const amy = await stage.connect('amy');
  const found = await amy.queryChannels({ colour: stage.id('green') }, { last_message_at: -1 }, { presence: true });
  assert.deepEqual(found.map(({ cid }) => cid), [`messaging:${stage.id('room')}`]);

  const john = await stage.connect('john');
  await presence(amy, stage.id('john'), 1);
  await john.disconnectUser();
  await presence(amy, stage.id('john'), 2);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
});

test('the event belongs to no channel and carries the complete user', async (t) => {
  const stage = new Stage(t);
  await stage.users({ id: stage.id('john'), name: 'John', status: 'busy', nested: { deep: [1, 2] } });
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  const john = await stage.connect('john');

  const event = await presence(amy, stage.id('john'));
  for (const key of ['cid', 'channel_type', 'channel_id']) assert.ok(!(key in event), key);
  const { user } = event;
  assert.equal(user.role, 'user');
  assert.equal(user.name, 'John');
  assert.equal(user.status, 'busy');
  assert.deepEqual(user.nested, { deep: [1, 2] });
  assert.equal(user.banned, false);
  assert.equal(user.language, '');
  assert.deepEqual(user.teams, []);
  assert.equal(user.last_active, john.user.last_active);
  for (const time of [user.created_at, user.updated_at, user.last_active, event.created_at]) {
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/);
  }
});

test('several connections of one user come and go as one', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john']);
  const amy = await stage.connect('amy');
  await amy.channel('messaging', stage.id('room')).watch({ presence: true });

  const first = await stage.connect('john');
  const second = await stage.connect('john');
  // The second connection watches, so that its end is something amy is told about.
  await second.channel('messaging', stage.id('room')).watch();
  await told(amy, 'user.watching.start', stage.id('john'));
  await second.disconnectUser();
  await told(amy, 'user.watching.stop', stage.id('john'));
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true]);
  assert.equal((await stage.truth('john')).online, true);

  await first.disconnectUser();
  await presence(amy, stage.id('john'), 2);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
});

test('the first of two connections may leave first', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john']);
  const amy = await stage.connect('amy');
  await amy.channel('messaging', stage.id('room')).watch({ presence: true });

  const first = await stage.connect('john');
  await first.channel('messaging', stage.id('room')).watch();
  const second = await stage.connect('john');
  await first.disconnectUser();
  await told(amy, 'user.watching.stop', stage.id('john'));
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true]);

  await second.disconnectUser();
  await presence(amy, stage.id('john'), 2);
});

test('several subscriptions of one connection deliver each change once', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  const amy = await stage.connect('amy');
  await amy.channel('messaging', stage.id('one'), { members: stage.ids('amy', 'john') }).watch({ presence: true });
  await amy.channel('messaging', stage.id('two'), { members: stage.ids('amy', 'john') }).watch({ presence: true });
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  await amy.queryUsers({ id: { $in: stage.ids('john', 'amy') } }, [], { presence: true });

  const john = await stage.connect('john');
  await presence(amy, stage.id('john'), 1);
  await john.disconnectUser();
  await presence(amy, stage.id('john'), 2);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
});

test('each connection of the observer that subscribed is told', async (t) => {
  const stage = new Stage(t);
  await stage.users('john');
  const [one, two, deaf] = [await stage.connect('amy'), await stage.connect('amy'), await stage.connect('amy')];
  for (const client of [one, two]) await client.queryUsers({ id: stage.id('john') }, [], { presence: true });

  await stage.connect('john');
  await Promise.all([one, two].map((client) => presence(client, stage.id('john'))));
  await stage.settle(deaf);
  assert.deepEqual(onlineHistory(deaf), []);
});

test('a subscription ends with its connection', async (t) => {
  const stage = new Stage(t);
  await stage.users('john', 'jack');
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  await amy.closeConnection();
  await amy.openConnection();
  await amy.queryUsers({ id: stage.id('jack') }, [], { presence: true });

  await stage.connect('john');
  await stage.connect('jack');
  await presence(amy, stage.id('jack'));
  assert.deepEqual(onlineHistory(amy, stage.id('john')), []);
});

test('watching without presence gives no presence events', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  const amy = await stage.connect('amy');
  await amy.channel('messaging', stage.id('room'), { members: stage.ids('amy', 'john') }).watch();
  await stage.connect('john');
  await stage.settle(amy);
  assert.deepEqual(eventTypes(amy, stage.id('john')), []);
});

test('presence without watching gives no watching events', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'), { members: stage.ids('amy', 'john') });
  await room.query({ watch: false, presence: true });
  const john = await stage.connect('john');
  await john.channel('messaging', stage.id('room')).watch();
  await stage.settle(amy);
  assert.deepEqual(eventTypes(amy, stage.id('john')), ['user.presence.changed']);
});

test('reading needs no presence flag: a plain watch shows who is online', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.connect('john');
  const amy = await stage.connect('amy');
  const state = await amy.channel('messaging', stage.id('room'), { members: stage.ids('amy', 'john') }).watch();

  const member = state.members.find(({ user_id }) => user_id === stage.id('john'));
  assert.equal(member.user.online, true);
  assert.equal(typeof member.user.last_active, 'string');
});

test('presence without a connection is refused with code 4', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy');
  const refusal = {
    code: 4,
    status: 400,
    message:
      /^QueryUsers failed with error: "Watch or Presence requires an active websocket connection, please make sure to include your websocket connection_id"$/,
  };
  await refused(stage.server.queryUsers({ id: stage.id('amy') }, [], { presence: true }), refusal);

  const amy = await stage.connect('amy');
  // A connection id that the server has never given out.
  amy.wsConnection.connectionID = '00000000-0000-4000-8000-000000000000';
  await refused(amy.queryUsers({ id: stage.id('amy') }, [], { presence: true }), refusal);
});

test('watching without a connection is refused with code 4', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'));
  amy.wsConnection.connectionID = undefined;
  await refused(room.watch({ watch: true }), {
    code: 4,
    status: 400,
    message: /^GetOrCreateChannel failed with error: "Watch or Presence requires an active websocket connection/,
  });
  await refused(amy.queryChannels({}, [], { watch: true }), {
    code: 4,
    status: 400,
    message: /^QueryChannels failed with error: "Watch or Presence requires an active websocket connection/,
  });
});

test("the SDK's own state follows the events", async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'), { members: stage.ids('amy', 'john') });
  await room.watch({ presence: true });
  assert.equal(room.state.members[stage.id('john')].user.online, false);

  const john = await stage.connect('john', { name: 'John' });
  await presence(amy, stage.id('john'), 1);
  assert.equal(room.state.members[stage.id('john')].user.online, true);
  assert.equal(amy.state.users[stage.id('john')].online, true);
  await john.disconnectUser();
  await presence(amy, stage.id('john'), 2);
  assert.equal(room.state.members[stage.id('john')].user.online, false);
});

test('a user who was found by no query is not subscribed to', async (t) => {
  const stage = new Stage(t);
  await stage.users('jack');
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: { $in: stage.ids('jack', 'john') } }, [], { presence: true });
  await stage.connect('john');
  await stage.connect('jack');
  await presence(amy, stage.id('jack'));
  assert.deepEqual(onlineHistory(amy, stage.id('john')), []);
});

test('a query that subscribes shows the state from which the events go on', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john');
  const amy = await stage.connect('amy');
  const { users } = await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  assert.equal(users[0].online, true);
  await john.disconnectUser();
  await presence(amy, stage.id('john'));
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [false]);
});

test('every subscriber hears of the same changes in the same order', async (t) => {
  const stage = new Stage(t);
  await stage.users('john', 'jack');
  const observers = await Promise.all(['one', 'two', 'three'].map((name) => stage.connect(name)));
  for (const observer of observers) {
    await observer.queryUsers({ id: { $in: stage.ids('john', 'jack') } }, [], { presence: true });
  }
  for (const name of ['john', 'jack', 'john']) {
    const client = await stage.connect(name);
    await client.disconnectUser();
  }
  for (const observer of observers) {
    await presence(observer, undefined, 6);
    await stage.settle(observer);
  }
  const stories = observers.map((observer) =>
    logOf(observer)
      .of('user.presence.changed')
      .map(({ user }) => `${user.id} ${user.online}`),
  );
  assert.equal(stories[0].length, 6);
  assert.deepEqual(stories[1], stories[0]);
  assert.deepEqual(stories[2], stories[0]);
});

test('one channel call covers ten users, and a user query covers the others', async (t) => {
  const stage = new Stage(t);
  const names = Array.from({ length: 12 }, (_, number) => `user${number}`);
  await stage.users('amy', ...names);
  await stage.channel('room', names);
  const amy = await stage.connect('amy', {}, { recoverStateOnReconnect: false });
  await stage.server.partialUpdateUser({ id: stage.id('amy'), set: { role: 'admin' } });
  const { members } = await amy.channel('messaging', stage.id('room')).watch({ presence: true });
  assert.equal(members.length, 12, 'all are listed, whoever is covered');

  const clients = await Promise.all(names.map((name) => stage.connect(name)));
  await stage.settle(amy);
  const covered = new Set(logOf(amy).of('user.presence.changed').map(({ user }) => user.id));
  assert.equal(covered.size, 10);

  await amy.queryUsers({ id: { $in: stage.ids(...names) } }, [], { presence: true });
  await Promise.all(clients.map((client) => client.disconnectUser()));
  for (const name of names) {
    const offline = (event) => event.type === 'user.presence.changed' && event.user.id === stage.id(name) && !event.user.online;
    await logOf(amy).until(`${name} to leave`, offline);
  }
});

test('one user query covers thirty users', async (t) => {
  const stage = new Stage(t);
  const names = Array.from({ length: 33 }, (_, number) => `user${String(number).padStart(2, '0')}`);
  await stage.users(...names);
  const amy = await stage.connect('amy');
  const { users } = await amy.queryUsers(
    { id: { $in: stage.ids(...names) } },
    { id: 1 },
    { presence: true, limit: 100 },
  );
  assert.equal(users.length, 33, 'all are listed, whoever is covered');
  await Promise.all(names.map((name) => stage.connect(name)));
  await presence(amy, undefined, 30);
  await stage.settle(amy);
  assert.equal(onlineHistory(amy).length, 30);
});
