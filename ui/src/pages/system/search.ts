import { type Raw, text } from '../../search';

/** What the address of this page says behind `?`. */
export interface SystemSearch {
  /** Whose variables are listed, as `project@environment`. */
  of?: string | undefined;
  /** By which column processes are sorted. */
  sort?: string | undefined;
}

export function systemSearch(raw: Raw): SystemSearch {
  const of = text(raw.of);
  return { of: of && /^[^@]+@[^@]+$/.test(of) ? of : undefined, sort: text(raw.sort) };
}
