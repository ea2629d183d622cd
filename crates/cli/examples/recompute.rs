//! Takes every decision again from its record: reads the JSON of `decalog events --json`, and fails
//! if a decision does not follow from the inputs that it was recorded with.

use domain::{Event, Happened};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let page: serde_json::Value = serde_json::from_reader(std::io::stdin())?;
    let events: Vec<Happened> = serde_json::from_value(page["events"].clone())?;
    let (mut scales, mut verdicts) = (0, 0);
    for happened in events {
        let agrees = match &happened.event {
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
            return Err(format!(
                "{} does not follow from its inputs: {:?}",
                happened.place, happened.event
            )
            .into());
        }
    }
    println!("{{\"scales\": {scales}, \"verdicts\": {verdicts}}}");
    Ok(())
}
