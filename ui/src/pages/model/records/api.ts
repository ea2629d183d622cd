import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { read } from '../../../api/client';
import { keys } from '../../../api/keys';

/** One row of a request. Inputs and outputs are its `in.NAME` and `out.NAME`. */
export interface RecordRow {
  id: string;
  row: number;
  rows: number;
  time: string;
  environment: string;
  version: string;
  digest?: string;
  revision: number;
  replica: string | null;
  principal: string | null;
  key: string | null;
  trace: string | null;
  total_us: number;
  queue_us: number;
  worker_us: number;
  batch_rows: number;
  batch_offset: number;
  status: number;
  code: string | null;
  error: string | null;
  copy: boolean;
  weight: number;
  payload: string;
  [value: `in.${string}` | `out.${string}`]: unknown;
}

export interface RecordsFilter {
  environment: string;
  since: string;
  until?: string | undefined;
  status?: string | undefined;
  version?: string | undefined;
  key?: string | undefined;
  where?: string | undefined;
}

/** What the filters are as an expression of SQL. */
export function expression({ environment, status, version, where }: RecordsFilter): string {
  const parts = [`environment = ${quoted(environment)}`];
  if (status === 'failed') parts.push('status >= 400');
  else if (status === 'answered') parts.push('status < 400');
  else if (status && /^\d+$/.test(status)) parts.push(`status = ${status}`);
  if (version) parts.push(`version = ${quoted(version)}`);
  if (where) parts.push(parts.length > 0 ? `(${where})` : where);
  return parts.join(' and ');
}

export function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** The newest rows that fit. They are asked again only when one says so: a list that moves cannot be read. */
export function useRecords(project: string, model: string, filter: RecordsFilter, limit: number) {
  const { since, until, key } = filter;
  const query = { where: expression(filter), since, until, key, limit };
  return useQuery({
    queryKey: keys.model(project, model, 'records', query),
    queryFn: ({ signal }) => read<RecordRow[]>(path(project, model), query, signal),
    placeholderData: keepPreviousData,
    refetchOnWindowFocus: false,
    staleTime: 60_000,
  });
}

/** All rows of one request; those that a list has already are shown until then. */
export function useRecord(project: string, model: string, id: string, listed: readonly RecordRow[]) {
  return useQuery({
    queryKey: keys.model(project, model, 'record', id),
    queryFn: async ({ signal }) => (await read<RecordRow[]>(path(project, model), { id, limit: 1000 }, signal)).toSorted((one, other) => one.row - other.row),
    placeholderData: listed.length > 0 ? listed.toSorted((one, other) => one.row - other.row) : undefined,
    staleTime: Infinity,
  });
}

function path(project: string, model: string): string {
  return `/v1/projects/${encodeURIComponent(project)}/models/${encodeURIComponent(model)}/records`;
}

/** The values of one direction, by name. The shapes of tensors stand beside them. */
export function values(row: RecordRow, direction: 'in' | 'out'): { name: string; value: unknown; shape: unknown }[] {
  return Object.keys(row)
    .filter((name) => name.startsWith(`${direction}.`) && !name.endsWith(':shape'))
    .map((name) => ({
      name: name.slice(direction.length + 1),
      value: row[name as `in.${string}`],
      shape: row[`${name}:shape` as `in.${string}`],
    }));
}

/** A value in a line. */
export function brief(value: unknown): string {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  if (typeof value === 'string') return value === '' ? '""' : value;
  return JSON.stringify(value);
}
