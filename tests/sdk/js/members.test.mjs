// Members: belonging to a channel, who is told, and how members are listed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventTypes, logOf, told } from './support/log.mjs';
import { refused } from './support/refusal.mjs';
import { Stage } from './support/stage.mjs';

/** amy, watching a channel of hers. */
async function amysRoom(stage, ...others) {
  await stage.users('amy', 'john', 'jack', ...others);
  const channel = await stage.channel('room', ['amy']);
  const amy = await stage.connect('amy');
  const room = amy.channel('messaging', stage.id('room'));
  await room.watch();
  return { amy, room, channel };
}

test('an added member is announced to the watchers by name', async (t) => {
  const stage = new Stage(t);
  const { amy, room, channel } = await amysRoom(stage);
  const answer = await channel.addMembers([stage.id('john')]);
  assert.deepEqual(answer.members.map(({ user_id }) => user_id), stage.ids('amy', 'john'));

  const event = await told(amy, 'member.added');
  assert.equal(event.cid, room.cid);
  assert.equal(event.user.id, stage.id('john'));
  assert.equal(event.member.user_id, stage.id('john'));
  assert.equal(event.member.user.id, stage.id('john'));
  assert.equal(event.member.channel_role, 'channel_member');
  assert.equal(event.member.banned, false);
  assert.ok(room.state.members[stage.id('john')]);
});

test('a removed member is the user of the event', async (t) => {
  const stage = new Stage(t);
  const { amy, room, channel } = await amysRoom(stage);
  await channel.addMembers([stage.id('john')]);
  const answer = await channel.removeMembers([stage.id('john')]);
  assert.deepEqual(answer.members.map(({ user_id }) => user_id), [stage.id('amy')]);
  const event = await told(amy, 'member.removed');
  assert.equal(event.user.id, stage.id('john'));
  assert.ok(!(stage.id('john') in room.state.members));
});

test('each member of a batch is announced, then the channel', async (t) => {
  const stage = new Stage(t);
  const { amy, channel } = await amysRoom(stage);
  await channel.addMembers(stage.ids('john', 'jack'));
  await told(amy, 'channel.updated');
  await stage.settle(amy);
  const types = eventTypes(amy).filter((type) => type !== 'user.watching.start');
  assert.deepEqual(types, ['member.added', 'member.added', 'channel.updated']);
  assert.deepEqual(
    logOf(amy).of('member.added').map(({ user }) => user.id),
    stage.ids('john', 'jack'),
  );
});

test('adding a member again succeeds and tells nobody', async (t) => {
  const stage = new Stage(t);
  const { amy, channel } = await amysRoom(stage);
  await channel.addMembers([stage.id('john')]);
  await channel.addMembers([stage.id('john')]);
  await stage.settle(amy);
  assert.equal(logOf(amy).of('member.added').length, 1);
});

test('a new member who does not watch is notified, and may then watch', async (t) => {
  const stage = new Stage(t);
  const { room, channel } = await amysRoom(stage);
  const john = await stage.connect('john');
  await channel.addMembers([stage.id('john')]);
  const event = await told(john, 'notification.added_to_channel');
  assert.equal(event.channel.cid, room.cid);
  assert.ok(event.channel.config);
  assert.equal(event.member.user_id, stage.id('john'));
  assert.ok(!logOf(john).events.some(({ type }) => type === 'member.added'));
  await john.channel('messaging', stage.id('room')).watch();
});

test('a removed member who does not watch is notified', async (t) => {
  const stage = new Stage(t);
  const { room, channel } = await amysRoom(stage);
  const john = await stage.connect('john');
  await channel.addMembers([stage.id('john')]);
  await channel.removeMembers([stage.id('john')]);
  const event = await told(john, 'notification.removed_from_channel');
  assert.equal(event.cid, room.cid);
  assert.equal(event.user.id, stage.id('john'));
  await refused(john.channel('messaging', stage.id('room')).watch(), { code: 17, status: 403 });
});

test('members are listed in the order in which they were added, filtered and in pages', async (t) => {
  const stage = new Stage(t);
  const { room, channel } = await amysRoom(stage);
  await channel.addMembers([stage.id('john')]);
  await channel.addMembers([stage.id('jack')]);
  const list = async (filter, sort, options) => {
    const { members } = await room.queryMembers(filter, sort, options);
    return members.map(({ user_id }) => user_id.split('-')[0]);
  };
  assert.deepEqual(await list({}), ['amy', 'john', 'jack']);
  assert.deepEqual(await list({}, { created_at: -1 }), ['jack', 'john', 'amy']);
  assert.deepEqual(await list({}, {}, { limit: 2 }), ['amy', 'john']);
  assert.deepEqual(await list({}, {}, { limit: 2, offset: 2 }), ['jack']);
  assert.deepEqual(await list({ id: { $in: stage.ids('jack') } }), ['jack']);
  await refused(room.queryMembers({}, [{ created_at: 1 }, { user_id: 1 }]), { code: 4, status: 400 });
});

test('listed members show who is online', async (t) => {
  const stage = new Stage(t);
  const { room, channel } = await amysRoom(stage);
  await channel.addMembers([stage.id('john')]);
  const { members } = await room.queryMembers({});
  assert.deepEqual(members.map(({ user }) => user.online), [true, false]);
});

test('an invitation is accepted, another is declined', async (t) => {
  const stage = new Stage(t);
  const { room, channel } = await amysRoom(stage);
  const [john, jack] = [await stage.connect('john'), await stage.connect('jack')];
  await channel.inviteMembers(stage.ids('john', 'jack'));
  await told(john, 'notification.invited');

  await john.channel('messaging', stage.id('room')).acceptInvite();
  await jack.channel('messaging', stage.id('room')).rejectInvite();
  const { members } = await room.queryMembers({});
  const of = (name) => members.find(({ user_id }) => user_id === stage.id(name));
  assert.equal(typeof of('john').invite_accepted_at, 'string');
  assert.equal(typeof of('jack').invite_rejected_at, 'string');
});

test("a member's own data is changed by itself and announced", async (t) => {
  const stage = new Stage(t);
  const { amy, room } = await amysRoom(stage);
  const { channel_member } = await room.updateMemberPartial({ set: { hat: 'blue' } });
  assert.equal(channel_member.hat, 'blue');
  const event = await told(amy, 'member.updated');
  assert.equal(event.member.hat, 'blue');
  assert.equal(room.state.members[stage.id('amy')].hat, 'blue');
});

test('members given as objects are members too', async (t) => {
  const stage = new Stage(t);
  const { amy, channel } = await amysRoom(stage);
  await channel.addMembers([{ user_id: stage.id('john'), channel_role: 'channel_moderator', hat: 'red' }]);
  const event = await told(amy, 'member.added');
  assert.equal(event.member.user_id, stage.id('john'));
  assert.equal(event.member.channel_role, 'channel_moderator');
});

test('an unknown user cannot become a member', async (t) => {
  const stage = new Stage(t);
  const { channel } = await amysRoom(stage);
  await refused(channel.addMembers([stage.id('nobody')]), { code: [4, 16], status: [400, 404] });
});

test('members can remove themselves', async (t) => {
  const stage = new Stage(t);
  const { amy, channel } = await amysRoom(stage);
  await channel.addMembers([stage.id('john')]);
  const john = await stage.connect('john');
  await john.channel('messaging', stage.id('room')).removeMembers([stage.id('john')]);
  const event = await told(amy, 'member.removed');
  assert.equal(event.user.id, stage.id('john'));
});
