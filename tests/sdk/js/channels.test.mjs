// Channels: made, found, read and changed, and who may.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logOf, told } from './support/log.mjs';
import { refused } from './support/refusal.mjs';
import { Stage } from './support/stage.mjs';

test('a watch creates the channel, and a query by its custom field finds exactly it', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john', 'jack');
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'), {
    members: stage.ids('amy', 'john', 'jack'),
    colour: stage.id('green'),
  });
  const state = await room.watch({ presence: true });
  assert.equal(state.channel.cid, `messaging:${stage.id('room')}`);
  assert.equal(state.channel.colour, stage.id('green'));
  assert.equal(state.channel.member_count, 3);
  assert.equal(state.channel.created_by.id, stage.id('amy'));
  assert.equal(state.membership.channel_role, 'channel_member');
  assert.deepEqual(state.members.map(({ user_id }) => user_id).sort(), stage.ids('amy', 'jack', 'john'));
  for (const list of ['messages', 'pinned_messages', 'threads']) assert.deepEqual(state[list], [], list);

  const found = await amy.queryChannels(
    { colour: stage.id('green') },
    { last_message_at: -1 },
    { watch: true, presence: true },
  );
  assert.deepEqual(found.map(({ cid }) => cid), [room.cid]);
  assert.equal(Object.keys(found[0].state.members).length, 3);
});

test('the configuration names the switches that clients look at', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  const state = await amy.channel('messaging', stage.id('room')).watch();
  const { config } = state.channel;
  for (const key of ['typing_events', 'read_events', 'connect_events', 'custom_events']) {
    assert.equal(typeof config[key], 'boolean', key);
  }
  assert.equal(config.name, 'messaging');
  assert.ok(Array.isArray(config.commands));
  assert.ok(Array.isArray(state.channel.own_capabilities));
});

test('getting a channel that exists changes nothing in it', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy'], { colour: 'green' });
  const amy = await stage.connect('amy');
  const state = await amy
    .channel('messaging', stage.id('room'), { members: stage.ids('amy', 'john'), colour: 'red' })
    .watch();
  assert.equal(state.channel.colour, 'green');
  assert.deepEqual(state.members.map(({ user_id }) => user_id), [stage.id('amy')]);
});

test('a channel without an id is decided by its members, in any order', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  const amy = await stage.connect('amy');
  const one = amy.channel('messaging', { members: stage.ids('amy', 'john') });
  await one.watch();
  assert.match(one.id, /^!members-[\w-]{43}$/);

  const john = await stage.connect('john');
  const other = john.channel('messaging', { members: stage.ids('john', 'amy') });
  await other.watch();
  assert.equal(other.cid, one.cid);
});

test('a user who is neither member nor creator may not read a messaging channel', async (t) => {
  const stage = new Stage(t);
  await stage.users('john');
  await stage.channel('room', ['john']);
  const amy = await stage.connect('amy');
  await refused(amy.channel('messaging', stage.id('room')).watch(), {
    code: 17,
    status: 403,
    message: /is not allowed to perform action ReadChannel in scope 'messaging'/,
  });
  assert.deepEqual(await amy.queryChannels({ cid: `messaging:${stage.id('room')}` }), []);
});

test('members, the creator and administrators may read it', async (t) => {
  const stage = new Stage(t);
  await stage.users('john', { id: stage.id('boss'), role: 'admin' });
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'), { members: [stage.id('john')] });
  await room.create();
  for (const name of ['amy', 'john', 'boss']) {
    const client = await stage.connect(name);
    const state = await client.channel('messaging', stage.id('room')).watch();
    assert.equal(state.channel.cid, room.cid);
    assert.equal((await client.queryChannels({ cid: room.cid })).length, 1, name);
  }
});

test('anybody may read a livestream', async (t) => {
  const stage = new Stage(t);
  await stage.channel('show', [], {}, 'livestream');
  const amy = await stage.connect('amy');
  const state = await amy.channel('livestream', stage.id('show')).watch();
  assert.equal(state.channel.type, 'livestream');
});

test('a partial update is announced and keeps what it does not mention', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy');
  const channel = await stage.channel('room', ['amy'], { colour: 'green', mood: 'fine' });
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'));
  await room.watch();

  const answer = await channel.updatePartial({ set: { colour: 'red' }, unset: ['mood'] });
  assert.equal(answer.channel.colour, 'red');
  const event = await told(amy, 'channel.updated');
  assert.equal(event.cid, room.cid);
  assert.equal(event.channel_type, 'messaging');
  assert.equal(event.channel_id, stage.id('room'));
  assert.equal(event.channel.colour, 'red');
  assert.ok(!('mood' in event.channel));
  assert.equal(room.data.colour, 'red');
});

test('a full update replaces the custom data', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'), { colour: 'green', mood: 'fine' });
  await room.watch();
  const { channel } = await room.update({ colour: 'red' });
  assert.equal(channel.colour, 'red');
  assert.ok(!('mood' in channel));
});

test('a change of a channel that does not exist is refused with code 16', async (t) => {
  const stage = new Stage(t);
  const channel = stage.server.channel('messaging', stage.id('nowhere'));
  await refused(channel.updatePartial({ set: { colour: 'red' } }), {
    code: 16,
    status: 404,
    message: /Can't find channel/,
  });
});

test('a server that names no creator is refused with code 4', async (t) => {
  const stage = new Stage(t);
  await refused(stage.server.channel('messaging', stage.id('room')).create(), { code: 4, status: 400 });
});

test('a deleted channel is announced and gone', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy');
  const channel = await stage.channel('room', ['amy']);
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'));
  await room.watch();
  await channel.delete();
  const event = await told(amy, 'channel.deleted');
  assert.equal(event.cid, room.cid);
  assert.ok(!(room.cid in amy.activeChannels));
  assert.deepEqual(await amy.queryChannels({ cid: room.cid }), []);
});

test('channels are found by member, type, custom data and time, sorted and in pages', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  const amy = await stage.connect('amy');
  const set = stage.id('set');
  for (const [name, members, rank] of [
    ['one', ['amy'], 3],
    ['two', ['amy', 'john'], 1],
    ['three', ['amy', 'john'], 2],
  ]) {
    await amy.channel('messaging', stage.id(name), { members: stage.ids(...members), set, rank }).create();
  }
  const find = async (filter, sort = { rank: 1 }, options = {}) => {
    const channels = await amy.queryChannels({ set, ...filter }, sort, options);
    return channels.map(({ id }) => id.split('-')[0]);
  };
  assert.deepEqual(await find({}), ['two', 'three', 'one']);
  assert.deepEqual(await find({}, { rank: -1 }), ['one', 'three', 'two']);
  assert.deepEqual(await find({ members: { $in: [stage.id('john')] } }), ['two', 'three']);
  assert.deepEqual(await find({ members: { $eq: stage.ids('john', 'amy') } }), ['two', 'three']);
  assert.deepEqual(await find({ type: 'messaging', rank: { $gt: 1 } }), ['three', 'one']);
  assert.deepEqual(await find({ id: { $in: [stage.id('one')] } }), ['one']);
  assert.deepEqual(await find({ cid: { $in: [`messaging:${stage.id('two')}`] } }), ['two']);
  assert.deepEqual(await find({ type: 'livestream' }), []);
  assert.deepEqual(await find({ member_count: 1 }), ['one']);
  assert.deepEqual(await find({ created_by_id: stage.id('amy') }), ['two', 'three', 'one']);
  assert.deepEqual(await find({}, { rank: 1 }, { limit: 2 }), ['two', 'three']);
  assert.deepEqual(await find({}, { rank: 1 }, { limit: 2, offset: 2 }), ['one']);
});

test('ten channels a page unless asked for more, thirty at most', async (t) => {
  const stage = new Stage(t);
  const set = stage.id('set');
  const amy = await stage.connect('amy');
  for (let number = 0; number < 12; number += 1) {
    await amy.channel('messaging', stage.id(`room${number}`), { set }).create();
  }
  assert.equal((await amy.queryChannels({ set })).length, 10);
  assert.equal((await amy.queryChannels({ set }, [], { limit: 30 })).length, 12);
  await refused(amy.queryChannels({ set }, [], { limit: 31 }), { code: 4, status: 400 });
});

test('a custom event reaches the other watchers with its sender and channel', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john']);
  const [amy, john] = [await stage.connect('amy'), await stage.connect('john')];
  await amy.channel('messaging', stage.id('room')).watch();
  const room = john.channel('messaging', stage.id('room'));
  await room.watch();
  const answer = await room.sendEvent({ type: 'friendship-request', text: 'hey' });
  assert.equal(answer.event.type, 'friendship-request');

  const event = await told(amy, 'friendship-request');
  assert.equal(event.user.id, stage.id('john'));
  assert.equal(event.cid, room.cid);
  assert.equal(event.text, 'hey');
});

test('a hidden channel is left out of queries until it is shown again', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy');
  await stage.channel('room', ['amy']);
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'));
  await room.watch();
  await room.hide();
  await told(amy, 'channel.hidden');
  assert.deepEqual(await amy.queryChannels({ cid: room.cid }), []);
  assert.equal((await amy.queryChannels({ cid: room.cid, hidden: true })).length, 1);
  await room.show();
  await told(amy, 'channel.visible');
  assert.equal((await amy.queryChannels({ cid: room.cid })).length, 1);
});

test('marking as read is answered with the event', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy');
  await stage.channel('room', ['amy']);
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'));
  await room.watch();
  const { event } = await room.markRead();
  assert.equal(event.type, 'message.read');
  assert.equal(event.user.id, stage.id('amy'));
});

test('sync answers with what happened to the named channels', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy');
  const channel = await stage.channel('room', ['amy']);
  const amy = await stage.connect('amy');
  const since = new Date(Date.now() - 60_000).toISOString();
  await channel.updatePartial({ set: { colour: 'red' } });
  const { events } = await amy.sync([channel.cid], since);
  const updates = events.filter(({ type }) => type === 'channel.updated');
  assert.equal(updates.length, 1);
  assert.equal(updates[0].cid, channel.cid);
});

test('a channel is deleted with others by a task', async (t) => {
  const stage = new Stage(t);
  const channel = await stage.channel('room');
  const { task_id } = await stage.server.deleteChannels([channel.cid], { hard_delete: true });
  const task = await stage.server.getTask(task_id);
  assert.equal(task.status, 'completed');
  assert.deepEqual(await stage.server.queryChannels({ cid: channel.cid }), []);
});

test('a bad channel id is refused', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  await refused(amy.post(`${amy.baseURL}/channels/messaging/${encodeURIComponent('a:b')}/query`, {}), {
    code: 4,
    status: 400,
  });
  await refused(amy.channel('messaging', 'x'.repeat(65)).watch(), { code: 4, status: 400 });
});

test('an unknown channel type is refused', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  await refused(amy.channel('no-such-type', stage.id('room')).watch(), { code: [4, 16], status: [400, 404] });
});

test('what a client is told about a channel goes to the channel object too', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy');
  const channel = await stage.channel('room', ['amy']);
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'));
  const heard = [];
  room.on((event) => heard.push(event.type));
  await room.watch();
  await channel.updatePartial({ set: { colour: 'red' } });
  await told(amy, 'channel.updated');
  assert.ok(heard.includes('channel.updated'));
  assert.equal(logOf(amy).of('channel.updated').length, 1);
});
