//! `diehard key new`: the cluster's secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Of the key, before it is written as twice as many hexadecimal digits.
pub const KEY_BYTES: usize = 32;

/// Writes a new random key, mode 0600, synced to disk.
///
/// # Errors
/// The file exists already (it is left as it is), or cannot be written: in words that name it. A file that
/// could not be finished is removed again.
pub fn write_new(file: &Path) -> Result<(), String> {
    let told = |error: &io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{} exists already: a key is never overwritten; remove it first", file.display())
        }
        _ => format!("cannot write {}: {error}", file.display()),
    };
    let text = random_hex().map_err(|error| format!("cannot read /dev/urandom: {error}"))?;
    let mut options = OpenOptions::new();
    let mut open =
        options.write(true).create_new(true).mode(0o600).open(file).map_err(|error| told(&error))?;
    let written = open.write_all(text.as_bytes()).and_then(|()| open.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(file);
        told(&error)
    })
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digits + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_new_private_and_never_overwritten() {
        let directory = crate::control::scratch::Directory::new("key");
        let (first, second) = (directory.path.join("first"), directory.path.join("second"));
        write_new(&first).unwrap();
        write_new(&second).unwrap();
        let text = fs::read_to_string(&first).unwrap();
        assert_eq!(text.len(), 2 * KEY_BYTES + 1);
        assert!(text.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        assert_ne!(text, fs::read_to_string(&second).unwrap());
        assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = write_new(&first).unwrap_err();
        assert_eq!(
            refused,
            format!("{} exists already: a key is never overwritten; remove it first", first.display())
        );
        assert_eq!(fs::read_to_string(&first).unwrap(), text);
    }

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let refused = write_new(Path::new("/nonexistent/diehard.key")).unwrap_err();
        assert!(refused.starts_with("cannot write /nonexistent/diehard.key: No such file"), "{refused}");
    }
}
