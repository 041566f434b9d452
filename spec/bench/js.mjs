// The workloads of this bench, done by aws-sdk-js v3; see ours.lua for the arguments and the answer.
// NODE_MODULES: the folder that has it.
import { createRequire } from "node:module";
import http from "node:http";
import https from "node:https";

const require = createRequire(process.env.NODE_MODULES + "/");
const sdk = require("@aws-sdk/client-kinesis");
const { NodeHttpHandler } = require("@smithy/node-http-handler");

const [workload, shape, endpoint, calls, warmUp, inFlight] = process.argv.slice(2).map((arg) => Number(arg) || arg);
const [count, size] = shape.split("x").map(Number);
const agent = { keepAlive: true, maxSockets: inFlight, rejectUnauthorized: false };
const client = new sdk.KinesisClient({
  endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" },
  requestHandler: new NodeHttpHandler({ httpAgent: new http.Agent(agent), httpsAgent: new https.Agent(agent) }),
});

const pool = Buffer.from(Array.from({ length: 65536 + size }, (_, i) => (i * 2654435761) >>> 13));
let offset = 0, key = 0, sum = 0, latencies = [];
const entry = () => {
  offset = (offset + 37) & 65535;
  return { Data: pool.subarray(offset, offset + size), PartitionKey: "k" + String(key++).padStart(15, "0") };
};

const once = {
  async put() {
    const answer = await client.send(new sdk.PutRecordCommand({ StreamName: "bench", ...entry() }));
    sum += answer.SequenceNumber.length;
    return 1;
  },
  async put_many() {
    const Records = Array.from({ length: count }, entry);
    const answer = await client.send(new sdk.PutRecordsCommand({ StreamName: "bench", Records }));
    if (answer.FailedRecordCount !== 0) throw new Error("failed records");
    for (const result of answer.Records) sum += result.SequenceNumber.length;
    return count;
  },
  async read() {
    const page = await client.send(new sdk.GetRecordsCommand({ ShardIterator: "page:" + shape }));
    for (const { Data } of page.Records) sum += Data.length + Data[0] + Data[Data.length - 1];
    return page.Records.length;
  },
}[workload];

async function run(times) {
  let left = times, records = 0;
  const worker = async () => {
    while (left-- > 0) {
      const start = performance.now();
      const got = await once(); // apart: the sum of a `+=` would be read before the wait
      records += got;
      latencies.push((performance.now() - start) * 1000);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return records;
}

await run(warmUp);
latencies = [];
const before = process.cpuUsage(), start = performance.now();
const records = await run(calls);
const wall = (performance.now() - start) / 1000, used = process.cpuUsage(before);
latencies.sort((a, b) => a - b);
const percentile = (p) => latencies[Math.ceil(latencies.length * p) - 1];
console.log(JSON.stringify({
  records, wall, cpu: (used.user + used.system) / 1e6, p50: percentile(0.5), p99: percentile(0.99),
  memory: process.resourceUsage().maxRSS / 1024, sum,
}));
process.exit(0);
