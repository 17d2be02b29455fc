// A server of a case's own, for what would disturb others: application settings, options, restarts.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import readline from 'node:readline';
import { shared } from './stage.mjs';

/** Starts `presencectl mock start`; the process ends with the case. */
export async function startMock(t, args = [], port = 0) {
  const binary = process.env.PRESENCECTL_BIN;
  if (!binary) throw new Error('PRESENCECTL_BIN is not set: see README.md beside this folder');
  const child = spawn(binary, ['mock', 'start', '--port', String(port), '--api-key', shared.apiKey, ...args], {
    env: { ...process.env, PRESENCECTL_MOCK_SECRET: shared.secret },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    return gone;
  };
  t.after(stop);

  const lines = readline.createInterface({ input: child.stdout });
  const failed = gone.then(([code]) => Promise.reject(new Error(`the mock ended with ${code}`)));
  const first = await Promise.race([once(lines, 'line'), failed]);
  const { url, api_key: apiKey } = JSON.parse(first[0]);

  /** Pulls one of the strings that the server has beside its API. */
  const control = async (path, body = {}) => {
    const answer = await fetch(`${url}/_mock/${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  return { url, apiKey, secret: shared.secret, stop, control };
}
