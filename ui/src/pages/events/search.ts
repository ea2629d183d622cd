import { oneOf, type Raw, text } from '../../search';

export const TABS = ['timeline', 'proof'] as const;
export type Tab = (typeof TABS)[number];

/** What the address of this page says behind `?`. */
export interface EventsSearch {
  /** `timeline`, if it is not said. */
  tab?: Tab | undefined;
  model?: string | undefined;
  kind?: string | undefined;
  actor?: string | undefined;
  /** The place of the event that is open, as `12` or `12.7`. */
  at?: string | undefined;
}

export function eventsSearch(raw: Raw): EventsSearch {
  const tab = oneOf(raw.tab, TABS);
  const at = text(raw.at);
  return {
    tab: tab === 'timeline' ? undefined : tab,
    model: text(raw.model),
    kind: text(raw.kind),
    actor: text(raw.actor),
    at: at && /^\d+(\.\d+)?$/.test(at) ? at : undefined,
  };
}
