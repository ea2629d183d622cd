//! Tells receivers of alarms what changed: each in order and at its own pace, so that one that does
//! not answer holds up no other. A change is told again until the receiver takes it, for a day; a
//! repeat bears the same id. Only the process that decides about alarms tells of them.

mod address;
mod call;
mod message;
mod pace;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::alarm::{
    Alarm, AlarmChange, AlarmKey, AlarmKind, AlarmStatus, AlarmStep, Confidence, Finding, Target,
};
use domain::receiver::RECEIVERS_MAX;
use domain::{AlertReceiver, Digest, EnvironmentName, ModelKey, ProjectName, ReceiverKind};
use domain::{Problem, ReceiverName, ReceiverSecret};
use parking_lot::Mutex;

pub use address::Address;
use call::{Client, Outcome};
pub use call::{agent, why};
use message::Message;
use pace::Pace;
pub use pace::{RETRY_AFTER_MS_MAX, retry_after_ms};

use crate::alarms::{Change, Desk, Due};
use crate::slo::Objectives;

/// A receiver that does not take a change for so long is not told it, in milliseconds.
pub const GIVE_UP_MS: u64 = 86_400_000;
/// A message that a receiver refuses is sent so often.
const REFUSALS_MAX: u32 = 5;
/// Alertmanager is told again of what is open so often, in milliseconds.
const AGAIN_MS: u64 = 60_000;
/// How often the desk's clock ticks, and the longest wait for a change, in milliseconds.
const TICK_MS: u64 = 1_000;

/// Reads what is kept like a secret.
pub type OpenSecret = Box<dyn Fn(&AlertReceiver) -> Result<ReceiverSecret, Problem> + Send + Sync>;

/// What telling needs of the rest.
pub struct DeliveryConfig {
    /// Milliseconds since 1970.
    pub now_ms: fn() -> u64,
    /// All receivers as they are now.
    pub receivers: Box<dyn Fn() -> Vec<AlertReceiver> + Send + Sync>,
    /// The address and the key of one.
    pub secret: OpenSecret,
    /// Authorities that certificates of receivers must lead to, in DER.
    pub authorities: Vec<Vec<u8>>,
}

/// Whoever tells receivers.
pub struct Delivery {
    config: DeliveryConfig,
    desk: Arc<Desk>,
    client: Client,
    /// Receivers that have a thread.
    told: Mutex<BTreeSet<ReceiverName>>,
}

impl Delivery {
    /// Starts the threads that make alarms' time pass and tell receivers; they last as long as the
    /// process.
    pub fn start(
        desk: Arc<Desk>,
        objectives: Arc<Objectives>,
        config: DeliveryConfig,
    ) -> std::io::Result<Arc<Delivery>> {
        let client = Client::new(&config.authorities);
        let delivery = Arc::new(Delivery { config, desk, client, told: Mutex::default() });
        let telling = delivery.clone();
        std::thread::Builder::new().name("alarms".into()).spawn(move || {
            loop {
                let begun = std::time::Instant::now();
                let now_ms = (telling.config.now_ms)();
                telling.desk.tick(now_ms);
                objectives.tick(&telling.desk, now_ms);
                telling.clone().look();
                std::thread::sleep(Duration::from_millis(TICK_MS).saturating_sub(begun.elapsed()));
            }
        })?;
        Ok(delivery)
    }

    /// Gives each receiver a thread.
    fn look(self: Arc<Delivery>) {
        if !self.desk.decides() {
            return;
        }
        for receiver in (self.config.receivers)().into_iter().take(RECEIVERS_MAX) {
            if !self.told.lock().insert(receiver.name.clone()) {
                continue;
            }
            self.desk.add_receiver(&receiver);
            let (telling, name) = (self.clone(), receiver.name.clone());
            let started = std::thread::Builder::new()
                .name(format!("tell {name}").chars().take(15).collect())
                .spawn(move || Turn::new(telling, name).run());
            if let Err(error) = started {
                tracing::error!("{} is not told of alarms: {error}", receiver.name);
                self.told.lock().remove(&receiver.name);
            }
        }
    }

    fn receiver(&self, name: &ReceiverName) -> Option<AlertReceiver> {
        (self.config.receivers)().into_iter().find(|receiver| receiver.name == *name)
    }

    /// Sends a made-up alarm, now and once; why it was not taken.
    pub fn test(&self, receiver: &AlertReceiver) -> Result<(), String> {
        let now_ms = (self.config.now_ms)();
        let secret = (self.config.secret)(receiver).map_err(|problem| problem.message)?;
        let address: Address = secret.address.parse()?;
        let change = Change { seq: 0, at_ms: now_ms, change: made_up(receiver, now_ms)? };
        let id = Digest::of(format!("test\n{}\n{now_ms}", receiver.name).as_bytes()).to_string();
        let id = format!("msg_{}", id.get(..32).unwrap_or(&id));
        let message = message::of_changes(receiver.kind, &[change], &id, &secret, now_ms);
        match self.client.send(&address.target(receiver.kind), &message, now_ms) {
            Outcome::Taken => Ok(()),
            Outcome::Refused(why) | Outcome::Failed { why, .. } => Err(why),
        }
    }
}

/// An alarm that is none, for a receiver.
fn made_up(receiver: &AlertReceiver, now_ms: u64) -> Result<AlarmChange, String> {
    let model = match &receiver.model {
        Some(model) => model.clone(),
        None => ModelKey {
            project: ProjectName::default(),
            model: "test".parse().map_err(|_| "a name cannot be one")?,
        },
    };
    let key = AlarmKey {
        target: Some(Target { model, environment: EnvironmentName::default() }),
        kind: AlarmKind::Rule,
        subject: "test".into(),
    };
    let finding = Finding {
        version: None,
        severity: receiver.severity,
        what: format!("this is a test of receiver {}: nothing is wrong", receiver.name),
        since_ms: now_ms,
        confidence: Confidence::Measured,
        size: 1.0,
        columns: vec![],
        next: "decalog alerts ls".into(),
    };
    let alarm = Alarm {
        id: Alarm::id_of(&key, now_ms),
        key,
        finding,
        status: AlarmStatus::Open,
        opened_at_ms: now_ms,
        updated_at_ms: now_ms,
        resolved_at_ms: None,
        flaps: 0,
    };
    Ok(AlarmChange { change: AlarmStep::Opened, alarm, silenced: false })
}

/// One receiver's thread.
struct Turn {
    delivery: Arc<Delivery>,
    name: ReceiverName,
    pace: Pace,
    /// When Alertmanager was last told of all that is open.
    again_ms: u64,
    /// How far the receiver was told by this thread: a disk that takes no note of it does not make
    /// it be told again.
    told: u64,
    /// As it was last read.
    secret: Option<(Digest, ReceiverSecret, Address)>,
}

impl Drop for Turn {
    /// Also after a panic: another thread takes its place.
    fn drop(&mut self) {
        self.delivery.told.lock().remove(&self.name);
    }
}

impl Turn {
    fn new(delivery: Arc<Delivery>, name: ReceiverName) -> Turn {
        Turn { delivery, name, pace: Pace::default(), again_ms: 0, told: 0, secret: None }
    }

    /// Tells the receiver until it is one no more.
    fn run(mut self) {
        let desk = self.delivery.desk.clone();
        loop {
            let seen = desk.last();
            let Some(receiver) = self.delivery.receiver(&self.name) else {
                if desk.decides() {
                    desk.remove_receiver(self.name.as_str());
                }
                return;
            };
            let now_ms = (self.delivery.config.now_ms)();
            if self.pace.is_due(now_ms)
                && let Some(due) = desk.due(&receiver, self.told)
                && self.tell(&receiver, &due, now_ms)
            {
                // There may be more.
                continue;
            }
            desk.wait(seen, Duration::from_millis(TICK_MS));
        }
    }

    /// Tells what is next; whether there may be more.
    fn tell(&mut self, receiver: &AlertReceiver, due: &Due, now_ms: u64) -> bool {
        let desk = self.delivery.desk.clone();
        let (lease, name) = (&due.lease, self.name.as_str().to_string());
        let count = message::together(receiver.kind, &due.changes);
        let changes = &due.changes[..count];
        let Some(last) = changes.last() else {
            self.tell_again(receiver, due, now_ms);
            if due.is_further {
                self.advance(due, due.seq, (0, 0), now_ms);
            }
            return due.is_further;
        };
        let seq = if count == due.changes.len() { due.seq } else { last.seq };
        let is_old = now_ms.saturating_sub(last.at_ms) > GIVE_UP_MS;
        if is_old && self.pace.failures > 0 {
            self.advance(due, seq, (0, count as u64), now_ms);
            return true;
        }
        let id = desk.message_id(&name, last.seq);
        let kind = receiver.kind;
        let message =
            |secret: &ReceiverSecret| message::of_changes(kind, changes, &id, secret, now_ms);
        match self.send(receiver, message, now_ms) {
            Outcome::Taken => {
                self.pace.succeeded();
                self.advance(due, seq, (count as u64, 0), now_ms);
                true
            }
            Outcome::Refused(why) if self.pace.failures + 1 >= REFUSALS_MAX => {
                tracing::warn!("{name} was not told of an alarm: {why}");
                self.pace.succeeded();
                self.advance(due, seq, (0, count as u64), now_ms);
                desk.note(lease, &name, Some(&why), now_ms);
                true
            }
            Outcome::Refused(why) => self.failed(due, &why, None, now_ms),
            Outcome::Failed { why, retry_after_ms } => {
                self.failed(due, &why, retry_after_ms, now_ms)
            }
        }
    }

    fn advance(&mut self, due: &Due, seq: u64, count: (u64, u64), now_ms: u64) {
        self.told = self.told.max(seq);
        self.delivery.desk.told(&due.lease, self.name.as_str(), seq, count, now_ms);
    }

    fn failed(&mut self, due: &Due, why: &str, after_ms: Option<u64>, now_ms: u64) -> bool {
        if self.pace.failures == 0 {
            tracing::warn!("{} is not told of alarms, it is tried again: {why}", self.name);
        }
        self.pace.failed(now_ms, after_ms, fastrand::f64());
        self.delivery.desk.note(&due.lease, self.name.as_str(), Some(why), now_ms);
        false
    }

    /// Alertmanager takes what it is not told again for over.
    fn tell_again(&mut self, receiver: &AlertReceiver, due: &Due, now_ms: u64) {
        let is_due = now_ms.abs_diff(self.again_ms) >= AGAIN_MS;
        if receiver.kind != ReceiverKind::Alertmanager || !is_due {
            return;
        }
        self.again_ms = now_ms;
        for alarms in self.delivery.desk.announced(receiver).chunks(message::ALERTS_MAX) {
            match self.send(receiver, |_| message::of_open(alarms, now_ms), now_ms) {
                Outcome::Taken if self.pace.failures > 0 => {
                    self.pace.succeeded();
                    self.delivery.desk.note(&due.lease, self.name.as_str(), None, now_ms);
                }
                Outcome::Taken => {}
                Outcome::Refused(why) | Outcome::Failed { why, .. } => {
                    self.failed(due, &why, None, now_ms);
                    return;
                }
            }
        }
    }

    fn send(
        &mut self,
        receiver: &AlertReceiver,
        message: impl FnOnce(&ReceiverSecret) -> Message,
        now_ms: u64,
    ) -> Outcome {
        let delivery = self.delivery.clone();
        match self.open(receiver) {
            Ok((_, secret, address)) => {
                let target = address.target(receiver.kind);
                delivery.client.send(&target, &message(secret), now_ms)
            }
            Err(why) => Outcome::Failed { why, retry_after_ms: None },
        }
    }

    /// The receiver's address and key; read again if it was set anew.
    fn open(
        &mut self,
        receiver: &AlertReceiver,
    ) -> Result<&(Digest, ReceiverSecret, Address), String> {
        let is_known = self.secret.as_ref().is_some_and(|(file, ..)| *file == receiver.secret);
        if !is_known {
            let secret = (self.delivery.config.secret)(receiver);
            let secret = secret
                .map_err(|problem| format!("its address cannot be read: {}", problem.message))?;
            let address = secret.address.parse()?;
            self.secret = Some((receiver.secret, secret, address));
        }
        self.secret.as_ref().ok_or_else(|| "its address was not read".into())
    }
}
