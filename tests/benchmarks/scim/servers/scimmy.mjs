// scimmy-routers on Express: the store is the user's, here maps with indexes, or PostgreSQL where DATABASE_URL is given.
import {randomUUID} from "node:crypto";
import {createReadStream} from "node:fs";
import {createInterface} from "node:readline";
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const {PORT, TOKEN, PEOPLE, GROUP_ID, GROUP_NAME, GROUP_SIZE, DATABASE_URL} = process.env;
const store = DATABASE_URL ? await postgres(DATABASE_URL) : memory();
await fill();

SCIMMY.Resources.declare(SCIMMY.Resources.User)
    .ingress(async (resource, data) => await store.writeUser(resource.id, plain(data)))
    .egress(async (resource) => resource.id ? await store.user(resource.id) : await listed(resource, store.users))
    .degress(async (resource) => await store.dropUser(resource.id));
SCIMMY.Resources.declare(SCIMMY.Resources.Group)
    .ingress(async (resource, data) => await store.writeGroup(resource.id, plain(data)))
    .egress(async (resource) => resource.id ? await store.group(resource.id) : await listed(resource, store.groups))
    .degress(async (resource) => await store.dropGroup(resource.id));

const app = express();
app.disable("x-powered-by");
app.use("/scim/v2", new SCIMMYRouters({
    type: "bearer",
    handler: (request) => {
        if (request.header("Authorization") !== `Bearer ${TOKEN}`) throw new Error("Authorization not detected!");
        return "directory";
    }
}));
const server = app.listen(Number(PORT), "127.0.0.1");
server.keepAliveTimeout = 600_000;
process.on("SIGTERM", () => process.exit(0));

function plain(data) {
    return JSON.parse(JSON.stringify(data));
}

// The library counts and cuts the list that it is given. A list with holes is counted whole and built only where it is asked for.
async function listed(resource, find) {
    const {startIndex = 1, count = 100} = resource.constraints ?? {};
    const {total, page, offset} = await find.call(store, resource.filter, startIndex - 1, count);
    const whole = new Array(total);
    const from = startIndex > count ? startIndex - 1 : offset;
    page.forEach((one, number) => { whole[from + number] = one; });
    return whole;
}

// A filter with one comparison: attribute, operator and value.
function single(filter) {
    if (!filter || filter.length !== 1) return null;
    const entries = Object.entries(filter[0]);
    if (entries.length !== 1 || !Array.isArray(entries[0][1]) || entries[0][1].length !== 2) return null;
    return {attribute: entries[0][0], operator: entries[0][1][0], value: entries[0][1][1]};
}

function notFound(id) {
    return new SCIMMY.Types.Error(404, null, `Resource ${id} not found`);
}

function taken() {
    return new SCIMMY.Types.Error(409, "uniqueness", "userName or externalId is taken");
}

function stamped(before, data, id) {
    const now = new Date().toISOString();
    return {...data, id, meta: {resourceType: "User", created: before?.meta?.created ?? now, lastModified: now}};
}

function memory() {
    const users = new Map(), groups = new Map(), byName = new Map(), byExternalId = new Map();
    // In the order in which they were made; nobody is dropped while the benchmark runs.
    const order = [];
    return {
        async user(id) {
            const found = users.get(id);
            if (!found) throw notFound(id);
            return found;
        },
        async users(filter, offset, count) {
            if (!filter) return {total: order.length, page: order.slice(offset, offset + count).map((id) => users.get(id)), offset};
            const one = single(filter);
            let found;
            if (one?.operator === "eq" && one.attribute === "userName") found = [byName.get(one.value.toLowerCase())];
            else if (one?.operator === "eq" && one.attribute === "externalId") found = [byExternalId.get(one.value)];
            else found = filter.match([...users.values()]).map((user) => user.id);
            found = found.filter((id) => id).map((id) => users.get(id));
            return {total: found.length, page: found.slice(offset, offset + count), offset};
        },
        async writeUser(id, data) {
            const before = id ? users.get(id) : undefined;
            if (id && !before) throw notFound(id);
            const key = data.userName.toLowerCase();
            if ((byName.get(key) ?? id) !== id || (data.externalId && (byExternalId.get(data.externalId) ?? id) !== id)) throw taken();
            if (before) {
                byName.delete(before.userName.toLowerCase());
                byExternalId.delete(before.externalId);
            }
            const user = stamped(before, data, id ?? randomUUID());
            this.put(user);
            return user;
        },
        put(user) {
            if (!users.has(user.id)) order.push(user.id);
            users.set(user.id, user);
            byName.set(user.userName.toLowerCase(), user.id);
            if (user.externalId) byExternalId.set(user.externalId, user.id);
        },
        async dropUser(id) { if (!users.delete(id)) throw notFound(id); },
        async group(id) {
            const found = groups.get(id);
            if (!found) throw notFound(id);
            return found;
        },
        async groups(filter, offset, count) {
            const found = filter ? filter.match([...groups.values()]) : [...groups.values()];
            return {total: found.length, page: found.slice(offset, offset + count), offset};
        },
        async writeGroup(id, data) {
            const group = {...stamped(groups.get(id), data, id ?? randomUUID())};
            group.meta.resourceType = "Group";
            groups.set(group.id, group);
            return group;
        },
        async dropGroup(id) { if (!groups.delete(id)) throw notFound(id); },
        async putMany(people) { for (const user of people) this.put(user); },
        async putGroup(group) { groups.set(group.id, group); }
    };
}

async function postgres(url) {
    const {default: pg} = await import("pg");
    const pool = new pg.Pool({connectionString: url, max: 10});
    await pool.query(`
        CREATE TABLE users (number BIGSERIAL, id TEXT PRIMARY KEY, name_key TEXT NOT NULL UNIQUE, external_id TEXT UNIQUE, document JSONB NOT NULL);
        CREATE UNIQUE INDEX users_number ON users (number);
        CREATE TABLE groups (id TEXT PRIMARY KEY, display_name TEXT NOT NULL, document JSONB NOT NULL);
        CREATE TABLE members (group_id TEXT, user_id TEXT, PRIMARY KEY (group_id, user_id));
    `);
    const query = async (name, text, values) => (await pool.query({name, text, values})).rows;
    const documents = (rows) => rows.map((row) => row.document);
    return {
        async user(id) {
            const [found] = await query("user", "SELECT document FROM users WHERE id = $1", [id]);
            if (!found) throw notFound(id);
            return found.document;
        },
        async users(filter, offset, count) {
            if (!filter) {
                const [{total}] = await query("total", "SELECT count(*)::int AS total FROM users", []);
                const page = await query("page", "SELECT document FROM users ORDER BY number LIMIT $1 OFFSET $2", [count, offset]);
                return {total, page: documents(page), offset};
            }
            const one = single(filter);
            let found;
            if (one?.operator === "eq" && one.attribute === "userName")
                found = await query("name", "SELECT document FROM users WHERE name_key = $1", [one.value.toLowerCase()]);
            else if (one?.operator === "eq" && one.attribute === "externalId")
                found = await query("external", "SELECT document FROM users WHERE external_id = $1", [one.value]);
            else if (one?.operator === "co" && one.attribute === "userName")
                found = await query("contains", "SELECT document FROM users WHERE strpos(name_key, $1) > 0 ORDER BY number", [one.value.toLowerCase()]);
            else throw new SCIMMY.Types.Error(400, "invalidFilter", "this filter is not mapped to the database");
            return {total: found.length, page: documents(found.slice(offset, offset + count)), offset};
        },
        async writeUser(id, data) {
            const before = id ? await this.user(id) : undefined;
            const user = stamped(before, data, id ?? randomUUID());
            const values = [user.id, user.userName.toLowerCase(), user.externalId ?? null, JSON.stringify(user)];
            try {
                if (id) await query("change", "UPDATE users SET name_key = $2, external_id = $3, document = $4 WHERE id = $1", values);
                else await query("add", "INSERT INTO users (id, name_key, external_id, document) VALUES ($1, $2, $3, $4)", values);
            } catch (error) {
                if (error.code === "23505") throw taken();
                throw error;
            }
            return user;
        },
        async dropUser(id) { await query("drop", "DELETE FROM users WHERE id = $1", [id]); },
        async group(id) {
            const [found] = await query("group", "SELECT document FROM groups WHERE id = $1", [id]);
            if (!found) throw notFound(id);
            const members = await query("members", "SELECT user_id FROM members WHERE group_id = $1", [id]);
            return {...found.document, members: members.map((row) => ({value: row.user_id}))};
        },
        async groups(filter, offset, count) {
            const found = await query("groups", "SELECT document FROM groups", []);
            return {total: found.length, page: documents(found.slice(offset, offset + count)), offset};
        },
        async writeGroup(id, data) {
            const {members = [], ...rest} = data;
            const group = stamped(undefined, rest, id ?? randomUUID());
            const ids = members.map((member) => member.value);
            const client = await pool.connect();
            try {
                await client.query("BEGIN");
                await client.query({
                    name: "put-group", values: [group.id, group.displayName, JSON.stringify(group)],
                    text: "INSERT INTO groups VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET display_name = $2, document = $3"
                });
                await client.query({name: "out", text: "DELETE FROM members WHERE group_id = $1 AND user_id <> ALL($2::text[])", values: [group.id, ids]});
                await client.query({
                    name: "in", text: "INSERT INTO members SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING", values: [group.id, ids]
                });
                await client.query("COMMIT");
            } catch (error) {
                await client.query("ROLLBACK");
                throw error;
            } finally {
                client.release();
            }
            return {...group, members};
        },
        async dropGroup(id) { await query("drop-group", "DELETE FROM groups WHERE id = $1", [id]); },
        async putMany(people) {
            await pool.query(
                "INSERT INTO users (id, name_key, external_id, document) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[])",
                [people.map((user) => user.id), people.map((user) => user.userName.toLowerCase()), people.map((user) => user.externalId),
                    people.map((user) => JSON.stringify(user))]
            );
        },
        async putGroup(group) { await this.writeGroup(group.id, group); }
    };
}

async function fill() {
    const ids = [];
    let some = [];
    for await (const line of createInterface({input: createReadStream(PEOPLE)})) {
        const {id, ...document} = JSON.parse(line);
        some.push(stamped(undefined, document, id));
        ids.push(id);
        if (some.length === 1000) { await store.putMany(some); some = []; }
    }
    if (some.length) await store.putMany(some);
    const members = ids.slice(0, Number(GROUP_SIZE)).map((value) => ({value}));
    await store.putGroup({id: GROUP_ID, schemas: ["urn:ietf:params:scim:schemas:core:2.0:Group"], displayName: GROUP_NAME, members});
}
