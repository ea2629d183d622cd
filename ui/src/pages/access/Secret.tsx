import { Button, Group, Modal, Stack } from '@mantine/core';
import { Copy } from '../../parts/Copy';
import { Time } from '../../parts/Time';
import type { NewToken } from './api';

/** The text of a new token, which is shown this once: it closes by its button alone. */
export function Secret({ token, onClose }: { token: NewToken | null; onClose: () => void }) {
  return (
    <Modal opened={token !== null} onClose={onClose} title={`Token ${token?.id ?? ''} of ${token?.owner ?? ''}`} closeOnClickOutside={false} closeOnEscape={false} withCloseButton={false} centered>
      {token && (
        <Stack gap="sm">
          <div>Copy it now: it is not shown again, and the server keeps no more than its digest.</div>
          <div className="secret"><code>{token.secret}</code><Copy text={token.secret} label="Copy the token" /></div>
          <div className="dim">
            For {token.scopes.join(', ')}. {token.expires_ms === null ? 'It does not end.' : <>It ends <Time at={token.expires_ms} />.</>}
            {token.earlier_until_ms !== null && <> The one before it is valid until <Time at={token.earlier_until_ms} as="moment" />.</>}
          </div>
          <Group justify="flex-end"><Button onClick={onClose} data-autofocus>I have it</Button></Group>
        </Stack>
      )}
    </Modal>
  );
}
