'use strict';

const { PgBoss } = require('pg-boss');
const { chunks, connect, createByClients, main, minute } = require('./harness.js');

const QUEUE = 'call';

async function withBoss(options, use) {
  const boss = new PgBoss({ schedule: false, supervise: false, ...options });
  boss.on('error', console.error);
  await boss.start();
  try {
    return await use(boss);
  } finally {
    await boss.stop();
  }
}

main({
  install: () => withBoss({}, (boss) => boss.createQueue(QUEUE)),

  fill: (settings) => withBoss({}, async (boss) => {
    for (const dues of chunks(settings)) {
      await boss.insert(QUEUE, dues.map((due) => ({ data: { at: due.toISOString() }, startAfter: due })));
    }
    return { due_ms: settings.due_ms };
  }),

  create: (settings) => withBoss({ max: settings.clients }, (boss) => createByClients(settings, (number) =>
    boss.send(QUEUE, { at: 'then', number }, { startAfter: new Date(settings.due_ms) }))),

  async work(settings) {
    const post = connect(settings);
    const boss = new PgBoss({ ...settings.boss, schedule: settings.crons > 0 });
    boss.on('error', console.error);
    await boss.start();
    for (let number = 0; number < settings.crons; number++) {
      await boss.schedule(QUEUE, '* * * * *', {}, { key: `every-${number}` });
    }
    await boss.work(QUEUE, settings.work, (jobs) => Promise.all(jobs.map((job) => post(job.id, job.data?.at ?? minute()))));
    return () => boss.stop();
  },
});
