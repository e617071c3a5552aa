//! Names of files and folders, which are on disk only once the folder they are in was synced.

use std::io;
use std::path::Path;

use fs_err::{self as fs, File};

/// Makes a folder and those above it that are missing. When this returns their names are on disk.
pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let Some(parent) = dir.parent() else { return fs::create_dir_all(dir) };
    // Of a relative path the first name has an empty one.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    create_dir(parent)?;
    // Somebody else may be making it, too.
    fs::create_dir_all(dir)?;
    // The next attempt would find it there, and sync nothing.
    sync_dir(parent).inspect_err(|_| drop(fs::remove_dir(dir)))
}

/// Makes created and removed files durable. (Only Unix lets a directory be synced.)
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    may_sync(dir)?;
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Syncs that fail are what a test cannot bring about from outside.
pub(super) fn may_sync(path: &Path) -> io::Result<()> {
    if cfg!(test) && path.with_extension("broken").exists() {
        return Err(io::Error::other("a test says so"));
    }
    Ok(())
}
