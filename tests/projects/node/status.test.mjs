// Users say how they are, or do not want to be seen.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, nextPresence, presencectl, server } from './app.mjs';

test('a user who turns invisible is offline for others', async (t) => {
  await server.upsertUsers([{ id: 'amy' }, { id: 'john' }]);
  const [amy, john] = [await connect(t, 'amy'), await connect(t, 'john')];
  const { users } = await amy.queryUsers({ id: 'john' }, { id: 1 }, { presence: true });
  assert.equal(users[0].online, true);

  const seen = nextPresence(amy, ({ id }) => id === 'john');
  await john.partialUpdateUser({ id: 'john', set: { invisible: true } });
  assert.equal((await seen).online, false);
  presencectl('mock', 'expect', '--method', 'PATCH', '--path', '/users*', '--user', 'john', '--count', '1');
});

test('a status that the backend sets is in the list of the team', async (t) => {
  await server.upsertUsers([{ id: 'amy' }, { id: 'bot' }]);
  await server.partialUpdateUser({ id: 'bot', set: { status: 'at your service' } });
  const amy = await connect(t, 'amy');
  const { users } = await amy.queryUsers({ id: { $in: ['bot'] } });
  assert.deepEqual([users[0].status, users[0].online], ['at your service', false]);
});
