/** How rights are said. Pure. */

/** Where a role holds, as `*`, `fraud` or `fraud@staging`. */
export function place(where: string): string {
  if (where === '*') return 'everywhere';
  const [project, environment] = where.split('@');
  return environment ? `in ${environment} of ${project}` : `in ${project}`;
}

/** The object that a place stands for, as `/v1/can` wants it. */
export function objectOf(where: string): string {
  if (where === '*') return '*';
  const [project, environment] = where.split('@');
  return environment ? `${project}/*@${environment}` : `${project}/*`;
}

/** The options of a command that name a place. */
export function placeOptions(where: string): string {
  if (where === '*') return '';
  const [project, environment] = where.split('@');
  return ` --project ${project}${environment ? ` --env ${environment}` : ''}`;
}

/** The option of a command that says what somebody is. */
export function kindOption(kind: string): string {
  return kind === 'person' || kind === 'service' || kind === 'group' ? ` --${kind}` : '';
}

export const KINDS: Readonly<Record<string, string>> = {
  person: 'People', service: 'Services', job: 'Jobs', certificate: 'Certificates', group: 'Groups',
};
export const KIND_ORDER = Object.keys(KINDS);

export const ROLES: Readonly<Record<string, string>> = {
  viewer: 'looks, asks models, says what turned out to be true',
  operator: 'also rolls back, pauses, resumes, restarts',
  deployer: 'also pushes, releases, sets variables and secrets, reads records',
  owner: 'also gives and takes roles, and protects environments',
};

export const SCOPES: readonly { value: string; label: string }[] = [
  { value: 'predict', label: 'predict: ask models' },
  { value: 'read', label: 'read: see models, events, logs, metrics' },
  { value: 'operate', label: 'operate: roll back, pause, resume, restart' },
  { value: 'deploy', label: 'deploy: push, release, configure, remove' },
  { value: 'secrets', label: 'secrets: set secrets' },
  { value: 'records', label: 'records: read what callers asked' },
  { value: 'audit', label: 'audit: export what happened, with proof' },
  { value: 'admin', label: 'admin: decide who may do what' },
];

export const ACTIONS = [
  'read', 'predict', 'feedback', 'rollback', 'steer', 'restart', 'push', 'release', 'configure', 'scale', 'secret', 'remove', 'token', 'member', 'expel', 'protect', 'records', 'audit', 'administer',
] as const;

export const ORIGINS: Readonly<Record<string, string>> = {
  made: 'made by hand', login: 'a login by a terminal', session: 'a login by a browser', exchange: "a job's token",
};

export { quoted } from '../alarms/words';
