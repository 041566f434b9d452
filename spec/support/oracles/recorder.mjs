// Keeps every request as it came, a line of JSON each, and answers it: from the service behind it, or
// with what is made up here.
//   node recorder.mjs FILE [TARGET]      prints "PORT PID", and runs until it is told to end (TERM)
import http from 'node:http';
import { appendFileSync, writeFileSync } from 'node:fs';

const [file, target] = process.argv.slice(2);

const answers = {
  PutRecord: () => ({ ShardId: 'shardId-000000000000', SequenceNumber: '1' }),
  PutRecords: ({ Records }) => ({
    FailedRecordCount: 0,
    Records: Records.map((_, i) => ({ ShardId: 'shardId-000000000000', SequenceNumber: String(i + 1) })),
  }),
};

function forward(request, body, response) {
  const { hostname, port } = new URL(target);
  const options = { hostname, port, path: '/', method: request.method, headers: { ...request.headers } };
  options.headers.host = `${hostname}:${port}`;
  const onward = http.request(options, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  onward.end(body);
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const body = Buffer.concat(parts);
    appendFileSync(file, `${JSON.stringify({
      method: request.method,
      target: request.url,
      headers: request.rawHeaders,
      body: body.toString('base64'),
    })}\n`);
    if (target) {
      forward(request, body, response);
      return;
    }
    const operation = (request.headers['x-amz-target'] || '').replace(/^.*\./, '');
    const answer = (answers[operation] || (() => ({})))(JSON.parse(body));
    response.setHeader('content-type', 'application/x-amz-json-1.1');
    response.end(JSON.stringify(answer));
  });
});

process.on('SIGTERM', () => process.exit(0));
writeFileSync(file, '');
server.listen(0, '127.0.0.1', () => console.log(`${server.address().port} ${process.pid}`));
