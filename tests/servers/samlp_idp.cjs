// Auth0's samlp as an identity provider: `node samlp_idp.cjs SETTINGS`. The settings are read anew for every request, so that a
// test may change them meanwhile. /sso is where a service provider begins, /start and /logout are where this one begins.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const express = require('express');
const session = require('express-session');
const samlp = require('samlp');
const SessionParticipants = require('samlp/lib/sessionParticipants');

const PERSISTENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent';
const EMAIL = 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress';
const REDIRECT = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect';

const page = (body) => `<!doctype html><html lang="en"><title>samlp</title><main><h1>samlp</h1>${body}</main></html>`;
const LOGIN = `<form method="post" action="/login"><label>User <input name="user" autocomplete="username"></label>
<label>Password <input name="password" type="password"></label> <button type="submit">Sign in</button></form>`;

const told = () => JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const file = (path) => fs.readFileSync(path, 'utf8');

function pair(settings) {
  return { key: file(settings.key_file), cert: file(settings.certificate_file) };
}

function nameId(settings, employee) {
  return settings.name_id === 'email'
    ? { nameIdentifier: employee.mail, nameIdentifierFormat: EMAIL }
    : { nameIdentifier: employee.immutable_id, nameIdentifierFormat: PERSISTENT };
}

function mapper(settings) {
  function map(employee) {
    return { getClaims: () => employee.attributes, getNameIdentifier: () => nameId(settings, employee) };
  }
  map.prototype.metadata = [];
  return map;
}

const site = express();
// Cookies are shared by every port of a host, so each server of tests has a name of its own for them.
site.use(session({ name: 'samlp', secret: 'of a test', resave: false, saveUninitialized: true }));
site.use(express.urlencoded({ extended: false }));
site.use((request, response, next) => {
  // Express 5 leaves it undefined where there is none, and samlp looks into it.
  request.body = request.body || {};
  next();
});

site.get('/', (request, response) => response.send(page('<p>Up.</p>')));
site.get('/login', (request, response) => response.send(page(LOGIN)));
site.post('/login', (request, response) => {
  const { user, password } = request.body;
  if (!Object.hasOwn(told().people, user) || password !== told().password) {
    return response.status(401).send(page(`${LOGIN}<p>That is not right.</p>`));
  }
  Object.assign(request.session, { user, freshFor: request.session.askedBy, askedBy: undefined });
  response.redirect(request.session.next || '/');
});

function answer(request, response, next, { sp, asked }) {
  const settings = told();
  const to = settings.service_providers[sp];
  if (!to) return response.status(403).send(page('<p>That service provider is not known here.</p>'));
  const forced = asked && asked.forceAuthn === 'true' && request.session.freshFor !== asked.id;
  // The person may have been let go here while signed in.
  if (!Object.hasOwn(settings.people, request.session.user || '') || forced) {
    Object.assign(request.session, { next: request.originalUrl, askedBy: asked && asked.id });
    return response.redirect('/login');
  }
  const employee = settings.people[request.session.user];
  const sessionIndex = (request.session.index ||= `_${crypto.randomBytes(16).toString('hex')}`);
  request.session.participants = (request.session.participants || []).filter((one) => one.serviceProviderId !== sp);
  request.session.participants.push({
    serviceProviderId: sp,
    nameId: nameId(settings, employee).nameIdentifier,
    nameIdFormat: nameId(settings, employee).nameIdentifierFormat,
    sessionIndex,
    serviceProviderLogoutURL: to.slo,
    cert: to.certificate,
  });
  const encryption = settings.encrypted && {
    encryptionCert: to.encryption_certificate,
    encryptionPublicKey: crypto.createPublicKey(to.encryption_certificate).export({ type: 'spki', format: 'pem' }),
  };
  samlp.auth({
    ...pair(settings),
    issuer: settings.entity_id,
    audience: sp,
    recipient: to.acs,
    destination: to.acs,
    signingCert: asked && to.certificate,
    profileMapper: mapper(settings),
    getUserFromRequest: () => employee,
    getPostURL: (audience, dom, incoming, done) => done(null, to.acs),
    sessionIndex,
    signResponse: settings.signed !== 'assertion',
    signAssertion: settings.signed !== 'response',
    signatureAlgorithm: settings.outdated ? 'rsa-sha1' : 'rsa-sha256',
    digestAlgorithm: settings.outdated ? 'sha1' : 'sha256',
    authnContextClassRef: settings.authn_context,
    lifetimeInSeconds: 300,
    includeAttributeNameFormat: true,
    ...(asked ? {} : { RelayState: request.query.relay_state }),
    ...(encryption || {}),
  })(request, response, next);
}

site.all('/sso', (request, response, next) => {
  // Only to learn who asks; samlp.auth then checks the signature with that one's certificate.
  samlp.parseRequest(request, (error, asked) => {
    if (error || !asked) return next(error || new Error('there is no SAMLRequest'));
    // This is called from outside of Express, which would not see an exception.
    try {
      answer(request, response, next, { sp: asked.issuer, asked });
    } catch (thrown) {
      next(thrown);
    }
  });
});
site.get('/start', (request, response, next) => answer(request, response, next, { sp: request.query.sp }));

function leave(request, response, next) {
  const settings = told();
  const participants = (request.session.participants ||= []);
  // Once everyone was told, samlp answers with a bare 200.
  const send = response.send.bind(response);
  response.send = (body) => (body === 200 ? send(page('<h2>Signed out</h2>')) : send(body));
  samlp.logout({
    ...pair(settings),
    issuer: settings.entity_id,
    deflate: true,
    protocolBinding: REDIRECT,
    sessionParticipants: new SessionParticipants(participants),
    clearIdPSession: (done) => {
      for (const name of ['user', 'index', 'participants', 'freshFor']) delete request.session[name];
      done();
    },
  })(request, response, next);
}
site.all('/slo', leave);
site.get('/logout', leave);

site.get('/metadata', (request, response, next) => {
  const settings = told();
  const send = response.send.bind(response);
  // samlp knows one certificate only; during a change of keys there are two.
  response.send = (body) => {
    const [one] = String(body).match(/<KeyDescriptor[\s\S]*?<\/KeyDescriptor>/) || [''];
    const bare = (pem) => pem.replace(/-----[^-]+-----|\s/g, '');
    const others = settings.other_certificate_files.map((path) =>
      one.replace(/(<X509Certificate>)[^<]*/, `$1${bare(file(path))}`));
    return send(String(body).replace(one, [one, ...others].join('')));
  };
  samlp.metadata({
    issuer: settings.entity_id,
    cert: file(settings.certificate_file),
    profileMapper: mapper(settings),
    redirectEndpointPath: '/sso',
    postEndpointPath: '/sso',
    logoutEndpointPaths: { redirect: '/slo' },
  })(request, response, next);
});

site.listen(told().port, '127.0.0.1');
