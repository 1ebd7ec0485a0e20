//! Recordings as WAV files in one folder, written by one thread.
//!
//! A file's header is true at every moment: it is written anew behind each chunk of audio. So a process that dies
//! loses what it had not written, never the file; what the header does not yet speak of is found at the next start.
//!
//! A recording that is begun again after a crash has its old name, since its call has that name on record. The earlier
//! take is not overwritten: it is moved aside to `…-2.wav`, `…-3.wav` and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use holdline_actors::port::recording::{RecordingFile, Recordings};
use holdline_core::media::wav::{HEADER_BYTES, WavHeader, repair_header};
use tokio::sync::{mpsc, oneshot};

/// Chunks on their way to the disk. One is about a second of a recording, some 16 KiB: a disk that is away for a moment
/// costs nothing, and one that is gone costs no more than 16 to 32 MiB.
const QUEUE_CHUNKS_MAX: usize = 1024;
/// Earlier takes of one recording; each is a crash in the middle of it.
const TAKES_MAX: usize = 1000;
const NAME_BYTES_MAX: usize = 200;

/// The recordings folder and the thread that writes into it. The thread ends with the last handle, after writing what
/// was handed over.
pub struct DiskRecordings {
    dir: PathBuf,
    jobs: mpsc::Sender<Job>,
}

struct Job {
    track: Arc<Track>,
    what: Work,
}

enum Work {
    Open,
    /// Silence in the place of what was dropped, then audio.
    Append {
        lost: u64,
        pcm: Vec<u8>,
    },
    Close {
        lost: u64,
        reply: oneshot::Sender<Result<u64, String>>,
    },
}

/// One recording. Only the writing thread locks it; it is closed when nobody holds it any more, also after a panic of
/// the call.
struct Track {
    path: Result<PathBuf, String>,
    channels: u16,
    state: Mutex<State>,
}

enum State {
    New,
    Open(Take),
    Failed(String),
}

/// An open file.
struct Take {
    file: File,
    channels: u16,
    data_bytes: u64,
}

struct Handle {
    track: Arc<Track>,
    jobs: mpsc::Sender<Job>,
    /// Bytes that the queue had no place for, since the last chunk that it took.
    lost: u64,
    lost_in_all: u64,
}

impl DiskRecordings {
    /// Makes the folder, repairs what an earlier process has left in it, and starts the thread.
    pub fn start(dir: &Path) -> io::Result<DiskRecordings> {
        fs::create_dir_all(dir)?;
        let repaired = repair_all(dir)?;
        if repaired > 0 {
            tracing::info!(repaired, "recordings of a process that died have their length again");
        }
        let (recordings, jobs) = DiskRecordings::idle(dir, QUEUE_CHUNKS_MAX);
        std::thread::Builder::new().name("recordings".to_owned()).spawn(move || work(jobs))?;
        Ok(recordings)
    }

    fn idle(dir: &Path, queue: usize) -> (DiskRecordings, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel(queue);
        (DiskRecordings { dir: dir.to_owned(), jobs }, receiver)
    }

    /// Where a recording lies; `None` for what cannot be the name of one.
    pub fn path_of(&self, file: &str) -> Option<PathBuf> {
        is_plain_name(file).then(|| self.dir.join(file))
    }
}

impl Recordings for DiskRecordings {
    fn open(&self, file: &str, channels: u8) -> Box<dyn RecordingFile> {
        let path =
            self.path_of(file).ok_or_else(|| format!("expected the plain name of a file, got {file:?}"));
        let state = Mutex::new(State::New);
        let track = Arc::new(Track { path, channels: channels.into(), state });
        // When there is no place for it, the first chunk opens the file.
        let _ = self.jobs.try_send(Job { track: track.clone(), what: Work::Open });
        Box::new(Handle { track, jobs: self.jobs.clone(), lost: 0, lost_in_all: 0 })
    }
}

impl RecordingFile for Handle {
    fn append(&mut self, pcm: Vec<u8>) {
        let bytes = pcm.len() as u64;
        let what = Work::Append { lost: self.lost, pcm };
        match self.jobs.try_send(Job { track: self.track.clone(), what }) {
            Ok(()) => self.lost = 0,
            Err(_) => {
                self.lost += bytes;
                self.lost_in_all += bytes;
            }
        }
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<u64, String>> {
        let Handle { track, jobs, lost, lost_in_all } = *self;
        Box::pin(async move {
            if lost_in_all > 0 {
                let file = track.path.as_deref().unwrap_or(Path::new("")).display().to_string();
                tracing::warn!(
                    file,
                    bytes = lost_in_all,
                    "the disk was too slow: a part of the recording is silence"
                );
            }
            let (reply, closed) = oneshot::channel();
            let gone = |_| "the recordings are not written any more".to_owned();
            // The one job that waits for a place: nothing may be missing behind it.
            jobs.send(Job { track, what: Work::Close { lost, reply } })
                .await
                .map_err(|error| gone(error.to_string()))?;
            closed.await.map_err(|error| gone(error.to_string()))?
        })
    }
}

/// Gives every recording whose process died the length that it has. How many there were.
pub fn repair_all(dir: &Path) -> io::Result<usize> {
    let mut repaired = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "wav") || !path.is_file() {
            continue;
        }
        match repair(&path) {
            Ok(done) => repaired += usize::from(done),
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "a recording could not be repaired")
            }
        }
    }
    Ok(repaired)
}

fn repair(path: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    file.take(HEADER_BYTES as u64).read_to_end(&mut first)?;
    let Some(header) = repair_header(&first, bytes) else { return Ok(false) };
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(&header)?;
    file.sync_all()?;
    Ok(true)
}

fn is_plain_name(file: &str) -> bool {
    let mut components = Path::new(file).components();
    let plain = matches!(components.next(), Some(Component::Normal(name)) if name == file);
    plain
        && components.next().is_none()
        && file.len() <= NAME_BYTES_MAX
        && !file.contains(['/', '\\', '\0'])
        && !file.starts_with('.')
}

fn work(mut jobs: mpsc::Receiver<Job>) {
    while let Some(Job { track, what }) = jobs.blocking_recv() {
        track.perform(what);
    }
}

impl Track {
    fn perform(&self, what: Work) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::New = *state {
            *state = match self.path.clone().and_then(|path| Take::begin(&path, self.channels)) {
                Ok(take) => State::Open(take),
                Err(why) => State::Failed(why),
            };
        }
        match what {
            Work::Open => {}
            Work::Append { lost, pcm } => state.attempt(|take| take.append(lost, &pcm)),
            Work::Close { lost, reply } => {
                state.attempt(|take| take.append(lost, &[]));
                state.attempt(Take::sync);
                let closed = match std::mem::replace(&mut *state, State::Failed("it is closed".to_owned())) {
                    State::Open(take) => Ok(take.data_bytes + HEADER_BYTES as u64),
                    State::Failed(why) => Err(why),
                    State::New => Err("it was never opened".to_owned()),
                };
                if closed.is_ok() {
                    self.path.iter().for_each(|path| sync_folder(path));
                }
                let _ = reply.send(closed); // the call may be gone
            }
        }
    }
}

impl State {
    /// After the first error nothing more is written: audio behind a hole would be at the wrong time.
    fn attempt(&mut self, what: impl FnOnce(&mut Take) -> io::Result<()>) {
        if let State::Open(take) = self
            && let Err(error) = what(take)
        {
            take.give_up();
            *self = State::Failed(error.to_string());
        }
    }
}

impl Take {
    fn begin(path: &Path, channels: u16) -> Result<Take, String> {
        let begun = || {
            set_aside(path)?;
            let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
            file.write_all(&WavHeader::new(channels, 0).bytes())?;
            Ok(Take { file, channels, data_bytes: 0 })
        };
        begun().map_err(|error: io::Error| format!("the file cannot be made: {error}"))
    }

    /// Audio first, then the header that speaks of it.
    fn append(&mut self, lost: u64, pcm: &[u8]) -> io::Result<()> {
        if lost == 0 && pcm.is_empty() {
            return Ok(());
        }
        let data_bytes = self.data_bytes + lost + pcm.len() as u64;
        if lost > 0 {
            self.file.set_len(HEADER_BYTES as u64 + self.data_bytes + lost)?;
        }
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(pcm)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&WavHeader::new(self.channels, data_bytes).bytes())?;
        self.data_bytes = data_bytes;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Leaves what the last good header speaks of.
    fn give_up(&mut self) {
        let _ = self.file.set_len(HEADER_BYTES as u64 + self.data_bytes);
    }
}

/// Moves an earlier take out of the way.
fn set_aside(path: &Path) -> io::Result<()> {
    if !path.try_exists()? {
        return Ok(());
    }
    let (stem, ending) = (path.file_stem().unwrap_or_default(), path.extension().unwrap_or_default());
    for take in 2..=TAKES_MAX {
        let name = format!("{}-{take}.{}", stem.to_string_lossy(), ending.to_string_lossy());
        let aside = path.with_file_name(name);
        if !aside.try_exists()? {
            tracing::warn!(file = %path.display(), aside = %aside.display(), "an earlier take is moved aside");
            return fs::rename(path, aside);
        }
    }
    Err(io::Error::other(format!("there are {TAKES_MAX} takes of it already")))
}

/// Without this a power failure may take the name of a file whose content is safe. Not every system can do it.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use holdline_core::media::wav::read_wav;

    fn audio(path: &Path) -> Vec<u8> {
        let bytes = fs::read(path).unwrap();
        assert_eq!(repair_header(&bytes, bytes.len() as u64), None, "the header is true");
        read_wav(&bytes).unwrap();
        bytes[HEADER_BYTES..].to_vec()
    }

    #[test]
    fn a_recording_is_its_chunks_behind_a_header_that_is_true_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let (recordings, mut jobs) = DiskRecordings::idle(dir.path(), 10);
        let mut file = recordings.open("CA1-1.wav", 2);
        let mut step = || {
            let Job { track, what } = jobs.try_recv().unwrap();
            track.perform(what);
            audio(&dir.path().join("CA1-1.wav"))
        };
        assert_eq!(step(), [0; 0]);
        file.append(vec![1; 8]);
        assert_eq!(step(), [1; 8]);
        file.append(vec![2; 4]);
        assert_eq!(step(), [vec![1; 8], vec![2; 4]].concat());
        drop(file);
    }

    #[test]
    fn closing_tells_the_bytes_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let recordings = DiskRecordings::start(&dir.path().join("made")).unwrap();
        let mut one = recordings.open("a.wav", 1);
        let two = recordings.open("b.wav", 2);
        one.append(vec![7; 16_000]);
        assert_eq!(block_on(one.close()), Ok(16_044));
        assert_eq!(block_on(two.close()), Ok(44));
        assert_eq!(audio(&recordings.path_of("a.wav").unwrap()), [7; 16_000]);
    }

    #[test]
    fn what_the_queue_cannot_take_becomes_silence_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (recordings, jobs) = DiskRecordings::idle(dir.path(), 2);
        let mut file = recordings.open("a.wav", 1); // the first place
        file.append(vec![1; 4]); // the second
        file.append(vec![2; 4]);
        file.append(vec![3; 2]);
        let closing = file.close();
        let writer = std::thread::spawn(move || work(jobs));
        assert_eq!(block_on(closing), Ok(44 + 10));
        assert_eq!(audio(&dir.path().join("a.wav")), [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
        drop(recordings);
        writer.join().unwrap();
    }

    #[test]
    fn a_recording_begun_again_keeps_its_name_and_its_earlier_takes() {
        let dir = tempfile::tempdir().unwrap();
        let recordings = DiskRecordings::start(dir.path()).unwrap();
        for take in 1..=3 {
            let mut file = recordings.open("CA1-1.wav", 1);
            file.append(vec![take; 2]);
            block_on(file.close()).unwrap();
        }
        let takes = ["CA1-1.wav", "CA1-1-2.wav", "CA1-1-3.wav"].map(|name| audio(&dir.path().join(name)));
        assert_eq!(takes, [[3; 2], [1; 2], [2; 2]]);
    }

    #[test]
    fn names_that_lead_elsewhere_and_disks_that_refuse_are_told_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let recordings = DiskRecordings::start(&dir.path().join("in")).unwrap();
        for name in ["../a.wav", "/a.wav", "b/a.wav", "", ".", "..", "b/", "a\0.wav", "a\\b.wav", ".a.wav"] {
            let mut file = recordings.open(name, 1);
            file.append(vec![1; 2]);
            assert!(block_on(file.close()).unwrap_err().contains("plain name"), "{name:?}");
        }
        fs::remove_dir_all(dir.path().join("in")).unwrap();
        let file = recordings.open("a.wav", 1);
        assert!(block_on(file.close()).unwrap_err().contains("cannot be made"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_start_repairs_what_a_dead_process_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let dead = [WavHeader::new(2, 4).bytes().to_vec(), vec![5; 404]].concat();
        let whole = [WavHeader::new(1, 2).bytes().to_vec(), vec![5; 2]].concat();
        for (name, bytes) in [("dead.wav", &dead), ("whole.wav", &whole), ("notes.txt", &dead)] {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        fs::write(dir.path().join("foreign.wav"), "RIFF").unwrap();
        assert_eq!(repair_all(dir.path()).unwrap(), 1);
        assert_eq!(audio(&dir.path().join("dead.wav")), [5; 404]);
        assert_eq!(fs::read(dir.path().join("notes.txt")).unwrap(), dead);
        assert_eq!(repair_all(dir.path()).unwrap(), 0);
    }
}
