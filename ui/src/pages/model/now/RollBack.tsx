import { useState } from 'react';
import { useModel } from '../../../api/models';
import { ActionButton } from '../../../parts/ActionButton';
import { Confirm } from '../../../parts/Confirm';
import { useActs } from '../versions/act';
import { useHistory } from '../versions/read';
import { inEnvironment, nameOf } from '../versions/words';

/** Going back is asked first; what it goes back to, or which release it ends, stands in the question. */
export function RollBack({ project, model, environment }: { project: string; model: string; environment: string }) {
  const [asks, setAsks] = useState(false);
  const { data: view } = useModel(project, model);
  const { shifting } = useHistory(project, model);
  const { rollBack } = useActs(project, model);
  const live = view?.live.find(([of]) => of === environment)?.[1];
  const to = view?.rollback_to.find(([of]) => of === environment)?.[1];
  const ends = shifting.get(environment);
  const name = nameOf(project, model);
  if (!live || (!to && !ends)) return null;
  return (
    <>
      <ActionButton variant="default" action="rollback" object={`${project}/${model}@${environment}`} onAct={() => setAsks(true)} onPropose={() => setAsks(true)}>
        {ends ? `End the release of ${ends}…` : `Roll back to ${to}…`}
      </ActionButton>
      <Confirm
        opened={asks} onClose={() => setAsks(false)} danger verb={ends ? 'End the release' : 'Roll back'}
        title={ends ? `End the release of ${name} ${ends} in ${environment}?` : `Roll back ${name} in ${environment} from ${live} to ${to}?`}
        command={`decalog rollback ${name}${inEnvironment(environment)}`} onConfirm={() => rollBack(environment)}
      >
        <div>
          {ends
            ? `All requests go to ${live} again; ${ends} takes none any more.`
            : `All requests go to ${to}, as before the last release. ${live} stays, and can be released again.`}
        </div>
      </Confirm>
    </>
  );
}
