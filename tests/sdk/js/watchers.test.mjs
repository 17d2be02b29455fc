// Watchers: looking at a channel, being counted, being told who looks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventTypes, logOf, onlineHistory, presence, told } from './support/log.mjs';
import { startMock } from './support/mock.mjs';
import { Stage } from './support/stage.mjs';

/** amy, watching a channel of amy, john and jack. */
async function amyAtTheDoor(stage, options) {
  await stage.users('amy', 'john', 'jack');
  await stage.channel('room', ['amy', 'john', 'jack']);
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'));
  const state = await room.watch(options);
  return { amy, room, state };
}

const enter = async (stage, client) => {
  const room = client.channel('messaging', stage.id('room'));
  await room.watch();
  return room;
};

test('watchers count themselves, and get the list only on request', async (t) => {
  const stage = new Stage(t);
  const { room, state } = await amyAtTheDoor(stage);
  assert.equal(state.watcher_count, 1);
  assert.ok(!('watchers' in state));
  const asked = await room.query({ watch: true, watchers: { limit: 10 } });
  assert.deepEqual(asked.watchers.map(({ id }) => id), [stage.id('amy')]);
});

test('those who watch are told who starts and stops', async (t) => {
  const stage = new Stage(t);
  const { amy, room } = await amyAtTheDoor(stage);
  const john = await stage.connect('john');
  const johns = await enter(stage, john);

  const start = await told(amy, 'user.watching.start', stage.id('john'));
  assert.equal(start.cid, room.cid);
  assert.equal(start.channel_type, 'messaging');
  assert.equal(start.channel_id, stage.id('room'));
  assert.equal(start.watcher_count, 2);
  assert.equal(room.state.watcher_count, 2);
  assert.ok(room.state.watchers[stage.id('john')]);

  await johns.stopWatching();
  const stop = await told(amy, 'user.watching.stop', stage.id('john'));
  assert.equal(stop.watcher_count, 1);
  assert.equal(room.state.watcher_count, 1);
  assert.ok(!(stage.id('john') in room.state.watchers));
});

test('watching events say nothing about presence subscriptions', async (t) => {
  const stage = new Stage(t);
  const { amy } = await amyAtTheDoor(stage);
  const john = await stage.connect('john');
  await enter(stage, john);
  await john.disconnectUser();
  await told(amy, 'user.watching.stop', stage.id('john'));
  await stage.settle(amy);
  assert.deepEqual(eventTypes(amy, stage.id('john')), ['user.watching.start', 'user.watching.stop']);
});

test('leaving the service is leaving the channel', async (t) => {
  const stage = new Stage(t);
  const { amy, room } = await amyAtTheDoor(stage, { presence: true });
  const john = await stage.connect('john');
  await enter(stage, john);
  await john.disconnectUser();
  await told(amy, 'user.watching.stop', stage.id('john'));
  await presence(amy, stage.id('john'), 2);
  assert.equal(room.state.watcher_count, 1);
});

test('users are counted, not connections', async (t) => {
  const stage = new Stage(t);
  const { amy, room } = await amyAtTheDoor(stage);
  const [one, two] = [await stage.connect('john'), await stage.connect('john')];
  await enter(stage, one);
  await enter(stage, two);
  const jack = await stage.connect('jack');
  await enter(stage, jack);
  const start = await told(amy, 'user.watching.start', stage.id('jack'));
  assert.equal(start.watcher_count, 3);
  assert.equal(logOf(amy).of('user.watching.start', stage.id('john')).length, 1);

  await one.disconnectUser();
  await jack.disconnectUser();
  await told(amy, 'user.watching.stop', stage.id('jack'));
  await stage.settle(amy);
  assert.deepEqual(logOf(amy).of('user.watching.stop', stage.id('john')), []);
  assert.equal(room.state.watcher_count, 2);
});

test('who stops watching hears no more of the channel', async (t) => {
  const stage = new Stage(t);
  const { amy, room } = await amyAtTheDoor(stage);
  const john = await stage.connect('john');
  await room.stopWatching();
  const johns = await enter(stage, john);
  await johns.sendEvent({ type: 'knock' });
  await told(john, 'knock');
  await stage.settle(amy);
  assert.deepEqual(logOf(amy).of('knock'), []);
  assert.deepEqual(logOf(amy).of('user.watching.start', stage.id('john')), []);
});

test('presence of users one also queried survives the end of watching', async (t) => {
  const stage = new Stage(t);
  const { amy, room } = await amyAtTheDoor(stage, { presence: true });
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  await room.stopWatching();
  await stage.connect('john');
  await presence(amy, stage.id('john'));
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true]);
});

test('one connection that stops watching leaves the others of the user watching', async (t) => {
  const stage = new Stage(t);
  const { amy } = await amyAtTheDoor(stage);
  const [one, two] = [await stage.connect('john'), await stage.connect('john')];
  const room = await enter(stage, one);
  await enter(stage, two);
  await room.stopWatching();
  await stage.settle(amy);
  assert.deepEqual(logOf(amy).of('user.watching.stop', stage.id('john')), []);
  const jack = await stage.connect('jack');
  const jacks = await enter(stage, jack);
  await jacks.sendEvent({ type: 'knock' });
  await told(two, 'knock');
  await stage.settle(one);
  assert.deepEqual(logOf(one).of('knock'), []);
});

test('querying channels watches them', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  const channel = await stage.channel('room', ['amy', 'john']);
  const amy = await stage.connect('amy');
  const [room] = await amy.queryChannels({ cid: channel.cid });
  const john = await stage.connect('john');
  await enter(stage, john);
  await told(amy, 'user.watching.start', stage.id('john'));
  assert.equal(room.state.watcher_count, 2);
});

test('members who do not watch are told nothing of the channel', async (t) => {
  const stage = new Stage(t);
  const { amy, room } = await amyAtTheDoor(stage);
  const john = await stage.connect('john');
  await room.sendEvent({ type: 'knock' });
  await told(amy, 'knock');
  await stage.settle(john);
  assert.deepEqual(eventTypes(john), []);
});

test('a channel type without connect events counts silently', async (t) => {
  const stage = new Stage(t, await startMock(t));
  await stage.users('amy', 'john');
  await stage.server.createChannelType({ name: 'quiet', connect_events: false });
  await stage.channel('room', ['amy', 'john'], {}, 'quiet');
  const amy = await stage.connect('amy');
  await amy.channel('quiet', stage.id('room')).watch();
  const john = await stage.connect('john');
  const state = await john.channel('quiet', stage.id('room')).watch();
  assert.equal(state.channel.config.connect_events, false);
  assert.equal(state.watcher_count, 2);
  await stage.settle(amy);
  assert.deepEqual(logOf(amy).of('user.watching.start', stage.id('john')), []);
});
