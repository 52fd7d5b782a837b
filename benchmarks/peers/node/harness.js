// What both harnesses share: one command a process, its settings as JSON, the call to the sink.
//
//   node PEER.js install | fill | work | create SETTINGS
//
// PostgreSQL is found by the PG* variables. What a command has to tell is the last line of its output, as JSON.
'use strict';

const { Pool } = require('undici');

/** Returns `post(id, scheduledFor)`: one POST over kept-alive connections, done when its answer has come. */
function connect({ sink, connections }) {
  const pool = new Pool(sink, { connections, pipelining: 1 });
  const body = '{"hello":"world"}';
  return (id, scheduledFor) =>
    new Promise((resolve, reject) => {
      const headers = ['webhook-id', id, 'countwheel-scheduled-for', scheduledFor, 'content-type', 'application/json'];
      let status;
      pool.dispatch(
        { path: '/hook', method: 'POST', headers, body },
        {
          onRequestStart() {},
          onResponseStart(_controller, code) { status = code; },
          onResponseData() {},
          onResponseEnd() { status === 200 ? resolve() : reject(new Error(`the sink answered ${status}`)); },
          onResponseError(_controller, error) { reject(error); },
        },
      );
    });
}

/** Calls `create(number)` for each of `count` jobs, from `clients` clients at once; tells how long it took. */
async function createByClients({ count, clients }, create) {
  const took = [];
  let next = 0;
  await Promise.all(Array.from({ length: clients }, (_, client) => create(-1 - client))); // opens their connections
  const began = performance.now();
  await Promise.all(Array.from({ length: clients }, async () => {
    while (next < count) {
      const at = performance.now();
      await create(next++);
      took.push(performance.now() - at);
    }
  }));
  const seconds = (performance.now() - began) / 1000;
  took.sort((a, b) => a - b);
  return { seconds, p99_ms: took[Math.ceil(took.length * 0.99) - 1] };
}

/** The due moments of the jobs of a workload, `chunk` of them at a time. */
function* chunks({ count, due_ms: due, apart_ms: apart }, chunk = 5000) {
  for (let first = 0; first < count; first += chunk) {
    const size = Math.min(chunk, count - first);
    yield Array.from({ length: size }, (_, place) => new Date(due + Math.floor((first + place) * apart)));
  }
}

/** The minute that it is: a cron job's nominal moment, where its library does not tell it. */
function minute() {
  return new Date(Math.floor(Date.now() / 60000) * 60000).toISOString();
}

/** Runs the command that was asked for. `work` goes on until SIGTERM, when what it returned is called. */
async function main(commands) {
  const [, , command, settings] = process.argv;
  const found = await commands[command](JSON.parse(settings));
  if (command !== 'work') {
    console.log(JSON.stringify(found ?? {}));
    process.exit(0);
  }
  process.on('SIGTERM', () => Promise.resolve(found()).finally(() => process.exit(0)));
  console.log('ready');
}

module.exports = { chunks, connect, createByClients, main, minute };
