// A network that can fail: a TCP relay in front of the server, whose WebSocket connections can be cut or refused while
// plain HTTP goes on working. It reads no more of the traffic than the first request line.

import net from 'node:net';

/** Opens a relay to the server at `url`; it ends with the case. */
export async function openLink(t, url, { webSockets = true } = {}) {
  const target = new URL(url);
  const open = new Set();
  const upgraded = new Set();

  const relay = net.createServer((near) => {
    near.on('error', () => near.destroy());
    open.add(near);
    near.once('close', () => open.delete(near));
    near.once('data', (head) => {
      const isWebSocket = head.toString('latin1').startsWith('GET /connect');
      if (isWebSocket && !webSockets) {
        near.destroy();
        return;
      }
      // Until the far end is there nothing reads, and what nothing reads is lost.
      near.pause();
      const far = net.connect(Number(target.port), target.hostname, () => {
        far.write(head);
        near.pipe(far);
        far.pipe(near);
      });
      far.on('error', () => near.destroy());
      far.once('close', () => near.destroy());
      near.once('close', () => far.destroy());
      if (isWebSocket) {
        upgraded.add(near);
        near.once('close', () => upgraded.delete(near));
      }
    });
  });
  await new Promise((resolve) => relay.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of open) socket.destroy();
    relay.close();
  });

  return {
    url: `http://127.0.0.1:${relay.address().port}`,
    /** Cuts every WebSocket, as a dead network does: no close frame, in either direction. */
    cut() {
      for (const socket of upgraded) socket.destroy();
    },
  };
}
