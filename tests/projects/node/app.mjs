// An application of its own for each worker: `node --test` runs each file in a process, and each process makes one.

import { execFileSync } from 'node:child_process';
import { after } from 'node:test';
import { StreamChat } from 'stream-chat';

// The SDK leaves a timer of 15 s behind for each connection. It must not keep a worker alive.
const start = globalThis.setTimeout;
globalThis.setTimeout = (callback, delay, ...rest) => {
  const timer = start(callback, delay, ...rest);
  return delay >= 10_000 ? timer.unref() : timer;
};

/** Runs a command, and gives what it prints. */
export function presencectl(...words) {
  return execFileSync('presencectl', words, { encoding: 'utf8' });
}

const { api_key: apiKey, api_secret: apiSecret } = JSON.parse(presencectl('mock', 'app', 'create'));
// From here on, commands act on this application.
process.env.STREAM_API_KEY = apiKey;
process.env.STREAM_API_SECRET = apiSecret;
after(() => presencectl('mock', 'app', 'delete', apiKey));

// The SDK gives a request 3 s, which a busy machine may need.
const options = { timeout: 30_000 };

/** The client of the backend. */
export const server = new StreamChat(apiKey, apiSecret, options);

/** The client of a user who is connected until the test ends. */
export async function connect(t, id) {
  const client = new StreamChat(apiKey, { ...options, allowServerSideConnect: true });
  await client.connectUser({ id }, server.createToken(id));
  t.after(() => client.disconnectUser());
  return client;
}

/** The next presence event for which `matches` is true. Call it before what causes the event. */
export function nextPresence(client, matches) {
  return new Promise((resolve) => {
    const { unsubscribe } = client.on('user.presence.changed', ({ user }) => {
      if (!matches(user)) return;
      unsubscribe();
      resolve(user);
    });
  });
}
