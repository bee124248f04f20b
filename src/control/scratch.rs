//! A directory for one test, removed at its end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Removes itself when dropped.
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
}

impl Directory {
    /// A new empty one.
    pub fn new(purpose: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("diehard-{purpose}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a writable temporary directory");
        Directory { path }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
