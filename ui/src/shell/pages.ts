import type { IconName } from '../parts/Icon';

/** The pages of the navigation. `key` is what is typed after `g`. */
export const PAGES = [
  { to: '/', title: 'Models', icon: 'overview', key: 'm', about: 'Every model, and what is live' },
  { to: '/alarms', title: 'Alarms', icon: 'alarm', key: 'a', about: 'What is open, since when, and what to do' },
  { to: '/events', title: 'Events', icon: 'events', key: 'e', about: 'Who did what, and what happened' },
  { to: '/access', title: 'Access', icon: 'access', key: 'c', about: 'Members, tokens, proposals' },
  { to: '/system', title: 'System', icon: 'system', key: 's', about: 'Server, ledger, keys, receivers' },
] as const satisfies readonly { to: string; title: string; icon: IconName; key: string; about: string }[];
