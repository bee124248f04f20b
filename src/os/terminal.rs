//! How wide the terminal is on which a person reads. Called by `diehard`; owns nothing.

mod raw {
    #![allow(missing_docs, reason = "made by a macro")]
    nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);
}

/// Columns of the terminal behind the standard output; `None`: it is none, or does not say.
pub fn columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one `winsize` into the one that lives here.
    unsafe { raw::window_size(libc::STDOUT_FILENO, &mut size) }.ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
