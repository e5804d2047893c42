// oidc-provider as an OpenID provider: `node oidc_provider.mjs SETTINGS`. People and manners are read anew for every request, and
// clients and keys whenever the file has changed, so that a test may change all of it meanwhile.
import fs from 'node:fs';
import http from 'node:http';
import { Provider } from 'oidc-provider';

const path = process.argv[2];
const told = () => JSON.parse(fs.readFileSync(path, 'utf8'));
const escaped = (text) => String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const page = (body) => `<!doctype html><html lang="en"><title>oidc-provider</title><main><h1>oidc-provider</h1>${body}</main></html>`;
const login = (uid, note = '') => page(`<form method="post" action="/interaction/${escaped(uid)}">
<label>User <input name="user" autocomplete="username"></label> <label>Password <input name="password" type="password"></label>
<button type="submit">Sign in</button></form>${note}`);

// Its own memory goes with the provider, which is built anew whenever clients or keys change; this one stays.
const kept = new Map();
class Memory {
  constructor(model) { this.model = model; }

  key(id) { return `${this.model}:${id}`; }

  async upsert(id, payload, lasts) { kept.set(this.key(id), { payload, ends: lasts ? Date.now() + lasts * 1000 : Infinity }); }

  async find(id) {
    const found = kept.get(this.key(id));
    return found && found.ends > Date.now() ? found.payload : undefined;
  }

  async findByUid(uid) { return this.first((payload) => payload.uid === uid); }

  async findByUserCode(code) { return this.first((payload) => payload.userCode === code); }

  first(fits) {
    for (const [key, { payload }] of kept) if (key.startsWith(`${this.model}:`) && fits(payload)) return payload;
    return undefined;
  }

  async consume(id) { kept.get(this.key(id)).payload.consumed = Math.floor(Date.now() / 1000); }

  async destroy(id) { kept.delete(this.key(id)); }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of kept) if (payload.grantId === grantId) kept.delete(key);
  }
}

function client(one) {
  return {
    client_id: one.client_id,
    client_secret: one.client_secret,
    redirect_uris: one.redirect_uris,
    post_logout_redirect_uris: one.post_logout_redirect_uris,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    id_token_signed_response_alg: one.id_token_alg,
    ...(one.logout_uri ? { backchannel_logout_uri: one.logout_uri, backchannel_logout_session_required: true } : {}),
  };
}

function claims(employee) {
  const lasts = told().session_lasts;
  return {
    sub: employee.immutable_id,
    name: employee.name,
    preferred_username: employee.uid,
    email: employee.mail,
    email_verified: true,
    employee_number: employee.number,
    groups: employee.groups,
    ...(lasts === null ? {} : { session_expiry: Math.floor(Date.now() / 1000 + lasts) }),
  };
}

const bySubject = (id) => Object.values(told().people).find((employee) => employee.immutable_id === id);

function built(settings) {
  const provider = new Provider(settings.issuer, {
    adapter: Memory,
    clients: settings.clients.map(client),
    jwks: { keys: settings.keys },
    cookies: { keys: ['of a test'], names: { session: 'op_session', interaction: 'op_interaction', resume: 'op_resume' } },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'Ed25519'] },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          ctx.body = page(`<p>Sign out?</p>${form}<button type="submit" form="op.logoutForm" name="logout" value="yes">Sign out</button>`);
        },
        postLogoutSuccessSource: (ctx) => { ctx.body = page('<h2>Signed out</h2>'); },
      },
    },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    acrValues: ['phr', 'phrh', 'https://refeds.org/profile/mfa'],
    pkce: { required: () => true },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    // Everything in the ID token as well, like most products.
    conformIdTokenClaims: false,
    claims: {
      openid: ['sub', 'acr', 'amr', 'auth_time', 'session_expiry'],
      profile: ['name', 'preferred_username', 'employee_number'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
    },
    rotateRefreshToken: true,
    issueRefreshToken: async (ctx, asking, code) => code.scopes.has('offline_access'),
    findAccount: async (ctx, id) => {
      const employee = bySubject(id);
      return employee && { accountId: id, claims: async () => claims(employee) };
    },
    // Nobody is asked for consent.
    loadExistingGrant: async (ctx) => {
      const known = ctx.oidc.session.grantIdFor(ctx.oidc.client.clientId);
      const grant = (known && await ctx.oidc.provider.Grant.find(known))
        || new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope(ctx.oidc.params.scope || 'openid');
      await grant.save();
      return grant;
    },
    // It would refuse to call loopback addresses through the dispatcher that it hands over here, and tests are nowhere else.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    ttl: { AccessToken: 300, AuthorizationCode: 60, IdToken: 300, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600 },
  });
  for (const event of ['backchannel.success', 'backchannel.error', 'server_error', 'grant.error', 'authorization.error']) {
    provider.on(event, (...given) => {
      const errors = given.filter((one) => one instanceof Error);
      console.log(event, errors.map((one) => `${one.message} ${one.error_description || ''} ${one.error_detail || ''}`).join(' '));
    });
  }
  return provider;
}

async function form(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return new URLSearchParams(Buffer.concat(parts).toString());
}

async function interaction(provider, request, response) {
  response.setHeader('content-type', 'text/html; charset=utf-8');
  const { uid, prompt, grantId } = await provider.interactionDetails(request, response);
  // Offline access is given only to a client that asks for consent; it is always had.
  if (prompt.name === 'consent') {
    return provider.interactionFinished(request, response, { consent: { grantId } }, { mergeWithLastSubmission: true });
  }
  if (request.method !== 'POST') return response.end(login(uid));
  const sent = await form(request);
  const settings = told();
  const employee = Object.hasOwn(settings.people, sent.get('user') || '') ? settings.people[sent.get('user')] : undefined;
  if (!employee || sent.get('password') !== settings.password) {
    response.statusCode = 401;
    return response.end(login(uid, '<p>That is not right.</p>'));
  }
  const { acr, amr } = settings;
  const result = { login: { accountId: employee.immutable_id, amr, ...(acr === null ? {} : { acr }) } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

let written = '';
let provider;
function current() {
  const settings = told();
  const fixed = JSON.stringify([settings.clients, settings.keys]);
  if (fixed !== written) [written, provider] = [fixed, built(settings)];
  return provider;
}

http.createServer((request, response) => {
  const serving = current();
  if (!request.url.startsWith('/interaction/')) return serving.callback()(request, response);
  return interaction(serving, request, response).catch((error) => {
    console.log(error);
    response.statusCode = 500;
    response.end(page('<p>That did not work.</p>'));
  });
}).listen(told().port, '127.0.0.1');
