//! The keeper: takes records out of the ring into segments, and makes Parquet of them. It is the
//! only reader of the ring, on a thread of its own, so that a disk that stalls holds up nobody else.

mod counts;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use artifacts::{Area, Store};
use domain::ModelKey;
use parking_lot::Mutex;
use protocol::record::{Definition, RecordHead, RecordIn, Recorder};

use crate::catalogue::{Catalogue, Erased};
use crate::erase::Erasure;
use crate::ring::{Dropped, Ring};
use crate::sample::Sampler;
use crate::sealing::{Closed, Sealing, now_ms};
use crate::segment::{Kind, Segment, frames, ring_of};
use crate::{Gap, Hour, RecordFile, segment};
use counts::Counters;
pub use counts::KeeperCounts;

/// Between two looks at the ring, in milliseconds.
const DRAIN_MS: u64 = 50;
/// What was written may be lost by a power cut for so long, in milliseconds.
const SYNC_MS: u64 = 1_000;
/// So many bytes are taken out of the ring before they are written.
const TURN_BYTES_MAX: usize = 1 << 20;
/// … and so many times, before what was written is synced.
const TURNS_MAX: usize = 16;
/// A segment becomes Parquet when it has so many bytes, …
const SEGMENT_BYTES_MAX: u64 = 32 << 20;
/// … or is so old, in milliseconds.
const SEGMENT_MS_MAX: u64 = 60_000;
/// So long somebody waits for an erasure, in milliseconds; it goes on without them.
const ERASE_MS_MAX: u64 = 600_000;
/// With more lanes than these, what is known of their rates is forgotten.
const SAMPLERS_MAX: usize = 4_096;

/// How records are kept.
#[derive(Clone, Debug)]
pub struct KeeperConfig {
    /// For segments and the catalogue.
    pub directory: PathBuf,
    /// So many records a second are kept of each placement, besides errors and the slowest.
    pub sample_per_s: f64,
    /// They are kept so long, in milliseconds, …
    pub keep_ms: u64,
    /// … and as long as they have no more bytes than these.
    pub keep_bytes_max: u64,
}

/// Whoever looks at every record: what answered, the record, the time in milliseconds since 1970, and
/// whether it is kept.
pub type Watch = Box<dyn FnMut(&Arc<Definition>, &RecordIn<'_>, u64, bool) + Send>;

/// Takes in records and keeps them.
pub struct Keeper {
    ring: Arc<Ring>,
    catalogue: Arc<Catalogue>,
    area: Area,
    definitions: Mutex<HashMap<u64, Arc<Definition>>>,
    orders: Mutex<Sender<Order>>,
    counters: Counters,
}

/// What the thread is told.
enum Order {
    /// Make Parquet of all that is there, and say so.
    Flush(Sender<()>),
    /// Erase what the catalogue has under this number, also of what is there now.
    Erase(u64, Sender<io::Result<Erased>>),
    /// Write what is there, and end.
    End(Sender<()>),
}

impl Recorder for Keeper {
    fn put(&self, bytes: usize, is_whole: bool, write: &mut dyn FnMut(&mut [u8])) -> bool {
        self.ring.put(bytes, is_whole, write)
    }

    fn define(&self, lane: u64, definition: &str) {
        let Ok(parsed) = serde_json::from_str::<Definition>(definition) else { return };
        let mut definitions = self.definitions.lock();
        if definitions.contains_key(&lane) {
            return;
        }
        // A record in the ring may be all that is left of this process.
        if let Err(error) = self.catalogue.define(lane, definition) {
            tracing::warn!("records of {} may be lost by a crash: {error}", parsed.placement);
        }
        definitions.insert(lane, Arc::new(parsed));
    }
}

impl Keeper {
    /// Starts keeping what is in a ring, first of all what an earlier process left there and in the
    /// rings of `left`. Parquet is stored through `runtime`.
    pub fn start(
        config: KeeperConfig,
        memory: &File,
        left: &[File],
        store: &Store,
        runtime: tokio::runtime::Handle,
        watch: Watch,
    ) -> io::Result<Arc<Keeper>> {
        std::fs::create_dir_all(&config.directory)?;
        let catalogue = Catalogue::open(&config.directory.join("catalogue.sqlite"));
        let catalogue = Arc::new(catalogue.map_err(io::Error::other)?);
        let ring = Arc::new(Ring::open(memory)?);
        let (sender, orders) = channel();
        let keeper = Arc::new(Keeper {
            ring: ring.clone(),
            catalogue: catalogue.clone(),
            area: store.area("records"),
            definitions: Mutex::default(),
            orders: Mutex::new(sender),
            counters: Counters::default(),
        });
        let (closed, to_seal) = channel();
        let sealing = Sealing {
            area: keeper.area.clone(),
            catalogue,
            directory: config.directory.clone(),
            keep_ms: config.keep_ms,
            keep_bytes_max: config.keep_bytes_max,
            runtime,
            retained_at: Instant::now(),
        };
        let sealer = std::thread::Builder::new().name("records-seal".into());
        sealer.spawn(move || sealing.run(&to_seal))?;
        let mut draining = Draining {
            keeper: keeper.clone(),
            config,
            watch,
            samplers: HashMap::new(),
            segment: None,
            closed,
            ring: ring.clone(),
            left: HashMap::new(),
            last: None,
            count: 0,
            synced_at: Instant::now(),
            is_dirty: false,
            lost: 0,
        };
        draining.hand_on_segments()?;
        for file in left {
            draining.take_over(Arc::new(Ring::open(file)?))?;
        }
        draining.take_over(ring)?;
        let _ = draining.closed.send(Closed::Resume);
        std::thread::Builder::new()
            .name("records-drain".into())
            .spawn(move || draining.run(&orders))?;
        Ok(keeper)
    }

    /// How many records were kept, and how many were not.
    pub fn counts(&self) -> KeeperCounts {
        self.counters.read(&self.ring)
    }

    /// What a lane's number stands for.
    fn definition(&self, lane: u64) -> Option<Arc<Definition>> {
        if let Some(known) = self.definitions.lock().get(&lane) {
            return Some(known.clone());
        }
        let text = self.catalogue.definition(lane).ok().flatten()?;
        let parsed = Arc::new(serde_json::from_str::<Definition>(&text).ok()?);
        self.definitions.lock().insert(lane, parsed.clone());
        Some(parsed)
    }

    /// Puts all records that there are now into the catalogue; waits for it.
    pub fn flush(&self) {
        self.order(Order::Flush);
    }

    /// Writes what is there to the disk, and ends.
    pub fn end(&self) {
        self.order(Order::End);
    }

    fn order(&self, order: impl FnOnce(Sender<()>) -> Order) {
        let (done, wait) = channel();
        if self.orders.lock().send(order(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Erases what is known by a key, of all requests that were answered before; waits for it.
    /// Once this began it is completed, whatever comes between, at the latest when a keeper starts.
    pub fn erase(&self, erasure: &Erasure<'_>) -> io::Result<Erased> {
        let begun = erasure.begun(now_ms())?;
        let id = self.catalogue.begin_erasure(&begun).map_err(io::Error::other)?;
        self.catalogue.checkpoint().map_err(io::Error::other)?;
        let ended = || io::Error::other("the keeper of records has ended");
        let (done, wait) = channel();
        self.orders.lock().send(Order::Erase(id, done)).map_err(|_| ended())?;
        wait.recv_timeout(Duration::from_millis(ERASE_MS_MAX)).map_err(|error| match error {
            RecvTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
            RecvTimeoutError::Disconnected => ended(),
        })?
    }

    /// Erasures that are done and that nobody has told of yet.
    pub fn untold_erasures(&self) -> io::Result<Vec<Erased>> {
        self.catalogue.untold().map_err(io::Error::other)
    }

    /// The ledger has an erasure.
    pub fn told_erasure(&self, id: u64) -> io::Result<()> {
        self.catalogue.tell(id).map_err(io::Error::other)
    }

    /// The files of some time, in milliseconds since 1970.
    pub fn files(&self, from_ms: u64, to_ms: u64) -> io::Result<Vec<RecordFile>> {
        self.catalogue.files(from_ms, to_ms).map_err(io::Error::other)
    }

    /// Which hours a model has files of, oldest first.
    pub fn hours_of(&self, model: &ModelKey) -> io::Result<Vec<Hour>> {
        self.catalogue.hours_of(model).map_err(io::Error::other)
    }

    /// The files of an hour of a model.
    pub fn files_of(&self, model: &ModelKey, hour_ms: u64) -> io::Result<Vec<RecordFile>> {
        self.catalogue.files_of(model, hour_ms).map_err(io::Error::other)
    }

    /// Records, and values of records, that found no room in memory or on the disk. Only the
    /// difference between two looks tells something: the memory outlives the process.
    pub fn lost(&self) -> Dropped {
        let counts = self.counts();
        Dropped { records: counts.dropped + counts.lost, values: counts.without_values }
    }

    /// What is missing since a time, in milliseconds since 1970.
    pub fn gaps(&self, from_ms: u64) -> io::Result<Vec<Gap>> {
        self.catalogue.gaps(from_ms).map_err(io::Error::other)
    }

    /// Which files there are.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// Where the files lie.
    pub fn area(&self) -> &Area {
        &self.area
    }
}

/// The thread that reads the ring.
struct Draining {
    keeper: Arc<Keeper>,
    config: KeeperConfig,
    watch: Watch,
    samplers: HashMap<u64, Sampler>,
    segment: Option<(Segment, HashSet<u64>, Instant)>,
    closed: Sender<Closed>,
    /// That which is read.
    ring: Arc<Ring>,
    /// The last position of each ring in the segments that an earlier process left.
    left: HashMap<u64, u64>,
    /// The last position that is in a segment of an earlier process.
    last: Option<u64>,
    /// Segments so far.
    count: u64,
    synced_at: Instant,
    is_dirty: bool,
    /// Records that the disk did not take, and that are in no gap yet.
    lost: u64,
}

impl Draining {
    /// Hands on the segments that earlier processes left.
    fn hand_on_segments(&mut self) -> io::Result<()> {
        let left = segment::left_in(&self.config.directory)?;
        for path in &left {
            let bytes = std::fs::read(path)?;
            let records = frames(&bytes).filter(|frame| frame.kind == Kind::Record);
            let last = records.map(|frame| frame.position).max();
            if let Some((name, last)) = ring_of(&bytes).zip(last) {
                let known = self.left.entry(name).or_default();
                *known = last.max(*known);
            }
        }
        left.into_iter().for_each(|path| drop(self.closed.send(Closed::Segment(path))));
        Ok(())
    }

    /// Empties a ring that nobody writes to any more; what of it is in a segment is passed over.
    fn take_over(&mut self, ring: Arc<Ring>) -> io::Result<()> {
        let name = ring.name();
        let sealed = self.keeper.catalogue.position(name).map_err(io::Error::other)?;
        (self.ring, self.last) = (ring, sealed.max(self.left.get(&name).copied()));
        while self.turn(true) {}
        self.report();
        self.close();
        Ok(())
    }

    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            // However much comes: what was written must be synced, too.
            for _ in 0..TURNS_MAX {
                if !self.turn(false) {
                    break;
                }
            }
            self.report();
            self.sync(false);
            let is_old = self.segment.as_ref().is_some_and(|(segment, _, since)| {
                segment.bytes() > SEGMENT_BYTES_MAX
                    || since.elapsed() > Duration::from_millis(SEGMENT_MS_MAX)
            });
            if is_old {
                self.close();
            }
            match orders.recv_timeout(Duration::from_millis(DRAIN_MS)) {
                Ok(Order::Flush(done)) => {
                    while self.turn(false) {}
                    self.report();
                    self.close();
                    let _ = self.closed.send(Closed::Mark(done));
                }
                Ok(Order::Erase(id, done)) => {
                    while self.turn(false) {}
                    self.report();
                    self.close();
                    let _ = self.closed.send(Closed::Erase(id, done));
                }
                Ok(Order::End(done)) => {
                    while self.turn(false) {}
                    self.report();
                    self.sync(true);
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes some frames out of the ring; `false` if that were all.
    fn turn(&mut self, recovering: bool) -> bool {
        let (now_ms, ring) = (now_ms(), self.ring.clone());
        let (tail, mut bytes, mut records) = (ring.tail(), 0, 0u64);
        let end = ring.read(tail, recovering, |position, frame| {
            bytes += frame.len();
            if self.last.is_none_or(|last| position > last) {
                records += u64::from(self.take(position, frame, now_ms));
            }
            bytes < TURN_BYTES_MAX
        });
        if records > 0 {
            self.write(records);
        }
        ring.release(end);
        bytes >= TURN_BYTES_MAX
    }

    /// Shows a record to whoever watches, and adds it to the segment if it is kept.
    fn take(&mut self, position: u64, frame: &[u8], now_ms: u64) -> bool {
        let Ok(head) = RecordHead::read(frame) else { return false };
        // Refused before a model was found: there is nothing that it is a record of.
        if head.lane == 0 {
            return false;
        }
        let Some(definition) = self.keeper.definition(head.lane) else {
            self.lose(1);
            return false;
        };
        let per_second = self.config.sample_per_s;
        if self.samplers.len() > SAMPLERS_MAX {
            self.samplers.clear();
        }
        let sampler =
            self.samplers.entry(head.lane).or_insert_with(|| Sampler::new(per_second, now_ms));
        let weight = sampler.weight(&head, now_ms);
        if let Ok(record) = RecordIn::read(frame) {
            (self.watch)(&definition, &record, now_ms, weight.is_some());
        }
        let Some(weight) = weight else { return false };
        let Some((segment, defined, _)) = self.segment() else {
            self.lose(1);
            return false;
        };
        if defined.insert(head.lane) {
            let text = serde_json::to_vec(definition.as_ref()).unwrap_or_default();
            segment.push(Kind::Definition, 0, [&head.lane.to_le_bytes(), &text]);
        }
        segment.push(Kind::Record, position, [&weight.to_le_bytes(), frame]);
        true
    }

    fn segment(&mut self) -> Option<&mut (Segment, HashSet<u64>, Instant)> {
        if self.segment.is_none() {
            // Sorts by time; the process keeps two that write at once apart.
            let name = format!("{:013}-{}-{}.segment", now_ms(), std::process::id(), self.count);
            self.count += 1;
            let path = self.config.directory.join(name);
            match Segment::create(path, self.ring.name()) {
                Ok(segment) => self.segment = Some((segment, HashSet::new(), Instant::now())),
                Err(error) => tracing::debug!("no segment: {error}"),
            }
        }
        self.segment.as_mut()
    }

    fn write(&mut self, records: u64) {
        let Some((segment, _, _)) = &mut self.segment else { return };
        match segment.write() {
            Ok(()) => {
                self.is_dirty = true;
                self.keeper.counters.keep(records);
            }
            Err(error) => {
                tracing::warn!("{records} records are lost: {error}");
                self.lose(records);
                // Its definitions may be among what was not written.
                self.close();
            }
        }
    }

    fn lose(&mut self, records: u64) {
        self.lost += records;
        self.keeper.counters.lose(records);
    }

    /// Adds what was lost to the records as a gap.
    fn report(&mut self) {
        let dropped = self.ring.unreported();
        let records = dropped.records + self.lost;
        if records == 0 && dropped.values == 0 {
            return;
        }
        let reason = match self.lost {
            0 => "records came faster than they could be kept",
            _ => "the disk did not take them",
        };
        let gap = Gap { at_ms: now_ms(), records, values: dropped.values, reason: reason.into() };
        let text = serde_json::to_vec(&gap).unwrap_or_default();
        let Some((segment, _, _)) = self.segment() else { return };
        segment.push(Kind::Gap, 0, [&text, &[]]);
        if segment.write().is_ok() {
            self.is_dirty = true;
            self.lost = 0;
            self.ring.reported(dropped);
        }
    }

    fn sync(&mut self, now: bool) {
        if !self.is_dirty || !now && self.synced_at.elapsed() < Duration::from_millis(SYNC_MS) {
            return;
        }
        if let Some((segment, _, _)) = &self.segment
            && let Err(error) = segment.sync()
        {
            tracing::warn!("records are not safe from a power cut: {error}");
        }
        (self.is_dirty, self.synced_at) = (false, Instant::now());
    }

    fn close(&mut self) {
        self.sync(true);
        if let Some((segment, _, _)) = self.segment.take() {
            let _ = self.closed.send(Closed::Segment(segment.path().to_path_buf()));
        }
    }
}

#[cfg(test)]
mod tests;
