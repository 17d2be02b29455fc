// Guests and anonymous users.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presence, told } from './support/log.mjs';
import { refused } from './support/refusal.mjs';
import { Stage } from './support/stage.mjs';

async function guest(stage, name) {
  const client = stage.client();
  const opened = await client.setGuestUser({ id: stage.id(name), name: 'A guest', status: 'just looking' });
  return { client, opened };
}

async function anonymous(stage) {
  const client = stage.client();
  const opened = await client.connectAnonymousUser();
  return { client, opened };
}

test('a guest is made, connected, and has the role guest', async (t) => {
  const stage = new Stage(t);
  const { client, opened } = await guest(stage, 'gus');
  assert.equal(opened.me.role, 'guest');
  assert.equal(opened.me.name, 'A guest');
  assert.equal(opened.me.status, 'just looking');
  assert.ok(opened.me.id.includes(stage.id('gus')), 'the server may prefix the id, not change it');
  assert.equal(client.userID, opened.me.id);
  assert.equal(opened.me.online, true);
});

test('a guest reads livestreams, but no messaging channel', async (t) => {
  const stage = new Stage(t);
  await stage.channel('room');
  await stage.channel('show', [], {}, 'livestream');
  const { client } = await guest(stage, 'gus');
  await refused(client.channel('messaging', stage.id('room')).watch(), { code: 17, status: 403 });
  const state = await client.channel('livestream', stage.id('show')).watch();
  assert.equal(state.watcher_count, 1);
});

test("a guest's presence is seen like a user's", async (t) => {
  const stage = new Stage(t);
  const { client: gus } = await guest(stage, 'gus');
  const id = gus.userID;
  const amy = await stage.connect('amy');
  const { users } = await amy.queryUsers({ id }, [], { presence: true });
  assert.equal(users[0].online, true);
  assert.equal(users[0].role, 'guest');
  await gus.disconnectUser();
  assert.equal((await presence(amy, id)).user.online, false);
});

test('a guest cannot take the name of an existing user over', async (t) => {
  const stage = new Stage(t);
  await stage.users({ id: stage.id('boss'), role: 'admin', name: 'The boss' });
  const client = stage.client();
  await client.setGuestUser({ id: stage.id('boss') }).catch(({ code }) => assert.ok(code));
  const boss = await stage.truth('boss');
  assert.equal(boss.role, 'admin');
  assert.equal(boss.name, 'The boss');
});

test('an anonymous user is connected without a token', async (t) => {
  const stage = new Stage(t);
  const { client, opened } = await anonymous(stage);
  assert.equal(opened.type, 'health.check');
  assert.equal(opened.me.role, 'anonymous');
  assert.ok(client._getConnectionID());
});

test('an anonymous user may watch a livestream and is counted', async (t) => {
  const stage = new Stage(t);
  await stage.channel('show', [], {}, 'livestream');
  const amy = await stage.connect('amy');
  await amy.channel('livestream', stage.id('show')).watch();
  const { client, opened } = await anonymous(stage);
  const state = await client.channel('livestream', stage.id('show')).watch();
  assert.equal(state.watcher_count, 2);
  assert.equal((await told(amy, 'user.watching.start', opened.me.id)).watcher_count, 2);
});

test('an anonymous user reads no messaging channel', async (t) => {
  const stage = new Stage(t);
  await stage.channel('room');
  const { client } = await anonymous(stage);
  await refused(client.channel('messaging', stage.id('room')).watch(), { code: 17, status: 403 });
});

test('an anonymous user writes nothing', async (t) => {
  const stage = new Stage(t);
  await stage.users('john');
  await stage.channel('show', [], {}, 'livestream');
  const { client } = await anonymous(stage);
  await refused(client.partialUpdateUser({ id: stage.id('john'), set: { status: 'x' } }), { code: 17, status: 403 });
  const show = client.channel('livestream', stage.id('show'));
  await show.watch();
  await refused(show.updatePartial({ set: { colour: 'red' } }), { code: 17, status: 403 });
});
