'use strict';

const { Logger, makeWorkerUtils, parseCronItems, run } = require('graphile-worker');
const { chunks, connect, createByClients, main } = require('./harness.js');

// Its own logger writes a line a job; a line that somebody should see is written.
const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message);
});

async function withUtils(options, use) {
  const utils = await makeWorkerUtils({ logger, ...options });
  try {
    return await use(utils);
  } finally {
    await utils.release();
  }
}

main({
  install: () => withUtils({}, (utils) => utils.migrate()),

  fill: (settings) => withUtils({}, async (utils) => {
    for (const dues of chunks(settings)) {
      const at = (due) => ({ identifier: 'call', payload: { at: due.toISOString() }, runAt: due, maxAttempts: 5 });
      await utils.addJobs(dues.map(at));
    }
    return { due_ms: settings.due_ms };
  }),

  create: (settings) => withUtils({ maxPoolSize: settings.clients }, (utils) => createByClients(settings, (number) =>
    utils.addJob('call', { at: 'then', number }, { runAt: new Date(settings.due_ms) }))),

  async work(settings) {
    const post = connect(settings);
    const call = (payload, { job }) => post(job.id, payload._cron ? payload._cron.ts : payload.at);
    const every = (_, number) => ({ task: 'call', match: '* * * * *', identifier: `every-${number}`, options: {} });
    const runner = await run({
      noHandleSignals: true,
      preset: { worker: settings.worker },
      logger,
      taskList: { call },
      parsedCronItems: parseCronItems(Array.from({ length: settings.crons }, every)),
    });
    return () => runner.stop();
  },
});
