// The TypeScript SDK's client package (`@modelcontextprotocol/client`), version 2; ERA=auto or legacy.

import { approve, load, serve, server } from "./lines.mjs";

const { Client } = load("@modelcontextprotocol/client");
const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");

const options = { capabilities: { elicitation: {} }, versionNegotiation: { mode: process.env.ERA ?? "legacy" } };
const client = new Client({ name: "driver", version: "1" }, options);
client.setRequestHandler("elicitation/create", approve);
await client.connect(new StdioClientTransport(server));
await serve(client);
