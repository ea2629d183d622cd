//! Rates: what passes at most and at least, what callers are told to wait, and that many threads
//! take no more than one.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use proptest::prelude::*;

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn limits(rate: &str, burst: Option<u32>) -> Limits {
    Limits { rate: Some(rate.parse().unwrap()), burst, ..Limits::default() }
}

#[test]
fn a_burst_passes_at_once_and_then_one_at_a_time() {
    let rate = Gcra::of(&limits("10/s", Some(3))).unwrap();
    let mut next_ns = 0;
    // Some time after the clock's zero, as it always is.
    let now_ns = 50 * SECOND_NS;
    for _ in 0..3 {
        next_ns = rate.take(next_ns, now_ns).unwrap();
    }
    assert_eq!(rate.take(next_ns, now_ns), Err(TooEarly { wait_ns: SECOND_NS / 10 }));
    assert_eq!(rate.take(next_ns, now_ns + SECOND_NS / 10 - 1), Err(TooEarly { wait_ns: 1 }));
    assert!(rate.take(next_ns, now_ns + SECOND_NS / 10).is_ok());
    // After a pause, the burst is there again, and no more than that.
    let later_ns = now_ns + 3_600 * SECOND_NS;
    for _ in 0..3 {
        next_ns = rate.take(next_ns, later_ns).unwrap();
    }
    assert!(rate.take(next_ns, later_ns).is_err());
}

#[test]
fn whoever_waits_as_told_gets_in() {
    let rate = Gcra::of(&limits("7/s", Some(5))).unwrap();
    let (mut next_ns, mut now_ns, mut came) = (0, SECOND_NS, 0);
    while now_ns < 11 * SECOND_NS {
        match rate.take(next_ns, now_ns) {
            Ok(next) => {
                next_ns = next;
                came += 1;
            }
            Err(early) => now_ns += early.wait_ns,
        }
    }
    // Five at once, and seven in each of ten seconds.
    assert!((74..=75).contains(&came), "{came}");
}

#[test]
fn a_clock_that_stands_still_or_ends_lets_no_more_through() {
    let rate = Gcra::new(u64::MAX, u32::MAX);
    assert!(rate.take(0, u64::MAX).is_ok());
    let rate = Gcra::new(SECOND_NS, 2);
    let next_ns = rate.take(rate.take(0, 5 * SECOND_NS).unwrap(), 5 * SECOND_NS).unwrap();
    // Back by two seconds: no request comes by it, and the wait says when.
    assert_eq!(rate.take(next_ns, 3 * SECOND_NS), Err(TooEarly { wait_ns: 3 * SECOND_NS }));
    assert_eq!(Gcra::new(0, 0), Gcra::new(1, 1));
}

#[test]
fn retry_after_is_whole_seconds() {
    for (limited, seconds) in [
        (Limited::Rate { wait_ns: 1 }, 1),
        (Limited::Rate { wait_ns: SECOND_NS + 1 }, 2),
        (Limited::Rate { wait_ns: u64::MAX }, RETRY_AFTER_S_MAX),
        (Limited::Concurrent { requests_max: 4 }, 1),
        (Limited::Rows { rows_day_max: 5, wait_ms: 60_001 }, 61),
    ] {
        assert_eq!(limited.retry_after_s(), seconds, "{limited:?}");
    }
}

#[test]
fn rows_are_counted_by_the_day() {
    let noon_ms = 100 * DAY_MS + DAY_MS / 2;
    let rows = Rows::default().take(60, 100, noon_ms).unwrap();
    assert_eq!(rows, Rows { day: 100, rows: 60 });
    // All or none of a request.
    let over = rows.take(41, 100, noon_ms);
    assert_eq!(over, Err(Limited::Rows { rows_day_max: 100, wait_ms: DAY_MS / 2 }));
    assert_eq!(rows.take(40, 100, noon_ms).unwrap().rows, 100);
    assert_eq!(rows.take(41, 100, 101 * DAY_MS), Ok(Rows { day: 101, rows: 41 }));
    // A clock that goes back gives no day twice.
    assert_eq!(rows.take(1, 100, 99 * DAY_MS), Ok(Rows { day: 100, rows: 61 }));
    assert!(rows.take(u64::MAX, u64::MAX, noon_ms).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn over_any_time_no_more_than_the_rate_and_the_burst(
        interval_ns in 1u64..1_000, burst in 1u32..20,
        steps in prop::collection::vec(0u64..2_000, 1..200),
    ) {
        let rate = Gcra::new(interval_ns, burst);
        let (mut next_ns, mut now_ns, mut came) = (0, 1, vec![]);
        for step in steps {
            now_ns += step;
            let taken = rate.take(next_ns, now_ns);
            // What is refused changes nothing, and would pass after the wait and not before.
            match taken {
                Ok(next) => {
                    next_ns = next;
                    came.push(now_ns);
                }
                Err(TooEarly { wait_ns }) => {
                    prop_assert!(wait_ns >= 1);
                    prop_assert!(rate.take(next_ns, now_ns + wait_ns).is_ok());
                    prop_assert!(rate.take(next_ns, now_ns + wait_ns - 1).is_err());
                }
            }
        }
        for from in 0..came.len() {
            for to in from..came.len() {
                let most = u64::from(burst) + (came[to] - came[from]) / interval_ns;
                prop_assert!((to - from + 1) as u64 <= most);
            }
        }
    }

    #[test]
    fn an_even_caller_is_never_refused(
        interval_ns in 1u64..1_000, burst in 1u32..5,
        late in prop::collection::vec(0u64..50, 1..100),
    ) {
        let rate = Gcra::new(interval_ns, burst);
        let (mut next_ns, mut now_ns) = (0, 1);
        for late_ns in late {
            now_ns += interval_ns + late_ns;
            let taken = rate.take(next_ns, now_ns);
            prop_assert!(taken.is_ok());
            next_ns = taken.unwrap_or_default();
        }
    }
}

/// Threads that each do this many times, all beginning at once; how often it gave true.
fn together(threads: usize, times: usize, each: impl Fn() -> bool + Send + Sync) -> usize {
    let (barrier, count) = (Barrier::new(threads), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                barrier.wait();
                let own = (0..times).filter(|_| each()).count();
                count.fetch_add(own, Ordering::Relaxed);
            });
        }
    });
    count.into_inner()
}

#[test]
fn many_threads_get_one_burst_together() {
    for burst in [1, 7, 1_000] {
        let usage = Usage::default();
        let rate = Gcra::new(SECOND_NS, burst);
        let came = together(8, 2_000, || usage.take(rate, 5 * SECOND_NS).is_ok());
        assert_eq!(came, burst as usize);
    }
}

#[test]
fn many_threads_get_one_rate_together() {
    // A clock that all of them turn: each step is a nanosecond, and each attempt takes one.
    let (usage, clock) = (Usage::default(), AtomicU64::new(1));
    let (interval_ns, burst) = (10, 50);
    let rate = Gcra::new(interval_ns, burst);
    let (threads, times) = (8, 20_000);
    let came = together(threads, times, || {
        usage.take(rate, clock.fetch_add(1, Ordering::Relaxed)).is_ok()
    });
    let most = u64::from(burst) + (threads * times) as u64 / interval_ns;
    assert!(came as u64 <= most, "{came} of {most}");
    // Nor does any of it get lost: a thread that comes late with an old time is all that may.
    assert!(came as u64 >= most * 9 / 10, "{came} of {most}");
}

#[test]
fn many_threads_are_never_more_than_may_be_on_their_way() {
    let usage = Arc::new(Usage::default());
    let limits = Limits { concurrent_requests_max: Some(3), ..Limits::default() };
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let came = together(8, 5_000, || {
        let Ok(permit) = usage.admit(&limits, 1) else { return false };
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::yield_now();
        now.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
        true
    });
    assert!(came > 0 && most.into_inner() <= 3);
    assert_eq!(usage.in_flight(), 0);
}

#[test]
fn many_threads_get_the_rows_of_one_day_together() {
    let usage = Usage::default();
    let limits = Limits { rows_day_max: Some(1_000), ..Limits::default() };
    let came = together(8, 500, || usage.take_rows(&limits, 3, 100 * DAY_MS).is_ok());
    assert_eq!(came, 333);
    assert_eq!(usage.rows(), Rows { day: 100, rows: 999 });
    // The next day, and for whom there is no limit.
    assert!(usage.take_rows(&limits, 1_000, 101 * DAY_MS).is_ok());
    assert!(usage.take_rows(&Limits::default(), u64::MAX, 101 * DAY_MS).is_ok());
}

#[test]
fn no_more_rows_are_let_through_than_were_leased() {
    let usage = Usage::default();
    let limits = Limits { rows_day_max: Some(1_000), ..Limits::default() };
    let take = |rows, day: u64| usage.take_leased(&limits, rows, day * DAY_MS);
    assert_eq!(take(1, 100), Err(Limited::Rows { rows_day_max: 1_000, wait_ms: DAY_MS }));
    usage.add_lease(100, 300);
    let came = together(8, 500, || take(3, 100).is_ok());
    assert_eq!(came, 100);
    usage.add_lease(100, 2);
    assert!(take(3, 100).is_err() && take(2, 100).is_ok());
    // Of yesterday nothing is left, and its leases are none of today.
    usage.add_lease(100, 50);
    assert!(take(1, 101).is_err());
    usage.add_lease(101, 1);
    usage.add_lease(100, 50);
    assert!(take(1, 101).is_ok() && take(1, 101).is_err());
    assert!(usage.take_leased(&Limits::default(), u64::MAX, DAY_MS).is_ok());
}

#[test]
fn what_is_refused_for_one_limit_costs_nothing_of_another() {
    let usage = Arc::new(Usage::default());
    let limits = Limits { concurrent_requests_max: Some(1), ..limits("1/s", Some(2)) };
    let first = usage.admit(&limits, SECOND_NS).unwrap();
    for _ in 0..10 {
        let refused = usage.admit(&limits, SECOND_NS).unwrap_err();
        assert_eq!(refused, Limited::Concurrent { requests_max: 1 });
    }
    drop(first);
    // Two at once were allowed, and only one came.
    drop(usage.admit(&limits, SECOND_NS).unwrap());
    let refused = usage.admit(&limits, SECOND_NS).unwrap_err();
    assert_eq!(refused, Limited::Rate { wait_ns: SECOND_NS });
    assert_eq!(usage.in_flight(), 0);
}

#[test]
fn no_limit_is_no_limit() {
    let usage = Arc::new(Usage::default());
    let permits: Vec<Permit> =
        (0..1_000).map(|_| usage.admit(&Limits::default(), 1).unwrap()).collect();
    assert_eq!(usage.in_flight(), 1_000);
    drop(permits);
    assert_eq!(usage.in_flight(), 0);
}
