/** What somebody means by what they type to find something. Pure. */
import type { Tab } from '../pages/model/search';
import type { IconName } from '../parts/Icon';

export interface Verb {
  /** As the command line has it. */
  name: string;
  title: string;
  icon: IconName;
  /** What it is with a model's name, if it is more than the title before it. */
  says?: (name: string) => string;
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
  { name: 'why', title: 'Why did … change', says: (name) => `Why did ${name} change`, icon: 'question', tab: 'why' },
];

export interface Wish {
  verb?: Verb;
  name: string;
  version?: string;
}

/** Words of a question that are no part of a name. */
const FILLERS = ['did', 'change', 'change?', 'changed'];

/** `rollback churn` is a verb and a name, `why did churn change` too; `churn v3` and `churn@v3` are a name and a version. */
export function parseWish(text: string): Wish {
  const words = text.trim().toLowerCase().replace(/^decalog\s+/, '').split(/[\s@]+/).filter((word) => word !== '');
  const verb = words.length > 1 ? VERBS.find((one) => one.name === words[0]) : undefined;
  const rest = verb ? words.slice(1).filter((word) => verb.name !== 'why' || !FILLERS.includes(word)) : words;
  const version = rest.length > 1 ? rest.find((word) => /^v\d+$/.test(word)) : undefined;
  const name = rest.filter((word) => word !== version).join(' ');
  return { name, ...(verb ? { verb } : {}), ...(version ? { version } : {}) };
}

/** Whether all words that were typed are in a text. */
export function matches(text: string, typed: string): boolean {
  const within = text.toLowerCase();
  return typed.toLowerCase().split(/\s+/).every((word) => within.includes(word));
}
