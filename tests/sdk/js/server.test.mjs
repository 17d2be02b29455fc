// The server-side client: users in batches, their ends and returns, settings, limits, and what only a server may do.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logOf, onlineHistory, presence, told } from './support/log.mjs';
import { startMock } from './support/mock.mjs';
import { connectRefused, refused } from './support/refusal.mjs';
import { Stage, stored } from './support/stage.mjs';

/** Waits for a task by asking until it has an end. */
async function finished(stage, taskId) {
  assert.match(taskId, /^[0-9a-f-]{36}$/);
  for (;;) {
    const task = await stage.server.getTask(taskId);
    if (task.status === 'completed') return task;
    assert.notEqual(task.status, 'failed');
  }
}

test('users are made in a batch and answered by id', async (t) => {
  const stage = new Stage(t);
  const answer = await stage.server.upsertUsers([
    { id: stage.id('ann'), name: 'Ann' },
    { id: stage.id('bob'), role: 'admin', status: 'busy' },
  ]);
  assert.deepEqual(Object.keys(answer.users).sort(), stage.ids('ann', 'bob'));
  const ann = answer.users[stage.id('ann')];
  assert.deepEqual([ann.name, ann.role, ann.online, ann.banned], ['Ann', 'user', false, false]);
  assert.equal(answer.users[stage.id('bob')].role, 'admin');
  assert.equal(answer.users[stage.id('bob')].status, 'busy');
  assert.equal(typeof answer.duration, 'string');
  assert.equal(typeof answer.membership_deletion_task_id, 'string');
});

test('an upsert replaces what it does not mention, but not who the user is', async (t) => {
  const stage = new Stage(t);
  const first = await stage.server.upsertUser({ id: stage.id('ann'), name: 'Ann', colour: 'green' });
  const second = await stage.server.upsertUser({ id: stage.id('ann'), mood: 'fine' });
  const before = first.users[stage.id('ann')];
  const after = second.users[stage.id('ann')];
  assert.equal(after.created_at, before.created_at);
  assert.equal(after.mood, 'fine');
  assert.ok(!('colour' in after));
});

test('an upsert of a connected user leaves the connection alone', async (t) => {
  const stage = new Stage(t);
  const john = await stage.connect('john');
  await stage.server.upsertUser({ id: stage.id('john'), name: 'Johnny' });
  await told(john, 'user.updated', stage.id('john'));
  assert.equal((await stage.truth('john')).online, true);
  assert.equal((await stage.truth('john')).last_active, stored(john.user.last_active));
});

test('a partial update changes what it names', async (t) => {
  const stage = new Stage(t);
  await stage.users({ id: stage.id('ann'), name: 'Ann', colour: 'green', deep: { a: 1, b: 2 } });
  const { users } = await stage.server.partialUpdateUsers([
    { id: stage.id('ann'), set: { mood: 'fine', 'deep.c': 3 }, unset: ['colour', 'deep.a'] },
  ]);
  const ann = users[stage.id('ann')];
  assert.deepEqual([ann.name, ann.mood, ann.deep], ['Ann', 'fine', { b: 2, c: 3 }]);
  assert.ok(!('colour' in ann));
});

test('one bad entry fails the whole batch', async (t) => {
  const stage = new Stage(t);
  await refused(
    stage.server.upsertUsers([
      { id: stage.id('ann'), name: 'Ann' },
      { id: 'not:allowed' },
    ]),
    { code: 4, status: 400 },
  );
  assert.equal(await stage.truth('ann'), undefined);
});

test('a partial update of an unknown user is refused', async (t) => {
  const stage = new Stage(t);
  await refused(stage.server.partialUpdateUser({ id: stage.id('nobody'), set: { a: 1 } }), {
    code: [4, 16],
    status: [400, 404],
  });
});

test('a reserved field is refused, and named', async (t) => {
  const stage = new Stage(t);
  const id = stage.id('ann');
  const body = await refused(stage.server.upsertUser({ id, online: true }), { code: 4, status: 400 });
  const detail = `users[${id}].online is a reserved field`;
  assert.ok(body.message.includes(detail), body.message);
  assert.ok(JSON.stringify(body.exception_fields).includes('is a reserved field'), JSON.stringify(body));
});

test('a batch of more than a hundred is refused', async (t) => {
  const stage = new Stage(t);
  const users = Array.from({ length: 101 }, (_, number) => ({ id: stage.id(`user${number}`) }));
  await refused(stage.server.upsertUsers(users), { code: 4, status: 400 });
  await stage.server.upsertUsers(users.slice(0, 100));
  const changes = users.map(({ id }) => ({ id, set: { a: 1 } }));
  await refused(stage.server.partialUpdateUsers(changes), { code: 4, status: 400 });
});

test('a user with more than five kilobytes of data is refused', async (t) => {
  const stage = new Stage(t);
  await refused(stage.server.upsertUser({ id: stage.id('ann'), story: 'x'.repeat(6000) }), { code: 4, status: 400 });
  assert.equal(await stage.truth('ann'), undefined);
});

test('a user id of more than 255 characters, or a strange one, is refused', async (t) => {
  const stage = new Stage(t);
  for (const id of ['x'.repeat(256), 'a b', 'a/b', 'a:b', 'ünlaut']) {
    await refused(stage.server.upsertUser({ id }), { code: 4, status: 400 });
  }
});

test('a deleted user is gone from queries, and returns by being restored', async (t) => {
  const stage = new Stage(t);
  await stage.users({ id: stage.id('ann'), name: 'Ann' });
  const answer = await stage.server.deleteUser(stage.id('ann'));
  assert.equal(answer.user.id, stage.id('ann'));
  assert.equal(await stage.truth('ann'), undefined);
  await stage.server.restoreUsers([stage.id('ann')]);
  assert.equal((await stage.truth('ann')).name, 'Ann');
});

test('an unknown user cannot be deleted', async (t) => {
  const stage = new Stage(t);
  await refused(stage.server.deleteUser(stage.id('nobody')), { code: 16, status: 404 });
});

test('many users are deleted by a task', async (t) => {
  const stage = new Stage(t);
  await stage.users('ann', 'bob');
  const { task_id } = await stage.server.deleteUsers(stage.ids('ann', 'bob'), {
    user: 'hard',
    messages: 'hard',
    conversations: 'hard',
  });
  await finished(stage, task_id);
  assert.equal(await stage.truth('ann'), undefined);
  assert.equal(await stage.truth('bob'), undefined);
});

test('a deactivated user is left out of queries and cannot connect until reactivated', async (t) => {
  const stage = new Stage(t);
  await stage.users('ann');
  const { user } = await stage.server.deactivateUser(stage.id('ann'));
  assert.equal(typeof user.deactivated_at, 'string');
  assert.equal(await stage.truth('ann'), undefined);
  assert.equal((await stage.truth('ann', { include_deactivated_users: true })).id, stage.id('ann'));
  const refusal = stage.client().connectUser({ id: stage.id('ann') }, stage.token('ann'));
  await assert.rejects(refusal, (error) => JSON.parse(error.message).isWSFailure === false);

  const answer = await stage.server.reactivateUser(stage.id('ann'));
  assert.equal(answer.user.id, stage.id('ann'));
  assert.equal((await stage.connect('ann')).userID, stage.id('ann'));
});

test('many users are deactivated and reactivated by tasks', async (t) => {
  const stage = new Stage(t);
  await stage.users('ann', 'bob');
  const off = await stage.server.deactivateUsers(stage.ids('ann', 'bob'));
  await finished(stage, off.task_id);
  assert.equal(await stage.truth('bob'), undefined);
  const on = await stage.server.reactivateUsers(stage.ids('ann', 'bob'));
  await finished(stage, on.task_id);
  assert.equal((await stage.truth('bob')).id, stage.id('bob'));
});

test('a connected user who is deactivated goes offline for the others', async (t) => {
  const stage = new Stage(t);
  await stage.connect('john');
  const amy = await stage.connect('amy');
  await amy.queryUsers({ id: stage.id('john') }, [], { presence: true });
  await stage.server.deactivateUser(stage.id('john'));
  await presence(amy, stage.id('john'));
  assert.deepEqual(onlineHistory(amy, stage.id('john')), [false]);
});

test('only a server may do these things', async (t) => {
  const stage = new Stage(t);
  await stage.users('ann');
  const amy = await stage.connect('amy');
  const refusal = { code: 17, status: 403 };
  await refused(amy.deleteUser(stage.id('ann')), refusal);
  await refused(amy.deleteUsers([stage.id('ann')]), refusal);
  await refused(amy.deactivateUser(stage.id('ann')), refusal);
  await refused(amy.reactivateUser(stage.id('ann')), refusal);
  await refused(amy.restoreUsers([stage.id('ann')]), refusal);
  await refused(amy.sendUserCustomEvent(stage.id('ann'), { type: 'hello' }), refusal);
  await refused(amy.updateAppSettings({ disable_auth_checks: true }), refusal);
  await refused(amy.getRateLimits(), refusal);
  await refused(amy.revokeUserToken(stage.id('amy')), refusal);
});

test('a custom event reaches all connections of its user, and nobody else', async (t) => {
  const stage = new Stage(t);
  const [one, two, other] = [await stage.connect('amy'), await stage.connect('amy'), await stage.connect('john')];
  await stage.server.sendUserCustomEvent(stage.id('amy'), { type: 'hello', text: 'there' });
  for (const client of [one, two]) assert.equal((await told(client, 'hello')).text, 'there');
  await stage.settle(other);
  assert.deepEqual(logOf(other).of('hello'), []);
});

test('a custom event may not look like one of the service, and needs a user', async (t) => {
  const stage = new Stage(t);
  await stage.users('amy');
  await refused(stage.server.sendUserCustomEvent(stage.id('amy'), { type: 'user.updated' }), { code: 4, status: 400 });
  await refused(stage.server.sendUserCustomEvent(stage.id('nobody'), { type: 'hello' }), { code: 16, status: 404 });
});

test('the application settings are read and changed', async (t) => {
  const stage = new Stage(t, await startMock(t));
  const { app } = await stage.server.getAppSettings();
  assert.equal(typeof app.name, 'string');
  assert.equal(app.disable_auth_checks, false);
  await stage.server.updateAppSettings({ disable_auth_checks: true });
  assert.equal((await stage.server.getAppSettings()).app.disable_auth_checks, true);
});

test('a client reads the application settings it needs', async (t) => {
  const stage = new Stage(t);
  const amy = await stage.connect('amy');
  const { app } = await amy.getAppSettings();
  assert.equal(typeof app.name, 'string');
  assert.ok(Array.isArray(app.file_upload_config.allowed_file_extensions));
  assert.ok(Array.isArray(app.image_upload_config.blocked_mime_types));
  assert.ok(!('disable_auth_checks' in app));
});

test('rate limits are listed by endpoint', async (t) => {
  const stage = new Stage(t);
  const { server_side } = await stage.server.getRateLimits({ serverSide: true });
  const { QueryUsers } = server_side;
  for (const key of ['limit', 'remaining', 'reset']) assert.equal(typeof QueryUsers[key], 'number', key);
});

test('every answer says how much is left', async (t) => {
  const stage = new Stage(t);
  const headers = [];
  const logger = (level, message, { response, error }) => {
    const answer = response ?? error?.response;
    if (answer) headers.push(answer.headers);
  };
  const admin = stage.admin({ logger });
  await admin.queryUsers({});
  await admin.queryChannels({});
  await refused(admin.get(`${admin.baseURL}/no/such/route`), { code: 16, status: 404 });
  assert.equal(headers.length, 3);
  for (const answer of headers) {
    for (const name of ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset']) {
      assert.match(answer[name], /^\d+$/, name);
    }
  }
});

test('a body that is too large is refused with code 22', async (t) => {
  const stage = new Stage(t);
  const admin = stage.admin({ maxBodyLength: Infinity });
  await refused(admin.upsertUser({ id: stage.id('ann'), story: 'x'.repeat(12 * 1024 * 1024) }), {
    code: 22,
    status: 413,
  });
});

test('the server reads every channel, and members by name', async (t) => {
  const stage = new Stage(t);
  await stage.users('ann');
  const channel = await stage.channel('room', ['ann']);
  const [found] = await stage.server.queryChannels({ cid: channel.cid });
  assert.equal(found.state.members[stage.id('ann')].user_id, stage.id('ann'));
  const { members } = await channel.queryMembers({});
  assert.deepEqual(members.map(({ user_id }) => user_id), [stage.id('ann')]);
});

test("a per-user filter needs a user when the server asks", async (t) => {
  const stage = new Stage(t);
  await refused(stage.server.queryChannels({ muted: true }), { code: 4, status: 400 });
});

test('a refused connection leaves no user behind', async (t) => {
  const stage = new Stage(t);
  await connectRefused(stage.client().connectUser({ id: stage.id('ann') }, stage.token('ann', 1_000_000_000)), {
    code: 40,
  });
  assert.equal(await stage.truth('ann'), undefined);
});
