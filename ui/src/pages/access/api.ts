import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { answer, api, type Schema } from '../../api/client';
import { keys } from '../../api/keys';
import { queries } from '../../api/queries';

export type Member = Schema<'Member'>;
export type MemberKind = Schema<'MemberKind'>;
export type Role = Schema<'Role'>;
export type Token = Schema<'TokenView'>;
export type NewToken = Schema<'NewToken'>;
export type Proposal = Schema<'ProposalView'>;

/** Everybody with a role in what one decides about. */
export function useMembers() {
  return useQuery({ queryKey: keys.access('members'), queryFn: ({ signal }) => answer(api.GET('/v1/members', { signal })) });
}

export function useTokens() {
  return useQuery({ queryKey: keys.access('tokens'), queryFn: ({ signal }) => answer(api.GET('/v1/tokens', { signal })) });
}

/** Proposals that wait, and the last ones that are over. */
export function useProposals(open: boolean) {
  return useInfiniteQuery({
    queryKey: keys.access('proposals', open),
    queryFn: ({ pageParam, signal }) => answer(api.GET('/v1/proposals', { params: { query: { open, limit: 100, ...(pageParam === undefined ? {} : { before: pageParam }) } }, signal })),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (last) => (last.more ? last.proposals.at(-1)?.id : undefined),
  });
}

export interface Verdict {
  allowed: boolean;
  may_propose: boolean;
  says: string;
}

/** Whether somebody may do something; oneself if nobody is named. */
export function askCan(action: string, object: string, who: string | undefined): Promise<Verdict> {
  return answer(api.GET('/v1/can', { params: { query: { action: action as 'read', object, ...(who ? { who } : {}) } } }));
}

/** What became of the last change, if it was not made but proposed. */
export function useProposed() {
  return useQuery<Schema<'Problem'> | null>({ queryKey: PROPOSED, queryFn: () => null, enabled: false, initialData: null });
}

const PROPOSED = ['proposed'];

export function forgetProposed(): void {
  queries.setQueryData(PROPOSED, null);
}

/** In a protected environment a change is not made but proposed: the answer then says under which number. */
async function changed<T>(call: Promise<T>): Promise<T> {
  const done = await call;
  queries.setQueryData(PROPOSED, typeof done === 'object' && done !== null && 'error' in done ? done : null);
  await queries.invalidateQueries({ queryKey: keys.access() });
  void queries.invalidateQueries({ queryKey: ['can'] });
  return done;
}

export function addMember(body: { name: string; role: Role; in: string; kind: MemberKind | null }) {
  return changed(answer(api.POST('/v1/members', { body })));
}

/** Takes a role away in one place, or without a place everything that somebody has. */
export function removeMember(name: string, kind: MemberKind, where?: string) {
  return changed(answer(api.DELETE('/v1/members/{name}', { params: { path: { name }, query: { kind, ...(where ? { in: where } : {}) } } })));
}

export function makeToken(body: { owner: string | null; scopes: string[]; valid_ms: number | null }) {
  return changed(answer(api.POST('/v1/tokens', { body: body as Schema<'TokenRequest'> })));
}

export function rotateToken(id: string, overlapMs: number) {
  return changed(answer(api.POST('/v1/tokens/{id}/rotations', { params: { path: { id } }, body: { overlap_ms: overlapMs } })));
}

export function revokeToken(id: string) {
  return changed(answer(api.DELETE('/v1/tokens/{id}', { params: { path: { id } } })));
}

export function approve(id: number) {
  return changed(answer(api.POST('/v1/proposals/{id}/approvals', { params: { path: { id } } })));
}

export function reject(id: number, why: string) {
  return changed(answer(api.POST('/v1/proposals/{id}/rejections', { params: { path: { id } }, body: { why } })));
}

/** Tells of a token that was made, and not of one that was proposed. */
export function ifMade(done: NewToken | Schema<'Problem'>, onMade: (made: NewToken) => void): void {
  if ('secret' in done) onMade(done);
}
