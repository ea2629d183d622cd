//! Takes every decision in a ledger again from its record: reads the JSON of `decalog events --json`, and fails if a
//! decision does not follow from the inputs that it was recorded with.

use domain::{Entry, Event};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let page: serde_json::Value = serde_json::from_reader(std::io::stdin())?;
    let entries: Vec<Entry> = serde_json::from_value(page["events"].clone())?;
    let (mut scales, mut verdicts) = (0, 0);
    for entry in entries {
        let agrees = match &entry.event {
            Event::ScaleChanged { record, .. } => {
                scales += 1;
                policy::scale::decide(&record.inputs) == record.decision
            }
            Event::GuardsJudged { inputs, judgements, .. } => {
                verdicts += 1;
                policy::guard::judge(inputs) == **judgements
            }
            _ => true,
        };
        if !agrees {
            return Err(format!("entry {} does not follow from its inputs: {:?}", entry.seq, entry.event).into());
        }
    }
    println!("{{\"scales\": {scales}, \"verdicts\": {verdicts}}}");
    Ok(())
}
