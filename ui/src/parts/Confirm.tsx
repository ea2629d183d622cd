import { Button, Group, Modal, Stack, TextInput } from '@mantine/core';
import { type FormEvent, type ReactNode, useState } from 'react';
import { Command } from './Command';
import { Failed } from './Notices';

/**
 * Asks before something is done that others notice. The title names what is done and to whom ("Roll back default/churn
 * in production?"), the children say what follows from it, the command does the same in a terminal.
 * `typed` has to be typed first, for what cannot be undone.
 */
export function Confirm({ opened, onClose, title, children, command, verb, onConfirm, danger, disabled, typed }: {
  opened: boolean;
  onClose: () => void;
  title: string;
  children?: ReactNode;
  command: string;
  verb: string;
  onConfirm: () => Promise<unknown>;
  danger?: boolean;
  /** What was chosen cannot be done. */
  disabled?: boolean;
  typed?: string;
}) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>(null);
  const [text, setText] = useState('');

  const close = () => {
    setProblem(null);
    setText('');
    onClose();
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await onConfirm();
      close();
    } catch (cause) {
      setProblem(cause);
    } finally {
      setBusy(false);
    }
  };

  return (
    <Modal opened={opened} onClose={close} title={title} centered>
      <form onSubmit={(event) => void submit(event)}>
        <Stack gap="sm">
          {children}
          <div>
            <div className="dim small">The same in a terminal:</div>
            <Command>{command}</Command>
          </div>
          {typed && (
            <TextInput label={`Type ${typed} to go on`} value={text} onChange={(event) => setText(event.currentTarget.value)} autoComplete="off" />
          )}
          {problem !== null && <Failed problem={problem} doing />}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close} data-autofocus>Cancel</Button>
            <Button type="submit" color={danger ? 'red.9' : 'accent'} loading={busy} disabled={disabled === true || (typed !== undefined && text !== typed)}>
              {verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
