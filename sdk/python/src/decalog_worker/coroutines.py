"""Models that are asynchronous: their coroutines run on one event loop."""

from .standard import threading


class Coroutines:
    """Runs coroutines on one event loop: in the caller's thread if it is the only one, else in a thread of its own."""

    def __init__(self, concurrency):
        self.loop, self.own_thread = None, concurrency > 1

    def run(self, coroutine):
        import asyncio

        if self.loop is None:  # models without coroutines need none; the first call is while loading
            self.loop = asyncio.new_event_loop()
            if self.own_thread:
                threading.Thread(target=self.loop.run_forever, daemon=True).start()
        if self.own_thread:
            result, error = asyncio.run_coroutine_threadsafe(caught(coroutine), self.loop).result()
        else:
            result, error = self.loop.run_until_complete(caught(coroutine))
        if error is not None:
            raise error
        return result

    async def gather(self, coroutines):
        """A pair of result and error of each."""
        import asyncio

        return await asyncio.gather(*map(caught, coroutines))

    def iterate(self, generator):
        """The items of an asynchronous generator; closing this closes it."""
        try:
            while True:
                try:
                    yield self.run(generator.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            self.run(generator.aclose())


async def caught(coroutine):
    """What a coroutine gave, and what it raised: some errors would end the loop, and with it all that runs there."""
    try:
        return await coroutine, None
    except GeneratorExit:
        raise
    except BaseException as error:
        return None, error
