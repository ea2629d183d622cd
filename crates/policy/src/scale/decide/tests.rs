//! The rule, one input after the other.

use domain::scale::LoadMeasure;
use proptest::prelude::*;

use super::*;

fn inputs() -> ScaleInputs {
    ScaleInputs {
        measure: LoadMeasure::PerSecond,
        stable: 10.0,
        burst: 8.0,
        forecast: 10.0,
        backlog: 0.0,
        held: 10.0,
        hold_ms: 30_000,
        tried_floor: 0,
        busy_replicas: 0.7,
        target: 10.0,
        target_source: TargetSource::Learned,
        current: 1,
        ready: 1,
        starting: 0,
        draining: 0,
        queued: 0,
        in_flight: 1,
        in_flight_floor: 1,
        startup_ms: 2_000,
        min: 0,
        max: 8,
        budget: None,
        idle_ms: 0,
        idle_ms_max: 300_000,
        data_age_ms: Some(0),
        no_data: false,
    }
}

fn check(change: impl FnOnce(&mut ScaleInputs), target: u32, rule: ScaleRule) {
    let mut inputs = inputs();
    change(&mut inputs);
    let decision = decide(&inputs);
    assert_eq!((decision.target, decision.rule), (target, rule), "{inputs:?}");
}

#[test]
fn each_rule() {
    check(|_| {}, 1, ScaleRule::Hold);
    check(|inputs| inputs.stable = 10.1, 2, ScaleRule::Stable);
    check(|inputs| inputs.burst = 45.0, 5, ScaleRule::Burst);
    check(|inputs| inputs.forecast = 21.0, 3, ScaleRule::Forecast);
    check(|inputs| inputs.backlog = 15.0, 3, ScaleRule::Backlog);
    check(|inputs| inputs.burst = 1_000.0, 8, ScaleRule::Max);
    check(|inputs| (inputs.burst, inputs.budget) = (1_000.0, Some(3)), 3, ScaleRule::Budget);
    check(|inputs| inputs.min = 2, 2, ScaleRule::Min);
    check(|inputs| (inputs.no_data, inputs.stable) = (true, 1_000.0), 1, ScaleRule::NoData);
}

#[test]
fn from_zero_and_back() {
    let asleep = |inputs: &mut ScaleInputs| {
        *inputs = ScaleInputs {
            current: 0,
            ready: 0,
            in_flight: 0,
            in_flight_floor: 0,
            ..inputs.clone()
        };
    };
    check(asleep, 0, ScaleRule::Hold);
    let woken = |inputs: &mut ScaleInputs| {
        asleep(inputs);
        (inputs.queued, inputs.in_flight_floor, inputs.stable, inputs.forecast, inputs.burst) =
            (1, 1, 0.0, 0.0, 0.0);
    };
    check(woken, 1, ScaleRule::Wake);
    let idle = |inputs: &mut ScaleInputs| {
        (inputs.in_flight, inputs.in_flight_floor, inputs.stable, inputs.forecast, inputs.burst) =
            (0, 0, 0.0, 0.0, 0.0);
        inputs.held = 0.0;
        inputs.busy_replicas = 0.0;
        inputs.current = 3;
        inputs.idle_ms = 300_000;
    };
    check(idle, 0, ScaleRule::Idle);
    let not_yet = |inputs: &mut ScaleInputs| {
        idle(inputs);
        inputs.idle_ms = 299_999;
    };
    check(not_yet, 1, ScaleRule::Stable);
    let kept = |inputs: &mut ScaleInputs| {
        idle(inputs);
        inputs.min = 1;
    };
    check(kept, 1, ScaleRule::Min);
}

#[test]
fn down_only_with_room_to_spare() {
    let four = |held: f64| {
        move |inputs: &mut ScaleInputs| {
            (inputs.current, inputs.ready, inputs.held) = (4, 4, held);
        }
    };
    check(four(30.0), 4, ScaleRule::Hold);
    check(four(25.6), 4, ScaleRule::Hold);
    check(four(25.4), 3, ScaleRule::Stable);
    check(four(0.0), 1, ScaleRule::Stable);
    // The arrivals keep 2.8 replicas busy: three would never catch up.
    check(|inputs| (four(0.0)(inputs), inputs.busy_replicas = 2.8).1, 4, ScaleRule::Hold);
    check(|inputs| (four(0.0)(inputs), inputs.tried_floor = 3).1, 3, ScaleRule::Stable);
    check(|inputs| (four(0.0)(inputs), inputs.tried_floor = 30).1, 4, ScaleRule::Hold);
    check(|inputs| (four(0.0)(inputs), inputs.in_flight_floor = 3).1, 3, ScaleRule::InFlight);
    check(|inputs| (four(0.0)(inputs), inputs.in_flight_floor = 30).1, 4, ScaleRule::InFlight);
}

#[test]
fn an_unknown_model_gets_one_replica_at_a_time() {
    let unlearned = |ready: u32, current: u32| {
        move |inputs: &mut ScaleInputs| {
            inputs.target_source = TargetSource::Unlearned;
            (inputs.measure, inputs.target) = (LoadMeasure::InFlight, 0.7);
            (inputs.stable, inputs.burst, inputs.held, inputs.queued) = (61.0, 61.0, 61.0, 61);
            (inputs.ready, inputs.current) = (ready, current);
        }
    };
    check(unlearned(0, 0), 1, ScaleRule::Wake);
    check(unlearned(0, 1), 1, ScaleRule::Hold);
    check(unlearned(1, 1), 2, ScaleRule::Stable);
    check(unlearned(2, 2), 3, ScaleRule::Stable);
}

#[test]
fn replicas_that_start_change_nothing() {
    for starting in 0..20 {
        check(
            |inputs| (inputs.burst, inputs.starting, inputs.ready) = (45.0, starting, 1),
            5,
            ScaleRule::Burst,
        );
    }
}

pub fn any_inputs() -> impl Strategy<Value = ScaleInputs> {
    let load = || prop_oneof![Just(0.0), 0.0f64..1e3, Just(1e12)];
    let counts = (0u32..20, 0u32..20, 0u32..20, 0u64..500, 0u64..500, 0u32..40, 0u32..10);
    let limits = (
        0u32..10,
        0u32..10,
        prop::option::of(0u32..12),
        0u64..600_000,
        any::<bool>(),
        any::<bool>(),
    );
    (load(), load(), load(), load(), load(), 0.0f64..20.0, 0.01f64..100.0, counts, limits).prop_map(
        |(stable, burst, forecast, backlog, held, busy_replicas, target, counts, limits)| {
            let (current, ready, starting, queued, in_flight, in_flight_floor, tried_floor) =
                counts;
            let (min, above, budget, idle_ms, no_data, unlearned) = limits;
            ScaleInputs {
                stable,
                burst,
                forecast,
                backlog,
                held,
                busy_replicas,
                target,
                target_source: if unlearned {
                    TargetSource::Unlearned
                } else {
                    TargetSource::Learned
                },
                current,
                ready,
                starting,
                queued,
                in_flight,
                in_flight_floor,
                tried_floor,
                min,
                max: min + above,
                budget,
                idle_ms,
                no_data,
                ..inputs()
            }
        },
    )
}

proptest! {
    #[test]
    fn within_the_limits(inputs in any_inputs()) {
        let target = decide(&inputs).target;
        prop_assert!(target <= inputs.max && inputs.budget.is_none_or(|budget| target <= budget));
        prop_assert!(target >= inputs.min.min(inputs.budget.unwrap_or(u32::MAX)));
    }

    #[test]
    fn never_lowered_below_what_the_requests_in_the_system_need(inputs in any_inputs()) {
        let target = decide(&inputs).target;
        let needs = inputs.in_flight_floor.min(inputs.current).min(inputs.max).min(inputs.budget.unwrap_or(u32::MAX));
        prop_assert!(target >= needs);
    }

    #[test]
    fn no_data_is_not_zero(inputs in any_inputs()) {
        let inputs = ScaleInputs { no_data: true, budget: None, ..inputs };
        prop_assert!(decide(&inputs).target >= inputs.current.clamp(inputs.min, inputs.max));
    }

    #[test]
    fn more_load_never_means_fewer(inputs in any_inputs(), more in prop::array::uniform6(0.0f64..500.0)) {
        let [stable, burst, forecast, backlog, held, busy] = more;
        let larger = ScaleInputs {
            stable: inputs.stable + stable,
            burst: inputs.burst + burst,
            forecast: inputs.forecast + forecast,
            backlog: inputs.backlog + backlog,
            held: inputs.held + held,
            busy_replicas: inputs.busy_replicas + busy / 100.0,
            ..inputs.clone()
        };
        prop_assert!(decide(&larger).target >= decide(&inputs).target);
    }

    #[test]
    fn a_lower_target_never_means_fewer(inputs in any_inputs(), share in 0.1f64..1.0) {
        let lower = ScaleInputs { target: inputs.target * share, ..inputs.clone() };
        prop_assert!(decide(&lower).target >= decide(&inputs).target);
    }

    /// With the same inputs but the number that was decided, the decision stays: no two-step dance.
    #[test]
    fn a_decision_is_a_resting_point(inputs in any_inputs()) {
        let target = decide(&inputs).target;
        let next = ScaleInputs { current: target, ..inputs.clone() };
        let again = decide(&next).target;
        let third = decide(&ScaleInputs { current: again, ..next }).target;
        prop_assert!(again == target || third == again, "{target} {again} {third}");
    }
}

#[test]
fn numbers_that_are_none_do_not_panic() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
        let mut inputs = inputs();
        (inputs.stable, inputs.burst, inputs.forecast, inputs.backlog) =
            (number, number, number, number);
        (inputs.held, inputs.busy_replicas, inputs.target) = (number, number, number);
        assert!((1..=8).contains(&decide(&inputs).target), "{number}");
    }
}
