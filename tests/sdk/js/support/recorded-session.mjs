// A whole session of an application, with the same ids and texts in every run. It prints what the application learned,
// as one line of JSON, so that a recorded run and a replayed one can be compared.

import { StreamChat } from 'stream-chat';
import { onlineHistory, presence, told } from './log.mjs';

const { PRESENCECTL_MOCK_URL: baseURL, PRESENCECTL_MOCK_API_KEY: apiKey, PRESENCECTL_MOCK_SECRET: secret } = process.env;
const options = { baseURL, timeout: 20_000, allowServerSideConnect: true };

const server = new StreamChat(apiKey, secret, options);
await server.upsertUsers([
  { id: 'amy', name: 'Amy Plantedname', email: 'amy.planted@example.com', image: 'https://cdn.planted.example/amy.png' },
  { id: 'john', name: 'John Plantedname', note: { card: 'planted custom text' } },
]);

const connect = async (id) => {
  const client = new StreamChat(apiKey, options);
  await client.connectUser({ id }, server.createToken(id));
  return client;
};

const amy = await connect('amy');
const channel = amy.channel('messaging', 'room', { members: ['amy', 'john'], name: 'The planted room' });
const state = await channel.watch({ presence: true });

const came = presence(amy, 'john', 1);
const john = await connect('john');
await came;

const changed = told(amy, 'user.presence.changed', 'john', 2);
await server.partialUpdateUser({ id: 'john', set: { status: 'planted status', invisible: true } });
await changed;

const arrived = told(amy, 'message.new');
const sent = await john.channel('messaging', 'room').sendMessage({ text: 'planted message text' });
const message = await arrived;

const { users } = await amy.queryUsers({ id: { $in: ['amy', 'john'] } }, { id: 1 }, { limit: 5 });
const refusal = await amy.queryChannels({ cid: 'messaging:nowhere', shade: { $nonsense: 1 } }).catch((error) => error.code);
await john.disconnectUser();
await amy.disconnectUser();

console.log(
  JSON.stringify({
    members: state.members.map((member) => [member.user_id, member.user.name]),
    room: channel.data.name,
    online: onlineHistory(amy, 'john'),
    sent: sent.message.text,
    message: [message.user.id, message.message.text],
    users: users.map(({ id, name, email, image, status, note }) => ({ id, name, email, image, status, note })),
    refusal: Array.isArray(refusal) ? refusal.length : refusal,
  }),
);
process.exit(0);
