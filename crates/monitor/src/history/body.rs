//! What one row of the history holds: a sketch of a column, or counts of requests.

use crate::requests::Requests;
use crate::sketch::{BodyError, ColumnSketch, Kind};

/// The kind of rows that hold requests; those of columns have the place of theirs in [`Kind::ALL`].
pub(super) const REQUESTS: i64 = -1;

/// Of one series, in some time.
pub(super) enum Body {
    Column(Box<ColumnSketch>),
    Requests(Box<Requests>),
}

/// The number that a kind is stored as.
pub(super) fn number_of(kind: Kind) -> i64 {
    Kind::ALL.iter().position(|known| *known == kind).unwrap_or(0) as i64
}

/// The kind that is stored as this number.
pub(super) fn kind_of(number: i64) -> Option<Kind> {
    Kind::ALL.get(usize::try_from(number).ok()?).copied()
}

impl Body {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Body::Column(sketch) => sketch.encode(),
            Body::Requests(requests) => requests.encode(),
        }
    }

    pub fn decode(kind: i64, bytes: &[u8]) -> Result<Body, BodyError> {
        if kind == REQUESTS {
            return Ok(Body::Requests(Box::new(Requests::decode(bytes)?)));
        }
        Ok(Body::Column(Box::new(ColumnSketch::decode(bytes)?)))
    }

    /// Takes in all of another of the same series; one of another kind is left out.
    pub fn merge(&mut self, other: &Body) {
        match (self, other) {
            (Body::Column(mine), Body::Column(other)) => {
                let _ = mine.merge(other);
            }
            (Body::Requests(mine), Body::Requests(other)) => mine.merge(other),
            _ => {}
        }
    }
}

/// All of them as one; `None` of none.
pub(super) fn merged(bodies: impl IntoIterator<Item = Body>) -> Option<Body> {
    bodies.into_iter().reduce(|mut all, body| {
        all.merge(&body);
        all
    })
}
