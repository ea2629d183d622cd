//! Tries known attacks within the walls of a model: each first where nothing keeps it from what it
//! wants, as one that fails there says nothing of the walls.

use std::io::{self, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use domain::launch::{Role, Sandbox, Walls};
use supervisor::walls::VARIABLE;
use supervisor::walls::attacks::{ATTACKS, Attack, Targets};

use crate::EngineError;
use crate::handle::LocalEngine;
use crate::replica::ReplicaSpec;
use crate::tried::{AttackOutcome, AttackTried, WallsTried};
use crate::walls::Inside;

/// The variable that holds the [`Targets`] as JSON.
pub const TARGETS: &str = "DECALOG_TARGETS";
/// How long one attack may take, in milliseconds.
const ATTACK_MS_MAX: u64 = 10_000;
/// How long somebody answers packets, in milliseconds.
const ANSWER_MS_MAX: u64 = 120_000;

impl LocalEngine {
    /// Tries all attacks within the walls that a replica of this spec has.
    pub(crate) async fn attempt_attacks(
        &self,
        spec: &ReplicaSpec,
    ) -> Result<WallsTried, EngineError> {
        let (config, files) = (&self.inner.config, &self.inner.files);
        let id = self.next_id("a");
        let own = files.make_process(&id, None)?;
        let role = Role::Replica(spec.placement.clone());
        let inside = Inside {
            spec,
            config,
            files,
            onnxruntime: None,
            role: &role,
            origin: None,
            own: &own,
            socket: None,
            port: None,
        };
        let program = config.program.clone();
        let walls = inside.walls().map(|mut walls| {
            walls.read.push(program.to_string_lossy().into_owned());
            walls
        });
        let targets = Targets {
            data: config.data.root().to_string_lossy().into_owned(),
            tree: files.data.tree(&spec.tree).to_string_lossy().into_owned(),
            environment: spec
                .lock
                .map(|lock| files.data.environment(&lock).to_string_lossy().into_owned()),
            supervisor: files.supervisor_socket().to_string_lossy().into_owned(),
            name: id.0.clone(),
            ..Targets::default()
        };
        let trying = move || try_all(&Trying { program, walls, own }, targets);
        let tried = tokio::task::spawn_blocking(trying).await;
        let _ = tokio::fs::remove_dir_all(files.process(&id)).await;
        tried
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(EngineError::io("trying attacks"))
    }
}

struct Trying {
    program: PathBuf,
    walls: Option<Walls>,
    own: PathBuf,
}

/// A process that is attacked, which ends with this value.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn try_all(trying: &Trying, mut targets: Targets) -> io::Result<WallsTried> {
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    let _named = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&targets.name)?)?;
    targets.tcp = Some(tcp.local_addr()?);
    targets.udp = Some(udp.local_addr()?);
    answer_packets(udp);
    let mut attacks = vec![];
    for attack in ATTACKS {
        let victim = Victim(trying.command(None, "wait").stdin(Stdio::piped()).spawn()?);
        targets.process = victim.0.id();
        let [(outside, _), (inside, detail)] =
            [None, trying.walls.as_ref()].map(|walls| trying.attempt(walls, attack, &targets));
        attacks.push(AttackTried {
            name: attack.name.into(),
            what: attack.what.into(),
            outside,
            inside,
            detail,
        });
    }
    let level = trying.walls.as_ref().map_or(Sandbox::Off, |walls| walls.level);
    Ok(WallsTried { level, attacks })
}

/// Sends back what comes, for as long as attacks are tried.
fn answer_packets(socket: UdpSocket) {
    std::thread::spawn(move || {
        let _ = socket.set_read_timeout(Some(Duration::from_millis(ANSWER_MS_MAX)));
        let mut packet = [0; 8];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let _ = socket.send_to(&packet[..length], from);
        }
    });
}

impl Trying {
    fn command(&self, walls: Option<&Walls>, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir("/").stdin(Stdio::null());
        if let Some(walls) = walls {
            command.args(["enclose", "--"]).arg(&self.program);
            command.env(VARIABLE, serde_json::to_string(walls).unwrap_or_default());
        }
        command.args(["enclose", "--attack", name]);
        command.env("TMPDIR", self.own.join("tmp")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What came of an attack, and the words of the kernel.
    fn attempt(
        &self,
        walls: Option<&Walls>,
        attack: &Attack,
        targets: &Targets,
    ) -> (AttackOutcome, String) {
        let mut command = self.command(walls, attack.name);
        command.env(TARGETS, serde_json::to_string(targets).unwrap_or_default());
        match said(command) {
            Ok(said) if said == "possible" => (AttackOutcome::Possible, String::new()),
            Ok(said) => match said.strip_prefix("denied: ") {
                Some(why) => (AttackOutcome::Denied, why.into()),
                None => (AttackOutcome::Broken, said),
            },
            Err(error) => (AttackOutcome::Broken, error.to_string()),
        }
    }
}

/// What a program prints, within the time that it has.
fn said(mut command: Command) -> io::Result<String> {
    let mut child = Victim(command.spawn()?);
    let end = Instant::now() + Duration::from_millis(ATTACK_MS_MAX);
    while child.0.try_wait()?.is_none() {
        if Instant::now() > end {
            return Err(io::Error::other("it does not come to an end"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut text = String::new();
    if let Some(mut output) = child.0.stdout.take() {
        output.read_to_string(&mut text)?;
    }
    if text.trim().is_empty()
        && let Some(mut output) = child.0.stderr.take()
    {
        output.read_to_string(&mut text)?;
    }
    Ok(text.trim().to_string())
}
