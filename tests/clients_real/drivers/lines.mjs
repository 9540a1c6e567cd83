// What the drivers in JavaScript share: see lines.py, which says what a driver reads and writes.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The client's package stands in a folder of its own, which is no parent of this one.
export const load = createRequire(process.env.CLIENT_FOLDER + "/");

export const server = { command: "waha-mcp", args: process.argv.slice(2), env: process.env };

// A server over HTTP in its place: what its transport takes.
export const remote = process.env.MCP_URL && [
  new URL(process.env.MCP_URL),
  { requestInit: { headers: { "X-Api-Key": process.env.WAHA_API_KEY } } },
];

let asked = [];

export const approve = (request) => {
  asked.push(request.params.message);
  return { action: "accept", content: { approve: true } };
};

export async function serve(client) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = request.do === "tools" ? await tools(client) : await call(client, request);
    } catch (error) {
      answer = { raised: `${error.name}: ${error.message}` };
    }
    process.stdout.write(JSON.stringify({ ...answer, asked }) + "\n");
    asked = [];
  }
  await client.close();
}

async function tools(client) {
  const listed = (await client.listTools()).tools;
  return { tools: Object.fromEntries(listed.map((t) => [t.name, { description: t.description, schema: t.inputSchema }])) };
}

async function call(client, request) {
  const { content } = await client.callTool({ name: request.tool, arguments: request.arguments });
  const of = (type) => content.filter((block) => block.type === type);
  const data = (type) => of(type).map((block) => block.data);
  return { text: of("text").map((block) => block.text).join("\n"), pictures: data("image"), sounds: data("audio") };
}
