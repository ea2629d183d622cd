//! The connection to the supervisor: finds it or starts it, and starts another if it is lost.

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use domain::Problem;
use domain::launch::ProcessId;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::protocol::{Call, Message, Process, Reply, Request, VERSION};
use crate::files::Files;
use crate::{EngineConfig, EngineError};

/// How long a new supervisor has to listen, in milliseconds.
const START_MS_MAX: u64 = 10_000;
/// Calls that wait.
const CALLS_MAX: usize = 256;

/// What the supervisor tells unasked.
#[derive(Debug)]
pub enum News {
    /// A process is new, or is not as it was.
    Changed(Box<Process>),
    /// A process is no longer in the list.
    Forgotten(ProcessId),
    /// The connection was lost and is there again; these are the processes of now. None are left if the supervisor itself
    /// had ended.
    Listed(Vec<Process>),
}

type Waiting = oneshot::Sender<Result<Reply, String>>;

/// A handle to the supervisor.
pub struct Supervisor {
    calls: mpsc::Sender<(Request, Waiting)>,
}

fn gone() -> EngineError {
    EngineError::Supervisor("the connection to it is lost".into())
}

fn not_adoptable(theirs: u32) -> Problem {
    let text = format!(
        "the workers cannot be taken over: their supervisor speaks version {theirs} of its protocol, this program version {VERSION}"
    );
    Problem::new("other_supervisor", text).help(
        "the running process goes on; to replace it, stop it with its workers (SIGTERM), then start this one without --takeover",
    )
}

impl Supervisor {
    /// Connects to the running supervisor of a data directory, or starts one.
    pub async fn connect(config: &EngineConfig, files: &Files) -> Result<(Supervisor, mpsc::Receiver<News>), EngineError> {
        let link = Link::open(config, files).await?;
        let (calls, incoming) = mpsc::channel(CALLS_MAX);
        let (news, receiver) = mpsc::channel(CALLS_MAX);
        // The process before this one, if there is one, serves with these workers no more when the connection is lost.
        let config = EngineConfig { takes_over: false, ..config.clone() };
        tokio::spawn(serve(link, config, files.clone(), incoming, news));
        Ok((Supervisor { calls }, receiver))
    }

    /// Asks, and waits for the reply.
    pub async fn call(&self, request: Request) -> Result<Reply, EngineError> {
        let (sender, reply) = oneshot::channel();
        self.calls.send((request, sender)).await.map_err(|_| gone())?;
        reply.await.map_err(|_| gone())?.map_err(EngineError::Supervisor)
    }

    /// Ends all processes and the supervisor; returns when it is gone.
    pub async fn shutdown(&self, drain_ms_max: u64) -> Result<(), EngineError> {
        self.call(Request::Shutdown { drain_ms_max }).await?;
        // The link ends when the supervisor does, and with it the task that takes calls.
        self.calls.closed().await;
        Ok(())
    }
}

struct Link {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Link {
    async fn open(config: &EngineConfig, files: &Files) -> Result<Link, EngineError> {
        let socket = files.supervisor_socket();
        let begin = Instant::now();
        let mut started = false;
        loop {
            if let Ok(stream) = UnixStream::connect(&socket).await {
                let (reader, writer) = stream.into_split();
                let mut link = Link { lines: BufReader::new(reader).lines(), writer };
                let theirs = link.version().await?;
                if theirs == VERSION {
                    return Ok(link);
                }
                // Another version's workers cannot be adopted; they are not ended while another process serves with them.
                if config.takes_over {
                    return Err(EngineError::User(not_adoptable(theirs)));
                }
                link.send(0, Request::Shutdown { drain_ms_max: START_MS_MAX / 2 }).await?;
                while let Ok(Some(_)) = link.lines.next_line().await {}
                started = false;
            }
            if !started {
                start(config, files)?;
                started = true;
            }
            if begin.elapsed() > Duration::from_millis(START_MS_MAX) {
                let log = files.supervisor_log();
                return Err(EngineError::Supervisor(format!("it does not start; see {}", log.display())));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn send(&mut self, id: u64, request: Request) -> Result<(), EngineError> {
        let mut line = serde_json::to_vec(&Call { id, request }).map_err(|error| EngineError::Supervisor(error.to_string()))?;
        line.push(b'\n');
        self.writer.write_all(&line).await.map_err(EngineError::io("writing to the supervisor"))
    }

    /// All processes.
    async fn list(&mut self) -> Result<Vec<Process>, EngineError> {
        self.send(0, Request::List).await?;
        loop {
            let line = self.lines.next_line().await.map_err(EngineError::io("reading from the supervisor"))?;
            match line.and_then(|line| serde_json::from_str(&line).ok()) {
                Some(Message::Reply { result: Ok(Reply::Processes(processes)), .. }) => return Ok(processes),
                // The list knows it all.
                Some(Message::Changed(_) | Message::Forgotten(_)) => {}
                _ => return Err(EngineError::Supervisor("it gives no list of its processes".into())),
            }
        }
    }

    async fn version(&mut self) -> Result<u32, EngineError> {
        self.send(0, Request::Hello).await?;
        loop {
            let line = self.lines.next_line().await.map_err(EngineError::io("reading from the supervisor"))?;
            match line.and_then(|line| serde_json::from_str(&line).ok()) {
                Some(Message::Reply { result: Ok(Reply::Version(version)), .. }) => return Ok(version),
                Some(Message::Changed(_) | Message::Forgotten(_)) => {}
                _ => return Ok(0),
            }
        }
    }
}

/// Starts a supervisor that outlives this process and its terminal.
fn start(config: &EngineConfig, files: &Files) -> Result<(), EngineError> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(files.supervisor_log());
    let log = log.map_err(EngineError::io("opening the supervisor's log"))?;
    let errors = log.try_clone().map_err(EngineError::io("opening the supervisor's log"))?;
    let mut command = Command::new(&config.program);
    command
        .arg("supervise")
        .arg("--data")
        .arg(&config.data)
        .env_clear()
        .env("PATH", &config.path)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    // SAFETY: setsid is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(EngineError::io("starting the supervisor"))?;
    // Collects its exit status, so that it does not stay behind as a zombie.
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// Carries calls and news until the supervisor is shut down.
async fn serve(
    mut link: Link,
    config: EngineConfig,
    files: Files,
    mut incoming: mpsc::Receiver<(Request, Waiting)>,
    news: mpsc::Sender<News>,
) {
    let mut waiting: HashMap<u64, Waiting> = HashMap::new();
    let mut next_id = 1;
    let mut stopping = false;
    loop {
        let lost = tokio::select! {
            call = incoming.recv() => {
                let Some((request, reply)) = call else { return };
                stopping |= matches!(request, Request::Shutdown { .. });
                waiting.insert(next_id, reply);
                next_id += 1;
                link.send(next_id - 1, request).await.is_err()
            }
            line = link.lines.next_line() => match line.ok().flatten().and_then(|line| serde_json::from_str(&line).ok()) {
                Some(Message::Reply { id, result }) => {
                    if let Some(reply) = waiting.remove(&id) {
                        let _ = reply.send(result);
                    }
                    false
                }
                Some(Message::Changed(process)) => {
                    // Nobody takes news any more: the platform ends.
                    let Ok(()) = news.send(News::Changed(process)).await else { return };
                    false
                }
                Some(Message::Forgotten(id)) => {
                    let Ok(()) = news.send(News::Forgotten(id)).await else { return };
                    false
                }
                None => true,
            }
        };
        if lost {
            waiting.clear();
            if stopping {
                return;
            }
            tracing::error!("the connection to the supervisor is lost");
            let Some(opened) = reopen(&config, &files, &news).await else { return };
            link = opened;
        }
    }
}

/// Connects again, to another supervisor if need be, and tells what is left. Gives `None` if nobody wants to know.
async fn reopen(config: &EngineConfig, files: &Files, news: &mpsc::Sender<News>) -> Option<Link> {
    loop {
        let listed = match Link::open(config, files).await {
            Ok(mut link) => link.list().await.map(|processes| (link, processes)),
            Err(error) => Err(error),
        };
        match listed {
            Ok((link, processes)) => {
                news.send(News::Listed(processes)).await.ok()?;
                return Some(link);
            }
            Err(error) => {
                tracing::error!("{error}");
                news.send(News::Listed(vec![])).await.ok()?;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
