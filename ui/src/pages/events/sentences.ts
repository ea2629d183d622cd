/** What happened, in one short sentence for each kind of event. Pure. */
import { bytes, countOf, ms, plain } from '../../format';
import type { Schema } from '../../api/client';

type Event = Schema<'Event'>;
export type Kind = Event['kind'];
type Body<K extends Kind> = Extract<Event, { kind: K }>['body'];
type Sentence<K extends Kind> = (body: Body<K>, about: string) => string;

/** How long something took, behind what is said of it. */
function took(elapsed: number): string {
  return elapsed > 0 ? `, ${ms(elapsed)}` : '';
}

function planned(plan: Schema<'Plan'> | null | undefined): string {
  if (!plan) return '';
  const steps = plan.canary?.length ? ` in steps of ${plan.canary.join(', ')}%` : '';
  const shadow = plan.shadow ? `, with copies of ${plan.shadow}% of the requests first` : '';
  const rehearsal = plan.rehearse ? `, rehearsed with ${plan.rehearse} requests` : '';
  const cause = plan.cause === 'rollback' ? ', a rollback' : plan.cause === 'promote' ? ', promoted' : '';
  return `${rehearsal}${steps}${shadow}${cause}${plan.untested ? ', untested' : ''}`;
}

function reach(where: string): string {
  if (where === '*') return 'everything';
  const [project, environment] = where.split('@');
  return environment ? `${environment} of ${project}` : `project ${project}`;
}

const ORIGINS: Readonly<Record<string, string>> = { session: 'by a browser', login: 'by a terminal', exchange: "with a job's token" };
const VERDICTS: Readonly<Record<string, string>> = { roll_back: 'roll back', hold: 'go on looking', advance: 'take the next step' };

/** What a signature said. */
function signed(signature: { key?: string | null | undefined; trusted_as?: string | null | undefined }): string {
  const key = signature.key?.slice(0, 12);
  if (signature.trusted_as) return `signed by ${signature.trusted_as} (${key ?? ''})`;
  return key ? `signed by ${key}, which is not trusted` : 'signed by nobody who can be trusted';
}

const SENTENCES: { [K in Kind]: Sentence<K> } = {
  writer_started: ({ program_version }) => `Decalog ${program_version} started`,
  writer_handed_over: ({ pid }) => `Handed over to process ${pid}`,
  version_pushed: ({ version, tree, provenance, signature }) =>
    `v${version} pushed: ${countOf(tree.length, 'file')}, ${bytes(tree.reduce((sum, file) => sum + file.size, 0))}${provenance.git_commit ? `, commit ${provenance.git_commit.slice(0, 7)}${provenance.git_dirty ? ' with changes' : ''}` : ''}${signature ? `, ${signed(signature)}` : ''}`,
  deploy_started: ({ version, environment, plan }) => `Release of v${version} to ${environment} began${planned(plan)}`,
  signature_judged: ({ version, environment, signature }) => `v${version} for ${environment} is ${signed(signature)}`,
  environment_built: ({ cached, elapsed_ms, lock }) => `Python environment ${lock.slice(0, 8)} ${cached ? 'was there already' : 'built'}${took(elapsed_ms)}`,
  schema_recorded: ({ version, schema }) => `v${version} takes ${countOf(schema.inputs.length, 'column')} and gives ${schema.outputs.map((one) => one.name).join(', ') || 'nothing named'}`,
  candidate_ready: ({ elapsed_ms }) => (elapsed_ms === 0 ? 'A replica was kept ready' : `Model loaded${took(elapsed_ms)}`),
  tests_passed: ({ cases, elapsed_ms }) => `${cases === 0 ? 'No cases to answer: a made-up row was tried' : `${countOf(cases, 'case')} answered as expected`}${took(elapsed_ms)}`,
  gates_passed: ({ candidate }) => `Gates passed: p99 ${ms(candidate.p99_ms)}, ${plain(candidate.memory_mb)} MB`,
  determinism_probed: ({ version, environment, probe }) => `v${version} in ${environment} gives answers that are ${probe.outcome}`,
  rehearsal_started: ({ version, baseline, found }) => `${countOf(found, 'recorded request')} are asked of v${version} and v${baseline}`,
  rehearsed: ({ version, rehearsal }) => `v${version} was rehearsed: ${rehearsal.verdict}`,
  traffic_shifted: ({ version, phase, environment, baseline }) =>
    phase.shadow ? `v${version} gets copies of ${phase.percent}% of the requests in ${environment}; v${baseline} answers` : `v${version} gets ${phase.percent}% of the requests in ${environment}; v${baseline} the rest`,
  guards_judged: ({ step, judgements }) => `Step ${step}: guards say ${VERDICTS[judgements.verdict] ?? judgements.verdict}`,
  release_paused: () => 'Release paused',
  release_resumed: () => 'Release goes on',
  released: ({ version, environment, previous, elapsed_ms }) => `v${version} is live in ${environment}${previous ? `, instead of v${previous as number}` : ''}${took(elapsed_ms)}`,
  deploy_failed: ({ step, problem }) => `Release failed while it ${step}: ${problem.error}`,
  variable_set: ({ name, environment, value }) => (value === null ? `Secret ${name} set in ${environment}` : `${name} set to “${value}” in ${environment}`),
  variable_reference_set: ({ name, environment, reference }) => `Secret ${name} in ${environment} is read from ${reference}`,
  variable_removed: ({ name, environment }) => `${name} removed from ${environment}`,
  scale_changed: ({ placement, record }) => `v${placement.version} in ${placement.environment}: ${record.inputs.current} → ${countOf(record.decision.target, 'replica')}, by ${record.decision.rule.replaceAll('_', ' ')}`,
  replica_ready: ({ replica, elapsed_ms, placement }) => `Replica ${replica} of v${placement.version} ready${took(elapsed_ms)}`,
  replica_failed: ({ replica, reason, restart_in_ms }) => `Replica ${replica} failed: ${reason}; the next one starts ${restart_in_ms === 0 ? 'at once' : `in ${ms(restart_in_ms)}`}`,
  version_removed: ({ version }) => `v${version} removed`,
  model_removed: () => 'Model removed with all its versions',
  access_began: () => 'Actors are proved from here on',
  principal_added: (_, about) => `${about} became known`,
  principal_removed: (_, about) => `${about} removed, with all roles and tokens`,
  groups_changed: ({ groups }, about) => `${about} is in ${groups.length === 0 ? 'no group' : groups.join(', ')}`,
  grant_given: ({ grant }, about) => `${about} became ${grant.role} of ${reach(grant.in)}`,
  grant_withdrawn: ({ grant }, about) => `${about} is no longer ${grant.role} of ${reach(grant.in)}`,
  token_created: ({ token }, about) => {
    const how = ORIGINS[token.origin ?? 'made'];
    return how ? `${about} logged in ${how}` : `Token ${token.id} made for ${about}: ${token.scopes.join(', ')}`;
  },
  token_rotated: ({ token }, about) => `Token ${token.id} of ${about} rotated`,
  token_revoked: ({ id }, about) => `Token ${id}${about ? ` of ${about}` : ''} revoked`,
  tokens_revoked: () => 'All tokens revoked',
  tokens_required: ({ required }) => (required ? 'Predictions need a token from this machine, too' : 'Predictions need a token only from beyond this machine'),
  keys_rotated: ({ from, to, removed }) => `Keys rotated${from ? ` from ${from}` : ''} to ${to}${removed?.length ? `; deleted ${removed.join(', ')}` : ''}`,
  alert_receiver_set: ({ receiver }) => `${receiver.name} is told of alarms: ${receiver.kind} at ${receiver.host}`,
  alert_receiver_removed: ({ name }) => `${name} is told of alarms no more`,
  records_erased: ({ records, files, model }) => `${countOf(records, 'record')}${model ? ` of ${model as string}` : ''} erased from ${countOf(files, 'file')}`,
  environment_protected: ({ environment, protection }) => `Changes of ${environment} need ${countOf(protection.approvals, 'approval')}`,
  environment_unprotected: ({ environment }) => `Changes of ${environment} need no approval any more`,
  signatures_required: ({ environment, required }) => (required ? `Versions in ${environment} must be signed` : `Versions in ${environment} need no signature any more`),
  trust_given: ({ key }) => `Signatures by ${key.name} (${key.id.slice(0, 12)}) count`,
  trust_withdrawn: ({ key, name }) => `Signatures by ${name} (${key.slice(0, 12)}) do not count any more`,
  proposed: ({ action, object }) => `Proposed: ${action} of ${object}`,
  proposal_approved: ({ proposal }) => `Proposal ${proposal} approved`,
  proposal_rejected: ({ proposal, why }) => `Proposal ${proposal} rejected${why ? `: ${why}` : ''}`,
};

export const KINDS = (Object.keys(SENTENCES) as Kind[]).sort();

/** A kind as a person reads it: `version_pushed` as `Version pushed`. */
export function kindTitle(kind: string): string {
  const text = kind.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** One sentence. A kind of a later server is told by its name and what it holds. */
export function sentence(event: { kind: string; body: unknown; about?: string | null | undefined }): string {
  const known = SENTENCES[event.kind as Kind] as ((body: unknown, about: string) => string) | undefined;
  try {
    if (known) return known(event.body, event.about ?? 'somebody');
  } catch {
    // It has other fields than this page knows.
  }
  return `${kindTitle(event.kind)} ${JSON.stringify(event.body)}`;
}

const GOOD = new Set(['released', 'proposal_approved', 'gates_passed', 'tests_passed']);
const BAD = new Set(['deploy_failed', 'replica_failed', 'proposal_rejected']);
/** Whether it went well or ill, if it is of that sort. */
export function toneOf(kind: string): 'good' | 'bad' | undefined {
  return BAD.has(kind) ? 'bad' : GOOD.has(kind) ? 'good' : undefined;
}
