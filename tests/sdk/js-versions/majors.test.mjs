// Older majors of the JavaScript client: a connection, presence, a channel and a message with each.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

// The older packages are CommonJS.
const require = createRequire(import.meta.url);
const url = process.env.PRESENCECTL_MOCK_URL;
const key = process.env.PRESENCECTL_MOCK_API_KEY;
const secret = process.env.PRESENCECTL_MOCK_SECRET;

// A reason to fail, never a reason to pass.
const PATIENCE_MS = 20_000;
let count = 0;

for (const major of [2, 5, 8]) {
  const { StreamChat } = require(`stream-chat-${major}`);
  /** Disconnects a client; the method had another name once. */
  const leave = (client) => (client.disconnectUser ?? client.disconnect).call(client);

  /** What a case uses: ids of its own, a server-side client, and connected clients that leave at the end. */
  const stage = (t) => {
    count += 1;
    const prefix = `major-${major}-${count}`;
    const server = new StreamChat(key, secret, { timeout: PATIENCE_MS });
    server.setBaseURL(url);
    return {
      id: (name) => `${prefix}-${name}`,
      server,
      async connect(name) {
        const client = new StreamChat(key, { timeout: PATIENCE_MS, allowServerSideConnect: true });
        client.setBaseURL(url);
        const id = `${prefix}-${name}`;
        await client.connectUser({ id }, server.createToken(id));
        t.after(() => leave(client));
        return client;
      },
    };
  };

  /** The next event of a type that passes a check. */
  const next = (client, type, matches = () => true) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${type}`)), PATIENCE_MS);
      client.on(type, (event) => {
        if (!matches(event)) return;
        clearTimeout(timer);
        resolve(event);
      });
    });

  test(`major ${major}: a client sees somebody come and go`, async (t) => {
    const { id, server, connect } = stage(t);
    await server.upsertUsers([{ id: id('ann') }, { id: id('bob') }]);
    const ann = await connect('ann');
    const { users } = await ann.queryUsers({ id: { $in: [id('bob')] } }, { id: 1 }, { presence: true });
    assert.equal(users[0].online, false);
    const comes = next(ann, 'user.presence.changed', (event) => event.user.online);
    const bob = await connect('bob');
    assert.equal((await comes).user.id, id('bob'));
    const goes = next(ann, 'user.presence.changed', (event) => !event.user.online);
    await leave(bob);
    assert.equal((await goes).user.id, id('bob'));
  });

  test(`major ${major}: a watched channel tells of watchers and messages`, async (t) => {
    const { id, server, connect } = stage(t);
    await server.upsertUsers([{ id: id('ann') }, { id: id('bob') }]);
    const [ann, bob] = [await connect('ann'), await connect('bob')];
    const channel = ann.channel('messaging', id('room'), { members: [id('ann'), id('bob')] });
    const state = await channel.watch({ presence: true });
    assert.equal(state.members.length, 2);
    const starts = next(ann, 'user.watching.start', (event) => event.user.id === id('bob'));
    const other = bob.channel('messaging', id('room'));
    await other.watch();
    await starts;
    const arrives = next(ann, 'message.new');
    await other.sendMessage({ text: 'hello' });
    assert.equal((await arrives).message.text, 'hello');
    assert.equal(channel.state.messages.at(-1).text, 'hello');
    assert.equal(channel.countUnread(), 1);
    const read = next(ann, 'message.read', (event) => event.user.id === id('ann'));
    await channel.markRead();
    await read;
    assert.equal(channel.countUnread(), 0);
  });

  test(`major ${major}: a member hears of a new channel`, async (t) => {
    const { id, server, connect } = stage(t);
    await server.upsertUsers([{ id: id('ann') }, { id: id('bob') }]);
    const bob = await connect('bob');
    const added = next(bob, 'notification.added_to_channel');
    const data = { created_by_id: id('ann'), members: [id('ann'), id('bob')] };
    await server.channel('messaging', id('room'), data).create();
    assert.equal((await added).channel.id, id('room'));
  });

  test(`major ${major}: users are changed by the server side`, async (t) => {
    const { id, server } = stage(t);
    await server.upsertUsers([{ id: id('ann'), name: 'Ann', mood: 'fine' }]);
    await server.partialUpdateUser({ id: id('ann'), set: { mood: 'good' }, unset: ['name'] });
    const { users } = await server.queryUsers({ id: id('ann') });
    assert.deepEqual([users[0].mood, users[0].name], ['good', undefined]);
    await server.deactivateUser(id('ann'));
    assert.equal((await server.queryUsers({ id: id('ann') })).users.length, 0);
    await server.reactivateUser(id('ann'));
    assert.equal((await server.queryUsers({ id: id('ann') })).users.length, 1);
  });

  test(`major ${major}: a forged token is refused`, async (t) => {
    const { id } = stage(t);
    const client = new StreamChat(key, { timeout: PATIENCE_MS, allowServerSideConnect: true });
    client.setBaseURL(url);
    const forger = new StreamChat(key, 'another secret than the one of the server');
    await assert.rejects(client.connectUser({ id: id('eve') }, forger.createToken(id('eve'))));
    await leave(client);
  });
}
