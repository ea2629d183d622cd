//! Entries as events of the Open Cybersecurity Schema Framework (OCSF 1.3.0, class API Activity,
//! 6003), which stores of security logs read. docs/audit.md says which field comes from where.

use domain::event::PLATFORM;
use ledger::ExportedEntry;
use serde_json::{Value, json};

/// Of the schema.
const VERSION: &str = "1.3.0";
/// Application Activity.
const CATEGORY: u32 = 6;
/// API Activity.
const CLASS: u32 = 6003;

/// What an event did: its id and name.
fn activity(kind: &str) -> (u32, &'static str) {
    let ends = |ends: &[&str]| ends.iter().any(|end| kind.ends_with(end));
    if ends(&["_removed", "_revoked", "_withdrawn", "_unprotected"]) {
        (4, "Delete")
    } else if ends(&["_pushed", "_started", "_built", "_recorded", "_added", "_given", "_created"])
        || kind == "proposed"
    {
        (1, "Create")
    } else {
        (3, "Update")
    }
}

/// What kind of account an actor is: its id and name.
fn account(actor: &str) -> (u32, &'static str) {
    match actor.split_once(':').map_or(actor, |(kind, _)| kind) {
        PLATFORM => (3, "System"),
        "person" => (1, "User"),
        "service" | "job" => (4, "Service"),
        // Before there were principals, whoever asked said who they were.
        _ => (0, "Unknown"),
    }
}

/// What an entry concerns.
fn resource(subject: &str) -> &'static str {
    match subject {
        PLATFORM => "platform",
        model if model.contains('/') => "model",
        _ => "project",
    }
}

/// One line of JSON, without its end.
pub fn line(entry: &ExportedEntry) -> Vec<u8> {
    let (activity_id, activity_name) = activity(&entry.kind);
    let (type_id, account) = account(&entry.actor);
    let has_failed = entry.kind.ends_with("_failed");
    let event: Value = json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "actor": {
            "user": { "name": entry.actor, "type": account, "type_id": type_id, "uid": entry.actor },
        },
        "api": { "operation": entry.kind, "service": { "name": "decalog" } },
        "category_name": "Application Activity",
        "category_uid": CATEGORY,
        "class_name": "API Activity",
        "class_uid": CLASS,
        "message": format!("{} {}", entry.kind, entry.subject),
        "metadata": {
            "event_code": entry.kind,
            "log_name": "ledger",
            "original_time": entry.time,
            "product": {
                "name": "Decalog",
                "vendor_name": "Decalog",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "sequence": entry.seq,
            "uid": entry.hash,
            "version": VERSION,
        },
        "resources": [{ "name": entry.subject, "type": resource(&entry.subject) }],
        "severity": if has_failed { "Medium" } else { "Informational" },
        "severity_id": if has_failed { 3 } else { 1 },
        // The ledger does not say from where a request came, and the class demands it.
        "src_endpoint": { "name": "unknown" },
        "status": if has_failed { "Failure" } else { "Success" },
        "status_id": if has_failed { 2 } else { 1 },
        "time": entry.at_ms,
        "type_name": format!("API Activity: {activity_name}"),
        "type_uid": CLASS * 100 + activity_id,
    });
    let mut line = serde_json::to_vec(&event).unwrap_or_default();
    // The entry goes in as it is: numbers that were read and written again would not have its hash.
    line.pop();
    line.extend(br#","unmapped":{"entry":"#);
    line.extend(entry.to_line());
    line.extend(b"}}");
    line
}
