//! A file that is replaced as a whole: who reads it finds the old content or the new one, whatever fails when.
//!
//! Called by the configuration keeper: it writes a `Draft` when it says that it can, and places it when all
//! can. A draft that is dropped leaves nothing.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// New content of a file, on the disk beside it.
#[derive(Debug)]
pub struct Draft {
    target: PathBuf,
    beside: PathBuf,
    placed: bool,
}

impl Draft {
    /// Writes the content beside its target, on the disk when this returns. Mode and owner are those of the
    /// file that is there; a new one gets `mode`. A symbolic link is followed: what it names is replaced.
    ///
    /// # Errors
    /// Full disk, read-only file system, no directory, no permission: the message names the file.
    pub fn write(target: &Path, content: &[u8], mode: u32) -> io::Result<Draft> {
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        let beside = target.with_file_name(format!(".{name}.new"));
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", beside.display()))
        };
        // What an earlier life left.
        let _ = fs::remove_file(&beside);
        let written = write_new(&target, &beside, content, mode);
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written.map_err(told)?;
        Ok(Draft { target, beside, placed: false })
    }

    /// In the old one's place, on the disk when this returns.
    ///
    /// # Errors
    /// The directory is gone, or the disk fails. The old content is still there then, or the new one is.
    pub fn place(mut self) -> io::Result<()> {
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot replace {}: {error}", self.target.display()))
        };
        fs::rename(&self.beside, &self.target).map_err(told)?;
        self.placed = true;
        match self.target.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            // It is gone already, or its directory is.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Both steps at once.
///
/// # Errors
/// As of both: the old content is whole.
pub fn replace(target: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    Draft::write(target, content, mode)?.place()
}

fn write_new(target: &Path, beside: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(content)?;
    let mode = match fs::metadata(target) {
        Ok(old) => {
            if (old.uid(), old.gid()) != (file.metadata()?.uid(), file.metadata()?.gid()) {
                fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            old.permissions().mode() & 0o7777
        }
        Err(_) => mode,
    };
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("diehard-replace-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_draft_changes_nothing_before_it_is_placed() {
        let directory = directory("draft");
        let file = directory.join("file");
        replace(&file, b"old", 0o640).expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((fs::read(&file).expect("there"), mode(&file)), (b"old".to_vec(), 0o640));
        let draft = Draft::write(&file, b"new", 0o600).expect("written");
        assert_eq!(fs::read(&file).expect("there"), b"old");
        drop(draft);
        assert_eq!(names(&directory), ["file"]);
        let link = directory.join("link");
        std::os::unix::fs::symlink("file", &link).expect("made");
        Draft::write(&link, b"new", 0o600).expect("written").place().expect("placed");
        assert_eq!((fs::read(&file).expect("there"), mode(&file)), (b"new".to_vec(), 0o640));
        assert_eq!(names(&directory), ["file", "link"]);
        fs::remove_dir_all(directory).expect("ours");
    }

    #[test]
    fn a_full_disk_and_a_missing_directory_are_told_with_the_file() {
        let missing = directory("missing").join("none").join("file");
        let error = replace(&missing, b"new", 0o600).expect_err("no directory");
        assert!(error.to_string().contains("none/.file.new: No such file"), "{error}");
        crate::os::namespace::within(|| {
            // A disk that this thread alone sees, and that goes with it.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("root may");
            crate::os::namespace::run("mount --make-rprivate /");
            let disk = directory("full");
            let path = disk.display();
            crate::os::namespace::run(&format!("mount -t tmpfs -o size=16k none {path}"));
            let file = disk.join("file");
            replace(&file, b"old", 0o600).expect("fits");
            let error = replace(&file, &vec![7; 64 << 10], 0o600).expect_err("full");
            assert!(error.to_string().contains(".file.new: No space left"), "{error}");
            assert_eq!(
                (fs::read(&file).expect("there"), names(&disk)),
                (b"old".to_vec(), vec!["file".into()])
            );
            crate::os::namespace::run(&format!("umount {path}"));
            fs::remove_dir_all(&disk).expect("ours");
        });
    }
}
