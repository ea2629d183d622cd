import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describe, focusOf, layout, neighbourhood } from '../src/pages/model/lineage/graph';
import type { Lineage } from '../src/pages/model/lineage/api';
import type { Cause, Told } from '../src/pages/model/why/api';
import { basis, between, branches, looked, measureTitle, metricOf, placeOf, sentence, smallest, sure, timesOf } from '../src/pages/model/why/words';
import type { RecordRow } from '../src/pages/model/records/api';
import { inForce, wayOf } from '../src/pages/model/records/steps';
import { parseWish } from '../src/shell/wish';

const cause = (follows_from: number | null) => ({ kind: 'version', share: 0.5, follows_from }) as unknown as Cause;
const told = (title: string) => ({ title, detail: '', next: { command: 'decalog show churn', says: '' } }) as unknown as Told;

test('what follows from a cause stands below it, at any depth', () => {
  const tree = branches([cause(null), cause(1), cause(2), cause(null)], ['a', 'b', 'c', 'd'].map(told));
  assert.deepEqual(tree.map((one) => [one.number, one.told.title]), [[1, 'a'], [4, 'd']]);
  assert.deepEqual(tree[0]?.follow.map((one) => one.number), [2]);
  assert.deepEqual(tree[0]?.follow[0]?.follow.map((one) => one.number), [3]);
  assert.deepEqual(branches([cause(1), cause(7)], ['a', 'b'].map(told)).map((one) => one.number), [1, 2], 'nothing is below itself, or lost');
});

test('how sure an answer is', () => {
  assert.equal(sure(0.0005).word, 'beyond noise, p < 0.001');
  assert.equal(sure(0.004).word, 'beyond noise, p = 0.004');
  assert.equal(sure(null).word, 'an alarm says so');
  const level = (records: number) => ({ records }) as never;
  assert.equal(basis({ before: level(2040.4), after: level(360) }), 'n = 360 against 2,040');
  assert.equal(basis({ before: null, after: level(360) }), null);
});

test('when it changed, and what was looked at', () => {
  const at = new Date(2026, 10, 28, 14, 5, 10).getTime();
  assert.equal(between(at, at, at), '14:05:10');
  assert.equal(between(at, at + 15_000, at), 'between 14:05:10 and 14:05:25');
  assert.equal(between(at, at + 15_000, at + 86_400_000), '2026-11-28 between 14:05:10 and 14:05:25');
  const seen = { from_ms: at, to_ms: at + 60_000, records: 1_200, sampled: 1 };
  assert.equal(looked(seen, at), '1,200 records from 14:05:10 to 14:06:10');
  assert.match(looked({ ...seen, sampled: 0.25 }, at), /; the values of 25% of their rows$/);
});

test('the smallest change that would have been seen', () => {
  assert.equal(
    smallest({ smallest_visible: { measure: 'slower than 64 ms', from: 0.01, to: 0.052, for_ms: 300_000 } }),
    'The smallest change that would have been seen: slower than 64 ms from 1% to 5.2% of requests, for 5 min.',
  );
  assert.equal(smallest({ smallest_visible: null }), null);
});

test('names keep their small letters', () => {
  assert.deepEqual(['v2 is slower', 'p99 rose from 1 ms', 'requests wait'].map(sentence), ['v2 is slower', 'p99 rose from 1 ms', 'Requests wait']);
  assert.equal(measureTitle('slower than 64 ms'), 'Share of requests: slower than 64 ms');
  assert.equal(measureTitle('mean loss'), 'Share: mean loss');
});

test('a point of a chart has a time', () => {
  assert.deepEqual(timesOf({ from_ms: 1_000, step_ms: 5_000, lines: [{ name: 'v2', values: [0, null, 1] }] }), [1_000, 6_000, 11_000]);
  assert.deepEqual(timesOf({ from_ms: 1_000, step_ms: 5_000, lines: [] }), []);
});

test('alarms about requests lead to the number they are about', () => {
  assert.deepEqual(['tail_latency', 'crash_loop', 'estimated_quality', 'unseen', 'disk', 'rule'].map(metricOf), ['latency', 'errors', 'accuracy', 'drift', undefined, undefined]);
});

test('what comes next leads to where it is seen', () => {
  assert.deepEqual(placeOf({ do: 'look_at_column', column: 'age' }), { to: 'tab', title: 'See the column', tab: 'data', column: 'age' });
  assert.deepEqual(placeOf({ do: 'take_back', event: '41' }), { to: 'events', title: 'See the event', at: '41' });
  assert.equal(placeOf({ do: 'take_back', event: 'unknown' }), null);
  assert.equal(placeOf({ do: 'more_replicas' }), null);
});

test('a question is found by its words', () => {
  assert.deepEqual(['why churn', 'why did churn change', 'why did churn change?'].map((text) => [parseWish(text).verb?.name, parseWish(text).name]), [['why', 'churn'], ['why', 'churn'], ['why', 'churn']]);
  assert.equal(parseWish('rollback change').name, 'change', 'elsewhere it may be a name');
});

const version = (number: number, live: string[] = []) => ({ id: `version:v${number}`, version: `v${number}`, digest: 'd', at_ms: 1, by: 'ann', runtime: 'python', live, is_removed: false, provenance: {} });
const lineage = {
  project: 'default', model: 'churn', versions: [version(3), version(2, ['production']), version(1)],
  releases: [{ id: 'release:9', deployment: 9, version: 'v2', environment: 'production', by: 'ann', cause: 'promote', at_ms: 1, parts: [], live_ms: 2 }],
  data: [{ id: 'data:aa', digest: 'aa', names: ['train.csv'], kind: 'file', bytes: 10, files: 1, rows: 250 }],
  code: [{ id: 'code:0123456789abcdef', commit: '0123456789abcdef', is_dirty: true }],
  packages: [], requests: [{ id: 'requests:v2@production', version: 'v2', environment: 'production', count: 1_200, failed: 3 }],
  edges: [
    { from: 'data:aa', to: 'version:v2', is: 'trained' }, { from: 'data:aa', to: 'version:v2', is: 'compared' }, { from: 'code:0123456789abcdef', to: 'version:v2', is: 'made' },
    { from: 'version:v1', to: 'version:v2', is: 'before' }, { from: 'version:v2', to: 'version:v3', is: 'before' },
    { from: 'version:v2', to: 'release:9', is: 'released' }, { from: 'version:v2', to: 'requests:v2@production', is: 'answered' },
  ],
  versions_left_out: 0, releases_left_out: 0,
} as unknown as Lineage;

test('the neighbourhood of a version is what it comes from and what came of it', () => {
  assert.equal(focusOf(lineage, undefined, 'production'), 'v2');
  assert.equal(focusOf(lineage, 'v1', 'production'), 'v1');
  assert.equal(focusOf(lineage, undefined, 'staging'), 'v3', 'the newest, where nothing is live');
  const { nodes, edges, more } = neighbourhood(lineage, 'v2');
  assert.deepEqual(nodes.map((node) => [node.layer, node.kind, node.title]), [
    [0, 'data', 'train.csv'], [0, 'code', '0123456789'], [0, 'version', 'v1'], [1, 'version', 'v2'],
    [2, 'version', 'v3'], [2, 'release', 'production'], [2, 'requests', '1,200 requests'],
  ]);
  assert.equal(nodes[0]?.about, 'trained with, compared with; 250 rows');
  assert.deepEqual(edges, [[0, 3], [1, 3], [2, 3], [3, 4], [3, 5], [3, 6]]);
  assert.deepEqual(more, { from: 0, to: 0 });
  assert.equal(describe(lineage, 'version:v0').about, 'too old to be here');
});

test('of many neighbours some are drawn, requests always', () => {
  const many = { ...lineage, edges: [...Array.from({ length: 30 }, (_, at) => ({ from: 'version:v2', to: `release:${at + 10}`, is: 'released' })), ...lineage.edges] } as unknown as Lineage;
  const { nodes, more } = neighbourhood(many, 'v2');
  assert.equal(nodes.filter((node) => node.layer === 2).length, 8);
  assert.equal(more.to, 25);
  assert.ok(nodes.some((node) => node.kind === 'requests'));
});

test('the picture fits, beside or below each other, and nothing lies on anything else', () => {
  const of = neighbourhood(lineage, 'v2');
  for (const width of [1000, 366]) {
    const drawn = layout(of, width);
    assert.ok(drawn.width <= width && drawn.boxes.every((box) => box.x >= 0 && box.x + box.width <= width && box.y + box.height <= drawn.height), String(width));
    assert.equal(drawn.lines.length, 6);
    drawn.boxes.forEach((a, at) => drawn.boxes.slice(at + 1).forEach((b) => {
      assert.ok(a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y, `${width}: ${at}`);
    }));
  }
});

const row = {
  id: 'r', row: 0, rows: 1, time: new Date(5_000).toISOString(), environment: 'production', version: 'v2', digest: 'd2', revision: 1, replica: 'r1-3', principal: 'shop', key: null, trace: null,
  total_us: 10_000, queue_us: 2_000, worker_us: 5_000, batch_rows: 4, batch_offset: 1, status: 200, code: null, error: null, copy: false, weight: 1, payload: 'whole',
} satisfies RecordRow;
const release = (version: string, at_ms: number, more: object) => ({ id: `release:${at_ms}`, deployment: at_ms, version, environment: 'production', by: 'ann', cause: 'deploy', at_ms, parts: [], ...more }) as unknown as Lineage['releases'][number];

test('a version answered by the release that was in force at that moment', () => {
  const first = release('v1', 1_000, { live_ms: 1_000 });
  const second = release('v2', 3_000, { live_ms: 6_000, parts: [{ at_ms: 3_000, percent: 10, is_shadow: false }, { at_ms: 4_000, percent: 50, is_shadow: false }] });
  const all = [second, first];
  assert.deepEqual(inForce(all, 'production', 'v1', 5_000), { how: 'live', release: first });
  assert.deepEqual(inForce(all, 'production', 'v2', 3_500), { how: 'part', release: second, percent: 10, isShadow: false });
  assert.deepEqual(inForce(all, 'production', 'v2', 5_000), { how: 'part', release: second, percent: 50, isShadow: false });
  assert.deepEqual(inForce(all, 'production', 'v2', 7_000), { how: 'live', release: second });
  assert.deepEqual(inForce(all, 'production', 'v1', 7_000), { how: 'replaced', release: first, at: 6_000 });
  assert.equal(inForce(all, 'production', 'v2', 2_000), null);
  assert.equal(inForce(all, 'staging', 'v1', 5_000), null, 'releases elsewhere say nothing');
  assert.equal(inForce([release('v3', 3_000, { ended_ms: 4_000, parts: [{ at_ms: 3_000, percent: 10, is_shadow: true }] })], 'production', 'v3', 5_000), null, 'it had ended');
});

test('the way of a request goes from its data to its truth', () => {
  const provenance = { author: 'Ann', data: [{ name: 'train.csv', rows: 250 }], git_commit: '0123456789abcdef', git_dirty: true };
  const of = { ...lineage, versions: [{ ...version(2), digest: 'd2', provenance }], releases: [release('v2', 1_000, { live_ms: 2_000 })] } as unknown as Lineage;
  const way = wayOf(row, of, { rows: [{ row: 0, truth: true, at_ms: 9_000 }] });
  assert.deepEqual(way.map((step) => step.id), ['data', 'code', 'version', 'release', 'asked', 'batch', 'answer', 'truth']);
  assert.deepEqual(way.map((step) => step.at), [undefined, undefined, 1, 2_000, 5_000, undefined, undefined, 9_000]);
  assert.equal(way[0]?.text, 'train.csv (250 rows)');
  assert.equal(way[1]?.text, 'commit 0123456789 and changes since, by Ann');
  assert.equal(way[5]?.text, 'waited 2 ms; place 2 of a batch of 4; 5 ms in the model, 50% of its time');
  assert.equal(way[7]?.text, 'true');
  // A number that was given anew is another version.
  assert.ok(!wayOf({ ...row, digest: 'other' }, of, undefined).some((step) => step.id === 'version'));
  const unknown = wayOf(row, undefined, { rows: [{ row: 3, truth: 1, at_ms: 9 }], key: null });
  assert.deepEqual(unknown.map((step) => step.id), ['asked', 'batch', 'answer', 'truth'], 'what is not read yet is left out');
  assert.equal(unknown.at(-1)?.isOpen, true);
  assert.equal(wayOf(row, undefined, { rows: [], key: { truth: 'cat', at_ms: 9 } }).at(-1)?.text, 'cat, said of its key');
});
