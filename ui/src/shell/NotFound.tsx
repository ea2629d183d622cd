import { Link } from '@tanstack/react-router';
import { Empty } from '../parts/Notices';
import { PageHead } from '../parts/PageHead';

export function NotFound() {
  return (
    <>
      <PageHead title="Not found" />
      <Empty icon="search" title="There is no such page">
        <Link to="/">To all models</Link>
      </Empty>
    </>
  );
}
