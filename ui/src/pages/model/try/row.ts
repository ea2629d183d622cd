/** A row as somebody types it: a text for each column. Pure. */
import type { Schema } from '../../../api/client';
import { sizeOf } from './bytes';
import { type Column, isOptional, kindOf, plainText, toJson } from './columns';

export type Texts = Readonly<Record<string, string>>;

/** An address may be this long without trouble anywhere. */
const ADDRESS_MAX = 800;

export interface Row {
  /** What is sent; null if something is wrong with it. */
  body: string | null;
  wrong: Readonly<Record<string, string>>;
}

export function toRow(columns: readonly Column[], texts: Texts): Row {
  const wrong: Record<string, string> = {};
  const parts: string[] = [];
  for (const column of columns) {
    const typed = toJson(column, texts[column.name] ?? '');
    if (typed.wrong !== undefined) wrong[column.name] = typed.wrong;
    else if (typed.json !== null) parts.push(`${JSON.stringify(column.name)}: ${typed.json}`);
  }
  return { body: Object.keys(wrong).length > 0 ? null : `{${parts.join(', ')}}`, wrong };
}

/** A column of a form: a text, or a file where it is null. */
export interface FormField {
  name: string;
  text: string | null;
}

/** The row as a form, if a column of it is a file: what can be sent from a shell. */
export function toForm(columns: readonly Column[], texts: Texts): FormField[] | null {
  const fields = columns.flatMap(({ name, ...column }): FormField[] => {
    const text = texts[name] ?? '';
    const typed = toJson({ name, ...column }, text);
    if (typed.json === null || typed.json === undefined) return [];
    return [{ name, text: kindOf({ name, ...column }) === 'text' && sizeOf(text) !== null ? null : text }];
  });
  return fields.some(({ text }) => text === null) ? fields : null;
}

/** A row such as those that came lately: the median of numbers, the most frequent of everything else. */
export function usualTexts(columns: readonly Column[], lately: readonly Schema<'ColumnMetrics'>[], now: Date): Record<string, string> {
  return Object.fromEntries(columns.map((column) => {
    const seen = lately.filter((one) => one.direction === 'in' && one.column === column.name).at(-1);
    return [column.name, (seen && usualText(column, seen)) ?? plainText(column, now)];
  }));
}

function usualText(column: Column, seen: Schema<'ColumnMetrics'>): string | undefined {
  // What is mostly missing is left out, as most callers do.
  if (isOptional(column) && seen.missing * 2 > seen.count) return '';
  const frequent = seen.top[0]?.value;
  switch (kindOf(column)) {
    case 'choice': return column.categories?.map(String).find((one) => one === frequent);
    case 'flag': return seen.mean === null || seen.mean === undefined ? undefined : String(seen.mean >= 0.5);
    case 'whole': return seen.p50 === null || seen.p50 === undefined ? undefined : String(Math.round(seen.p50));
    case 'number': return seen.p50 === null || seen.p50 === undefined ? undefined : String(Number(seen.p50.toPrecision(4)));
    case 'text': return frequent;
    default: return undefined;
  }
}

/** What the address says of a row: what differs from the usual one, if that is short. */
export function toAddress(texts: Texts, usual: Texts): string | undefined {
  const changed = Object.entries(texts).filter(([name, text]) => text !== (usual[name] ?? ''));
  if (changed.length === 0) return undefined;
  const text = JSON.stringify(Object.fromEntries(Object.entries(texts).map(([name, one]) => [name, one])));
  return text.length > ADDRESS_MAX ? undefined : text;
}

export function fromAddress(text: string | undefined): Texts {
  try {
    const found: unknown = JSON.parse(text ?? '{}');
    if (typeof found !== 'object' || found === null) return {};
    return Object.fromEntries(Object.entries(found).flatMap(([name, one]: [string, unknown]) => (typeof one === 'string' ? [[name, one]] : [])));
  } catch {
    return {};
  }
}

/** Which details of a problem are about which column: they begin with its name and two spaces. */
export function aboutColumns(columns: readonly Column[], details: readonly string[]): { byColumn: Record<string, string>; rest: string[] } {
  const byColumn: Record<string, string> = {};
  const rest: string[] = [];
  for (const detail of details) {
    const column = columns.find(({ name }) => detail.startsWith(`${name}  `));
    if (column) byColumn[column.name] = sentence(detail.slice(column.name.length + 2));
    else rest.push(detail);
  }
  return { byColumn, rest };
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
