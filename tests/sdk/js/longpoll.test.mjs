// Where no WebSocket gets through, the client polls. It must see, and be seen, as if it had one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLink } from './support/link.mjs';
import { onlineHistory, presence, told } from './support/log.mjs';
import { shared, Stage } from './support/stage.mjs';

/** A client of the named user behind a link that lets no WebSocket through. */
async function poller(t, stage, name, details = {}) {
  const link = await openLink(t, shared.url, { webSockets: false });
  const client = stage.client({ baseURL: link.url, enableWSFallback: true });
  // How long the client tries to get a WebSocket before it gives up.
  client.defaultWSTimeoutWithFallback = 100;
  const opened = await client.connectUser({ id: stage.id(name), ...details }, stage.token(name));
  return { client, opened };
}

test('the client falls back to polling and is connected', async (t) => {
  const stage = new Stage(t);
  const { client, opened } = await poller(t, stage, 'amy', { name: 'Amy' });
  assert.equal((await told(client, 'transport.changed')).mode, 'longpoll');
  assert.equal(opened.type, 'health.check');
  assert.equal(opened.me.id, stage.id('amy'));
  assert.equal(opened.me.name, 'Amy');
  assert.equal(client._getConnectionID(), opened.connection_id);
  assert.equal((await stage.truth('amy')).online, true);
});

test('a polling user comes and goes like any other', async (t) => {
  const stage = new Stage(t);
  await stage.users('john');
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  const { client: john } = await poller(t, stage, 'john');
  await presence(amy, stage.id('john'), 1);
  await john.disconnectUser();
  await presence(amy, stage.id('john'), 2);
  await stage.settle(amy);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false]);
});

test('a polling observer is told of presence, in order', async (t) => {
  const stage = new Stage(t);
  await stage.users('john');
  const { client: amy } = await poller(t, stage, 'amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  for (let round = 1; round <= 3; round += 1) {
    const john = await stage.connect('john');
    await john.disconnectUser();
  }
  await presence(amy, stage.id('john'), 6);
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [true, false, true, false, true, false]);
});

test('a polling client watches channels', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john']);
  const { client: amy } = await poller(t, stage, 'amy');
  const room = amy.channel('messaging', stage.id('room'));
  await room.watch();
  const john = await stage.connect('john');
  const johns = john.channel('messaging', stage.id('room'));
  await johns.watch();
  assert.equal((await told(amy, 'user.watching.start', stage.id('john'))).watcher_count, 2);
  await johns.sendEvent({ type: 'knock' });
  assert.equal((await told(amy, 'knock')).user.id, stage.id('john'));
});

test('a polling client whose connection is gone gets a new one and watches again', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy', 'john');
  await stage.channel('room', ['amy', 'john']);
  const { client: amy } = await poller(t, stage, 'amy');
  await amy.channel('messaging', stage.id('room')).watch();
  const before = amy._getConnectionID();
  await amy.doAxiosRequest('get', `${amy.baseURL}/longpoll`, undefined, {
    params: { close: true, connection_id: before },
  });

  await told(amy, 'connection.recovered');
  assert.notEqual(amy._getConnectionID(), before);
  const john = await stage.connect('john');
  await john.channel('messaging', stage.id('room')).watch();
  await told(amy, 'user.watching.start', stage.id('john'));
});

test('polling needs the token too', async (t) => {
  const stage = new Stage(t);
  const link = await openLink(t, shared.url, { webSockets: false });
  const client = stage.client({ baseURL: link.url, enableWSFallback: true });
  client.defaultWSTimeoutWithFallback = 100;
  const expired = stage.token('amy', 1_000_000_000);
  await assert.rejects(client.connectUser({ id: stage.id('amy') }, expired), ({ code }) => code === 40);
});
