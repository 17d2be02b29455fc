// What others see while a user's network fails.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, nextPresence, presencectl, server } from './app.mjs';

test('others do not see that a connection was lost for a moment', async (t) => {
  await server.upsertUsers([{ id: 'amy' }, { id: 'john' }, { id: 'bot' }]);
  const amy = await connect(t, 'amy');
  const john = await connect(t, 'john');
  await amy.queryUsers({ id: { $in: ['john', 'bot'] } }, { id: 1 }, { presence: true });
  const first = nextPresence(amy, () => true);

  const recovered = new Promise((resolve) => john.on('connection.recovered', resolve));
  presencectl('mock', 'user', 'john', 'drop');
  await recovered;
  // Events arrive in order: the first one is of what happens now.
  presencectl('mock', 'user', 'bot', 'connect');
  assert.equal((await first).id, 'bot');
});
