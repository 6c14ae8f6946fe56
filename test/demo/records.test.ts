import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RecordReader, recordLines } from '../../src/demo/records.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-records-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

describe('RecordReader', () => {
  it('reads record by record, from where it was told, as they are written', async () => {
    const file = join(directory, 'records.jsonl');
    await writeFile(file, '{"old":1}\n');
    const reader = new RecordReader(file, 10);
    expect(await reader.next(0)).toBeNull();
    await appendFile(file, '{"a":"ä"}\n{"b":1}\n{"c":');
    expect(await reader.next(0)).toEqual({ a: 'ä' });
    expect(await reader.next(0)).toEqual({ b: 1 });
    expect(await reader.next(0)).toBeNull();
    await appendFile(file, '2}\n');
    expect(await reader.next(0)).toEqual({ c: 2 });
  });

  it('waits for a file that is not there yet', async () => {
    const file = join(directory, 'later.jsonl');
    const reader = new RecordReader(file, 0);
    const next = reader.next(5000);
    await writeFile(file, '{"a":1}\n');
    expect(await next).toEqual({ a: 1 });
  });
});

describe('recordLines', () => {
  it('tells outcome, operation, client, job and decision', () => {
    const sallyport = {
      outcome: 'refused',
      reason: 'policy.insufficient_scope',
      operation: { name: 'projects.delete', resource: 'projects/p1' },
      client: 'deploy',
      job: { repository: 'acme/infra', run_id: '7' },
    };
    expect(recordLines({ decision_id: 'd-1', custom: { sallyport } })).toEqual([
      'refused (policy.insufficient_scope): projects.delete on projects/p1',
      'client deploy, job 7 of acme/infra, decision d-1',
    ]);
  });

  it('tells method and path where no operation is known, and nothing a terminal would obey', () => {
    const sallyport = { outcome: 'refused', reason: 'request.route_unknown', method: 'GET', path: '/\x1b[31mx' };
    expect(recordLines({ decision_id: 'd-2', custom: { sallyport } })).toEqual([
      'refused (request.route_unknown): GET / [31mx',
      'client not established, decision d-2',
    ]);
  });
});
