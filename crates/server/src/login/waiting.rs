//! Logins on their way: terminals that wait for somebody to allow them in a browser, and links that
//! open a browser's session once. They are in memory only: a new process begins with none.

use std::collections::HashMap;
use std::net::IpAddr;

use domain::{Caller, Code, Digest, Problem};
use gateway::Source;
use parking_lot::Mutex;

/// How long a terminal waits, in milliseconds: ten minutes.
pub const DEVICE_MS_MAX: u64 = 600_000;
/// How long a link is good, in milliseconds: a minute.
pub const LINK_MS_MAX: u64 = 60_000;
/// Terminals that wait at a time, …
const DEVICES_MAX: usize = 4_096;
/// … and those of one address.
const DEVICES_OF_ONE_MAX: usize = 64;
/// Links that are good at a time.
const LINKS_MAX: usize = 1_024;
/// Bytes of what cannot be guessed.
const KEY_BYTES: usize = 32;
/// Letters that nobody takes for others, and that make no words.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Of a code that people compare: half of it before the hyphen.
const CODE_LETTERS: usize = 8;

/// A terminal that waits.
#[derive(Clone, Debug)]
pub struct Device {
    /// As people compare it: `BCDF-GHJK`.
    pub user_code: String,
    /// Where it is.
    pub ip: Option<IpAddr>,
    end_ms: u64,
    outcome: Outcome,
}

/// What has become of a terminal that waits.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Nothing yet.
    Waiting,
    /// Somebody lets it act for them.
    Allowed(Box<Caller>),
    /// Somebody said that it is not theirs.
    Denied,
}

/// All of them, by the digest of what only the terminal or the link has.
#[derive(Default)]
pub struct Waiting {
    devices: Mutex<HashMap<Digest, Device>>,
    links: Mutex<HashMap<Digest, (u64, Caller)>>,
}

fn key() -> Result<(String, Digest), Problem> {
    let text: String =
        control::random::<KEY_BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = Digest::of(text.as_bytes());
    Ok((text, digest))
}

/// As people compare it. A byte above the last whole turn of the alphabet is thrown again, so that
/// all codes are as likely.
fn user_code() -> Result<String, Problem> {
    let mut code = String::new();
    while code.len() < CODE_LETTERS + 1 {
        let [byte] = control::random::<1>()?;
        if usize::from(byte) >= 256 / LETTERS.len() * LETTERS.len() {
            continue;
        }
        code.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
        if code.len() == CODE_LETTERS / 2 {
            code.push('-');
        }
    }
    Ok(code)
}

/// A code as somebody may have typed it.
fn normal(code: &str) -> String {
    let letters: Vec<char> =
        code.chars().filter(char::is_ascii_alphabetic).take(CODE_LETTERS + 1).collect();
    let text: String = letters.iter().collect::<String>().to_ascii_uppercase();
    match text.len() {
        CODE_LETTERS => format!("{}-{}", &text[..CODE_LETTERS / 2], &text[CODE_LETTERS / 2..]),
        _ => text,
    }
}

fn too_many() -> Problem {
    Problem::new(Code::ServerBusy, "too many logins are on their way")
        .help("try again in some minutes")
}

fn over() -> Problem {
    Problem::new(Code::LoginOver, "this login is over, or never began").help("begin again")
}

impl Waiting {
    /// A terminal begins to wait: its key, and what it is from now on.
    pub fn begin_device(
        &self,
        ip: Option<IpAddr>,
        now_ms: u64,
    ) -> Result<(String, Device), Problem> {
        let ((key, digest), user_code) = (key()?, user_code()?);
        let end_ms = now_ms + DEVICE_MS_MAX;
        let device = Device { user_code, ip, end_ms, outcome: Outcome::Waiting };
        let mut devices = self.devices.lock();
        devices.retain(|_, device| device.end_ms > now_ms);
        let source = |ip: Option<IpAddr>| ip.map(Source::of);
        let of_one = devices.values().filter(|device| source(device.ip) == source(ip)).count();
        if devices.len() >= DEVICES_MAX || of_one >= DEVICES_OF_ONE_MAX {
            return Err(too_many());
        }
        devices.insert(digest, device.clone());
        Ok((key, device))
    }

    /// The terminal that waits under a code.
    pub fn device(&self, code: &str, now_ms: u64) -> Option<Device> {
        let code = normal(code);
        let devices = self.devices.lock();
        let is_meant = |device: &&Device| {
            device.user_code == code
                && device.end_ms > now_ms
                && matches!(device.outcome, Outcome::Waiting)
        };
        devices.values().find(is_meant).cloned()
    }

    /// Somebody says whether the terminal that waits under a code may act for them.
    pub fn decide(&self, code: &str, by: Option<Caller>, now_ms: u64) -> Result<Device, Problem> {
        let code = normal(code);
        let mut devices = self.devices.lock();
        let found = devices.values_mut().find(|device| {
            device.user_code == code
                && device.end_ms > now_ms
                && matches!(device.outcome, Outcome::Waiting)
        });
        let device = found.ok_or_else(over)?;
        device.outcome = by.map_or(Outcome::Denied, |by| Outcome::Allowed(Box::new(by)));
        Ok(device.clone())
    }

    /// What has become of a terminal, by its key. What has been decided is told once.
    pub fn outcome(&self, key: &str, now_ms: u64) -> Result<Outcome, Problem> {
        let digest = Digest::of(key.as_bytes());
        let mut devices = self.devices.lock();
        let device = devices.get(&digest).filter(|device| device.end_ms > now_ms);
        match device.ok_or_else(over)?.outcome.clone() {
            Outcome::Waiting => Ok(Outcome::Waiting),
            decided => {
                devices.remove(&digest);
                Ok(decided)
            }
        }
    }

    /// The key of a link that logs a browser in once, as this caller.
    pub fn begin_link(&self, caller: Caller, now_ms: u64) -> Result<String, Problem> {
        let (key, digest) = key()?;
        let mut links = self.links.lock();
        links.retain(|_, (end_ms, _)| *end_ms > now_ms);
        if links.len() >= LINKS_MAX {
            return Err(too_many());
        }
        links.insert(digest, (now_ms + LINK_MS_MAX, caller));
        Ok(key)
    }

    /// Whose link it is.
    pub fn link(&self, key: &str, now_ms: u64) -> Option<Caller> {
        let links = self.links.lock();
        let link = links.get(&Digest::of(key.as_bytes())).filter(|(end_ms, _)| *end_ms > now_ms);
        link.map(|(_, caller)| caller.clone())
    }

    /// Whose link it is; it is used up by that.
    pub fn take_link(&self, key: &str, now_ms: u64) -> Option<Caller> {
        let taken = self.links.lock().remove(&Digest::of(key.as_bytes()));
        taken.filter(|(end_ms, _)| *end_ms > now_ms).map(|(_, caller)| caller)
    }
}
