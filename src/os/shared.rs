//! A page of numbers that a process and its children see alike (anonymous shared memory).
//!
//! Made by the guardian before the worker exists, written by the worker's threads, read by the guardian
//! also after the worker's death. Ends when both have dropped it.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Numbers on a page.
pub const WORDS: usize = 512;
const BYTES: NonZeroUsize = NonZeroUsize::new(WORDS * size_of::<AtomicU64>()).expect("a page");

/// `WORDS` numbers, zero at first.
#[derive(Debug)]
pub struct SharedPage(NonNull<AtomicU64>);

// SAFETY: the page is reached by shared references to atomics alone, from any thread, until it is dropped.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// A new page.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a new mapping where the kernel likes; nothing else is touched.
        let page = unsafe {
            mmap_anonymous(None, BYTES, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)?
        };
        Ok(SharedPage(page.cast()))
    }

    /// Number `index`.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS, "the page has {WORDS} numbers");
        // SAFETY: within the mapping, which lives as long as `self`; all-zero bytes are an AtomicU64, and a
        // page is aligned for it.
        unsafe { self.0.add(index).as_ref() }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: the whole mapping that `new` made, to which nobody has a reference any more.
        let _ = unsafe { munmap(self.0.cast(), BYTES.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_page_of_zeros_that_keeps_what_is_written() {
        let page = SharedPage::new().expect("memory");
        assert_eq!(page.word(WORDS - 1).load(Ordering::Relaxed), 0);
        page.word(7).store(42, Ordering::Release);
        assert_eq!(page.word(7).load(Ordering::Acquire), 42);
        assert_eq!(page.word(6).load(Ordering::Relaxed), 0);
    }
}
