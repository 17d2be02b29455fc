// Shell commands for an entry of the log. The log has no secrets, so `$TOKEN` stands where one was.

const REDACTED = '(hidden)';
/** Longer bodies are left out of an expectation. */
const COMPARED_BODY_MAX = 1000;
/** The log keeps this much of a body. */
const LOGGED_BODY_MAX = 4096;

/** Quotes a text for a POSIX shell; for one with control characters, bash and zsh. */
export function quote(text) {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  if (!/[\u0000-\u001f\u007f-\u009f]/.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = [...text].map((character) => {
    const code = character.codePointAt(0);
    if (character === "'" || character === '\\') return `\\${character}`;
    if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, '0')}`;
    return code >= 0x80 && code <= 0x9f ? `\\u00${code.toString(16)}` : character;
  });
  return `$'${escaped.join('')}'`;
}

/** A flag with its value, also for a value that looks like a flag. */
const flag = (name, value) => (value.startsWith('-') ? `${name}=${quote(value)}` : `${name} ${quote(value)}`);

/** Encodes a text so that it means itself in a URL and between double quotes of a shell. */
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
const encodePath = (path) => path.replace(/[^\w/.~%:@+,;=-]/g, encode);

/** The request of an entry for curl. */
export function curlOf(entry, server, apiKey) {
  const parameters = [`api_key=${encode(apiKey)}`];
  for (const [name, value] of Object.entries(entry.query ?? {})) {
    if (name === 'authorization') continue;
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    parameters.push(`${encode(name)}=${text === REDACTED ? '$TOKEN' : encode(text)}`);
  }
  const words = ['curl'];
  if (entry.method !== 'GET') words.push('-X', quote(entry.method));
  words.push(`"${server}${encodePath(entry.path)}?${parameters.join('&')}"`, '-H', '"Authorization: $TOKEN"', '-H', quote('Stream-Auth-Type: jwt'));
  if (entry.body !== undefined) {
    const text = typeof entry.body === 'string' ? entry.body : JSON.stringify(entry.body);
    words.push('-H', quote('Content-Type: application/json'));
    words.push('--data-raw', quote(text));
    if (typeof entry.body === 'string' && text.length >= LOGGED_BODY_MAX) words.push('# the log has only the start of the body');
  }
  return words.join(' ');
}

/** An expectation that the request of an entry meets. */
export function expectationOf(entry, server, apiKey) {
  const words = apiKey ? [`STREAM_API_KEY=${quote(apiKey)}`] : [];
  words.push('presencectl mock expect', flag('--method', entry.method), flag('--path', entry.path));
  if (entry.user) words.push(flag('--user', entry.user));
  if (entry.status) words.push('--status', String(entry.status));
  if (entry.body !== undefined) {
    const expected = JSON.stringify(entry.body);
    if (expected.length <= COMPARED_BODY_MAX) words.push(flag('--body', `. == ${expected}`));
  }
  words.push('--base-url', quote(server));
  return words.join(' ');
}
