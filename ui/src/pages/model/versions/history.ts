/** What the ledger says about releases of a model, in its order. Pure. */
import type { Schema } from '../../../api/client';

export type Happened = Schema<'Happened'>;

export interface Released {
  at: number;
  actor: string;
  environment: string;
  version: string;
  previous: string | null;
  cause: Schema<'Cause'>;
  elapsedMs: number;
}

export interface History {
  /** All releases, oldest first. */
  released: readonly Released[];
  /** What has a part of the traffic now: a rollback ends it. */
  shifting: ReadonlyMap<string, string>;
}

export const EMPTY_HISTORY: History = { released: [], shifting: new Map() };

interface Attempt {
  actor: string;
  environment: string;
  version: number;
  cause: Schema<'Cause'>;
}

/** Each attempt belongs to the release that it became, or ends without one. */
export function readHistory(events: readonly Happened[]): History {
  const attempts = new Map<number, Attempt>();
  const shifting = new Map<string, { deployment: number; version: number }>();
  const released: Released[] = [];
  const settle = (deployment: number) => {
    const environment = attempts.get(deployment)?.environment;
    if (environment !== undefined && shifting.get(environment)?.deployment === deployment) shifting.delete(environment);
  };

  for (const event of events) {
    if (event.kind === 'deploy_started') {
      const { environment, version, plan } = event.body;
      if (event.seq !== undefined) attempts.set(event.seq, { actor: event.actor, environment, version, cause: plan?.cause ?? 'deploy' });
    } else if (event.kind === 'traffic_shifted') {
      shifting.set(event.body.environment, { deployment: event.body.deployment, version: event.body.version });
    } else if (event.kind === 'deploy_failed') {
      settle(event.body.deployment);
    } else if (event.kind === 'released') {
      const { deployment, environment, version, previous, elapsed_ms: elapsedMs } = event.body;
      const attempt = attempts.get(deployment);
      const cause = attempt?.cause ?? 'deploy';
      settle(deployment);
      released.push({
        at: event.at_ms, actor: attempt?.actor ?? event.actor, environment, cause, elapsedMs,
        version: `v${version}`, previous: previous === null || previous === undefined ? null : `v${previous}`,
      });
    } else if (event.kind === 'model_removed') {
      shifting.clear();
    }
  }
  return {
    released,
    shifting: new Map([...shifting].map(([environment, { version }]) => [environment, `v${version}`])),
  };
}
