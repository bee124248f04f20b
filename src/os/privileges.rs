//! Giving up what root may do, for good.
//!
//! Called once by the monitor's unprivileged half, right after it was forked. Cannot be taken back.

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{self, Uid, User};
use std::io;

/// Does this process have root's rights?
pub fn are_roots() -> bool {
    Uid::effective().is_root()
}

/// From now on this process is that user, in that user's group alone; nothing that it starts gets more (no setuid program
/// does), no other process of that user looks into it, and it ends with its parent.
///
/// # Errors
/// There is no such user, or this process is not root's; then nothing may go on.
pub fn become_user(name: &str) -> io::Result<()> {
    let parent = unistd::getppid();
    let user = User::from_name(name)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name}")))?;
    unistd::setgroups(&[user.gid])?;
    unistd::setresgid(user.gid, user.gid, user.gid)?;
    unistd::setresuid(user.uid, user.uid, user.uid)?;
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    // Last: a change of user clears it. A parent that ended before is seen by its number.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if unistd::getppid() != parent {
        return Err(io::Error::other("the parent has ended"));
    }
    Ok(())
}
