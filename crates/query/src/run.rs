//! One query, from the files that there are to the last byte of its answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use datafusion::prelude::SessionContext;
use domain::Problem;
use futures_util::StreamExt;
use records::RecordFile;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;
use url::Url;

use crate::answer::Format;
use crate::ask::Ask;
use crate::cells::{Cells, Counting};
use crate::check;
use crate::fresh::Fresh;
use crate::known::{Files, Known, KnownFile};
use crate::limits::Limits;
use crate::lines::Encoder;
use crate::source::{Seen, Source};
use crate::table::{GAPS, RECORDS, Records, gaps};
use crate::union::Columns;
use crate::{joins, narrow, plan, problem, prune, session};

/// An answer is held back until it has so many bytes, so that what ends before has a status of its
/// own.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Longer pieces are cut.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// What was answered so long ago, in milliseconds, is in the catalogue without asking.
const SETTLED_MS: u64 = 180_000;
/// The address of the store within a session; nobody can name it in SQL.
const URL: &str = "records://store";

/// A piece of an answer, or why there is no more.
pub type Piece = Result<Bytes, Problem>;

/// One query.
pub struct Work {
    pub limits: Limits,
    pub source: Source,
    pub known: Arc<Known>,
    pub fresh: Arc<Fresh>,
    pub ask: Ask,
    pub format: Format,
    pub seen: Seen,
}

impl Work {
    /// Runs it. Whoever hangs up ends it.
    pub async fn run(self, pieces: &Sender<Piece>) -> Result<(), Problem> {
        tokio::select! {
            biased;
            () = pieces.closed() => Ok(()),
            done = self.answer(pieces) => done,
        }
    }

    async fn answer(self, pieces: &Sender<Piece>) -> Result<(), Problem> {
        // What is wrong with it is said before anything is done for it.
        let checked = match &self.ask {
            Ask::Sql(sql) => Some(check::statement(sql, self.limits.sql_bytes_max)?),
            Ask::Records(_) | Ask::Cells(_) => None,
        };
        self.bring_newest().await;
        let began_at = Instant::now();
        let left = || {
            let all = Duration::from_millis(self.limits.time_ms_max);
            all.saturating_sub(began_at.elapsed())
        };
        let planned = timeout(left(), self.stream(checked)).await;
        let (mut rows, _) = planned.map_err(|_| problem::too_long(&self.limits))??;
        let failed = |error: DataFusionError| problem::of(&error, &self.limits);
        let unwritten = |error: datafusion::arrow::error::ArrowError| {
            problem::of(&DataFusionError::from(error), &self.limits)
        };
        let mut encoder = Encoder::new(self.format, &rows.schema()).map_err(unwritten)?;
        let mut sending = Sending { pieces, held: vec![], is_begun: false, bytes: 0 };
        let (mut spent, mut count) = (began_at.elapsed(), 0usize);
        loop {
            // The time that the reader takes is not the query's.
            let at = Instant::now();
            let left = Duration::from_millis(self.limits.time_ms_max).saturating_sub(spent);
            let next = timeout(left, rows.next()).await;
            let Some(batch) = next.map_err(|_| problem::too_long(&self.limits))? else { break };
            let batch = batch.map_err(failed)?;
            count += batch.num_rows();
            if count > self.limits.rows_max {
                return Err(problem::over(format!(
                    "the answer has more than {} rows",
                    self.limits.rows_max
                )));
            }
            let encoded = encoder.add(&batch).map_err(unwritten)?;
            spent += at.elapsed();
            sending.send(encoded, &self.limits).await?;
        }
        sending.send(encoder.end().map_err(unwritten)?, &self.limits).await?;
        sending.end().await;
        Ok(())
    }

    /// Sums up the requests that are asked for.
    pub async fn cells(self) -> Result<Cells, Problem> {
        let Ask::Cells(ask) = self.ask.clone() else {
            return Err(problem::internal("it does not ask for cells"));
        };
        self.bring_newest().await;
        let all = Duration::from_millis(self.limits.time_ms_max);
        let counted = async {
            let (mut rows, one_in) = self.stream(None).await?;
            let mut counting = Counting::new(ask, &rows.schema(), one_in);
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(|error| problem::of(&error, &self.limits))?;
                counting.take(&batch).map_err(problem::internal)?;
            }
            Ok(counting.finish())
        };
        timeout(all, counted).await.map_err(|_| problem::too_long(&self.limits))?
    }

    async fn bring_newest(&self) {
        if needs_newest(&self.ask) {
            let pause = Duration::from_millis(self.limits.flush_ms_min);
            self.fresh.now(&self.source.flush, pause).await;
        }
    }

    /// The rows, and one in how many of them are read.
    async fn stream(
        &self,
        checked: Option<check::Checked>,
    ) -> Result<(SendableRecordBatchStream, u64), Problem> {
        let (known, catalogue) = (self.known.clone(), self.source.catalogue.clone());
        let look = move || {
            let missing = catalogue.gaps(0).map_err(problem::unread)?;
            Ok::<_, Problem>((known.look(&catalogue)?, missing))
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let (files, missing) = looked.map_err(problem::internal)??;
        let failed = |error: DataFusionError| problem::of(&error, &self.limits);
        let models = checked.as_ref().and_then(|checked| narrow::models(&checked.0));
        let files = self.seen(&files, |known| {
            let RecordFile { model, environment, .. } = &known.file;
            match &self.ask {
                Ask::Sql(_) => {
                    models.as_ref().is_none_or(|models| models.contains(model.model.as_str()))
                }
                Ask::Records(ask) => *model == ask.model,
                Ask::Cells(ask) => *model == ask.model && *environment == ask.environment,
            }
        });
        let one_in = match &self.ask {
            Ask::Cells(ask) => ask.one_in(&files, self.limits.counted_rows_max),
            Ask::Sql(_) | Ask::Records(_) => 1,
        };
        let columns = Columns::of(&files);
        let url = Url::parse(URL).map_err(problem::internal)?;
        let objects = self.source.area.objects().clone();
        let session = session::open(&self.limits, &url, objects).map_err(failed)?;
        let table = Records {
            files,
            columns: columns.clone(),
            url: ObjectStoreUrl::parse(URL).map_err(failed)?,
            prefix: self.source.area.prefix().clone(),
        };
        session.register_table(RECORDS, Arc::new(table)).map_err(failed)?;
        session.register_table(GAPS, gaps(&missing).map_err(failed)?).map_err(failed)?;
        let plan = match (&self.ask, checked) {
            (Ask::Records(ask), _) => {
                plan::of_records(&session, &columns, ask, &self.limits).await?
            }
            (Ask::Cells(ask), _) => {
                plan::of_cells(&session, &columns, ask, one_in, &self.limits).await?
            }
            (_, Some(checked)) => plan::of_sql(&session, checked, &self.limits).await?,
            (_, None) => return Err(problem::internal("a query was not checked")),
        };
        Ok((self.execute(&session, &plan).await?, one_in))
    }

    async fn execute(
        &self,
        session: &SessionContext,
        plan: &LogicalPlan,
    ) -> Result<SendableRecordBatchStream, Problem> {
        let failed = |error: DataFusionError| problem::of(&error, &self.limits);
        plan::admit(plan)?;
        let state = session.state();
        let plan = state.optimize(plan).map_err(failed)?;
        plan::admit(&plan)?;
        let physical = state.query_planner().create_physical_plan(&plan, &state).await;
        let bounded = physical.and_then(joins::bound).map_err(failed)?;
        execute_stream(bounded, state.task_ctx()).map_err(failed)
    }

    /// Of those that are asked for, the files that the caller may see.
    fn seen(&self, files: &Files, is_asked: impl Fn(&KnownFile) -> bool) -> Vec<Arc<KnownFile>> {
        let (mut decided, mut seen) = (HashMap::new(), vec![]);
        for known in files.iter().filter(|known| is_asked(known)) {
            let of = (&known.file.model, &known.file.environment);
            if *decided.entry(of).or_insert_with(|| (self.seen)(of.0, of.1)) {
                seen.push(known.clone());
            }
        }
        seen
    }
}

/// Whether what was answered a moment ago can be part of the answer.
fn needs_newest(ask: &Ask) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let settled_ms = (now.as_millis() as u64).saturating_sub(SETTLED_MS);
    match ask {
        Ask::Sql(_) => true,
        Ask::Cells(ask) => ask.end_ms() >= settled_ms,
        Ask::Records(ask) => {
            let of_id = ask.id.as_deref().and_then(prune::time_us).map(|us| us as u64 / 1_000);
            !ask.until_ms.into_iter().chain(of_id).any(|time_ms| time_ms < settled_ms)
        }
    }
}

/// Sends an answer in pieces.
struct Sending<'a> {
    pieces: &'a Sender<Piece>,
    held: Vec<u8>,
    is_begun: bool,
    bytes: u64,
}

impl Sending<'_> {
    async fn send(&mut self, bytes: Vec<u8>, limits: &Limits) -> Result<(), Problem> {
        self.bytes += bytes.len() as u64;
        if self.bytes > limits.answer_bytes_max {
            let mib = limits.answer_bytes_max >> 20;
            return Err(problem::over(format!("the answer has more than {mib} MiB")));
        }
        self.held.extend(bytes);
        let enough = if self.is_begun { PIECE_BYTES_MAX } else { HELD_BYTES_MAX };
        if self.held.len() >= enough {
            self.flush().await;
        }
        Ok(())
    }

    async fn flush(&mut self) {
        let mut held = Bytes::from(std::mem::take(&mut self.held));
        while !held.is_empty() {
            let piece = held.split_to(held.len().min(PIECE_BYTES_MAX));
            self.is_begun = true;
            // Whoever has hung up is noticed elsewhere.
            let _ = self.pieces.send(Ok(piece)).await;
        }
    }

    async fn end(&mut self) {
        self.flush().await;
        if !self.is_begun {
            let _ = self.pieces.send(Ok(Bytes::new())).await;
        }
    }
}
