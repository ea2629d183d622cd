import { flag, oneOf, type Raw, text } from '../../search';

export const TABS = ['members', 'tokens', 'proposals', 'me'] as const;
export type Tab = (typeof TABS)[number];

/** What the address of this page says behind `?`. */
export interface AccessSearch {
  /** `members`, if it is not said. */
  tab?: Tab | undefined;
  /** Part of a name. */
  search?: string | undefined;
  /** Tokens of oneself alone. */
  mine?: true | undefined;
  /** Also tokens that ended. */
  ended?: true | undefined;
  /** A proposal. */
  id?: string | undefined;
}

export function accessSearch(raw: Raw): AccessSearch {
  const tab = oneOf(raw.tab, TABS);
  const id = text(raw.id);
  return { tab: tab === 'members' ? undefined : tab, search: text(raw.search), mine: flag(raw.mine), ended: flag(raw.ended), id: id && /^\d+$/.test(id) ? id : undefined };
}
