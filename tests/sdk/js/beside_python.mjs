// A connected JavaScript client while the Python SDKs, in a process of their own, change users and channels: the
// unversioned one (`stream-chat`) and the newer one on `/api/v2` (`getstream`).

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import readline from 'node:readline';
import { onlineHistory, presence, told } from './support/log.mjs';
import { shared, Stage } from './support/stage.mjs';

/** Starts the Python program, which carries out one command a line and answers each with a line. */
function startPython(t, sdk) {
  const child = spawn(process.env.PRESENCECTL_SDK_PYTHON, ['../python/changes.py', sdk], {
    env: { ...process.env, PRESENCECTL_MOCK_URL: shared.url },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => child.stdin.end());
  const answers = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async (...command) => {
    child.stdin.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await answers.next();
    assert.ok(!done, `python ended at ${command}`);
    return JSON.parse(value);
  };
}

for (const sdk of ['stream-chat', 'getstream']) {
  test(`${sdk}: what Python changes, a JavaScript client sees`, async (t) => {
    const stage = new Stage(t);
    const python = startPython(t, sdk);
    const [amy, bob, room] = stage.ids('amy', 'bob', 'room');
    await python('create', amy, bob);
    await python('channel', room, amy, bob);
    const watcher = await stage.connect('amy');
    await watcher.channel('messaging', room).watch({ presence: true });

    // Python learns what JavaScript does.
    const client = await stage.connect('bob');
    assert.equal((await presence(watcher, bob)).user.online, true);
    assert.equal(await python('online', bob), true);

    // JavaScript learns what Python does.
    await python('set', bob, 'status', 'busy');
    const updated = await told(watcher, 'user.updated', bob);
    assert.equal(updated.user.status, 'busy');
    assert.equal((await told(client, 'user.updated', bob)).user.status, 'busy');
    await python('set', bob, 'invisible', true);
    assert.equal((await presence(watcher, bob, 2)).user.online, false);
    await python('set', bob, 'invisible', false);
    assert.equal((await presence(watcher, bob, 3)).user.online, true);
    await python('deactivate', bob);
    assert.equal((await presence(watcher, bob, 4)).user.online, false);
    await told(watcher, 'user.deactivated', bob);
    assert.deepEqual(onlineHistory(watcher, bob), [true, false, true, false]);

    await python('remove_member', room, bob);
    assert.equal((await told(watcher, 'member.removed', bob)).channel_id, room);
  });
}
