// Finding users: the filter language, order and pages.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refused } from './support/refusal.mjs';
import { Stage } from './support/stage.mjs';

/** Four users that only this case can find, and a client to find them with. */
async function cast(t) {
  const stage = new Stage(t);
  const set = stage.id('set');
  await stage.users(
    { id: stage.id('ann'), name: 'Ann Bell', set, age: 31, tags: ['red', 'green'] },
    { id: stage.id('bob'), name: 'bobby', set, age: 45, tags: ['green'] },
    { id: stage.id('cid'), name: 'Cid', set, age: 27 },
    { id: stage.id('dee'), name: 'Dee', set, age: 62, role: 'admin' },
  );
  const client = await stage.connect('reader');
  const find = async (filter, sort = { id: 1 }, options = {}) => {
    const { users } = await client.queryUsers({ ...filter, set }, sort, options);
    return users.map(({ id }) => id.split('-')[0]);
  };
  return { stage, client, find, set };
}

test('every operator of the filter language', async (t) => {
  const { stage, find } = await cast(t);
  const id = (name) => stage.id(name);
  const cases = [
    [{}, ['ann', 'bob', 'cid', 'dee']],
    [{ id: id('ann') }, ['ann']],
    [{ id: { $eq: id('ann') } }, ['ann']],
    [{ id: { $ne: id('ann') } }, ['bob', 'cid', 'dee']],
    [{ id: { $in: [id('ann'), id('dee'), id('nobody')] } }, ['ann', 'dee']],
    [{ id: { $nin: [id('ann'), id('dee')] } }, ['bob', 'cid']],
    [{ id: { $gt: id('bob') } }, ['cid', 'dee']],
    [{ id: { $gte: id('bob') } }, ['bob', 'cid', 'dee']],
    [{ id: { $lt: id('bob') } }, ['ann']],
    [{ id: { $lte: id('bob') } }, ['ann', 'bob']],
    [{ name: { $autocomplete: 'ann' } }, ['ann']],
    [{ name: { $autocomplete: 'BOB' } }, ['bob']],
    [{ id: { $autocomplete: 'ci' } }, ['cid']],
    [{ role: 'admin' }, ['dee']],
    [{ role: { $in: ['admin', 'user'] } }, ['ann', 'bob', 'cid', 'dee']],
    [{ age: { $gt: 31 } }, ['bob', 'dee']],
    [{ age: { $gte: 31, $lt: 60 } }, ['ann', 'bob']],
    [{ age: { $in: [27, 62] } }, ['cid', 'dee']],
    [{ tags: { $contains: 'green' } }, ['ann', 'bob']],
    [{ tags: { $exists: false } }, ['cid', 'dee']],
    [{ tags: { $exists: true } }, ['ann', 'bob']],
    [{ $or: [{ age: 27 }, { name: 'Dee' }] }, ['cid', 'dee']],
    [{ $and: [{ age: { $gt: 30 } }, { age: { $lt: 50 } }] }, ['ann', 'bob']],
    [{ $nor: [{ age: 27 }, { role: 'admin' }] }, ['ann', 'bob']],
    [{ banned: false }, ['ann', 'bob', 'cid', 'dee']],
    [{ created_at: { $lte: new Date(Date.now() + 60_000).toISOString() } }, ['ann', 'bob', 'cid', 'dee']],
    [{ last_active: { $exists: true } }, []],
  ];
  for (const [filter, expected] of cases) {
    assert.deepEqual(await find(filter), expected, JSON.stringify(filter));
  }
});

test('sorting by built-in and custom fields, in both directions', async (t) => {
  const { find } = await cast(t);
  assert.deepEqual(await find({}, { id: -1 }), ['dee', 'cid', 'bob', 'ann']);
  assert.deepEqual(await find({}, { age: 1 }), ['cid', 'ann', 'bob', 'dee']);
  assert.deepEqual(await find({}, [{ role: -1 }, { id: -1 }]), ['cid', 'bob', 'ann', 'dee']);
});

test('pages by limit and offset, and by id', async (t) => {
  const { stage, find } = await cast(t);
  assert.deepEqual(await find({}, { id: 1 }, { limit: 3 }), ['ann', 'bob', 'cid']);
  assert.deepEqual(await find({}, { id: 1 }, { limit: 3, offset: 3 }), ['dee']);
  assert.deepEqual(await find({ id: { $gt: stage.id('cid') } }, { id: 1 }, { limit: 3 }), ['dee']);
});

test('thirty users a page unless asked for more, a hundred at most', async (t) => {
  const stage = new Stage(t);
  const set = stage.id('set');
  const names = Array.from({ length: 40 }, (_, number) => `user${number}`);
  await stage.users(...names.map((name) => ({ id: stage.id(name), set })));
  const client = await stage.connect('reader');
  assert.equal((await client.queryUsers({ set })).users.length, 30);
  assert.equal((await client.queryUsers({ set }, [], { limit: 100 })).users.length, 40);
  await refused(client.queryUsers({ set }, [], { limit: 101 }), { code: 4, status: 400 });
  await refused(client.queryUsers({ set }, [], { offset: 1001 }), { code: 4, status: 400 });
});

test('a filter that means nothing is refused with code 4', async (t) => {
  const { client } = await cast(t);
  const nonsense = [
    { name: { $autocomplete: '' } },
    { id: { $in: 'not-a-list' } },
    { id: { $near: 'x' } },
    { $or: 'x' },
  ];
  for (const filter of nonsense) {
    const body = await refused(client.queryUsers(filter), { code: 4, status: 400 });
    assert.match(body.message, /^QueryUsers failed with error: "/, JSON.stringify(filter));
  }
});
