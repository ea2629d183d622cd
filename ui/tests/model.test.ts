import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filterLines, readLines } from '../src/pages/model/logs/lines';
import { planArguments, readPlan } from '../src/pages/model/versions/plan';
import { stepOf, toLines } from '../src/pages/model/now/series';
import { boundsOf, pictureOf, toJson } from '../src/pages/model/try/columns';
import { bytesOf, encoded, sizeOf } from '../src/pages/model/try/bytes';
import { aboutColumns, fromAddress, toAddress, toForm, toRow } from '../src/pages/model/try/row';
import { command, snippet } from '../src/pages/model/try/calls';
import { type Happened, readHistory } from '../src/pages/model/versions/history';

const age = { name: 'age', datatype: 'INT64' as const, shape: [] };
const note = { name: 'note', datatype: 'BYTES' as const, shape: [], nullable: true };

test('whole numbers keep their digits, and stay within their type', () => {
  assert.deepEqual(toJson(age, '9007199254740993'), { json: '9007199254740993' });
  assert.ok(toJson({ ...age, datatype: 'UINT8' }, '256').wrong);
  assert.deepEqual(boundsOf('INT8'), [-128n, 127n]);
});

test('a row leaves out what may be left out, and names what is wrong', () => {
  assert.equal(toRow([age, note], { age: '7', note: '' }).body, '{"age": 7}');
  assert.deepEqual(toRow([age], { age: 'x' }), { body: null, wrong: { age: 'It is no whole number' } });
});

test('what a problem says of a column stands beside it', () => {
  const { byColumn, rest } = aboutColumns([age], ['age  expected INT64, got 7.5', 'foo  is not a column']);
  assert.deepEqual(byColumn, { age: 'Expected INT64, got 7.5' });
  assert.deepEqual(rest, ['foo  is not a column']);
});

test('the address keeps a row that differs from the usual one, if it is short', () => {
  assert.equal(toAddress({ age: '1' }, { age: '1' }), undefined);
  assert.deepEqual(fromAddress(toAddress({ age: '2' }, { age: '1' })), { age: '2' });
  assert.equal(toAddress({ age: 'x'.repeat(2000) }, { age: '1' }), undefined);
  assert.deepEqual(fromAddress('no json'), {});
});

test('pictures are told by their shape', () => {
  assert.deepEqual(pictureOf({ name: 'i', datatype: 'FP32', shape: [3, 224, 224] }), { width: 224, height: 224, channels: 3, isFirst: true });
  assert.equal(pictureOf({ name: 'i', datatype: 'FP32', shape: [10] }), null);
});

test('calls quote what shells and Python read otherwise', () => {
  const call = { origin: 'http://h', path: '/p', reference: 'm', body: '{"a": "it\'s true", "b": true, "c": null}', form: null, streams: false, withToken: false };
  assert.match(snippet('curl', call), /it'\\''s true/);
  assert.match(snippet('requests', call), /"it's true", "b": True, "c": None/);
});

test('a file is sent as its bytes, and calls name it', () => {
  const text = encoded(Uint8Array.from([255, 0, 104, 105]));
  assert.equal(text, '{"b64": "/wBoaQ=="}');
  assert.deepEqual([sizeOf(text), sizeOf('{"b64": 1}'), sizeOf('hi')], [4, null, null]);
  assert.deepEqual(bytesOf(JSON.parse(text)), Uint8Array.from([255, 0, 104, 105]));
  assert.deepEqual([bytesOf({ b64: '?' }), bytesOf('hi'), bytesOf({ b64: '', a: 1 })], [null, null, null]);
  const columns = [age, note];
  const texts = { age: '7', note: text };
  const { body } = toRow(columns, texts);
  assert.equal(body, '{"age": 7, "note": {"b64": "/wBoaQ=="}}');
  const form = toForm(columns, texts);
  assert.deepEqual(form, [{ name: 'age', text: '7' }, { name: 'note', text: null }]);
  assert.equal(toForm(columns, { age: '7', note: 'hi' }), null);
  const call = { origin: 'http://h', path: '/p', reference: 'm', body: body ?? '', form, streams: false, withToken: false };
  assert.match(snippet('curl', call), /--form-string 'age=7' \\\n {2}-F 'note=@FILE'$/);
  assert.match(snippet('Python', call), /"note": open\("FILE", "rb"\)\.read\(\)/);
  assert.match(snippet('requests', call), /^import base64\n[^]*"note": \{"b64": base64\.b64encode/);
  assert.equal(command(call), "decalog predict m 'age=7' 'note=@FILE'");
});

test('lines of a traceback belong to its error', () => {
  const lines = readLines('INFO a\nERROR b\nTraceback (most recent call last):\n  File x\nValueError: c\nINFO d\n');
  assert.deepEqual(lines.map((line) => line.level), ['info', 'error', 'error', 'error', 'error', 'info']);
  assert.equal(filterLines(lines, 'value', 'error').length, 1);
});

test('minutes without an entry are a rate of zero, and no latency', () => {
  const minute = 60_000;
  const times = { mean_ms: 3, queue_ms: 0.5, worker_ms: 2, p50_ms: 2, p90_ms: 5, p99_ms: 9 };
  const row = { version: 'v1', environment: 'production', start_ms: minute, count: 120, rows: 120, failed: 0, errors: {}, ...times };
  const lines = toLines([row], 'minute', 0, 3 * minute, 10 * minute);
  assert.deepEqual(lines.requests[0]?.values, [0, 2, 0]);
  assert.deepEqual(lines.latency[0]?.values, [null, 2, null]);
  assert.deepEqual(lines.parts.map((line) => line.values[1]), [2, 0.5, 0.5]);
  const refused = { ...row, queue_ms: null, worker_ms: null };
  assert.deepEqual(toLines([refused], 'minute', 0, 3 * minute, 10 * minute).parts, [], 'no worker was asked');
  assert.equal(stepOf(0, 7 * 86_400_000, 7 * 86_400_000), 'hour');
});

test('a release is known with its cause, and a removed model has none on its way', () => {
  const started = (seq: number, version: number, cause: string) => ({ kind: 'deploy_started', seq, at_ms: seq, actor: 'ann', body: { environment: 'production', version, plan: { cause } } });
  const released = (deployment: number, version: number, previous: number | null) => ({ kind: 'released', at_ms: deployment, actor: 'decalog', body: { deployment, environment: 'production', version, previous, elapsed_ms: 1 } });
  const events = [started(1, 1, 'deploy'), released(1, 1, null), started(2, 2, 'deploy'), released(2, 2, 1), started(3, 3, 'deploy'), released(3, 3, 2)] as unknown as Happened[];
  const back = [...events, started(4, 2, 'rollback'), released(4, 2, 3)] as unknown as Happened[];
  assert.deepEqual(readHistory(back).released.map((one) => [one.version, one.previous, one.cause]), [['v1', null, 'deploy'], ['v2', 'v1', 'deploy'], ['v3', 'v2', 'deploy'], ['v2', 'v3', 'rollback']]);
  const shifted = { kind: 'traffic_shifted', seq: 6, at_ms: 6, actor: 'decalog', body: { deployment: 5, environment: 'production', version: 4 } };
  const onItsWay = [...back, started(5, 4, 'deploy'), shifted] as unknown as Happened[];
  assert.equal(readHistory(onItsWay).shifting.get('production'), 'v4');
  const removed = [...onItsWay, { kind: 'model_removed', at_ms: 7, actor: 'ann', body: {} }] as unknown as Happened[];
  assert.equal(readHistory(removed).shifting.size, 0);
});

test('a release step by step is read as it is written', () => {
  const wish = { gradual: true, shares: '5, 25%,50', every: '30 s', guards: 'errors<1%, p99<50ms' };
  assert.deepEqual(readPlan(wish), { canary: [5, 25, 50], every_ms: 30_000, guards: ['errors<1%', 'p99<50ms'] });
  assert.equal(planArguments(wish), " --canary 5,25,50 --every 30s --guard 'errors<1%' --guard 'p99<50ms'");
  for (const wrong of ['', '5,,10', '50, 25', '0', '101', '5 10', '2.5']) assert.equal(readPlan({ ...wish, shares: wrong }), null, wrong);
  assert.equal(readPlan({ ...wish, every: 'soon' }), null);
  assert.equal(planArguments({ ...wish, gradual: false }), '');
});
