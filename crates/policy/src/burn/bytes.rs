//! An objective's counts as bytes, to be stored: most of its stretches are empty, and take two bytes.

use super::{Events, Objective, Ring};

/// Of the form that this program writes and reads.
const VERSION: u8 = 1;

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

impl Ring {
    fn write(&self, bytes: &mut Vec<u8>) {
        write(bytes, self.last);
        for slot in &self.slots {
            write(bytes, slot.all);
            write(bytes, slot.bad);
        }
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Option<()> {
        self.last = read(bytes)?;
        for slot in &mut self.slots {
            let (all, bad) = (read(bytes)?, read(bytes)?);
            *slot = Events { all, bad: bad.min(all) };
        }
        Some(())
    }
}

impl Objective {
    /// Its counts; its target is not among them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for ring in [&self.minutes, &self.tens, &self.days] {
            ring.write(&mut bytes);
        }
        bytes
    }

    /// An objective with counts that were stored; `None` if they are of another program, or damaged.
    pub fn from_bytes(target: f64, mut bytes: &[u8]) -> Option<Objective> {
        let mut objective = Objective::new(target);
        let (version, rest) = bytes.split_first()?;
        bytes = rest;
        if *version != VERSION {
            return None;
        }
        let Objective { minutes, tens, days, .. } = &mut objective;
        for ring in [minutes, tens, days] {
            ring.read(&mut bytes)?;
        }
        bytes.is_empty().then_some(objective)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_back_and_damage_is_seen() {
        let mut objective = Objective::new(0.999);
        let start_ms = 1_800_000_000_000;
        for minute in 0..500 {
            let events = Events { all: 1_000 * minute, bad: minute };
            objective.add(start_ms + minute * 60_000, events);
        }
        objective.add(start_ms, Events { all: u64::MAX, bad: u64::MAX });
        let bytes = objective.to_bytes();
        assert_eq!(Objective::from_bytes(0.999, &bytes), Some(objective));
        for cut in 0..bytes.len() {
            assert_eq!(Objective::from_bytes(0.999, &bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Objective::from_bytes(0.999, &[&bytes[..], &[0]].concat()), None);
        assert_eq!(Objective::from_bytes(0.999, &[VERSION + 1]), None);
        assert_eq!(Objective::from_bytes(0.999, &[0xff; 4_000]), None);
    }
}
