//! The thread that reads and writes files, so that no frame waits for a disk (I-16).
//!
//! What the window keeps is replaced whole: written beside, then renamed, so that a crash leaves the old or the new
//! file. Files with tokens can be read by their owner alone.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::layout::FILE_MAX_BYTES;
use crate::link::Waker;
use crate::model::Haste;
use crate::model::wire::{Row, export};
use crate::raster::Picture;
use crate::views::chart::Drawn;

/// Jobs waiting for the disk; when full, the newest is refused and asked for again with the next change.
const QUEUE: usize = 64;

/// Something to do with a file.
#[derive(Debug)]
pub enum Job {
    /// Keep this between runs.
    Keep {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// Only its owner may read it.
        is_secret: bool,
    },
    /// Write a file that a person asked for.
    Export {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// Whether one that is there may go.
        replace: bool,
    },
    /// Paint a chart, to the clipboard or to a file.
    Picture {
        /// The chart.
        drawn: Box<Drawn>,
        /// The file, and whether one that is there may go; `None`: the clipboard.
        file: Option<(PathBuf, bool)>,
    },
    /// Write what was watched of a wire.
    Wire {
        /// The rows.
        rows: Vec<Row>,
        /// Whether it is to be a capture for Wireshark; else JSON Lines.
        is_capture: bool,
        /// The file.
        path: PathBuf,
        /// Whether one that is there may go.
        replace: bool,
    },
    /// Read a file that a person asked for.
    Import {
        /// The file.
        path: PathBuf,
    },
}

/// What became of a job. What is kept as it should be is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Something is not kept; the text says what and why.
    NotKept(String),
    /// A file was written.
    Exported(PathBuf),
    /// There is a file of that name already; it was left alone.
    Exists(PathBuf),
    /// A picture was painted for the clipboard.
    Painted(Picture),
    /// A file was read.
    Imported {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
    /// A file that a person asked for could not be written or read; the text says why.
    Failed(String),
}

/// The thread.
#[derive(Debug)]
pub struct Disk {
    /// To the thread; when full, jobs come back as not taken.
    jobs: Option<SyncSender<Job>>,
    /// From the thread; when full, it waits for the window to look.
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Starts the thread; it wakes the window when something is done.
    pub fn start(waker: Waker) -> io::Result<Self> {
        let (jobs, jobs_rx) = sync_channel::<Job>(QUEUE);
        let (done_tx, done) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("disk".into()).spawn(move || {
            while let Ok(job) = jobs_rx.recv() {
                let Some(done) = run(job) else { continue };
                // Nobody may be there any more to hear it.
                if done_tx.try_send(done).is_err() {
                    tracing::debug!("nobody hears what became of a file");
                }
                waker(Haste::AtOnce);
            }
        })?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    /// Asks for a job. Returns whether it was taken.
    pub fn ask(&self, job: Job) -> bool {
        match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }

    /// What is done since the last call.
    pub fn try_next(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

impl Drop for Disk {
    /// Finishes the jobs that wait.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the files failed");
        }
    }
}

fn run(job: Job) -> Option<Done> {
    match job {
        Job::Keep { path, text, is_secret } => {
            let error = keep(&path, &text, is_secret).err()?;
            tracing::warn!(path = %path.display(), %error, "not saved");
            Some(Done::NotKept(format!("{}: {error}", path.display())))
        }
        Job::Export { path, text, replace } => Some(exported(path, text.as_bytes(), replace)),
        Job::Picture { drawn, file } => Some(match (drawn.paint(), file) {
            (None, _) => Done::Failed("The chart is too large for a picture.".into()),
            (Some(picture), None) => Done::Painted(picture),
            (Some(picture), Some((path, replace))) => match png(picture) {
                Ok(bytes) => exported(path, &bytes, replace),
                Err(problem) => Done::Failed(problem),
            },
        }),
        Job::Wire { rows, is_capture, path, replace } => {
            let bytes =
                if is_capture { export::capture(&rows) } else { export::json_lines(&rows).into_bytes() };
            Some(exported(path, &bytes, replace))
        }
        Job::Import { path } => Some(match import(&path) {
            Ok(text) => Done::Imported { path, text },
            Err(error) => Done::Failed(format!("{} cannot be read: {}", path.display(), reason(&error))),
        }),
    }
}

/// What the system said, without its number where the words are enough.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

/// Writes a file whole or not at all.
pub fn keep(path: &Path, text: &str, is_secret: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("json.new");
    // One that an earlier crash left behind may have been readable for others.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if is_secret { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = is_secret;
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    std::fs::rename(&beside, path)
}

fn exported(path: PathBuf, bytes: &[u8], replace: bool) -> Done {
    match export(&path, bytes, replace) {
        Ok(()) => Done::Exported(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Done::Exists(path),
        Err(error) => Done::Failed(format!("{} cannot be written: {}", path.display(), reason(&error))),
    }
}

fn png(picture: Picture) -> Result<Vec<u8>, String> {
    let Picture { width, height, rgba } = picture;
    let mut bytes = io::Cursor::new(Vec::new());
    image::RgbaImage::from_raw(width as u32, height as u32, rgba)
        .ok_or("The picture has no size.")?
        .write_to(&mut bytes, image::ImageFormat::Png)
        .map_err(|error| format!("The picture cannot be made: {error}"))?;
    Ok(bytes.into_inner())
}

fn export(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    if replace {
        options.write(true).create(true).truncate(true);
    } else {
        options.write(true).create_new(true);
    }
    options.open(path)?.write_all(bytes)
}

fn import(path: &Path) -> io::Result<String> {
    let file = std::fs::File::open(path)?;
    // Neither a pipe that says nothing nor a disk of zeros may hold this thread for ever.
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !about.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if about.len() > FILE_MAX_BYTES {
        let limit = crate::format::bytes(FILE_MAX_BYTES as usize);
        return Err(io::Error::other(format!("it is larger than {limit}")));
    }
    let mut text = String::new();
    file.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads what was kept; `None` if there is nothing. What cannot be understood is renamed, so that it is not lost, and
/// `problems` says so.
pub fn read_kept<T>(
    path: &Path,
    problems: &mut Vec<String>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            problems.push(format!("{} cannot be read: {}", path.display(), reason(&error)));
            return None;
        }
    };
    match parse(&text) {
        Ok(value) => Some(value),
        Err(error) => {
            let aside = path.with_extension("unreadable.json");
            tracing::warn!(path = %path.display(), error, aside = %aside.display(), "not readable: put aside");
            let kept = match std::fs::rename(path, &aside) {
                Ok(()) => format!("It is kept as {}.", aside.display()),
                Err(error) => format!("It could not be put aside: {}.", reason(&error)),
            };
            problems.push(format!("{}: {error}. {kept}", path.display()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn disk() -> Disk {
        Disk::start(Arc::new(|_| {})).unwrap()
    }

    fn wait(disk: &Disk) -> Done {
        disk.done.recv_timeout(std::time::Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn what_was_kept_is_read_back_after_the_window_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("settings.json");
        let disk = disk();
        assert!(disk.ask(Job::Keep { path: path.clone(), text: "{}".into(), is_secret: false }));
        drop(disk);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
    }

    #[cfg(unix)]
    #[test]
    fn i_12_a_file_with_tokens_is_for_its_owner_alone_also_when_it_was_not_before() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hubs.json");
        for stale in [&path, &path.with_extension("json.new")] {
            std::fs::write(stale, "old").unwrap();
            std::fs::set_permissions(stale, std::fs::Permissions::from_mode(0o666)).unwrap();
        }
        keep(&path, "secret", true).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_export_never_replaces_a_file_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let disk = disk();
        let export = |text: &str, replace| Job::Export { path: path.clone(), text: text.into(), replace };
        disk.ask(export("one", false));
        assert_eq!(wait(&disk), Done::Exported(path.clone()));
        disk.ask(export("two", false));
        assert_eq!(wait(&disk), Done::Exists(path.clone()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        disk.ask(export("three", true));
        assert_eq!(wait(&disk), Done::Exported(path.clone()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
    }

    #[test]
    fn what_cannot_be_read_or_written_says_which_file_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk();
        let missing = folder.path().join("none").join("x.json");
        for (job, why) in [
            (Job::Import { path: missing.clone() }, "cannot be read: there is no such file"),
            (Job::Import { path: folder.path().to_owned() }, "it is a folder"),
            (
                Job::Export { path: missing, text: String::new(), replace: false },
                "cannot be written: there is no such",
            ),
        ] {
            disk.ask(job);
            let Done::Failed(text) = wait(&disk) else { unreachable!() };
            assert!(text.contains(why) && text.contains(&*folder.path().to_string_lossy()), "{text}");
        }
        let large = folder.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(FILE_MAX_BYTES + 1).unwrap();
        disk.ask(Job::Import { path: large });
        assert!(matches!(wait(&disk), Done::Failed(text) if text.contains("larger than 8")));
    }

    #[test]
    fn a_file_that_is_not_understood_is_kept_aside_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layout.json");
        std::fs::write(&path, "{ not json").unwrap();
        let mut problems = Vec::new();
        let read = read_kept(&path, &mut problems, |_| Err::<(), _>("it is not JSON".into()));
        assert_eq!(read, None);
        assert!(folder.path().join("layout.unreadable.json").exists() && !path.exists());
        assert!(problems[0].contains("not JSON") && problems[0].contains("unreadable"), "{problems:?}");
        assert_eq!(read_kept(&path, &mut problems, |_| Ok(1)), None);
        assert_eq!(problems.len(), 1, "that there is no file is no problem");
    }
}
