//! The connection to the supervisor: finds it or starts it, and starts another if it is lost.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use domain::launch::ProcessId;
use domain::{Code, Problem};
use supervisor::Files;
use supervisor::lines::Lines;
use supervisor::protocol::{Call, MESSAGE_BYTES_MAX, Message, Process, Reply, Request, VERSION};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{EngineConfig, EngineError};

/// How long a new supervisor has to listen, in milliseconds.
const START_MS_MAX: u64 = 10_000;
/// Before one that did not start is started again, in milliseconds.
const START_AGAIN_MS: u64 = 250;
/// How often the supervisor is asked whether it is there, in milliseconds.
const ASK_MS: u64 = 1_000;
/// How long it may take to answer that, or to take what it is told, in milliseconds.
const ANSWER_MS_MAX: u64 = 5_000;
/// Calls that wait.
const CALLS_MAX: usize = 256;

/// What the supervisor tells unasked.
#[derive(Debug)]
pub enum News {
    /// A process is new, or is not as it was.
    Changed(Box<Process>),
    /// A process is no longer in the list.
    Forgotten(ProcessId),
    /// The connection was lost and is there again; these are the processes of now. None are left if
    /// the supervisor itself had ended.
    Listed(Vec<Process>),
}

type Waiting = oneshot::Sender<Result<Reply, String>>;

/// A handle to the supervisor.
pub struct Supervisor {
    calls: mpsc::Sender<(Request, Waiting)>,
    trouble: watch::Receiver<Option<String>>,
}

fn not_adoptable(theirs: u32) -> Problem {
    let text = format!(
        "the workers cannot be taken over: their supervisor speaks version {theirs} of its protocol, this program version {VERSION}"
    );
    Problem::new(Code::OtherSupervisor, text).help(
        "the running process goes on; to replace it, stop it with its workers (SIGTERM), then start this one without --takeover",
    )
}

impl Supervisor {
    /// Connects to the running supervisor of a data directory, or starts one.
    pub async fn connect(
        config: &EngineConfig,
        files: &Files,
    ) -> Result<(Supervisor, mpsc::Receiver<News>), EngineError> {
        let link = Link::open(config, files).await?;
        let (calls, incoming) = mpsc::channel(CALLS_MAX);
        let (news, receiver) = mpsc::channel(CALLS_MAX);
        // The process before this one, if there is one, serves with these workers no more when the
        // connection is lost.
        let config = EngineConfig { predecessor: None, ..config.clone() };
        let (trouble, watched) = watch::channel(None);
        let task = Task {
            config,
            files: files.clone(),
            incoming,
            news,
            trouble,
            waiting: HashMap::new(),
            next_id: 1,
            asked: None,
        };
        tokio::spawn(task.serve(link));
        Ok((Supervisor { calls, trouble: watched }, receiver))
    }

    /// Why nothing can be started or stopped at this moment, if it cannot.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Asks, and waits for the reply.
    pub async fn call(&self, request: Request) -> Result<Reply, EngineError> {
        let (sender, reply) = oneshot::channel();
        self.calls.send((request, sender)).await.map_err(|_| EngineError::Lost)?;
        match reply.await.map_err(|_| EngineError::Lost)?.map_err(EngineError::Supervisor)? {
            Reply::Local(text) => Err(EngineError::Local(text)),
            reply => Ok(reply),
        }
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
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Link {
    /// Connects to the supervisor; starts one if nobody listens. One that was killed, or is about
    /// to end, is waited for.
    async fn open(config: &EngineConfig, files: &Files) -> Result<Link, EngineError> {
        let begin = Instant::now();
        let mut started: Option<Child> = None;
        loop {
            match Link::greet(files).await {
                Ok((link, VERSION)) => {
                    // Collects its exit status, so that it does not stay behind as a zombie.
                    started.map(|mut child| std::thread::spawn(move || child.wait()));
                    return Ok(link);
                }
                // Another version's workers cannot be adopted; they are not ended while another
                // process serves with them.
                Ok((_, theirs)) if config.predecessor.is_some() => {
                    return Err(EngineError::User(not_adoptable(theirs)));
                }
                Ok((mut link, _)) => {
                    let asked =
                        link.send(0, Request::Shutdown { drain_ms_max: START_MS_MAX / 2 }).await;
                    while asked.is_ok() && link.lines.next().await.is_ok_and(|line| line.is_some())
                    {
                    }
                    started = None;
                }
                // To start another beside it would be of no use: it holds the data directory.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(EngineError::Silent);
                }
                Err(_) => {
                    let has_ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
                    if started.as_mut().is_none_or(has_ended) {
                        let again = started.is_some();
                        started = Some(start(config, files)?);
                        if again {
                            tokio::time::sleep(Duration::from_millis(START_AGAIN_MS)).await;
                        }
                    }
                }
            }
            if begin.elapsed() > Duration::from_millis(START_MS_MAX) {
                let log = files.data.supervisor_log();
                return Err(EngineError::Supervisor(format!(
                    "it does not start; see {}",
                    log.display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A connection, and the version at its other end.
    async fn greet(files: &Files) -> io::Result<(Link, u32)> {
        let stream = UnixStream::connect(files.supervisor_socket()).await?;
        let (reader, writer) = stream.into_split();
        let mut link = Link { lines: Lines::new(reader, MESSAGE_BYTES_MAX), writer };
        let theirs =
            tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), link.version()).await??;
        Ok((link, theirs))
    }

    async fn send(&mut self, id: u64, request: Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Call { id, request })?;
        line.push(b'\n');
        tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), self.writer.write_all(&line))
            .await?
    }

    /// All processes.
    async fn list(&mut self) -> Result<Vec<Process>, EngineError> {
        self.send(0, Request::List).await.map_err(EngineError::io("writing to the supervisor"))?;
        loop {
            let line =
                self.lines.next().await.map_err(EngineError::io("reading from the supervisor"))?;
            match line.and_then(|line| serde_json::from_slice(&line).ok()) {
                Some(Message::Reply { result: Ok(Reply::Processes(processes)), .. }) => {
                    return Ok(processes);
                }
                // The list knows it all.
                Some(Message::Changed(_) | Message::Forgotten(_)) => {}
                _ => {
                    return Err(EngineError::Supervisor(
                        "it gives no list of its processes".into(),
                    ));
                }
            }
        }
    }

    async fn version(&mut self) -> io::Result<u32> {
        self.send(0, Request::Hello).await?;
        loop {
            let line = self.lines.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match serde_json::from_slice(&line) {
                Ok(Message::Reply { result: Ok(Reply::Version(version)), .. }) => {
                    return Ok(version);
                }
                Ok(Message::Changed(_) | Message::Forgotten(_)) => {}
                _ => return Ok(0),
            }
        }
    }
}

/// Starts a supervisor that outlives this process and its terminal.
fn start(config: &EngineConfig, files: &Files) -> Result<Child, EngineError> {
    let log =
        std::fs::OpenOptions::new().create(true).append(true).open(files.data.supervisor_log());
    let log = log.map_err(EngineError::io("opening the supervisor's log"))?;
    let errors = log.try_clone().map_err(EngineError::io("opening the supervisor's log"))?;
    let mut command = Command::new(&config.program);
    command
        .arg("supervise")
        .arg("--data")
        .arg(config.data.root())
        .env_clear()
        .env("PATH", &config.path)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    let descriptors = config.descriptors;
    // SAFETY: only async-signal-safe calls.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            descriptors.give_back()
        });
    }
    command.spawn().map_err(EngineError::io("starting the supervisor"))
}

/// Carries calls and news until the supervisor is shut down.
struct Task {
    config: EngineConfig,
    files: Files,
    incoming: mpsc::Receiver<(Request, Waiting)>,
    news: mpsc::Sender<News>,
    trouble: watch::Sender<Option<String>>,
    waiting: HashMap<u64, Waiting>,
    next_id: u64,
    /// The last question whether it is there, as long as it is not answered.
    asked: Option<(u64, Instant)>,
}

impl Task {
    async fn serve(mut self, mut link: Link) {
        let mut stopping = false;
        let mut tick = tokio::time::interval(Duration::from_millis(ASK_MS));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let lost = tokio::select! {
                call = self.incoming.recv() => {
                    let Some((request, reply)) = call else { return };
                    stopping |= matches!(request, Request::Shutdown { .. });
                    let id = self.next_id();
                    self.waiting.insert(id, reply);
                    link.send(id, request).await.is_err()
                }
                line = link.lines.next() => {
                    let message = line.ok().flatten().and_then(|line| serde_json::from_slice(&line).ok());
                    // Nobody takes news any more: the platform ends.
                    let Ok(lost) = self.hear(message).await else { return };
                    lost
                }
                _ = tick.tick(), if !stopping => self.ask(&mut link).await,
            };
            if lost {
                self.waiting.clear();
                self.asked = None;
                if stopping {
                    return;
                }
                tracing::error!("the connection to the supervisor is lost");
                self.trouble.send_replace(Some("the connection to the supervisor is lost".into()));
                let Some(opened) = self.reopen().await else { return };
                link = opened;
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Takes in what the supervisor says. Gives whether the connection is lost, or an error if
    /// nobody wants to know.
    async fn hear(
        &mut self,
        message: Option<Message>,
    ) -> Result<bool, mpsc::error::SendError<News>> {
        match message {
            Some(Message::Reply { id, .. }) if self.asked.is_some_and(|(asked, _)| asked == id) => {
                self.asked = None
            }
            Some(Message::Reply { id, result }) => {
                if let Some(reply) = self.waiting.remove(&id) {
                    let _ = reply.send(result);
                }
            }
            Some(Message::Changed(process)) => self.news.send(News::Changed(process)).await?,
            Some(Message::Forgotten(id)) => self.news.send(News::Forgotten(id)).await?,
            None => return Ok(true),
        }
        Ok(false)
    }

    /// Asks whether it is there, and takes note if it has not answered or cannot start anything.
    /// Gives whether the connection is lost.
    async fn ask(&mut self, link: &mut Link) -> bool {
        let mut trouble = None;
        let lost = match self.asked {
            Some((_, since)) if since.elapsed() > Duration::from_millis(ANSWER_MS_MAX) => {
                trouble = Some(EngineError::Silent.to_string());
                false
            }
            Some(_) => {
                trouble = self.trouble.borrow().clone();
                false
            }
            None => {
                let id = self.next_id();
                self.asked = Some((id, Instant::now()));
                link.send(id, Request::Hello).await.is_err()
            }
        };
        if trouble.is_none() && !self.files.sockets().is_dir() {
            trouble = Some(format!("{} is gone; it is made again", self.files.sockets().display()));
        }
        self.trouble.send_if_modified(|current| {
            let is_news = *current != trouble;
            if is_news {
                if let Some(trouble) = &trouble {
                    tracing::error!("{trouble}");
                }
                *current = trouble;
            }
            is_news
        });
        lost
    }

    /// Connects again, to another supervisor if need be, and tells what is left. Gives `None` if
    /// nobody wants to know.
    async fn reopen(&mut self) -> Option<Link> {
        loop {
            let listed = match Link::open(&self.config, &self.files).await {
                Ok(mut link) => link.list().await.map(|processes| (link, processes)),
                Err(error) => Err(error),
            };
            match listed {
                Ok((link, processes)) => {
                    self.trouble.send_replace(None);
                    self.news.send(News::Listed(processes)).await.ok()?;
                    return Some(link);
                }
                Err(error) => {
                    tracing::error!("{error}");
                    // Its processes have ended with it, but not with one that is only silent.
                    if !matches!(error, EngineError::Silent) {
                        self.news.send(News::Listed(vec![])).await.ok()?;
                    }
                    self.trouble.send_replace(Some(error.to_string()));
                    if self.news.is_closed() {
                        return None;
                    }
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
