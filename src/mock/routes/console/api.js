// Requests to the control API.

const TOKEN_KEY = 'presencectl-control-token';

/** The API key of the chosen application; empty for the first one. */
let apiKey = '';
let token = readToken();
let tokenIsWanted = () => {};

/** The control token from the fragment of the address, which is removed there, else from an earlier visit of this tab. */
function readToken() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get('token');
  if (given === null) return sessionStorage.getItem(TOKEN_KEY) ?? '';
  sessionStorage.setItem(TOKEN_KEY, given);
  fragment.delete('token');
  history.replaceState(null, '', location.pathname + (fragment.size ? `#${fragment}` : ''));
  return given;
}

export const setToken = (given) => {
  token = given;
  sessionStorage.setItem(TOKEN_KEY, given);
};
export const setApiKey = (key) => { apiKey = key; };
export const getApiKey = () => apiKey;
export const hasToken = () => token !== '';
export const onTokenWanted = (then) => { tokenIsWanted = then; };

/** What the server says is wrong. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Sends a request to `/_mock/PATH`. Returns the answer, with its length if asked for. */
export async function ask(method, path, { query = {}, body, signal, withLength = false } = {}) {
  const parameters = new URLSearchParams(query);
  if (apiKey) parameters.set('api_key', apiKey);
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const response = await fetch(`/_mock/${path}${parameters.size ? `?${parameters}` : ''}`, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
    cache: 'no-store',
  });
  const text = await response.text();
  if (!response.ok) {
    let message = text;
    try { message = JSON.parse(text).message.replace(/^Control failed with error: "(.*)"$/s, '$1'); } catch { /* not from the control API */ }
    if (response.status === 403 && message.includes('control token')) tokenIsWanted();
    throw new Refusal(response.status, message);
  }
  const answer = JSON.parse(text);
  return withLength ? [answer, text.length] : answer;
}

/** The path of a user's action. */
export const userPath = (id, action) => `users/${encodeURIComponent(id)}/${action}`;
