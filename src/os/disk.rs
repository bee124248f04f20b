//! A file system, as its users find it: how full, writable or not, and whether a write reaches the disk.
//!
//! Called by a worker of the checks. Every call here may hang for as long as the disk does.

use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What is written: a sector of its own, and a page.
const PROBE_BYTES: usize = 4_096;

/// How a file system is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filling {
    /// Space in use of what ordinary users can have, in percent: as `df` counts.
    pub space: f64,
    /// Inodes in use, in percent; `None`: this file system makes them as it needs them.
    pub inodes: Option<f64>,
    /// Mounted read-only: by intent, or by the kernel after an error.
    pub read_only: bool,
}

/// How the file system on which `path` lies is filled.
///
/// # Errors
/// ENOENT, EIO.
pub fn filling(path: &Path) -> io::Result<Filling> {
    let told = statvfs(path)?;
    let used = told.blocks().saturating_sub(told.blocks_free()) as f64;
    let available = used + told.blocks_available() as f64;
    let percent = |part: f64, whole: f64| if whole > 0.0 { part * 100.0 / whole } else { 0.0 };
    let files = told.files();
    let taken = files.saturating_sub(told.files_free()) as f64;
    Ok(Filling {
        space: percent(used, available),
        inodes: (files > 0).then(|| percent(taken, files as f64)),
        read_only: told.flags().contains(FsFlags::ST_RDONLY),
    })
}

/// Writes a small file in that directory, waits until it is on the disk, and removes it again.
///
/// # Errors
/// ENOSPC, EROFS, EIO, EDQUOT, EACCES.
pub fn write_through(directory: &Path, name: &str) -> io::Result<()> {
    let path = directory.join(format!(".{name}"));
    let mut options = OpenOptions::new();
    // Somebody else's link of that name is not followed.
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(&path)?;
    let written = file.write_all(&[0x5a; PROBE_BYTES]).and_then(|()| file.sync_all());
    let removed = fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_leaves_nothing_behind() {
        let directory = std::env::temp_dir().join(format!("diehard-disk-{}", std::process::id()));
        fs::create_dir(&directory).expect("a new directory");
        let filling = filling(&directory).expect("it is there");
        let written = write_through(&directory, "probe");
        let left = fs::read_dir(&directory).expect("readable").count();
        fs::remove_dir_all(&directory).expect("ours");
        written.expect("written");
        assert_eq!(left, 0);
        assert!((0.0..=100.0).contains(&filling.space) && !filling.read_only, "{filling:?}");
        let missing = super::filling(&directory).expect_err("gone");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(write_through(&directory, "probe").is_err());
    }
}
