//! What receivers are sent, against the specifications of those who take it.

use super::*;
use crate::alarms::tests::{finding, key};
use domain::alarm::AlarmKind;

fn change(seq: u64, model: &str, step: AlarmStep) -> Change {
    let key = key(model);
    let alarm = Alarm {
        id: Alarm::id_of(&key, 1_000),
        key,
        finding: finding(Severity::Alert, 0.5),
        status: AlarmStatus::Open,
        opened_at_ms: 1_000,
        updated_at_ms: 1_000,
        resolved_at_ms: None,
        flaps: 0,
    };
    let change = AlarmChange { change: step, alarm, silenced: false };
    Change { seq, at_ms: 1_000, change }
}

fn secret(key: &str) -> ReceiverSecret {
    ReceiverSecret { address: String::new(), key: key.into() }
}

#[test]
fn a_signature_is_as_the_specification_has_it() {
    // The example of the specification of Standard Webhooks.
    let headers = signature(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
        &secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    );
    assert_eq!(headers[0].1, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_eq!(headers[1].1, "1614265330");
    assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_webhook_has_one_change_and_bears_its_id() {
    let changes = [change(1, "churn", AlarmStep::Opened), change(2, "churn", AlarmStep::Resolved)];
    assert_eq!(together(ReceiverKind::Webhook, &changes), 1);
    let secret = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let message = of_changes(ReceiverKind::Webhook, &changes[..1], "msg_1", &secret, 5_000);
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(body["type"], "alarm.opened");
    assert_eq!(body["timestamp"], "1970-01-01T00:00:01Z");
    assert_eq!(body["data"]["change"], "opened");
    assert_eq!(body["data"]["alarm"]["model"], "default/churn");
    assert_eq!(message.headers[0], ("webhook-id", "msg_1".into()));
    assert_eq!(message.headers[1], ("webhook-timestamp", "5".into()));
}

#[test]
fn a_text_is_for_one_model_and_no_markup() {
    let mut changes: Vec<Change> =
        (0..12).map(|seq| change(seq, "churn", AlarmStep::Opened)).collect();
    changes[0].change.alarm.finding.what = "<!channel> & <http://evil.example|me> `x`".into();
    changes.push(change(13, "fraud", AlarmStep::Resolved));
    assert_eq!(together(ReceiverKind::Slack, &changes), TEXT_CHANGES_MAX);
    assert_eq!(together(ReceiverKind::Slack, &changes[10..]), 2);
    let message = of_changes(ReceiverKind::Slack, &changes[..2], "", &secret(""), 0);
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.starts_with("*churn in production*\n*alert*: &lt;!channel&gt; &amp; "), "{text}");
    assert_eq!(body["blocks"].as_array().unwrap().len(), 3);
    // However long, a block stays within the limit of Slack.
    changes[0].change.alarm.finding.what = "<".repeat(100_000);
    changes[0].change.alarm.finding.next = "&".repeat(100_000);
    let message = of_changes(ReceiverKind::Slack, &changes[..1], "", &secret(""), 0);
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    for block in body["blocks"].as_array().unwrap() {
        assert!(block["text"]["text"].as_str().unwrap().chars().count() <= 3_000);
    }
}

#[test]
fn alerts_have_labels_and_an_end() {
    let mut changes = vec![
        change(1, "churn", AlarmStep::Opened),
        change(2, "fraud", AlarmStep::Opened),
        change(3, "churn", AlarmStep::Resolved),
    ];
    // Each step of an alarm goes by itself.
    assert_eq!(together(ReceiverKind::Alertmanager, &changes), 2);
    changes[2].change.alarm.status = AlarmStatus::Resolved;
    changes[2].change.alarm.resolved_at_ms = Some(9_000);
    changes[2].change.alarm.key.kind = AlarmKind::TailLatency;
    changes[2].change.alarm.key.subject = "v3".into();
    let body = |changes: &[Change]| -> Value {
        let message = of_changes(ReceiverKind::Alertmanager, changes, "", &secret(""), 60_000);
        serde_json::from_slice(&message.body).unwrap()
    };
    let open = body(&changes[..2]);
    assert_eq!(open[0]["labels"]["alertname"], "DecalogErrors");
    assert!(open[0]["labels"].get("subject").is_none());
    assert_eq!(open[0]["startsAt"], "1970-01-01T00:00:01Z");
    assert_eq!(open[1]["endsAt"], "1970-01-01T00:06:00Z");
    let resolved = body(&changes[2..]);
    assert_eq!(resolved[0]["labels"]["alertname"], "DecalogTailLatency");
    assert_eq!(resolved[0]["labels"]["subject"], "v3");
    assert_eq!(resolved[0]["endsAt"], "1970-01-01T00:00:09Z");
}
