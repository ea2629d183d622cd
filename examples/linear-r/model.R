# The minutes that a flight from New York spends in the air. ../linear-python is the same model in Python and fits the coefficients.
# A request has {"rows": [{"distance": 1400, "origin": "EWR"}, ...]}, its answer {"rows": [{"air_time": 199.6}, ...]} in the same order.

library(httpuv)
library(jsonlite)

coefficients <- fromJSON("coefficients.json")

# All rows at once: each column is a vector.
predict_rows <- function(rows) {
  origin <- unlist(coefficients$origin)[rows$origin]
  data.frame(air_time = coefficients$intercept + coefficients$distance * rows$distance + unname(origin))
}

# digits = NA keeps all fifteen digits of a number; the default of four would round the answer.
answer <- function(status, value) {
  body <- toJSON(value, digits = NA, auto_unbox = TRUE)
  list(status = status, headers = list("Content-Type" = "application/json"), body = as.character(body))
}

app <- list(call = function(request) {
  if (request$PATH_INFO != "/predict") return(answer(404L, list(error = "only /predict is served")))
  tryCatch({
    body <- fromJSON(rawToChar(request$rook.input$read()))
    answer(200L, list(rows = predict_rows(body$rows)))
  }, error = function(problem) answer(500L, list(error = conditionMessage(problem), code = "model_raised")))
})

# 63 is the octal mask 077: only the owner may use the socket.
invisible(startPipeServer(Sys.getenv("DECALOG_SOCKET"), 63L, app))
repeat service(1000)
