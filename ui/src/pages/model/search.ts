import type { Range } from '../../range';
import { oneOf, type Raw, range, text, whole } from '../../search';

/** The tabs of a model, in their order. */
export const TABS = ['now', 'why', 'versions', 'try', 'logs', 'data', 'truth', 'release', 'records', 'lineage', 'compare'] as const;
export type Tab = (typeof TABS)[number];

/** What the address of a model's page says behind `?`. A tab that needs more adds it here. */
export interface ModelSearch extends Range {
  /** `now`, if it is not said. */
  tab?: Tab | undefined;
  environment?: string | undefined;
  version?: string | undefined;
  /** The version to compare with. */
  against?: string | undefined;
  column?: string | undefined;
  by?: string | undefined;
  sort?: string | undefined;
  /** A filter of rows. */
  where?: string | undefined;
  key?: string | undefined;
  /** One record. */
  id?: string | undefined;
  search?: string | undefined;
  /** A row that is tried. */
  row?: string | undefined;
  /** Of records: `failed`, or a number. */
  status?: string | undefined;
  /** The two versions that are compared. */
  a?: string | undefined;
  b?: string | undefined;
  /** About when a number changed, in milliseconds since 1970; and which number: `latency`. */
  at?: number | undefined;
  metric?: string | undefined;
}

export function modelSearch(raw: Raw): ModelSearch {
  const tab = oneOf(raw.tab, TABS);
  return {
    ...range(raw),
    tab: tab === 'now' ? undefined : tab,
    environment: text(raw.environment),
    version: text(raw.version),
    against: text(raw.against),
    column: text(raw.column),
    by: text(raw.by),
    sort: text(raw.sort),
    where: text(raw.where),
    key: text(raw.key),
    id: text(raw.id),
    search: text(raw.search),
    row: text(raw.row),
    status: text(raw.status),
    a: text(raw.a),
    b: text(raw.b),
    at: whole(raw.at),
    metric: text(raw.metric),
  };
}
