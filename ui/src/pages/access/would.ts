/** What a proposal would do once it is approved. Pure. */
import { countOf } from '../../format';
import type { Proposal } from './api';
import { place } from './words';

function versions(of: Proposal): string {
  return of.removes && of.removes.length > 0 ? `: ${of.removes.map((one) => `v${one.version}`).join(', ')}` : '';
}

export function would(of: Proposal): string {
  const { kind, body } = of.change;
  switch (kind) {
    case 'deploy_started':
      return `v${body.version} goes live in ${body.environment}${body.plan?.canary?.length ? `, in steps of ${body.plan.canary.join(', ')}%` : ''}`;
    case 'variable_set':
      return body.value === null ? `Secret ${body.name} gets another value in ${body.environment}` : `${body.name} becomes “${body.value}” in ${body.environment}`;
    case 'variable_reference_set':
      return `Secret ${body.name} is read from ${body.reference} in ${body.environment}`;
    case 'variable_removed':
      return `${body.name} is removed from ${body.environment}`;
    case 'version_removed':
      return `v${body.version} is removed`;
    case 'model_removed':
      return `The model is removed with all its versions${versions(of)}`;
    case 'grant_given':
      return `Somebody becomes ${body.grant.role} ${place(body.grant.in)}${'group' in body.grant.to ? `: the group ${body.grant.to.group}` : ''}`;
    case 'environment_protected':
      return `Changes of ${body.environment} need ${countOf(body.protection.approvals, 'approval')}`;
    case 'environment_unprotected':
      return `Changes of ${body.environment} need no approval any more`;
    case 'signatures_required':
      return body.required ? `Versions in ${body.environment} must be signed` : `Versions in ${body.environment} need no signature any more`;
    case 'trust_given':
      return `Signatures by ${body.key.name} (${body.key.id.slice(0, 12)}) count`;
    default:
      return `${kind.replaceAll('_', ' ')} ${JSON.stringify(body)}`;
  }
}
