// Many clients at once: every observer hears of every change once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logOf, onlineHistory, presence, told } from './support/log.mjs';
import { Stage } from './support/stage.mjs';

const names = Array.from({ length: 20 }, (_, number) => `user${String(number).padStart(2, '0')}`);

test('twenty clients come and go at once, and an observer hears of each exactly twice', async (t) => {
  const stage = new Stage(t);
  await stage.users(...names);
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: { $in: stage.ids(...names) } }, [], { presence: true, limit: 30 });

  const clients = await Promise.all(names.map((name) => stage.connect(name)));
  await Promise.all(names.map((name) => presence(amy, stage.id(name), 1)));
  await Promise.all(clients.map((client) => client.disconnectUser()));
  await Promise.all(names.map((name) => presence(amy, stage.id(name), 2)));
  await stage.settle(amy);
  for (const name of names) assert.deepEqual(onlineHistory(amy, stage.id(name)), [true, false], name);
});

test('twenty observers at once hear of one user exactly what happened', async (t) => {
  const stage = new Stage(t);
  await stage.users('john');
  const observers = await Promise.all(names.map((name) => stage.connect(name)));
  await Promise.all(observers.map((client) => client.queryUsers({ id: stage.id('john') }, [], { presence: true })));

  for (let round = 0; round < 3; round += 1) {
    const john = await stage.connect('john');
    await john.disconnectUser();
  }
  await Promise.all(observers.map((client) => presence(client, stage.id('john'), 6)));
  await Promise.all(observers.map((client) => stage.settle(client)));
  for (const client of observers) {
    assert.deepEqual(onlineHistory(client, stage.id('john')), [true, false, true, false, true, false]);
  }
});

test('twenty clients in one channel are counted, and their events reach all', async (t) => {
  const stage = new Stage(t);
  await stage.users(...names);
  await stage.channel('room', names);
  const clients = await Promise.all(names.map((name) => stage.connect(name)));
  const rooms = clients.map((client) => client.channel('messaging', stage.id('room')));
  await Promise.all(rooms.map((room) => room.watch()));
  const state = await rooms[0].query({ watch: true });
  assert.equal(state.watcher_count, 20);

  await Promise.all(rooms.map((room, number) => room.sendEvent({ type: `wave-${number}` })));
  await Promise.all(
    clients.flatMap((client) => names.map((_, number) => told(client, `wave-${number}`))),
  );
  for (const client of clients) {
    for (let number = 0; number < names.length; number += 1) {
      assert.equal(logOf(client).of(`wave-${number}`).length, 1);
    }
  }
});

test('twenty clients toggling at once end in the state that they were left in', async (t) => {
  const stage = new Stage(t);
  await stage.users(...names);
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: { $in: stage.ids(...names) } }, [], { presence: true, limit: 30 });
  const clients = await Promise.all(names.map((name) => stage.connect(name)));
  await Promise.all(
    clients.map(async (client) => {
      for (const invisible of [true, false, true]) {
        await client.partialUpdateUser({ id: client.userID, set: { invisible } });
      }
    }),
  );
  await Promise.all(names.map((name) => presence(amy, stage.id(name), 4)));
  await stage.settle(amy);
  for (const name of names) assert.deepEqual(onlineHistory(amy, stage.id(name)), [true, false, true, false], name);
});
