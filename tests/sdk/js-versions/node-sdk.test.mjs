// The v2 server client: users, channels, messages, tasks and errors in the newer dialect.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StreamClient } from '@stream-io/node-sdk';

const client = new StreamClient(process.env.PRESENCECTL_MOCK_API_KEY, process.env.PRESENCECTL_MOCK_SECRET, {
  basePath: process.env.PRESENCECTL_MOCK_URL,
});
let count = 0;
const newId = (name) => `node-sdk-${name}-${(count += 1)}`;

/** The user as a query answers them. */
async function find(id) {
  const { users } = await client.queryUsers({ payload: { filter_conditions: { id } } });
  return users[0];
}

test('custom fields are nested and times are dates', async () => {
  const id = newId('ann');
  await client.upsertUsers([{ id, name: 'Ann', custom: { color: 'green' } }]);
  const user = await find(id);
  assert.deepEqual([user.name, user.custom.color, user.online], ['Ann', 'green', false]);
  assert.ok(user.created_at instanceof Date);
});

test('a partial update sets and unsets', async () => {
  const id = newId('ann');
  await client.upsertUsers([{ id, name: 'Ann', custom: { color: 'green' } }]);
  await client.updateUsersPartial({ users: [{ id, set: { mood: 'fine' }, unset: ['color'] }] });
  assert.deepEqual((await find(id)).custom, { mood: 'fine' });
});

test('users are deactivated, reactivated and deleted', async () => {
  const id = newId('ann');
  await client.upsertUsers([{ id }]);
  await client.deactivateUser({ user_id: id });
  assert.equal(await find(id), undefined);
  await client.reactivateUser({ user_id: id });
  assert.equal((await find(id)).id, id);
  const { task_id } = await client.deleteUsers({ user_ids: [id] });
  assert.equal((await client.getTask({ id: task_id })).status, 'completed');
  assert.equal(await find(id), undefined);
});

test('a channel has members, and messages with their author', async () => {
  const [ann, bob, room] = [newId('ann'), newId('bob'), newId('room')];
  await client.upsertUsers([{ id: ann }, { id: bob }]);
  const channel = client.chat.channel('messaging', room);
  const made = await channel.getOrCreate({
    data: { created_by_id: ann, members: [{ user_id: ann }, { user_id: bob }], custom: { topic: 'x' } },
  });
  assert.equal(made.members.length, 2);
  assert.equal(made.channel.custom.topic, 'x');
  const { message } = await channel.sendMessage({ message: { text: 'hello', user_id: ann } });
  assert.equal(message.user.id, ann);
  const state = await channel.getOrCreate();
  assert.equal(state.messages[0].text, 'hello');
  assert.equal(state.read.find((read) => read.user.id === bob).unread_messages, 1);
});

test('a refused call has the code of the service', async () => {
  await assert.rejects(client.deactivateUser({ user_id: 'node-sdk-nobody' }), (error) => {
    assert.equal(error.code ?? error.metadata?.code, 16);
    return true;
  });
});
