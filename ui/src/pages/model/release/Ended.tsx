import type { Schema } from '../../../api/client';
import { Icon } from '../../../parts/Icon';
import { Prose } from '../../../parts/Notices';
import { Guards } from './Guards';
import { takeApart } from './said';

type Failed = Extract<Schema<'Outcome'>, { failed: unknown }>['failed'];

/** How an attempt ended: the step that failed, or what somebody or a guard did. */
export function endedWords(step: string): string {
  if (step === 'guard') return 'rolled back by a guard';
  return /ed$/.test(step) ? step.replaceAll('_', ' ') : `failed at ${step.replaceAll('_', ' ')}`;
}

/** Why an attempt did not go live, in the server's words; what guards said of it as a table. */
export function Ended({ version, failed, guards }: { version: string; failed: Failed; guards: readonly string[] }) {
  const { error, details, help } = failed.problem;
  const said = ['', ...(details ?? [])].join('\n');
  const isJudged = failed.step === 'guard' && takeApart(`\u00b7${said}`, guards).guards.every((line) => line.verdict !== null);
  return (
    <div className="ended" role="status" data-calm={failed.step === 'aborted' || undefined}>
      <Icon name={failed.step === 'aborted' ? 'info' : 'alert'} size={15} />
      <div>
        <b>{version} {failed.step === 'aborted' ? 'was aborted' : failed.step === 'guard' ? `was ${endedWords('guard')}` : endedWords(failed.step)}</b>
        <div><Prose text={error} /></div>
        {isJudged && <Guards said={`\u00b7${said}`} guards={guards} />}
        {!isJudged && details && details.length > 0 && <pre>{details.join('\n')}</pre>}
        {help && <div className="dim"><Prose text={help} /></div>}
      </div>
    </div>
  );
}
