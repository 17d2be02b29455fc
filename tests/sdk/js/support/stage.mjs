// What every case needs: the server's address and credentials, clients that are always disconnected again, and a log
// of what each client was told. It knows nothing about the rules under test.

import { randomBytes } from 'node:crypto';
import { StreamChat } from 'stream-chat';
import { logOf } from './log.mjs';

// The SDK races every connect against a timer that it never clears, which would keep this process alive for 15 s after
// the last case. Letting such long timers not hold the process changes nothing the SDK can observe.
const armTimer = globalThis.setTimeout;
globalThis.setTimeout = (callback, delay, ...args) => {
  const timer = armTimer(callback, delay, ...args);
  return delay >= 5000 ? timer.unref() : timer;
};

// The SDK gives a request three seconds, which a busy machine may need. A reason to fail, never a reason to pass.
const timeout = 20_000;

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: see README.md beside this folder`);
  return value;
}

/** The server that all cases share. */
export const shared = {
  url: required('PRESENCECTL_MOCK_URL'),
  apiKey: required('PRESENCECTL_MOCK_API_KEY'),
  secret: required('PRESENCECTL_MOCK_SECRET'),
};

/** A time as the service stores it: with microseconds. */
export function stored(time) {
  return time.replace(/(\.\d{1,6})\d*Z$/, (_, fraction) => `${fraction.replace(/\.?0*$/, '')}Z`);
}

/** One case's corner of the server: ids nobody else uses, and clients that end with the case. */
export class Stage {
  #clients = [];
  #suffix = randomBytes(5).toString('hex');

  constructor(t, server = shared) {
    this.at = server;
    this.server = this.admin();
    t.after(() => Promise.all(this.#clients.map((client) => client.disconnectUser())));
  }

  /** An id that is unique to this case. */
  id(name) {
    return `${name}-${this.#suffix}`;
  }

  ids(...names) {
    return names.map((name) => this.id(name));
  }

  /** A server-side client. */
  admin({ apiKey = this.at.apiKey, ...options } = {}) {
    return new StreamChat(apiKey, this.at.secret, { baseURL: this.at.url, timeout, ...options });
  }

  /** A client that is not connected yet; its log is already listening. */
  client({ apiKey = this.at.apiKey, ...options } = {}) {
    const client = new StreamChat(apiKey, { baseURL: this.at.url, timeout, allowServerSideConnect: true, ...options });
    logOf(client);
    this.#clients.push(client);
    return client;
  }

  token(name, ...claims) {
    return this.server.createToken(this.id(name), ...claims);
  }

  /** A connected client of the named user. */
  async connect(name, details = {}, options = {}) {
    const client = this.client(options);
    await client.connectUser({ id: this.id(name), ...details }, this.token(name));
    return client;
  }

  /** Creates users without connecting them. */
  async users(...names) {
    await this.server.upsertUsers(names.map((name) => (typeof name === 'string' ? { id: this.id(name) } : name)));
  }

  /** What the server itself says about a user: unmasked, as server-side auth sees it. */
  async truth(name, options = {}) {
    const { users } = await this.server.queryUsers({ id: this.id(name) }, [], options);
    return users[0];
  }

  /** A channel with the named members, made by the server. */
  async channel(name, members = [], data = {}, type = 'messaging') {
    const owner = this.id('owner');
    await this.server.upsertUser({ id: owner });
    const channel = this.server.channel(type, this.id(name), {
      created_by_id: owner,
      members: members.map((member) => this.id(member)),
      ...data,
    });
    await channel.create();
    return channel;
  }

  /**
   * Sends `client` a custom event and waits for it. Events reach a connection in the order in which the state changed,
   * so what has not arrived by now was never sent.
   */
  async settle(client) {
    const type = `settled-${randomBytes(4).toString('hex')}`;
    await this.server.sendUserCustomEvent(client.userID, { type });
    await logOf(client).until(type, (event) => event.type === type);
  }
}
