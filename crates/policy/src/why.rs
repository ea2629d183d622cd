//! Why a number changed: which of the things that are known to have happened account for how much.
//!
//! Nothing is discovered: the graph is known. A release or a configuration acts on the time at the
//! worker, that on the queue, that on latency; a caller and its data act on inputs, those on outputs,
//! those on quality. [`explain`] finds when a metric changed, and asks of each group of requests
//! (of a version, a replica, a caller, a value of a column) what the metric would be if the group
//! had gone on as before, against what the same question answers at moments when nothing happened.
//!
//! Randomness comes from the seed of the [`Question`] alone: the same input has the same answer.

mod answer;
mod chart;
mod coalition;
mod contrast;
mod dimension;
mod events;
mod evidence;
mod focus;
mod gate;
mod grid;
mod groups;
mod histogram;
mod input;
mod measure;
mod metric;
mod pass;
mod placebo;
mod queue;
mod residual;
mod starts;
mod step;
mod survivors;
mod tell;
mod timeline;
mod view;
mod window;

pub use answer::{
    Answer, Cause, CauseKind, Evidence, Level, Next, Outcome, Reference, RuledOut, Span, Unit,
    Visible, WhyNot,
};
pub use chart::{Chart, Line};
pub use histogram::{Histogram, STEPS};
pub use input::{
    BUCKETS_MAX, CELLS_MAX, Cell, Column, Event, EventKind, Key, NONE, Names, Observed, OpenAlarm,
    Question, Series, SeriesKind, Sums, WINDOW_BUCKETS,
};
pub use metric::Metric;
pub use pass::explain;
pub use tell::{Telling, detail, event, figure, headline, next, ruled_out, title};
