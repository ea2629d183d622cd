//! How strong walls can be here: found out by building them, as kernels and administrators forbid
//! parts of it in ways that only show when it is tried.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use domain::launch::{Sandbox, Walls};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::enclose::VARIABLE;

/// The argument with which the program looks around inside its walls: then a process and a file
/// outside.
pub const PROBE: &str = "--probe";

/// How strong walls are on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Confinement {
    /// The strongest level that works.
    pub level: Sandbox,
    /// Why not a stronger one, in the words of the kernel; empty if there is none.
    pub because: String,
}

/// The strongest level up to `most` that works here. `program` is Decalog's own; below `place` there
/// is room for a moment; `secret` is a file that must not be read inside.
pub fn strongest(program: &Path, place: &Path, secret: &Path, most: Sandbox) -> Confinement {
    let mut because = vec![];
    for level in [Sandbox::Full, Sandbox::Reduced] {
        if level > most {
            continue;
        }
        match works(program, place, secret, level) {
            Ok(()) => return Confinement { level, because: because.join("; ") },
            Err(error) => because.push(format!("{level}: {error}")),
        }
    }
    Confinement { level: Sandbox::Off, because: because.join("; ") }
}

fn works(program: &Path, place: &Path, secret: &Path, level: Sandbox) -> io::Result<()> {
    let own = place.join(format!("probe-{}-{level}", std::process::id()));
    fs::create_dir_all(own.join("tmp"))?;
    fs::File::open(secret)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let walls = Walls {
        level,
        read: vec![text(program)],
        own: text(&own),
        write: vec![],
        covered: vec![],
        port: None,
        narrows: false,
    };
    let run = || -> io::Result<()> {
        let output = Command::new(program)
            .args(["enclose", "--"])
            .arg(program)
            .args(["enclose", PROBE])
            .arg(std::process::id().to_string())
            .arg(secret)
            .env(VARIABLE, serde_json::to_string(&walls)?)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let line =
            said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it ended without a word");
        Err(io::Error::other(line.trim_start_matches("error: ").to_string()))
    };
    let result = run();
    // What is not removed now goes with the next start.
    let _ = fs::remove_dir_all(&own);
    result
}

/// Inside the walls: what must not be reached from here. Gives what can be.
pub fn answer_probe(outside: i32, secret: &Path) -> Result<(), String> {
    if fs::read(secret).is_ok() {
        return Err("files outside can be read".into());
    }
    if kill(Pid::from_raw(outside), None) != Err(Errno::EPERM) {
        return Err("signals reach other processes (Linux 6.12 keeps them in)".into());
    }
    let address = std::net::SocketAddr::from(([192, 0, 2, 1], 9));
    match std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect(address)) {
        Ok(()) => Err("there is a network".into()),
        Err(_) => Ok(()),
    }
}
