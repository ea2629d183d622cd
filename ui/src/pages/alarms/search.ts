import { oneOf, type Raw, text, whole } from '../../search';

export const TABS = ['alarms', 'receivers'] as const;
export type Tab = (typeof TABS)[number];
export const SEVERITIES = ['alert', 'warning', 'notice'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** What the address of this page says behind `?`. */
export interface AlarmsSearch {
  /** `alarms`, if it is not said. */
  tab?: Tab | undefined;
  /** `project/model`, or `*` for alarms of the platform itself. */
  model?: string | undefined;
  severity?: Severity | undefined;
  kind?: string | undefined;
  /** Of those that are over, from 2. */
  page?: number | undefined;
}

export function alarmsSearch(raw: Raw): AlarmsSearch {
  const tab = oneOf(raw.tab, TABS);
  return { tab: tab === 'alarms' ? undefined : tab, model: text(raw.model), severity: oneOf(raw.severity, SEVERITIES), kind: text(raw.kind), page: whole(raw.page) };
}
