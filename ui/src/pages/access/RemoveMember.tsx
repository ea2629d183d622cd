import { Confirm } from '../../parts/Confirm';
import { type MemberKind, removeMember, useTokens } from './api';
import { kindOption, place, placeOptions, quoted } from './words';

/** A role in a place, or without a place all that somebody has. */
export interface Removal {
  name: string;
  kind: MemberKind;
  role?: string;
  where?: string;
}

export function RemoveMember({ removal, onClose }: { removal: Removal | null; onClose: () => void }) {
  const { data } = useTokens();
  const { name = '', kind = 'person', role, where } = removal ?? {};
  const valid = data?.tokens.filter((token) => token.owner === name && token.state === 'valid').length ?? 0;
  const known = data?.tokens.filter((token) => token.known_to.includes(name) && token.owner !== name).map((token) => `${token.id} of ${token.owner}`) ?? [];
  const isAll = where === undefined;
  return (
    <Confirm
      opened={removal !== null} onClose={onClose} danger verb={isAll ? 'Remove' : 'Take the role'}
      title={isAll ? `Remove ${name} with all roles and tokens?` : `Take the role ${role ?? ''} ${place(where)} from ${name}?`}
      // The command line takes roles away in a project, or all of them; one that holds everywhere only the API does.
      command={where === '*' ? `curl -X DELETE "$DECALOG_URL/v1/members/${encodeURIComponent(name)}?in=*&kind=${kind}"` : `decalog member rm ${quoted(name)}${placeOptions(where ?? '*')}${kindOption(kind)}`}
      onConfirm={() => removeMember(name, kind, where)} {...(isAll ? { typed: name } : {})}
    >
      {isAll ? (
        <>
          <div>
            {name} may do nothing from then on, within a second.{valid > 0 && ` ${valid === 1 ? 'One token ends' : `${valid} tokens end`}.`} What they did stays in the ledger.
          </div>
          {known.length > 0 && <div>What they know of others ends, too: {known.join(', ')}. Rotate it before, with an overlap.</div>}
        </>
      ) : <div>Roles elsewhere, and those by groups, stay.</div>}
    </Confirm>
  );
}
