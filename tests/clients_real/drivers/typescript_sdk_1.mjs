// The TypeScript SDK (`@modelcontextprotocol/sdk`), version 1.

import { approve, load, remote, serve, server } from "./lines.mjs";

const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = load("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { ElicitRequestSchema } = load("@modelcontextprotocol/sdk/types.js");

// Version 1.12 cannot ask.
const capabilities = ElicitRequestSchema ? { elicitation: {} } : {};
const client = new Client({ name: "driver", version: "1" }, { capabilities });
if (ElicitRequestSchema) client.setRequestHandler(ElicitRequestSchema, approve);
await client.connect(remote ? new StreamableHTTPClientTransport(...remote) : new StdioClientTransport(server));
await serve(client);
