// How the service's refusals look to somebody who uses the SDK: HTTP calls reject with an error that carries the code,
// connects reject with an error whose message is JSON.

import assert from 'node:assert/strict';

/** Asserts that an HTTP call is refused, and returns the body. */
export async function refused(call, { code, status, message }) {
  const error = await call.then(
    () => assert.fail('the call was accepted'),
    (reason) => reason,
  );
  assert.ok(error.response, `not an answer of the API: ${error}`);
  const body = error.response.data;
  const codes = [code].flat();
  const statuses = [status].flat();
  assert.ok(codes.includes(error.code), `code ${error.code} (${body.message}), expected ${codes}`);
  assert.ok(statuses.includes(error.status), `status ${error.status} (${body.message}), expected ${statuses}`);
  assert.equal(body.StatusCode, error.status);
  assert.equal(typeof body.message, 'string');
  assert.equal(typeof body.duration, 'string');
  assert.equal(typeof body.more_info, 'string');
  assert.ok(Array.isArray(body.details));
  if (message) assert.match(body.message, message);
  return body;
}

/** Asserts that a connect is refused by the API (not by the network), and returns what the SDK kept of it. */
export async function connectRefused(connecting, { code, status, message }) {
  const error = await connecting.then(
    () => assert.fail('the connection was accepted'),
    (reason) => reason,
  );
  const kept = JSON.parse(error.message);
  assert.equal(kept.isWSFailure, false, error.message);
  const codes = [code].flat().filter((value) => value !== undefined);
  if (codes.length > 0) assert.ok(codes.includes(kept.code), error.message);
  assert.equal(kept.StatusCode, status ?? 401, error.message);
  if (message) assert.match(kept.message, message);
  return kept;
}
