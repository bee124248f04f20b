//! A mutex whose holder runs with the priority of whoever waits for it (`PTHREAD_PRIO_INHERIT`).
//!
//! Threads of SCHED_FIFO share queues with ordinary ones. An ordinary thread that is preempted between two steps inside such a
//! queue would keep them waiting for as long as other work keeps it from a processor, or for ever, if they spin on the only one.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

/// Something that one thread at a time has.
pub struct Inheriting<T> {
    // Boxed: it must not move once it is made.
    lock: Box<UnsafeCell<libc::pthread_mutex_t>>,
    value: UnsafeCell<T>,
}

/// Until this is dropped, by the thread that has it.
pub struct Held<'a, T> {
    of: &'a Inheriting<T>,
    stays: PhantomData<*const ()>,
}

// SAFETY: the value is touched by the thread alone that holds the lock; values go from one thread to another.
unsafe impl<T: Send> Send for Inheriting<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Inheriting<T> {}

impl<T> Inheriting<T> {
    /// Nobody has it. Where the kernel knows no such mutex, it is an ordinary one.
    pub fn new(value: T) -> Self {
        let lock = Box::new(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        // SAFETY: the attributes are made before they are used, and the mutex is where it stays.
        let error = unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr());
            libc::pthread_mutexattr_setprotocol(attributes.as_mut_ptr(), libc::PTHREAD_PRIO_INHERIT);
            let error = libc::pthread_mutex_init(lock.get(), attributes.as_ptr());
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
            error
        };
        if error != 0 {
            // SAFETY: nobody knows this mutex yet.
            unsafe { *lock.get() = libc::PTHREAD_MUTEX_INITIALIZER };
        }
        Inheriting { lock, value: UnsafeCell::new(value) }
    }

    /// Waits for whoever has it.
    pub fn lock(&self) -> Held<'_, T> {
        // SAFETY: made by `new`.
        let error = unsafe { libc::pthread_mutex_lock(self.lock.get()) };
        assert_eq!(error, 0, "a thread locks what it has locked itself");
        Held { of: self, stays: PhantomData }
    }
}

impl<T> Drop for Inheriting<T> {
    fn drop(&mut self) {
        // SAFETY: nobody else has a reference, so nobody has it locked.
        unsafe { libc::pthread_mutex_destroy(self.lock.get()) };
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // SAFETY: locked by this thread: a `Held` is not `Send`.
        unsafe { libc::pthread_mutex_unlock(self.of.lock.get()) };
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread has the lock.
        unsafe { &*self.of.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread has the lock, and nobody else has this `Held`.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T> fmt::Debug for Inheriting<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Inheriting")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_at_a_time_has_it() {
        let sum = Inheriting::new((0_u64, 0_u64));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let mut held = sum.lock();
                        held.0 += 1;
                        assert_eq!(held.0, held.1 + 1);
                        held.1 += 1;
                    }
                });
            }
        });
        assert_eq!(*sum.lock(), (40_000, 40_000));
    }
}
