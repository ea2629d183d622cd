/** What a column of a schema asks for, and how what somebody typed becomes JSON. Pure. */
import type { Schema } from '../../../api/client';
import { sizeOf } from './bytes';

export type Column = Schema<'Column'>;

/** How a value is typed in. */
export type Kind = 'choice' | 'flag' | 'whole' | 'number' | 'text' | 'time' | 'json';

const WHOLE = /^U?INT(8|16|32|64)$/;
const FLOATS: readonly string[] = ['FP16', 'FP32', 'FP64', 'BF16'];
/** A tensor with more elements than this is not written out as text before somebody asks for it. */
const WRITTEN_MAX = 4_096;

export function kindOf(column: Column): Kind {
  const { datatype, shape, categories } = column;
  if (shape === null || shape === undefined || shape.length > 0 || datatype === 'json') return 'json';
  if (categories && categories.length > 0) return 'choice';
  if (datatype === 'BOOL') return 'flag';
  if (datatype === 'timestamp') return 'time';
  if (WHOLE.test(datatype)) return 'whole';
  return FLOATS.includes(datatype) ? 'number' : 'text';
}

/** Its type in a few words: `INT64`, `FP32 1 × 8 × 8`, `text`, `one of 16`. */
export function typeOf(column: Column): string {
  const { datatype, shape, categories, nullable } = column;
  const base = categories?.length ? `one of ${categories.length}` : datatype === 'BYTES' ? 'text' : datatype;
  const size = shape && shape.length > 0 ? ` ${shape.map((one) => (one < 0 ? 'any' : one)).join(' × ')}` : '';
  return `${base}${size}${nullable ? ', or null' : ''}`;
}

/** The least and the greatest whole number of a datatype. */
export function boundsOf(datatype: string): [bigint, bigint] | null {
  const bits = BigInt(WHOLE.exec(datatype)?.[1] ?? 0);
  if (bits === 0n) return null;
  return datatype.startsWith('U') ? [0n, 2n ** bits - 1n] : [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n];
}

/** Whether a row may do without it. */
export function isOptional(column: Column): boolean {
  return column.nullable === true || (column.default !== undefined && column.default !== null);
}

export type Typed = { json: string | null; wrong?: undefined } | { wrong: string; json?: undefined };

/** JSON of what was typed; null leaves the column out. Whole numbers keep all their digits. */
export function toJson(column: Column, text: string): Typed {
  const value = text.trim();
  const kind = kindOf(column);
  if (value === '' && !(kind === 'text' && !isOptional(column))) return isOptional(column) ? { json: null } : { wrong: 'It is needed' };
  switch (kind) {
    case 'choice': return choice(column, value);
    case 'flag': return { json: value === 'true' ? 'true' : 'false' };
    case 'whole': return whole(column, value);
    case 'number': return Number.isFinite(Number(value)) ? { json: String(Number(value)) } : { wrong: 'It is no number' };
    case 'time': return Number.isNaN(Date.parse(value)) ? { wrong: 'It is no time, such as 2026-03-08T14:05:00Z' } : { json: JSON.stringify(value) };
    case 'text': return { json: sizeOf(text) === null ? JSON.stringify(text) : text };
    case 'json': return anything(value);
  }
}

function choice(column: Column, value: string): Typed {
  const found = column.categories?.find((one) => String(one) === value);
  return found === undefined ? { wrong: 'It is none of the values' } : { json: JSON.stringify(found) };
}

function whole(column: Column, value: string): Typed {
  if (!/^[+-]?\d+$/.test(value)) return { wrong: 'It is no whole number' };
  const number = BigInt(value.replace(/^\+/, ''));
  const [least, greatest] = boundsOf(column.datatype) ?? [number, number];
  return number < least || number > greatest ? { wrong: `It lies beyond ${least} to ${greatest}` } : { json: String(number) };
}

function anything(value: string): Typed {
  try {
    JSON.parse(value);
    return { json: value.replace(/,\s*\n\s*/g, ', ').replace(/\s*\n\s*/g, '') };
  } catch (cause) {
    return { wrong: cause instanceof Error ? `It is no JSON: ${cause.message}` : 'It is no JSON' };
  }
}

/** Rows with nothing known about them: the default, the first category, zeros in the shape. */
export function plainText(column: Column, now: Date): string {
  if (column.default !== undefined && column.default !== null) return typeof column.default === 'string' ? column.default : JSON.stringify(column.default);
  if (column.nullable) return '';
  switch (kindOf(column)) {
    case 'choice': return String(column.categories?.[0] ?? '');
    case 'flag': return 'false';
    case 'whole':
    case 'number': return '0';
    case 'time': return `${now.toISOString().slice(0, 19)}Z`;
    case 'text': return '';
    case 'json': return column.datatype === 'json' && !column.shape?.length ? '{}' : zeros(column);
  }
}

function zeros(column: Column): string {
  const shape = (column.shape ?? []).map((one) => (one < 0 ? 1 : one));
  if (shape.reduce((product, one) => product * one, 1) > WRITTEN_MAX) return '';
  return written(build(shape, () => (column.datatype === 'BYTES' ? '' : column.datatype === 'BOOL' ? false : 0)));
}

export type Nested = number | string | boolean | Nested[];

/** Nested lists of a shape, filled in order. */
export function build(shape: readonly number[], next: () => Nested): Nested {
  const [first, ...rest] = shape;
  return first === undefined ? next() : Array.from({ length: first }, () => build(rest, next));
}

/** JSON with a line for each innermost list, so that a matrix looks like one. */
export function written(value: Nested, indent = ''): string {
  if (!Array.isArray(value)) return JSON.stringify(value);
  if (!value.some(Array.isArray)) return `[${value.map((one) => JSON.stringify(one)).join(', ')}]`;
  return `[\n${value.map((one) => `${indent} ${written(one, `${indent} `)}`).join(',\n')}\n${indent}]`;
}

/** How large a picture of this shape is, if it looks like one: a plane, or one or three channels before or behind. */
export function pictureOf(column: Column): { width: number; height: number; channels: 1 | 3; isFirst: boolean } | null {
  const shape = column.shape ?? [];
  if (kindOf(column) !== 'json' || ['BYTES', 'BOOL', 'json', 'timestamp'].includes(column.datatype)) return null;
  const [a = 0, b = 0, c = 0] = shape;
  const isSide = (side: number) => side >= 8 && side <= 1_024;
  if (shape.length === 2 && isSide(a) && isSide(b)) return { height: a, width: b, channels: 1, isFirst: false };
  if (shape.length !== 3) return null;
  if ((a === 1 || a === 3) && isSide(b) && isSide(c)) return { height: b, width: c, channels: a, isFirst: true };
  return (c === 1 || c === 3) && isSide(a) && isSide(b) ? { height: a, width: b, channels: c, isFirst: false } : null;
}
