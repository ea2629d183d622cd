//! Whether a release goes on, waits or goes back: its guards, judged again after every interval by
//! tests that may be looked at as often as one likes.
//!
//! **Looking all the time.** A test made for one look (Student's, Mann–Whitney's) that is repeated
//! every five seconds sooner or later fires on two equal versions. Here the evidence is a
//! nonnegative supermartingale: by Ville's inequality the probability that it ever exceeds 1/α is
//! at most α, however often and for however long one looks. The values that it does not rule out
//! form a confidence sequence (Howard, Ramdas, McAuliffe, Sekhon, 'Time-uniform, nonparametric,
//! nonasymptotic confidence sequences', Annals of Statistics 2021; for canaries: Lindon, Sanden,
//! Shirikian, 'Rapid regression detection in software deployments through sequential testing',
//! arXiv 2205.14762). See [`evidence`].
//!
//! **Percentiles are proportions.** `p99<50ms` says that at most 1% of requests are slower than 50
//! ms. Relative ones count the canary's requests beyond 1.2 times the baseline's percentile as it
//! was known *before* the interval, and the baseline's beyond that percentile itself; if the canary
//! is nowhere more than 1.2 times as slow, the first share is at most the second, whatever the
//! percentile. So no error of its estimate counts as evidence (compare Howard, Ramdas, 'Sequential
//! estimation of quantiles with applications to A/B testing and best-arm identification', Bernoulli
//! 2022, which invert both distributions).
//!
//! **Requests are not independent.** Those of a batch share their latency, and a slow minute is
//! slow for many. First, the two arms are only compared within the same interval, so that what
//! slows both cancels (Mantel, Haenszel 1959). Second, what remains is measured by how neighbouring
//! intervals, and blocks of 2 to 32 of them, differ, and all counts are divided by this design
//! effect (Rao, Scott, 'A simple method for the analysis of clustered binary data', Biometrics
//! 1992). Until that is known, it is assumed that the requests of an interval share one fate, with
//! the trust of half an interval. This makes the sequences asymptotic ones (Waudby-Smith, Arbour,
//! Sinha, Kennedy, Ramdas, 'Time-uniform central limit theory and asymptotic confidence sequences',
//! Annals of Statistics 2024): exact as the measurement settles; the simulation in
//! `tests/guard_simulation.rs` measures what they hold in practice. A difference between the arms
//! that lasts as long as the release, such as one slow machine, cannot be told from a slow version
//! by any statistics; the margins of guards are there for it.
//!
//! **α is spent once.** Each guard has an equal part; half of it goes to the sum over the whole
//! release, half to looks at the recent past, which start anew with each step and every ten minutes
//! (epochs k = 2, 3, …; each spends 1/(k(k-1)) of that half, together all of it). Evidence lives in
//! memory: after a restart of the server it is collected anew. The first has three quarters of α,
//! the k-th 1/(4k(k-1)), together all of it, and the ledger tells which is next.
//!
//! **Silence is not zero.** A request that its caller gave up was slower than he had patience: it
//! counts as slow where that shows it to be, and as failed after ten times the baseline's 99th
//! percentile. A canary that answers none of 20 requests, while the baseline answers most, goes
//! back whatever its guards are, also if those requests have not ended yet.
//!
//! **What the verdicts mean.** *Roll back*: the lower bound of one guard lies beyond its limit. A
//! release that keeps all its guards is rolled back with probability α at most. *Advance*: for
//! every guard the upper bound over the whole release lies within the limit plus its tolerance (as
//! much again, at least half a point, for shares; a tenth for the mean), the estimate of the
//! present step lies within the limit itself, and the step has had a minimum of requests and time.
//! So a canary that is worse than limit and tolerance is let through with probability α at most,
//! per guard; one between limit and tolerance may be. *Hold*: neither; little traffic, or none,
//! always ends here.

mod design;
pub mod evidence;
mod judge;
mod memory;
#[cfg(test)]
mod tests;
mod track;
mod watch;

pub use judge::{judge, verdict};
pub use watch::Watch;
