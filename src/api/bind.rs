//! Puts a listening socket at a path, safely.
//!
//! The directory is opened once and everything after goes through its descriptor: a path may be
//! longer than the 107 bytes of a socket address, and nobody can swap the directory in between.
//! The socket gets its mode and group under a passing name and appears at its own complete.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags};
use rustix::io::Errno;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{} has no folder or no file name", .0.display())]
    NoFile(PathBuf),
    #[error("cannot open the folder {}: {cause}", .dir.display())]
    NoDirectory { dir: PathBuf, cause: io::Error },
    #[error("{} {why}; a socket there could be replaced by somebody else", .dir.display())]
    UnsafeDirectory { dir: PathBuf, why: &'static str },
    #[error("{} is there and is no socket; it is left alone", .0.display())]
    NotASocket(PathBuf),
    #[error("another daemon answers on {}", .0.display())]
    InUse(PathBuf),
    #[error("cannot {doing} the socket {}: {cause}", .path.display())]
    Io { doing: &'static str, path: PathBuf, cause: io::Error },
}

/// Listens at `path` with `mode` (such as `0o660`) and, if given, the group `gid`.
///
/// A socket left behind by a dead daemon is replaced; one that answers is not. The listener is
/// non-blocking.
///
/// # Errors
/// [`BindError`]; nothing is left at the path that was not there before.
pub fn bind(path: &Path, mode: u32, gid: Option<u32>) -> Result<UnixListener, BindError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(BindError::NoFile(path.to_owned()));
    };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let failed =
        |doing: &'static str| move |cause: io::Error| BindError::Io { doing, path: path.to_owned(), cause };
    let folder = open_safe_directory(dir)?;
    // Every step below names files relative to this, whatever the path's length.
    let here = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    refuse_if_taken(path, &folder, &here)?;

    let passing = format!(".{}.{}", name.to_string_lossy(), std::process::id());
    remove_if_there(&folder, &passing).map_err(failed("clear the way for"))?;
    let listener = UnixListener::bind(here.join(&passing)).map_err(failed("make"))?;
    let settle = || -> io::Result<()> {
        listener.set_nonblocking(true)?;
        if let Some(gid) = gid {
            rustix::fs::chownat(
                &folder,
                &passing,
                None,
                Some(Gid::from_raw(gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        rustix::fs::chmodat(&folder, &passing, Mode::from_raw_mode(mode), AtFlags::empty())?;
        rustix::fs::renameat(&folder, &passing, &folder, name)?;
        Ok(())
    };
    if let Err(cause) = settle() {
        let _ = remove_if_there(&folder, &passing);
        return Err(failed("settle")(cause));
    }
    Ok(listener)
}

/// Opens `dir` if only root and the daemon's own user can put files into it.
fn open_safe_directory(dir: &Path) -> Result<OwnedFd, BindError> {
    let no_directory = |cause: Errno| BindError::NoDirectory { dir: dir.to_owned(), cause: cause.into() };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(dir, flags, Mode::empty()).map_err(no_directory)?;
    let stat = rustix::fs::fstat(&folder).map_err(no_directory)?;
    let own = rustix::process::geteuid().as_raw();
    let refuse = |why| Err(BindError::UnsafeDirectory { dir: dir.to_owned(), why });
    if stat.st_uid != 0 && stat.st_uid != own {
        return refuse("belongs to another user");
    }
    if stat.st_mode & (Mode::WGRP | Mode::WOTH).as_raw_mode() != 0 {
        return refuse("is writable by others (chmod go-w)");
    }
    Ok(folder)
}

fn refuse_if_taken(path: &Path, folder: &OwnedFd, here: &Path) -> Result<(), BindError> {
    let Some(name) = path.file_name() else { return Err(BindError::NoFile(path.to_owned())) };
    let failed = |cause: io::Error| BindError::Io { doing: "look at", path: path.to_owned(), cause };
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Err(other) => return Err(failed(other.into())),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(here.join(name)) {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        // Nobody listens, or the file has gone meanwhile: the place is free.
        Err(cause) if matches!(cause.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(())
        }
        // Its queue is full, so somebody is there.
        Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse(path.to_owned())),
        Err(cause) => Err(failed(cause)),
    }
}

fn remove_if_there(folder: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

    fn folder(mode: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).unwrap();
        dir
    }

    fn names(dir: &Path) -> Vec<String> {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_socket_appears_with_mode_and_group() {
        let dir = folder(0o755);
        let path = dir.path().join("lucid.sock");
        let gid = std::fs::metadata(dir.path()).unwrap().gid();
        let _listener = bind(&path, 0o660, Some(gid)).unwrap();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.gid()), (0o660, gid));
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(names(dir.path()), ["lucid.sock"]);
    }

    #[test]
    fn a_path_longer_than_a_socket_address_binds() {
        let dir = folder(0o700);
        let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::set_permissions(&deep, PermissionsExt::from_mode(0o700)).unwrap();
        let path = deep.join("lucid.sock");
        assert!(path.as_os_str().len() > 107);
        assert!(UnixListener::bind(&path).is_err(), "the plain way cannot");
        let _listener = bind(&path, 0o660, None).unwrap();
        let short = dir.path().join("s");
        symlink(&deep, &short).unwrap();
        assert!(UnixStream::connect(short.join("lucid.sock")).is_ok());
    }

    #[test]
    fn only_a_socket_without_an_answer_is_replaced() {
        let dir = folder(0o700);
        let path = dir.path().join("lucid.sock");
        let first = bind(&path, 0o660, None).unwrap();
        assert!(matches!(bind(&path, 0o660, None), Err(BindError::InUse(_))));
        drop(first);
        assert!(path.exists(), "a dead daemon leaves its socket");
        let _second = bind(&path, 0o660, None).unwrap();
        assert!(UnixStream::connect(&path).is_ok());

        let file = dir.path().join("precious");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(bind(&file, 0o660, None), Err(BindError::NotASocket(_))));
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        assert!(matches!(bind(&link, 0o660, None), Err(BindError::NotASocket(_))));
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn a_directory_others_can_write_to_is_refused() {
        for mode in [0o777, 0o1777, 0o775] {
            let dir = folder(mode);
            let refused = bind(&dir.path().join("lucid.sock"), 0o660, None);
            assert!(matches!(refused, Err(BindError::UnsafeDirectory { .. })), "{mode:o}");
            assert!(names(dir.path()).is_empty());
        }
        let nowhere = bind(Path::new("/nonexistent/lucid.sock"), 0o660, None);
        assert!(matches!(nowhere, Err(BindError::NoDirectory { .. })));
    }
}
