// What a client may read and change of users: status, times, privacy, its own fields and nobody else's.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventTypes, told } from './support/log.mjs';
import { refused } from './support/refusal.mjs';
import { Stage, stored } from './support/stage.mjs';

/** amy, subscribed to john by a user query. */
async function amySubscribed(stage) {
  await stage.users('john');
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  return amy;
}

test('a status given at connect is read by everybody', async (t) => {
  const stage = new Stage(t);
  await stage.connect('john', { status: 'Eating a veggie burger...' });
  const amy = await stage.connect('amy');
  const { users } = await amy.queryUsers({ id: stage.id('john') });
  assert.equal(users[0].status, 'Eating a veggie burger...');
});

test('a change of status is user.updated, not a presence change', async (t) => {
  const stage = new Stage(t);
  const amy = await amySubscribed(stage);
  const john = await stage.connect('john');
  const answer = await john.partialUpdateUser({ id: stage.id('john'), set: { status: 'out' } });
  assert.equal(answer.users[stage.id('john')].status, 'out');

  const event = await told(amy, 'user.updated', stage.id('john'));
  assert.equal(event.user.status, 'out');
  assert.equal(event.user.online, true);
  await stage.settle(amy);
  assert.deepEqual(eventTypes(amy, stage.id('john')), ['user.presence.changed', 'user.updated']);
});

test('a status can be taken back', async (t) => {
  const stage = new Stage(t);
  const amy = await amySubscribed(stage);
  const john = await stage.connect('john', { status: 'out' });
  await told(amy, 'user.updated', stage.id('john'), 1);
  await john.partialUpdateUser({ id: stage.id('john'), unset: ['status'] });
  const event = await told(amy, 'user.updated', stage.id('john'), 2);
  assert.ok(!('status' in event.user));
  assert.ok(!('status' in (await stage.truth('john'))));
});

test('a client changes its own name by a whole upsert', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john', { colour: 'green' });
  const answer = await john.upsertUser({ id: stage.id('john'), name: 'Johnny' });
  assert.equal(answer.users[stage.id('john')].name, 'Johnny');
  assert.ok(!('colour' in (await stage.truth('john'))), 'an upsert replaces');
});

test('changing another user is refused', async (t) => {
  const stage = new Stage(t);
  await stage.users('jack');
  const john = await stage.connect('john');
  // The service has been seen to answer both.
  const refusal = { code: [17, 4], status: [403, 400] };
  await refused(john.partialUpdateUser({ id: stage.id('jack'), set: { status: 'hacked' } }), refusal);
  await refused(john.upsertUser({ id: stage.id('jack'), status: 'hacked' }), refusal);
  assert.ok(!('status' in (await stage.truth('jack'))));
});

test('changing the own role is refused with code 17', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john');
  await refused(john.partialUpdateUser({ id: stage.id('john'), set: { role: 'admin' } }), { code: 17, status: 403 });
  assert.equal((await stage.truth('john')).role, 'user');
});

test('dotted paths reach into nested objects and leave their siblings', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john', { address: { town: 'Leiden', street: 'Breestraat' } });
  const { users } = await john.partialUpdateUser({
    id: stage.id('john'),
    set: { 'address.town': 'Delft', 'address.country': 'NL' },
    unset: ['address.street'],
  });
  assert.deepEqual(users[stage.id('john')].address, { town: 'Delft', country: 'NL' });
});

test('privacy settings are kept exactly as they were sent', async (t) => {
  const stage = new Stage(t);
  const settings = { typing_indicators: { enabled: false } };
  const john = await stage.connect('john', { privacy_settings: settings });
  assert.deepEqual(john.user.privacy_settings, settings);
  assert.deepEqual((await stage.truth('john')).privacy_settings, settings);
});

test('a partial update merges privacy settings', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john', { privacy_settings: { typing_indicators: { enabled: false } } });
  await john.partialUpdateUser({
    id: stage.id('john'),
    set: { privacy_settings: { read_receipts: { enabled: false } } },
  });
  assert.deepEqual((await stage.truth('john')).privacy_settings, {
    typing_indicators: { enabled: false },
    read_receipts: { enabled: false },
  });
});

test('a user who was never connected is offline and has no last_active', async (t) => {
  const stage = new Stage(t);
  await stage.users('john');
  const amy = await stage.connect('amy');
  const { users } = await amy.queryUsers({ id: stage.id('john') });
  assert.equal(users[0].online, false);
  assert.ok(users[0].last_active === undefined || users[0].last_active === null);

  const never = await amy.queryUsers({ id: { $in: stage.ids('john', 'amy') }, last_active: { $exists: false } });
  assert.deepEqual(never.users.map(({ id }) => id), [stage.id('john')]);
});

test('last_active is the time of the connection and no call moves it', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john');
  const { last_active } = john.user;
  assert.equal(typeof last_active, 'string');
  await john.queryUsers({ id: stage.id('john') });
  await john.partialUpdateUser({ id: stage.id('john'), set: { status: 'here' } });
  assert.equal((await stage.truth('john')).last_active, stored(last_active));
});

test('a later connection moves last_active', async (t) => {
  const stage = new Stage(t);
  const first = await stage.connect('john');
  const before = first.user.last_active;
  await first.disconnectUser();
  const second = await stage.connect('john');
  assert.ok(second.user.last_active > before, `${second.user.last_active} after ${before}`);
});

test("the SDK's own user follows a change made by the server", async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john', { name: 'John', status: 'in' });
  await stage.server.partialUpdateUser({ id: stage.id('john'), set: { status: 'out' } });
  await told(john, 'user.updated', stage.id('john'));
  assert.equal(john.user.status, 'out');
  assert.equal(john.user.name, 'John');
  assert.ok(john.user.role && john.user.created_at, 'an event with half a user would have destroyed the rest');
});

test('a deleted user is announced to those who subscribed', async (t) => {
  const stage = new Stage(t);
  const amy = await amySubscribed(stage);
  await stage.server.deleteUser(stage.id('john'), { mark_messages_deleted: true });
  const event = await told(amy, 'user.deleted', stage.id('john'));
  assert.equal(typeof event.user.deleted_at, 'string');
  assert.equal(event.mark_messages_deleted, true);
  assert.equal(event.hard_delete, false);
});
