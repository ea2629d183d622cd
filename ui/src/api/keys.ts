/**
 * The keys of all queries. What is about a model begins with `['model', project, model]`, so that an entry of the
 * ledger about it refetches all of that and nothing else.
 */
export const keys = {
  session: ['session'] as const,
  server: ['server'] as const,
  status: ['status'] as const,
  can: (action: string, object: string) => ['can', action, object] as const,
  models: ['models'] as const,
  modelPages: (filter: Readonly<Record<string, unknown>>) => ['models', filter] as const,
  model: (project: string, model: string, ...more: readonly unknown[]) => ['model', project, model, ...more] as const,
  /** Not below that of the model: an answer is asked again only by whoever reads it. */
  why: (project: string, model: string, ...more: readonly unknown[]) => ['why', project, model, ...more] as const,
  alarms: (...more: readonly unknown[]) => ['alarms', ...more] as const,
  events: (...more: readonly unknown[]) => ['events', ...more] as const,
  access: (...more: readonly unknown[]) => ['access', ...more] as const,
  system: (...more: readonly unknown[]) => ['system', ...more] as const,
};

/** The keys to refetch when entries about a subject were written, such as `default/churn` or `members`. */
export function keysAbout(subject: string): readonly (readonly unknown[])[] {
  const [project, model] = subject.split('/');
  if (project && model) return [keys.model(project, model.split('@')[0] ?? model)];
  return [keys.access(), keys.system(), ['can']];
}
