# Attacks by name, as in ../python/attacks: what was got, or what kept it from being got.

library(httpuv)
library(jsonlite)

denied <- function(...) stop(structure(class = c("denied", "error", "condition"), list(message = paste0(...), call = NULL)))

# A file's first bytes. What cannot be opened is a warning in R, and here an error with its reason.
read <- function(path, bytes = 65536L) {
  tryCatch({
    file <- file(path, "rb", raw = TRUE)
    on.exit(close(file))
    found <- readBin(file, "raw", bytes)
    found[found == 0L] <- as.raw(32L)
    rawToChar(found)
  }, warning = function(reason) denied(conditionMessage(reason)))
}

# A call that gives FALSE with a warning if the system refuses it.
done <- function(expression) {
  result <- withCallingHandlers(tryCatch(expression, warning = function(reason) denied(conditionMessage(reason))))
  if (!all(result)) denied("the system refused")
  "done"
}

second_name <- function(make, target) {
  link <- file.path(Sys.getenv("TMPDIR"), "name")
  unlink(link)
  done(make(target$secret, link))
  on.exit(unlink(link))
  read(link)
}

# Without a warning and with FALSE, R says that nobody was signalled.
signalled <- function(target, signal) if (tools::pskill(target$victim, signal)) "sent" else denied("the system refused")

asked_at <- function(port, request = NULL, until = "") {
  tryCatch({
    other <- socketConnection("127.0.0.1", port, open = "r+b", blocking = TRUE, timeout = 2)
    on.exit(close(other))
    if (!is.null(request)) writeBin(charToRaw(request), other)
    line <- readLines(other, 1L, warn = FALSE)
    if (length(line) == 0L || !grepl(until, line, fixed = TRUE)) denied("it answered otherwise")
    line
  }, warning = function(reason) denied(conditionMessage(reason)))
}

in_status <- function(name, harmless) {
  line <- grep(paste0("^", name), readLines("/proc/self/status"), value = TRUE)
  if (grepl(harmless, line)) denied(line)
  line
}

attacks <- list(
  read_secret = function(target) read(target$secret),
  read_ledger = function(target) read(file.path(target$data, "ledger.sqlite"), 15L),
  list_data = function(target) {
    found <- list.files(target$data)
    if (length(found) == 0L) denied("nothing is seen")
    paste(found, collapse = " ")
  },
  read_sibling_tree = function(target) read(file.path(target$sibling_tree, "model.py")),
  symlink_to_secret = function(target) second_name(file.symlink, target),
  hard_link_to_secret = function(target) second_name(file.link, target),
  victim_environ = function(target) read(paste0("/proc/", target$victim, "/environ")),
  victim_cmdline = function(target) read(paste0("/proc/", target$victim, "/cmdline")),
  list_processes = function(target) if (target$victim %in% list.files("/proc")) "it is seen" else denied("it is not seen"),
  shared_memory_file = function(target) read(target$shared_file),
  temporary_of_others = function(target) read(target$tmp_file),
  write_outside = function(target) done(file.create(file.path(target$outside, "made"))),
  remove_outside = function(target) done(file.remove(file.path(target$outside, "removed"))),
  chmod_outside = function(target) done(Sys.chmod(file.path(target$outside, "mode"), "777", use_umask = FALSE)),
  own_tree_write = function(target) {
    before <- file.info("model.R")
    done(Sys.chmod("model.R", "644", use_umask = FALSE))
    on.exit({
      Sys.chmod("model.R", before$mode, use_umask = FALSE)
      Sys.setFileTime("model.R", before$mtime)
    })
    tryCatch({
      file <- file("model.R", "r+b")
      writeBin(charToRaw("#"), file)
      close(file)
    }, warning = function(reason) denied(conditionMessage(reason)))
    "written"
  },
  signal_zero = function(target) signalled(target, 0L),
  signal_stop = function(target) signalled(target, 19L),
  signal_kill = function(target) signalled(target, 9L),
  tcp = function(target) asked_at(target$tcp),
  tcp_api = function(target) {
    asked_at(target$api, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 200")
  },
  run_program = function(target) {
    found <- suppressWarnings(system2("/bin/cat", target$secret, stdout = TRUE, stderr = TRUE))
    if (!is.null(attr(found, "status"))) denied(paste(found, collapse = " "))
    paste(found, collapse = "\n")
  },
  own_capabilities = function(target) in_status("CapEff", "\t0+$"),
  new_privileges = function(target) in_status("NoNewPrivs", "1$")
)

attempt <- function(attack, target) {
  if (!attack %in% names(attacks)) return(list(outcome = "broken", detail = paste("there is no attack", attack)))
  tryCatch(
    list(outcome = "possible", detail = as.character(attacks[[attack]](fromJSON(target)))),
    denied = function(reason) list(outcome = "denied", detail = conditionMessage(reason)),
    error = function(problem) list(outcome = "broken", detail = conditionMessage(problem))
  )
}

answer <- function(status, value) {
  body <- toJSON(value, auto_unbox = TRUE)
  list(status = status, headers = list("Content-Type" = "application/json"), body = as.character(body))
}

app <- list(call = function(request) {
  if (request$PATH_INFO != "/predict") return(answer(404L, list(error = "only /predict is served")))
  rows <- fromJSON(rawToChar(request$rook.input$read()), simplifyDataFrame = FALSE)$rows
  answer(200L, list(rows = lapply(rows, function(row) attempt(row$attack, row$target))))
})

invisible(startPipeServer(Sys.getenv("DECALOG_SOCKET"), 63L, app))
repeat service(1000)
