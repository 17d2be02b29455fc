// Members of a channel come and go.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, nextPresence, presencectl, server } from './app.mjs';

test('a member who connects goes online for those who watch the channel', async (t) => {
  await server.upsertUsers([{ id: 'amy' }, { id: 'john', name: 'John' }]);
  const amy = await connect(t, 'amy');
  const channel = amy.channel('messaging', 'team', { members: ['amy', 'john'] });
  await channel.watch({ presence: true });
  assert.equal(channel.state.members.john.user.online, false);

  const seen = nextPresence(amy, ({ id }) => id === 'john');
  await connect(t, 'john');
  assert.deepEqual([(await seen).online, (await seen).name], [true, 'John']);
});

test('a member who disconnects goes offline, and has the time of the last activity', async (t) => {
  const amy = await connect(t, 'amy');
  presencectl('mock', 'clock', 'freeze', '2026-01-31T08:00:00Z');
  presencectl('mock', 'user', 'john', 'connect');
  const { users } = await amy.queryUsers({ id: 'john' }, { id: 1 }, { presence: true });
  assert.equal(users[0].online, true);

  const seen = nextPresence(amy, ({ id }) => id === 'john');
  presencectl('mock', 'clock', 'advance', '20m');
  presencectl('mock', 'user', 'john', 'disconnect');
  const { online, last_active: lastActive } = await seen;
  assert.equal(online, false);
  // While a user is connected, it is updated every 15 minutes.
  assert.equal(new Date(lastActive).toISOString(), '2026-01-31T08:15:00.000Z');
  presencectl('mock', 'clock', 'reset');
});
