// @boxyhq/saml-jackson's directory sync, mounted in Express as its documentation shows; its own store on PostgreSQL.
import {writeFileSync} from "node:fs";
import express from "express";
import {controllers} from "@boxyhq/saml-jackson";

const {PORT, DATABASE_URL, DIRECTORY} = process.env;
const {directorySyncController} = await controllers({
    externalUrl: `http://127.0.0.1:${PORT}`,
    scimPath: "/api/scim/v2.0",
    samlPath: "/api/oauth/saml",
    oidcPath: "/api/oauth/oidc",
    samlAudience: "https://bench.example",
    noAnalytics: true,
    db: {engine: "sql", type: "postgres", url: DATABASE_URL, ttl: 300, cleanupLimit: 1000}
});
const {data: directory, error} = await directorySyncController.directories.create({
    tenant: "bench", product: "bench", name: "bench", type: "generic-scim-v2"
});
if (error) throw new Error(error.message);
writeFileSync(DIRECTORY, JSON.stringify({id: directory.id, secret: directory.scim.secret}));

const app = express();
app.disable("x-powered-by");
app.use(express.json({type: ["application/*+json", "application/json"], limit: "5mb"}));
app.all("/api/scim/v2.0/:directoryId/:resourceType/:resourceId?", (request, response, next) => {
    // Express 4 does not hear of a promise that is rejected, and the client would wait for ever.
    answer(request, response).catch(next);
});
app.use((error, request, response, next) => {
    response.status(500).json({detail: String(error?.message ?? error)});
});

async function answer(request, response) {
    const {params, method, body, headers, query} = request;
    const {status, data} = await directorySyncController.requests.handle({
        method,
        body,
        directoryId: params.directoryId,
        resourceId: params.resourceId,
        resourceType: params.resourceType.toLowerCase(),
        apiSecret: headers.authorization?.split(" ")[1],
        query: {
            count: query.count ? parseInt(query.count) : undefined,
            startIndex: query.startIndex ? parseInt(query.startIndex) : undefined,
            filter: query.filter
        }
    }, async () => {});
    response.status(status).json(data);
}

const server = app.listen(Number(PORT), "127.0.0.1");
server.keepAliveTimeout = 600_000;
process.on("SIGTERM", () => process.exit(0));
