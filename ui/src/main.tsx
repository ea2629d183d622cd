import { MantineProvider } from '@mantine/core';
import '@mantine/core/styles.layer.css';
import '@mantine/spotlight/styles.layer.css';
import { QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { setNonce } from 'get-nonce';
import { createRoot } from 'react-dom/client';
import { queries } from './api/queries';
import { makeRouter } from './routes';
import { Boundary } from './shell/Boundary';
import './style.css';
import { theme } from './theme';

// The server writes a nonce into the page; styles that are made later may stand there with it alone.
const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? '';
setNonce(nonce);

const router = makeRouter();
const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={() => nonce}>
      <Boundary>
        <QueryClientProvider client={queries}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      </Boundary>
    </MantineProvider>,
  );
}
