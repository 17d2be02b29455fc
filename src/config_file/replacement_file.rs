//! Replaces a file in one step, so that it is never half written, and leaves nothing behind when it is killed.
//!
//! The new content goes to a temporary file next to the file, which then takes its place. The name of the temporary
//! file is fixed (`.NAME.tmp`), and the writer holds a lock on it. A temporary file without a lock belongs to a writer
//! that was killed: the next writer removes it. A second writer waits for the first one, or fails.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The new content of a file. Dropped before [`Self::commit`], it changes nothing.
#[derive(Debug)]
pub(crate) struct ReplacementFile {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    is_committed: bool,
}

impl ReplacementFile {
    /// Creates the temporary file for `target`, readable for its owner only. A symbolic link stays, and its target is
    /// replaced. Waits for another process that writes the file.
    ///
    /// # Errors
    ///
    /// The folder cannot be written, or there is something that is not a regular file.
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        Self::create_with(target, lock)
    }

    /// The same, for a file that is written for long.
    ///
    /// # Errors
    ///
    /// As [`Self::create`]; also if another process writes the file.
    pub(crate) fn create_without_waiting(target: &Path) -> io::Result<Self> {
        Self::create_with(target, try_lock)
    }

    fn create_with(target: &Path, lock: fn(&File) -> io::Result<()>) -> io::Result<Self> {
        let target = link_target(target);
        // Root could replace `/dev/null` for everybody.
        if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "it is not a regular file",
            ));
        }
        let temporary = temporary_path(&target)?;
        let file = create_and_lock(&temporary, lock)?;
        Ok(Self {
            target,
            temporary,
            file,
            is_committed: false,
        })
    }

    /// Writes the new content to the disk, so that it also survives a crash of the machine.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Puts the new content in place of the old one.
    ///
    /// # Errors
    ///
    /// The file cannot be replaced. The old content is still there.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)?;
        self.is_committed = true;
        Ok(())
    }
}

impl Write for ReplacementFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for ReplacementFile {
    fn drop(&mut self) {
        if !self.is_committed {
            // The next writer removes what stays.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Creates a file, readable for its owner only, and locks it. Removes a leftover of a writer that was
/// killed.
///
/// # Errors
///
/// The folder cannot be written, or another process writes the file.
pub(crate) fn create_locked(path: &Path) -> io::Result<File> {
    create_and_lock(path, try_lock)
}

fn create_and_lock(path: &Path, lock: fn(&File) -> io::Result<()>) -> io::Result<File> {
    loop {
        match create_private(path) {
            Ok(file) => {
                lock(&file)?;
                // Somebody may have taken the file for a leftover before it was locked.
                if is_at(&file, path) {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => remove_leftover(path, lock)?,
            Err(error) => return Err(error),
        }
    }
}

/// The file that a path means: a symbolic link is followed, also one to a file that does not exist yet.
pub(crate) fn link_target(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| match fs::read_link(path) {
        Ok(target) => path.parent().unwrap_or(Path::new("")).join(target),
        Err(_) => path.to_owned(),
    })
}

fn temporary_path(target: &Path) -> io::Result<PathBuf> {
    let Some(name) = target.file_name() else {
        return Err(io::Error::new(ErrorKind::IsADirectory, "not a file name"));
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    Ok(target.with_file_name(temporary))
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Removes the file of a writer that was killed, if it can be locked.
fn remove_leftover(path: &Path, lock: fn(&File) -> io::Result<()>) -> io::Result<()> {
    // Locked until the file is removed. Otherwise its writer could lock it in between.
    let _locked = match File::open(path) {
        Ok(file) => {
            lock(&file)?;
            if !is_at(&file, path) {
                return Ok(());
            }
            Some(file)
        }
        // A link to nowhere has no writer.
        Err(_) if path.is_symlink() => None,
        // The writer has finished.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Locks a file until it is closed, at the latest by the end of the process. Some network file systems have no locks.
fn lock(file: &File) -> io::Result<()> {
    match file.lock() {
        Err(error) if !means_no_locks(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The same, for a file that nobody else has locked.
fn try_lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::Error(error)) if !means_no_locks(&error) => Err(error),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            ErrorKind::WouldBlock,
            "another process is writing it",
        )),
        _ => Ok(()),
    }
}

/// Whether the error says that the file system has no locks. NFS without a lock service says that none is left.
#[cfg(unix)]
fn means_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;

    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() == ErrorKind::Unsupported
        || matches!(number, Some(Errno::NOLCK | Errno::OPNOTSUPP))
}

/// Whether the error says that the file system has no locks.
#[cfg(not(unix))]
fn means_no_locks(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Unsupported
}

/// Whether a path still names this file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let id = |found: fs::Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(found)) => id(file) == id(found),
        _ => false,
    }
}

/// Whether a path still names this file. An open file keeps its name on this platform.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn replace(path: &Path, text: &str) -> io::Result<()> {
        let mut file = ReplacementFile::create(path)?;
        file.write_all(text.as_bytes())?;
        file.commit()
    }

    #[test]
    fn the_file_changes_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        replace(&path, "old").unwrap();
        let mut file = ReplacementFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(names(folder.path()), [".list.tmp", "list"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let refused = ReplacementFile::create_without_waiting(&path).unwrap_err();
        assert_eq!(refused.to_string(), "another process is writing it");
        drop(file);
        assert_eq!(names(folder.path()), ["list"]);
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["list"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(
            folder.path().join(".list.tmp"),
            "half of a much longer text",
        )
        .unwrap();
        replace(&path, "whole").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(names(folder.path()), ["list"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_system_without_locks_is_known_by_its_error() {
        use rustix::io::Errno;

        for number in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS] {
            assert!(means_no_locks(&number.into()), "{number}");
        }
        for number in [Errno::AGAIN, Errno::ACCESS, Errno::IO] {
            assert!(!means_no_locks(&number.into()), "{number}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_at_the_temporary_name_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("list"), folder.path().join("victim"));
        fs::write(&victim, "mine").unwrap();
        for target in [&*victim, Path::new("nowhere")] {
            std::os::unix::fs::symlink(target, folder.path().join(".list.tmp")).unwrap();
            replace(&path, "text").unwrap();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
            assert_eq!(names(folder.path()), ["list", "victim"]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_a_regular_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = ReplacementFile::create(&path).unwrap_err();
        assert_eq!(error.to_string(), "it is not a regular file");
        assert_eq!(names(folder.path()), ["socket"]);
    }

    #[test]
    fn writers_at_the_same_time_wait_for_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..25 {
                        replace(path, &writer.to_string().repeat(1000)).unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, text[..1].repeat(1000));
        assert_eq!(names(folder.path()), ["list"]);
    }
}
