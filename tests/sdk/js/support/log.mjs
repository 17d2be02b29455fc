// The record of everything one client was told, in order, and ways to wait for an entry. It never decides whether an
// entry is right.

// A reason to fail, never a reason to pass.
const PATIENCE_MS = 20_000;

const logs = new WeakMap();

/** The log of a client; the first call starts it. */
export function logOf(client) {
  if (!logs.has(client)) logs.set(client, new Log(client));
  return logs.get(client);
}

class Log {
  events = [];
  #waiting = new Set();

  constructor(client) {
    client.on((event) => {
      this.events.push(event);
      for (const check of this.#waiting) check();
    });
  }

  /** The nth event, counted from the start of the log, that matches. */
  until(what, matches, nth = 1) {
    return new Promise((resolve, reject) => {
      let timer;
      const check = () => {
        const found = this.events.filter(matches);
        if (found.length < nth) return false;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve(found[nth - 1]);
        return true;
      };
      if (check()) return;
      this.#waiting.add(check);
      timer = setTimeout(() => {
        this.#waiting.delete(check);
        const told = this.events.map((event) => `${event.type} ${event.user?.id ?? ''}`).join('\n  ');
        reject(new Error(`waited in vain for ${what} (number ${nth}); the client was told:\n  ${told}`));
      }, PATIENCE_MS);
    });
  }

  of(type, userId) {
    return this.events.filter((event) => event.type === type && (!userId || event.user?.id === userId));
  }
}

/** Waits for the nth event of a type, about a user if one is given. */
export function told(client, type, userId, nth = 1) {
  const matches = (event) => event.type === type && (!userId || event.user?.id === userId);
  return logOf(client).until(`${type} ${userId ?? ''}`, matches, nth);
}

/** Waits for the nth presence change of a user. */
export function presence(client, userId, nth = 1) {
  return told(client, 'user.presence.changed', userId, nth);
}

/** The `online` values of every presence change of a user so far. */
export function onlineHistory(client, userId) {
  return logOf(client)
    .of('user.presence.changed', userId)
    .map((event) => event.user.online);
}

/** The types of all events so far, without the connection's own. */
export function eventTypes(client, userId) {
  const own = new Set(['health.check', 'connection.changed', 'channels.queried', 'capabilities.changed']);
  return logOf(client)
    .events.filter((event) => !own.has(event.type) && !event.type.startsWith('settled-'))
    .filter((event) => !userId || event.user?.id === userId)
    .map((event) => event.type);
}
