// Invisible users: there for themselves and for the server, offline for everybody else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventTypes, onlineHistory, presence, told } from './support/log.mjs';
import { Stage } from './support/stage.mjs';

/** amy, subscribed to john by watching a channel that both are members of. */
async function amyWatching(stage) {
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john']);
  const amy = await stage.connect('amy');
  await amy.channel('messaging', stage.id('room')).watch({ presence: true });
  return amy;
}

test('connecting as invisible: known to oneself and to the server, offline for the server', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john', { invisible: true });
  assert.equal(john.user.invisible, true);
  const truth = await stage.truth('john');
  assert.equal(truth.invisible, true);
  assert.equal(truth.online, false);
});

test('connecting as invisible tells nobody, and neither does leaving', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  const john = await stage.connect('john', { invisible: true });
  await john.channel('messaging', stage.id('room')).watch();
  await told(amy, 'user.watching.start', stage.id('john'));
  await john.disconnectUser();
  const stop = await told(amy, 'user.watching.stop', stage.id('john'));
  assert.equal(stop.user.online, false);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), []);
});

test('turning invisible while connected looks like leaving, turning visible like coming', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  const john = await stage.connect('john');
  await presence(amy, stage.id('john'), 1);

  const off = await john.partialUpdateUser({ id: stage.id('john'), set: { invisible: true } });
  assert.equal(off.users[stage.id('john')].invisible, true);
  assert.equal((await presence(amy, stage.id('john'), 2)).user.online, false);
  let truth = await stage.truth('john');
  assert.deepEqual([truth.invisible, truth.online], [true, false]);

  const on = await john.partialUpdateUser({ id: stage.id('john'), set: { invisible: false } });
  assert.equal(on.users[stage.id('john')].invisible, false);
  assert.equal((await presence(amy, stage.id('john'), 3)).user.online, true);
  truth = await stage.truth('john');
  assert.deepEqual([truth.invisible, truth.online], [false, true]);

  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false, true]);
});

test('turning invisible is also announced as user.updated', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  const john = await stage.connect('john');
  await john.partialUpdateUser({ id: stage.id('john'), set: { invisible: true } });
  const updated = await told(amy, 'user.updated', stage.id('john'));
  assert.equal(updated.user.online, false);
  await told(john, 'user.updated', stage.id('john'));
  assert.equal(john.user.invisible, true);
});

test('invisible is sticky: connecting again without the word keeps it', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  const first = await stage.connect('john', { invisible: true });
  await first.disconnectUser();
  const second = await stage.connect('john');
  assert.equal(second.user.invisible, true);
  assert.equal((await stage.truth('john')).online, false);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), []);
});

test('connecting with invisible false makes a hidden user visible', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  await stage.server.partialUpdateUser({ id: stage.id('john'), set: { invisible: true } });
  const john = await stage.connect('john', { invisible: false });
  assert.equal(john.user.invisible, false);
  assert.equal((await presence(amy, stage.id('john'))).user.online, true);
});

test('other clients see an invisible user as offline wherever they look', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  const john = await stage.connect('john', { invisible: true });
  await john.channel('messaging', stage.id('room')).watch();

  const { users } = await amy.queryUsers({ id: stage.id('john') });
  assert.equal(users[0].online, false);
  const state = await amy.channel('messaging', stage.id('room')).query({ watchers: { limit: 10 } });
  const member = state.members.find(({ user_id }) => user_id === stage.id('john'));
  assert.equal(member.user.online, false);
  assert.equal(state.watchers.find(({ id }) => id === stage.id('john')).online, false);
  const { members } = await amy.channel('messaging', stage.id('room')).queryMembers({ id: stage.id('john') });
  assert.equal(members[0].user.online, false);
});

test('an invisible user sees their own state as online', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john', { invisible: true });
  const { users } = await john.queryUsers({ id: stage.id('john') });
  assert.equal(users[0].online, true);
  assert.equal(users[0].invisible, true);
});

test('the server may hide and show a connected user', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  await stage.connect('john');
  await stage.server.partialUpdateUser({ id: stage.id('john'), set: { invisible: true } });
  await stage.server.partialUpdateUser({ id: stage.id('john'), set: { invisible: false } });
  await presence(amy, stage.id('john'), 3);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false, true]);
});

test('a whole upsert may hide a connected user', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  await stage.connect('john');
  await stage.server.upsertUser({ id: stage.id('john'), invisible: true });
  await presence(amy, stage.id('john'), 2);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
});

test('hiding a hidden user again changes nothing for others', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  const john = await stage.connect('john');
  for (const invisible of [true, true, false, false]) {
    await john.partialUpdateUser({ id: stage.id('john'), set: { invisible } });
  }
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false, true]);
});

test('hiding a user who is not connected changes nothing for others', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  await stage.server.partialUpdateUser({ id: stage.id('john'), set: { invisible: true } });
  await stage.server.partialUpdateUser({ id: stage.id('john'), set: { invisible: false } });
  await stage.settle(amy);
  assert.ok(!eventTypes(amy, stage.id('john')).includes('user.presence.changed'));
});

test('with two connections, one word hides the user', async (t) => {
  const stage = new Stage(t);
  const amy = await amyWatching(stage);
  const one = await stage.connect('john');
  await stage.connect('john');
  await one.partialUpdateUser({ id: stage.id('john'), set: { invisible: true } });
  await presence(amy, stage.id('john'), 2);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
});
