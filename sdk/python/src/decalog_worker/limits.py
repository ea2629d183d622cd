"""How much a worker takes, keeps, shows and waits for: every limit, with its unit."""

HEAD_BYTES_MAX = 64 * 1024  # of a request's head; also what one connection can receive without a second buffer
BODY_BYTES_MAX = 1 << 30
KEPT_BYTES_MAX = 64 << 20  # a larger receive buffer is not kept for the next request
CACHED_KEY_BYTES_MAX = 8 * 1024
CACHE_ENTRIES_MAX = 512
JOINED_BYTES_MAX = 64 * 1024  # answers up to this size are sent in one piece
PEER_S_MAX = 60  # how long a peer may stall in the middle of a request or an answer
STALL_MS_MAX = 100  # how long others wait for the rest of a request, before it is waited for beside them
DETAIL_LINES_MAX = 40
MESSAGE_CHARS_MAX = 2_000
LOG_CHARS_MAX = 64 * 1024  # of what the worker itself writes at a time
LOGGED_ROWS_MAX = 3  # of a batch that failed, where the log has rows
SHOWN_CHARS_MAX = 200  # of a wrong value in a message
DIMENSIONS_MAX = 32
EMPTY_ROWS_MAX = 1 << 20  # rows and lists of a tensor that has no element, so that its bytes bound nothing
ORDER_BYTES_MAX = 256 * 1024  # of one packet of the supervisor to a process that forks
MODULES_BYTES_MAX = 96 * 1024  # of the names of modules: they are passed on as one variable
AHEAD_PAUSE_MS = 50  # how long nothing is asked before the next process is forked ahead
AHEAD_S_MAX = 2.0  # how long a process that was forked ahead may take to do as it is told
THREADS_END_S_MAX = 0.1  # how long threads that are about to end may take before a fork is refused
