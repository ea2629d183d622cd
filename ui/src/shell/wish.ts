/** What somebody means by what they type to find something. Pure. */
import type { Tab } from '../pages/model/search';
import type { IconName } from '../parts/Icon';

export interface Verb {
  /** As the command line has it. */
  name: string;
  title: string;
  icon: IconName;
  /** Where the dashboard does it. */
  tab: Tab;
}

export const VERBS: readonly Verb[] = [
  { name: 'rollback', title: 'Roll back', icon: 'back', tab: 'release' },
  { name: 'release', title: 'Release', icon: 'play', tab: 'release' },
  { name: 'promote', title: 'Promote', icon: 'up', tab: 'release' },
  { name: 'predict', title: 'Try', icon: 'play', tab: 'try' },
  { name: 'logs', title: 'Logs of', icon: 'events', tab: 'logs' },
  { name: 'drift', title: 'Data of', icon: 'chart', tab: 'data' },
  { name: 'quality', title: 'Truth of', icon: 'check', tab: 'truth' },
  { name: 'records', title: 'Records of', icon: 'table', tab: 'records' },
  { name: 'metrics', title: 'Compare', icon: 'chart', tab: 'compare' },
];

export interface Wish {
  verb?: Verb;
  name: string;
  version?: string;
}

/** `rollback churn` is a verb and a name, `churn v3` and `churn@v3` are a name and a version. */
export function parseWish(text: string): Wish {
  const words = text.trim().toLowerCase().replace(/^decalog\s+/, '').split(/[\s@]+/).filter((word) => word !== '');
  const verb = words.length > 1 ? VERBS.find((one) => one.name === words[0]) : undefined;
  const rest = verb ? words.slice(1) : words;
  const version = rest.length > 1 ? rest.find((word) => /^v\d+$/.test(word)) : undefined;
  const name = rest.filter((word) => word !== version).join(' ');
  return { name, ...(verb ? { verb } : {}), ...(version ? { version } : {}) };
}

/** Whether all words that were typed are in a text. */
export function matches(text: string, typed: string): boolean {
  const within = text.toLowerCase();
  return typed.toLowerCase().split(/\s+/).every((word) => within.includes(word));
}
