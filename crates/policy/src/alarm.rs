//! When an alarm opens, is told again, and resolves: each opens once and resolves once.
//!
//! Detectors say [`Alarms::raise`] while something is so and [`Alarms::quiet`] while it is not, as
//! often as they like. An alarm resolves when it was quiet for its hold without a break; each time
//! it comes back before, the hold doubles, so that what flaps becomes one alarm, also if it had
//! resolved in between. All of it can be serialised and goes on after a restart.
//!
//! Memory: at most [`ALARMS_OPEN_MAX`] alarms and [`SILENCES_MAX`] silences.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use domain::alarm::{Alarm, AlarmChange, AlarmKey, AlarmStatus, AlarmStep, Finding, Silence};
use serde::{Deserialize, Serialize};

/// How long it must be quiet before an alarm resolves, in milliseconds, the first time.
pub const HOLD_MS_MIN: u64 = 30_000;
/// However often it comes back, it need not be quiet for longer, in milliseconds.
pub const HOLD_MS_MAX: u64 = 3_600_000;
/// An alarm is told again at most so often, in milliseconds, unless it becomes more severe.
pub const UPDATE_INTERVAL_MS: u64 = 300_000;
/// An effect that is so many times as large, or as small, is told again.
pub const SIZE_FACTOR: f64 = 1.5;
/// For so long, in milliseconds, a resolved alarm is remembered as one that may flap.
pub const FLAP_MEMORY_MS: u64 = 6 * 3_600_000;
/// So many alarms are open at most, over all models. Each is about another kind or subject; what
/// would be one more is not opened, and counted.
pub const ALARMS_OPEN_MAX: usize = 10_000;
/// So many silences are kept at most.
pub const SILENCES_MAX: usize = 1_000;

/// What is remembered of one alarm beside itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Entry {
    alarm: Alarm,
    /// What was last told, to see whether there is more to tell.
    told_size: f64,
    told_columns: Vec<String>,
    quiet_since_ms: Option<u64>,
    /// Something was held back by a silence.
    withheld: bool,
    /// Somebody was told of it.
    announced: bool,
}

/// All alarms that are open, those that may come back, and the silences.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Alarms {
    // As lists in JSON: a key is no string.
    #[serde(with = "pairs")]
    open: BTreeMap<AlarmKey, Entry>,
    #[serde(with = "pairs")]
    recent: BTreeMap<AlarmKey, Recent>,
    silences: Vec<Silence>,
    refused: u64,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Recent {
    resolved_at_ms: u64,
    flaps: u32,
}

/// What is remembered about one key: what [`Alarms::kept`] gives, to be stored and to come back in
/// [`Alarms::restored`]. Opaque.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    key: AlarmKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recent: Option<Recent>,
}

impl Kept {
    /// Whether nothing would be missed without it.
    pub fn is_empty(&self, now_ms: u64) -> bool {
        self.open.is_none() && self.recent.is_none_or(|recent| recent.is_forgotten(now_ms))
    }
}

/// There are too many silences.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there are {SILENCES_MAX} silences already: end one of them, or name more alarms in one")]
pub struct TooManySilences;

impl Alarms {
    /// It is so: opens the alarm, or tells more of the one that is open. `None` if there is nothing
    /// to tell.
    pub fn raise(&mut self, key: &AlarmKey, finding: Finding, now_ms: u64) -> Option<AlarmChange> {
        match self.open.contains_key(key) {
            true => self.update(key, finding, now_ms),
            false => self.open(key, finding, now_ms),
        }
    }

    fn open(&mut self, key: &AlarmKey, finding: Finding, now_ms: u64) -> Option<AlarmChange> {
        if self.open.len() >= ALARMS_OPEN_MAX {
            self.refused += 1;
            return None;
        }
        let recent = self.recent.remove(key).filter(|recent| !recent.is_forgotten(now_ms));
        let alarm = Alarm {
            id: Alarm::id_of(key, now_ms),
            key: key.clone(),
            finding,
            status: AlarmStatus::Open,
            opened_at_ms: now_ms,
            updated_at_ms: now_ms,
            resolved_at_ms: None,
            flaps: recent.map_or(0, |recent| recent.flaps.saturating_add(1)),
        };
        let silenced = self.is_silenced(&alarm, now_ms);
        let entry = Entry {
            told_size: alarm.finding.size,
            told_columns: alarm.finding.columns.clone(),
            quiet_since_ms: None,
            withheld: silenced,
            announced: !silenced,
            alarm: alarm.clone(),
        };
        self.open.insert(key.clone(), entry);
        Some(AlarmChange { change: AlarmStep::Opened, alarm, silenced })
    }

    fn update(&mut self, key: &AlarmKey, finding: Finding, now_ms: u64) -> Option<AlarmChange> {
        let entry = self.open.get_mut(key)?;
        if entry.quiet_since_ms.take().is_some() {
            entry.alarm.flaps = entry.alarm.flaps.saturating_add(1);
        }
        let rises = finding.severity > entry.alarm.finding.severity;
        let due = now_ms.saturating_sub(entry.alarm.updated_at_ms) >= UPDATE_INTERVAL_MS;
        let told = rises || (due && entry.differs(&finding));
        // An alarm does not become less severe, and began when it began, until it is over.
        let severity = finding.severity.max(entry.alarm.finding.severity);
        let since_ms = finding.since_ms.min(entry.alarm.finding.since_ms);
        entry.alarm.finding = Finding { severity, since_ms, ..finding };
        if !told {
            return None;
        }
        entry.alarm.updated_at_ms = now_ms;
        entry.told_size = entry.alarm.finding.size;
        entry.told_columns = entry.alarm.finding.columns.clone();
        let alarm = entry.alarm.clone();
        let silenced = self.is_silenced(&alarm, now_ms);
        if let Some(entry) = self.open.get_mut(key) {
            entry.withheld |= silenced && rises;
            entry.announced |= !silenced;
        }
        Some(AlarmChange { change: AlarmStep::Updated, alarm, silenced })
    }

    /// It is not so: resolves the alarm once this has lasted. No data is not quiet: then say
    /// nothing.
    pub fn quiet(&mut self, key: &AlarmKey, now_ms: u64) -> Option<AlarmChange> {
        let entry = self.open.get_mut(key)?;
        let since_ms = *entry.quiet_since_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) < hold_ms(entry.alarm.flaps) {
            return None;
        }
        self.close(key, now_ms)
    }

    /// Resolves at once what can no longer be so: its model was removed, its baseline replaced.
    pub fn close(&mut self, key: &AlarmKey, now_ms: u64) -> Option<AlarmChange> {
        let Entry { mut alarm, announced, .. } = self.open.remove(key)?;
        (alarm.status, alarm.resolved_at_ms) = (AlarmStatus::Resolved, Some(now_ms));
        alarm.updated_at_ms = now_ms;
        self.recent.retain(|_, recent| !recent.is_forgotten(now_ms));
        if self.recent.len() < ALARMS_OPEN_MAX {
            let recent = Recent { resolved_at_ms: now_ms, flaps: alarm.flaps };
            self.recent.insert(key.clone(), recent);
        }
        // Whoever was told of the beginning is told of the end, silence or not, and nobody else.
        Some(AlarmChange { change: AlarmStep::Resolved, alarm, silenced: !announced })
    }

    /// Nobody is told of what it covers, until it ends.
    pub fn silence(&mut self, silence: Silence, now_ms: u64) -> Result<(), TooManySilences> {
        self.silences.retain(|silence| now_ms < silence.until_ms);
        if self.silences.len() >= SILENCES_MAX {
            return Err(TooManySilences);
        }
        self.silences.push(silence);
        Ok(())
    }

    /// Ends all silences that are like this one; how many there were.
    pub fn unsilence(&mut self, like: &Silence) -> usize {
        let before = self.silences.len();
        self.silences.retain(|silence| silence != like);
        before - self.silences.len()
    }

    /// The silences that are in force.
    pub fn silences(&self, now_ms: u64) -> impl Iterator<Item = &Silence> {
        self.silences.iter().filter(move |silence| now_ms < silence.until_ms)
    }

    /// What a silence has held back that no longer covers it: told now, once. To be asked every
    /// minute or so.
    pub fn unsilenced(&mut self, now_ms: u64) -> Vec<AlarmChange> {
        let Alarms { open, silences, .. } = self;
        let covered = |alarm: &Alarm| silences.iter().any(|silence| silence.covers(alarm, now_ms));
        let told = open.values_mut().filter(|entry| entry.withheld && !covered(&entry.alarm));
        told.map(|entry| {
            (entry.withheld, entry.announced) = (false, true);
            let alarm = entry.alarm.clone();
            AlarmChange { change: AlarmStep::Unsilenced, alarm, silenced: false }
        })
        .collect()
    }

    /// Whether nobody is told of this alarm now.
    pub fn is_silenced(&self, alarm: &Alarm, now_ms: u64) -> bool {
        self.silences.iter().any(|silence| silence.covers(alarm, now_ms))
    }

    /// All that are open, in order of their models.
    pub fn open_alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.open.values().map(|entry| &entry.alarm)
    }

    /// Those of them of which somebody was told.
    pub fn announced(&self) -> impl Iterator<Item = &Alarm> {
        self.open.values().filter(|entry| entry.announced).map(|entry| &entry.alarm)
    }

    /// The one that is open about this.
    pub fn get(&self, key: &AlarmKey) -> Option<&Alarm> {
        self.open.get(key).map(|entry| &entry.alarm)
    }

    /// What is remembered about a key, to be stored.
    pub fn kept(&self, key: &AlarmKey) -> Kept {
        let (open, recent) = (self.open.get(key).cloned(), self.recent.get(key).copied());
        Kept { key: key.clone(), open, recent }
    }

    /// All alarms from what was stored of them.
    pub fn restored(kept: impl IntoIterator<Item = Kept>, silences: Vec<Silence>) -> Alarms {
        let mut alarms = Alarms { silences, ..Alarms::default() };
        for Kept { key, open, recent } in kept {
            alarms.open.extend(open.map(|entry| (key.clone(), entry)));
            alarms.recent.extend(recent.map(|recent| (key, recent)));
        }
        alarms
    }

    /// How many alarms were not opened because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl Entry {
    /// Whether there is something to tell that was not told: other columns, or another order of
    /// size.
    fn differs(&self, finding: &Finding) -> bool {
        let (told, size) = (self.told_size.abs(), finding.size.abs());
        let resized = size > told * SIZE_FACTOR || size * SIZE_FACTOR < told;
        let sorted = |columns: &[String]| {
            let mut columns = columns.to_vec();
            columns.sort();
            columns
        };
        resized || sorted(&self.told_columns) != sorted(&finding.columns)
    }
}

impl Recent {
    fn is_forgotten(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.resolved_at_ms) >= FLAP_MEMORY_MS
    }
}

/// How long it must be quiet, in milliseconds, after it came back so many times.
pub fn hold_ms(flaps: u32) -> u64 {
    HOLD_MS_MIN.saturating_mul(1 << flaps.min(20)).min(HOLD_MS_MAX)
}

mod pairs {
    //! Maps as lists of pairs.

    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
