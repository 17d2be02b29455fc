// A network that breaks: the client's own recovery, and what others see of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLink } from './support/link.mjs';
import { logOf, onlineHistory, presence, told } from './support/log.mjs';
import { startMock } from './support/mock.mjs';
import { shared, Stage } from './support/stage.mjs';

test('a cut socket makes the user offline at once, and online again when the client is back', async (t) => {
  const stage = new Stage(t);
  await stage.users('john');
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  const link = await openLink(t, shared.url);
  const john = await stage.connect('john', {}, { baseURL: link.url });
  const before = john._getConnectionID();

  link.cut();
  await presence(amy, stage.id('john'), 2);
  await told(john, 'connection.recovered');
  await presence(amy, stage.id('john'), 3);
  assert.notEqual(john._getConnectionID(), before);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false, true]);
});

test('the client watches its channels again after a cut', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john']);
  const link = await openLink(t, shared.url);
  const amy = await stage.connect('amy', {}, { baseURL: link.url });
  const room = amy.channel('messaging', stage.id('room'));
  await room.watch();

  link.cut();
  await told(amy, 'connection.recovered');
  const john = await stage.connect('john');
  const johns = john.channel('messaging', stage.id('room'));
  await johns.watch();
  await told(amy, 'user.watching.start', stage.id('john'));
  await johns.sendEvent({ type: 'knock' });
  await told(amy, 'knock');
  assert.equal(room.state.watcher_count, 2);
});

test('presence is not restored by the client, only by asking again', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john']);
  const link = await openLink(t, shared.url);
  const amy = await stage.connect('amy', {}, { baseURL: link.url });
  const room = amy.channel('messaging', stage.id('room'));
  await room.watch({ presence: true });

  link.cut();
  await told(amy, 'connection.recovered');
  const john = await stage.connect('john');
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), []);
  assert.equal((await room.watch({ presence: true })).members.length, 2);
  assert.equal(room.state.members[stage.id('john')].user.online, true);
  await john.disconnectUser();
  await presence(amy, stage.id('john'));
});

test('a user who became visible stays visible after a reconnect, although they connected as invisible', async (t) => {
  const stage = new Stage(t);
  const link = await openLink(t, shared.url);
  const john = await stage.connect('john', { invisible: true }, { baseURL: link.url });
  await john.partialUpdateUser({ id: stage.id('john'), set: { invisible: false } });
  await told(john, 'user.updated', stage.id('john'));

  link.cut();
  await told(john, 'connection.recovered');
  assert.equal(john.user.invisible, false);
  assert.equal((await stage.truth('john')).online, true);
});

test('a cut observer misses what happened meanwhile, and a query tells it', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john');
  const link = await openLink(t, shared.url);
  const amy = await stage.connect('amy', {}, { baseURL: link.url });
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });

  link.cut();
  await john.disconnectUser();
  await told(amy, 'connection.recovered');
  const { users } = await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  assert.equal(users[0].online, false);
});

test('one of two connections is cut: nobody is told', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john']);
  const amy = await stage.connect('amy');
  await amy.channel('messaging', stage.id('room')).watch({ presence: true });
  await stage.connect('john');
  const link = await openLink(t, shared.url);
  const weak = await stage.connect('john', {}, { baseURL: link.url });
  await weak.channel('messaging', stage.id('room')).watch();

  link.cut();
  await told(amy, 'user.watching.stop', stage.id('john'));
  await told(weak, 'connection.recovered');
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true]);
});

test('clients come back to a server that was restarted', async (t) => {
  const first = await startMock(t);
  const stage = new Stage(t, first);
  const amy = await stage.connect('amy', { name: 'Amy' });
  const before = amy._getConnectionID();
  await first.stop();
  await startMock(t, [], new URL(first.url).port);

  await told(amy, 'connection.recovered');
  assert.notEqual(amy._getConnectionID(), before);
  assert.equal((await stage.truth('amy')).name, 'Amy');
  assert.equal(logOf(amy).of('connection.error').length, 0);
});
